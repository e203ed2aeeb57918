//! Artefact files: written once, read leaf by leaf, every leaf checked.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::layout::LeafError;
use super::manifest::{Attachment, Description, Manifest, ManifestError};
use crate::hash::{Hash, Hex};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::merkle::{self, Builder};
use crate::program::Program;

const MAGIC: &[u8; 8] = b"LOCKSTEP";
const FORMAT: u32 = 1;
/// Bytes before the manifest: magic, format, length of the manifest.
pub const HEADER_BYTES: u64 = 16;

/// Why an artefact cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// The file system refuses.
    #[error("cannot access {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Reading or writing failed.
    #[error("cannot read or write the artefact: {0}")]
    Io(#[from] io::Error),
    /// Not an artefact.
    #[error(
        "this is no artefact: {0}; hint: `lockstep model import MODEL_DIR --out FILE` makes one"
    )]
    NotAnArtefact(String),
    /// It ends too early.
    #[error("the artefact is truncated: {what} needs {expected} bytes, {found} are there")]
    Truncated {
        /// What is cut.
        what: String,
        /// Bytes that it needs.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// It goes on after the last leaf.
    #[error("the artefact has {0} bytes after its last leaf")]
    Trailing(u64),
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A leaf is refused.
    #[error("leaf {index} at byte {offset}: {error}")]
    Leaf {
        /// Its number.
        index: u64,
        /// Where in the file it starts.
        offset: u64,
        /// What is wrong.
        error: LeafError,
    },
    /// The leaves are not the ones of the manifest.
    #[error(
        "the leaves' root is {}, the manifest says {}; hint: the file is damaged, fetch or import it again",
        Hex(.found), Hex(.expected)
    )]
    Root {
        /// The root of the leaves.
        found: Hash,
        /// The root in the manifest.
        expected: Hash,
    },
    /// An attachment's content has another hash than the manifest says.
    #[error("the attachment `{0}` does not have the hash that the manifest says")]
    Attachment(String),
    /// There is no such attachment.
    #[error("the artefact has no attachment `{0}`")]
    NoAttachment(String),
    /// The writer was given fewer leaves than the manifest needs.
    #[error("{found} of {expected} leaves were written")]
    Incomplete {
        /// Leaves written.
        found: u64,
        /// Leaves needed.
        expected: u64,
    },
}

impl ArtefactError {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::File { path, error }
    }
}

/// Reads an artefact.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    manifest: Manifest,
    first_leaf: u64,
}

