//! Writes an archive, and goes on with one.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{FORMAT, GENESIS, Head, INDEX, Index, Segment, checksum, segment};
use crate::comet::GenesisFile;
use crate::source::Entry;
use crate::{Result, Stop};

/// An archive that is written to.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    index: Index,
    /// The segment that still takes heights: its first height and its bytes.
    open: Option<(u64, Vec<u8>)>,
    /// The next height.
    next: Option<u64>,
    /// Heights since the last flush.
    waiting: u64,
}

impl Writer {
    /// A new archive, or the one that is there.
    ///
    /// # Errors
    /// Where it cannot be written, is damaged, or belongs to another chain.
    pub fn open(folder: &Path, genesis: &[u8]) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|cause| Stop::file("make", folder, cause))?;
        let path = folder.join(INDEX);
        let genesis_file = GenesisFile::parse(genesis)?;
        let index = match std::fs::read(&path) {
            Ok(bytes) => Index::decode(&bytes)?,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                write_whole(&folder.join(GENESIS), genesis)?;
                let head = Head {
                    format: FORMAT.to_owned(),
                    chain_id: genesis_file.chain_id.clone(),
                    genesis_blake3: checksum(genesis),
                };
                Index { head, segments: Vec::new() }
            }
            Err(cause) => return Err(Stop::file("read", &path, cause)),
        };
        let kept = folder.join(GENESIS);
        let there = std::fs::read(&kept).map_err(|cause| Stop::file("read", &kept, cause))?;
        if GenesisFile::parse(&there)?.id != genesis_file.id {
            let what = format!("{} is an archive of another chain", folder.display());
            return Err(Stop::usage(what, "use another folder"));
        }
        let mut writer =
            Self { folder: folder.to_owned(), index, open: None, next: None, waiting: 0 };
        writer.reopen()?;
        Ok(writer)
    }

    /// Goes on with the last segment, unless it is full.
    fn reopen(&mut self) -> Result<()> {
        let Some(last) = self.index.segments.last() else { return Ok(()) };
        self.next = last.to.checked_add(1);
        if last.full() {
            return Ok(());
        }
        let path = self.folder.join(&last.file);
        let bytes = std::fs::read(&path).map_err(|cause| Stop::file("read", &path, cause))?;
        let entries = segment::decode(last, &bytes, last.from)?;
        if let Some(damage) = entries.into_iter().find_map(|entry| entry.damage) {
            return Err(damage.into());
        }
        self.open = Some((last.from, bytes));
        Ok(())
    }

    /// The height that comes next; none where the archive is empty.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    /// What is in the archive.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Adds a height. It is in the archive once it was flushed, which a full segment is at once.
    ///
    /// # Errors
    /// Where it does not follow, or cannot be written.
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        let header = entry.block.header.as_ref();
        let height = header.map_or(0, |header| crate::abci::unsigned(header.height));
        if self.next.is_some_and(|next| next != height) {
            let what = format!("block {height} does not follow the archive's last");
            return Err(Stop::incomplete(what, "is the source of the same chain?"));
        }
        let (from, bytes) = self.open.get_or_insert_with(|| (height, Vec::new()));
        segment::encode(entry, bytes);
        let line = Segment {
            file: String::new(),
            from: *from,
            to: height,
            bytes: bytes.len() as u64,
            blake3: String::new(),
        };
        self.next = height.checked_add(1);
        self.waiting += 1;
        if line.full() {
            self.flush()?;
            self.open = None;
        }
        Ok(())
    }

    /// Writes what was added since the last flush: the segment under a name of its own, then the
    /// index, and only then goes the shorter one.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        let (Some((from, bytes)), Some(next)) = (&self.open, self.next) else { return Ok(()) };
        if self.waiting == 0 {
            return Ok(());
        }
        let to = next - 1;
        let line = Segment {
            file: Segment::name(*from, to),
            from: *from,
            to,
            bytes: bytes.len() as u64,
            blake3: checksum(bytes),
        };
        write_whole(&self.folder.join(&line.file), bytes)?;
        let replaced = self.index.segments.pop_if(|last| last.from == *from);
        self.index.segments.push(line);
        write_whole(&self.folder.join(INDEX), self.index.encode().as_bytes())?;
        if let Some(shorter) = replaced {
            let path = self.folder.join(shorter.file);
            std::fs::remove_file(&path).map_err(|cause| Stop::file("remove", &path, cause))?;
        }
        self.waiting = 0;
        Ok(())
    }
}

/// Writes a file whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // The name is on the disk once the folder is.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|cause| Stop::file("write", path, cause))
}