impl Reader<BufReader<File>> {
    /// Opens a file and checks its header and manifest.
    ///
    /// # Errors
    /// [`ArtefactError`].
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let file = File::open(path).map_err(ArtefactError::file(path))?;
        Self::new(BufReader::with_capacity(1 << 18, file))
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads header and manifest, and checks the total length.
    ///
    /// # Errors
    /// [`ArtefactError`].
    pub fn new(mut source: R) -> Result<Self, ArtefactError> {
        let length = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        let cut = |what: &str, expected: u64| ArtefactError::Truncated {
            what: what.to_owned(),
            expected,
            found: length,
        };
        let mut header = [0_u8; 16];
        if length < HEADER_BYTES {
            return Err(cut("its header", HEADER_BYTES));
        }
        source.read_exact(&mut header)?;
        let [magic @ .., f0, f1, f2, f3, m0, m1, m2, m3] = header;
        if magic != *MAGIC {
            return Err(ArtefactError::NotAnArtefact("it does not begin with LOCKSTEP".into()));
        }
        let format = u32::from_le_bytes([f0, f1, f2, f3]);
        if format != FORMAT {
            let message = format!("it is in format {format}, this build reads format {FORMAT}");
            return Err(ArtefactError::NotAnArtefact(message));
        }
        let size = u32::from_le_bytes([m0, m1, m2, m3]);
        let size_usize = usize::try_from(size).unwrap_or(usize::MAX);
        if size_usize > MANIFEST_BYTES_MAX {
            let message =
                format!("its manifest has {size} bytes, at most {MANIFEST_BYTES_MAX} are allowed");
            return Err(ArtefactError::NotAnArtefact(message));
        }
        let first_leaf = HEADER_BYTES + u64::from(size);
        if length < first_leaf {
            return Err(cut("with its manifest it", first_leaf));
        }
        let mut bytes = vec![0; size_usize];
        source.read_exact(&mut bytes)?;
        let manifest = Manifest::decode(&bytes)?;
        let end = first_leaf + manifest.leaves_bytes();
        if length < end {
            return Err(cut("with all leaves it", end));
        }
        if length > end {
            return Err(ArtefactError::Trailing(length - end));
        }
        Ok(Self { source, manifest, first_leaf })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads one leaf. Its values are checked, its place in the tree is not.
    ///
    /// # Errors
    /// [`ArtefactError::Leaf`] or [`ArtefactError::Io`].
    pub fn leaf(&mut self, index: u64) -> Result<Vec<u8>, ArtefactError> {
        let offset = self.manifest.layout().offset(index).unwrap_or(0);
        self.source.seek(SeekFrom::Start(self.first_leaf + offset))?;
        let mut leaf = Vec::new();
        self.read_here(index, &mut leaf)?;
        Ok(leaf)
    }

    fn read_here(&mut self, index: u64, leaf: &mut Vec<u8>) -> Result<(), ArtefactError> {
        let offset = self.first_leaf + self.manifest.layout().offset(index).unwrap_or(0);
        let refused = |error| ArtefactError::Leaf { index, offset, error };
        let span = self.manifest.span(index).map_err(refused)?;
        leaf.resize(span.bytes(), 0);
        self.source.read_exact(leaf)?;
        span.check(leaf).map_err(refused)
    }

    /// Reads all leaves in order, checks each and at the end their root; `each` gets every leaf's
    /// number and bytes, and must not act for good before this returns without an error.
    ///
    /// # Errors
    /// [`ArtefactError`].
    pub fn each_leaf(
        &mut self,
        mut each: impl FnMut(u64, &[u8]),
    ) -> Result<Vec<Hash>, ArtefactError> {
        self.source.seek(SeekFrom::Start(self.first_leaf))?;
        let (mut leaf, mut hashes) = (Vec::new(), Vec::new());
        for index in 0..self.manifest.leaf_count() {
            self.read_here(index, &mut leaf)?;
            hashes.push(merkle::leaf_hash(index, &leaf));
            each(index, &leaf);
        }
        let (found, expected) = (merkle::root(&hashes), self.manifest.leaves_root());
        if found != expected {
            return Err(ArtefactError::Root { found, expected });
        }
        Ok(hashes)
    }

    /// The content of an attachment, checked against its hash.
    ///
    /// # Errors
    /// [`ArtefactError`].
    pub fn attachment(&mut self, name: &str) -> Result<Vec<u8>, ArtefactError> {
        let files = &self.manifest.description().attachments;
        let found = files.iter().position(|file| file.name == name);
        let missing = || ArtefactError::NoAttachment(name.to_owned());
        let number = found.ok_or_else(missing)?;
        let expected = files[number].hash;
        let leaves = self.manifest.layout().leaves_of(super::Content::Attachment(number));
        let mut content = Vec::new();
        for leaf in leaves {
            content.extend(self.leaf(leaf)?);
        }
        if Attachment::hash_of(&content) != expected {
            return Err(ArtefactError::Attachment(name.to_owned()));
        }
        Ok(content)
    }
}

/// Checks every leaf, the root and the attachments; gives the leaves' hashes.
///
/// # Errors
/// The first thing found wrong.
pub fn validate<R: Read + Seek>(reader: &mut Reader<R>) -> Result<Vec<Hash>, ArtefactError> {
    let hashes = reader.each_leaf(|_, _| {})?;
    let files = reader.manifest.description().attachments.clone();
    for file in files {
        reader.attachment(&file.name)?;
    }
    Ok(hashes)
}

/// [`validate`] for a file; gives its manifest.
///
/// # Errors
/// The first thing found wrong.
pub fn validate_file(path: &Path) -> Result<Manifest, ArtefactError> {
    let mut reader = Reader::open(path)?;
    validate(&mut reader)?;
    Ok(reader.manifest)
}

/// The hashes of a file's leaves, for a [`merkle::Tree`].
///
/// # Errors
/// As [`Reader::each_leaf`].
pub fn leaf_hashes(path: &Path) -> Result<Vec<Hash>, ArtefactError> {
    Reader::open(path)?.each_leaf(|_, _| {})
}

/// Writes an artefact: the leaves of all tensors in order, then the attachments.
///
/// The manifest's length is known at the start and its root only at the end, so its place is left
/// empty meanwhile: nothing that breaks off can pass for an artefact.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    program: Program,
    manifest: Manifest,
    builder: Builder,
}

impl<W: Write + Seek> Writer<W> {
    /// Starts an artefact of this program.
    ///
    /// # Errors
    /// [`ArtefactError::Manifest`] where the program or description is refused.
    pub fn new(
        mut sink: W,
        program: Program,
        description: Description,
    ) -> Result<Self, ArtefactError> {
        let manifest = Manifest::new(&program, description, [0; 32])?;
        let header = u64::try_from(manifest.encode().len()).unwrap_or(u64::MAX) + HEADER_BYTES;
        io::copy(&mut io::repeat(0).take(header), &mut sink)?;
        Ok(Self { sink, program, manifest, builder: Builder::new() })
    }

    /// The layout that the leaves follow.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Appends the next leaf.
    ///
    /// # Errors
    /// [`ArtefactError::Leaf`] where it breaks the rules of its place.
    pub fn leaf(&mut self, leaf: &[u8]) -> Result<(), ArtefactError> {
        let index = self.builder.count();
        let checked = self.manifest.span(index).and_then(|span| span.check(leaf));
        checked.map_err(|error| {
            let offset = self.manifest.layout().offset(index).unwrap_or(0);
            ArtefactError::Leaf { index, offset, error }
        })?;
        self.sink.write_all(leaf)?;
        self.builder.push(leaf);
        Ok(())
    }

    /// Appends all leaves of an int8 matrix (row-major) and of its row scales.
    ///
    /// # Errors
    /// As [`Writer::leaf`].
    pub fn matrix(
        &mut self,
        cells: &[i8],
        cols: usize,
        scales: &[f32],
    ) -> Result<(), ArtefactError> {
        let bytes: Vec<u8> = cells.iter().map(|cell| cell.to_le_bytes()[0]).collect();
        self.rectangles(&bytes, cols)?;
        self.table(scales, scales.len())
    }

    /// Appends all leaves of an f32 table, row-major.
    ///
    /// # Errors
    /// As [`Writer::leaf`].
    pub fn table(&mut self, values: &[f32], cols: usize) -> Result<(), ArtefactError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.rectangles(&bytes, cols * 4)
    }

    /// Appends all leaves of an attachment.
    ///
    /// # Errors
    /// As [`Writer::leaf`].
    pub fn attachment(&mut self, content: &[u8]) -> Result<(), ArtefactError> {
        self.rectangles(content, content.len())
    }

    /// Cuts rows of `row_bytes` each into the leaves that come next.
    fn rectangles(&mut self, bytes: &[u8], row_bytes: usize) -> Result<(), ArtefactError> {
        let mut written = 0;
        let mut leaf = Vec::new();
        while written < bytes.len() {
            let index = self.builder.count();
            let span = self.manifest.span(index);
            let span = span.map_err(|error| ArtefactError::Leaf { index, offset: 0, error })?;
            let rows = usize::try_from(span.rows).unwrap_or(usize::MAX);
            let first = usize::try_from(span.row).unwrap_or(usize::MAX);
            let cols = usize::try_from(span.cols).unwrap_or(usize::MAX);
            let col = usize::try_from(span.col).unwrap_or(usize::MAX);
            let width = span.bytes() / rows.max(1) / cols.max(1);
            leaf.clear();
            for row in first..first + rows {
                let start = row * row_bytes + col * width;
                leaf.extend_from_slice(bytes.get(start..start + cols * width).unwrap_or_default());
            }
            self.leaf(&leaf)?;
            written += leaf.len();
        }
        Ok(())
    }

    /// Writes header and manifest; the artefact is complete.
    ///
    /// # Errors
    /// [`ArtefactError::Incomplete`] where leaves are missing.
    pub fn finish(mut self) -> Result<(W, Manifest), ArtefactError> {
        let expected = self.manifest.leaf_count();
        let (leaves_root, found) = self.builder.finish();
        if found != expected {
            return Err(ArtefactError::Incomplete { found, expected });
        }
        let description = self.manifest.description().clone();
        let manifest = Manifest::new(&self.program, description, leaves_root)?;
        let length = u32::try_from(manifest.encode().len()).unwrap_or(u32::MAX);
        self.sink.rewind()?;
        self.sink.write_all(MAGIC)?;
        self.sink.write_all(&FORMAT.to_le_bytes())?;
        self.sink.write_all(&length.to_le_bytes())?;
        self.sink.write_all(manifest.encode())?;
        self.sink.flush()?;
        Ok((self.sink, manifest))
    }
}

impl Writer<BufWriter<File>> {
    /// Creates a file beside `path`; [`Writer::persist`] puts it in place.
    ///
    /// # Errors
    /// [`ArtefactError::File`].
    pub fn create(
        path: &Path,
        program: Program,
        description: Description,
    ) -> Result<Self, ArtefactError> {
        let partial = partial(path);
        let file = File::create(&partial).map_err(ArtefactError::file(&partial))?;
        Self::new(BufWriter::with_capacity(1 << 18, file), program, description)
    }

    /// Completes the file and moves it to `path`, atomically.
    ///
    /// # Errors
    /// As [`Writer::finish`], and [`ArtefactError::File`].
    pub fn persist(self, path: &Path) -> Result<Manifest, ArtefactError> {
        let (sink, manifest) = self.finish()?;
        let file = sink.into_inner().map_err(|error| ArtefactError::Io(error.into_error()))?;
        file.sync_all()?;
        std::fs::rename(partial(path), path).map_err(ArtefactError::file(path))?;
        Ok(manifest)
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}
