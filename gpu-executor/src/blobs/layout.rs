//! How a blob is cut into pieces, and what each piece must hash to.

use bytes::Bytes;
use lockstep_vm::artefact::Manifest;
use lockstep_vm::hash::{Hash, hash};
use lockstep_vm::limits::LEAF_BYTES_MAX;
use lockstep_vm::merkle;
use prost::Message;

/// Bytes of a leaf of an input; the last one may be shorter.
pub const INPUT_LEAF_BYTES: u64 = LEAF_BYTES_MAX as u64;

/// A Merkle root, by which a blob is known.
pub type Root = Hash;

/// What the chain says of a blob: enough to check every byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The artefact of a published version: the file that the importer writes.
    Artefact {
        /// The version's id.
        version: u64,
        /// As published.
        manifest: Bytes,
    },
    /// The input of a job.
    Input {
        /// The job's id.
        job: u64,
        /// Length of the blob.
        bytes: u64,
    },
}

/// Why leaf hashes do not describe a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The manifest is none, or belongs to another root.
    #[error("the manifest does not belong to this root: {0}")]
    Manifest(String),
    /// There are not as many hashes as leaves.
    #[error("{given} leaf hashes were given, the blob has {leaves} leaves")]
    Count {
        /// How many came.
        given: u64,
        /// How many there must be.
        leaves: u64,
    },
    /// Their Merkle root is another.
    #[error("the leaf hashes do not add up to the root")]
    Root,
}

/// A piece of a blob: the head of an artefact (all before its first leaf), or a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it starts in the blob.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// The pieces of one blob, with a hash for each that was checked against the root.
#[derive(Debug)]
pub struct Layout {
    root: Root,
    reference: Reference,
    manifest: Option<Manifest>,
    hashes: Vec<Hash>,
    /// All of an artefact before its first leaf; empty for an input.
    head: Vec<u8>,
    /// Where each piece ends; the first is the head, which an input has not.
    ends: Vec<u64>,
}

impl Layout {
    /// Checks leaf hashes against a root.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn new(root: Root, reference: Reference, hashes: Vec<Hash>) -> Result<Self, LayoutError> {
        let (mut head, mut ends) = (Vec::new(), Vec::new());
        let manifest = match &reference {
            Reference::Artefact { manifest: bytes, .. } => {
                let manifest = manifest(&root, bytes)?;
                head = artefact_head(bytes);
                let mut end = head.len() as u64;
                ends.push(end);
                for index in 0..manifest.leaf_count() {
                    end += manifest.leaf_len(index).unwrap_or(0) as u64;
                    ends.push(end);
                }
                Some(manifest)
            }
            Reference::Input { bytes, .. } => {
                let leaves = bytes.div_ceil(INPUT_LEAF_BYTES);
                ends.extend((1..=leaves).map(|leaf| (leaf * INPUT_LEAF_BYTES).min(*bytes)));
                None
            }
        };
        let leaves = (ends.len() - usize::from(manifest.is_some())) as u64;
        if hashes.len() as u64 != leaves {
            return Err(LayoutError::Count { given: hashes.len() as u64, leaves });
        }
        let tree = merkle::root(&hashes);
        let right = match (&manifest, &reference) {
            (Some(manifest), _) => tree == manifest.leaves_root(),
            (None, Reference::Input { bytes, .. }) => input_root(*bytes, &tree) == root,
            (None, Reference::Artefact { .. }) => false,
        };
        if !right {
            return Err(LayoutError::Root);
        }
        Ok(Self { root, reference, manifest, hashes, head, ends })
    }

    /// The layout of an input that is there as a whole.
    ///
    /// # Errors
    /// [`LayoutError`] where the bytes are another blob.
    pub fn of_input(root: Root, reference: Reference, input: &[u8]) -> Result<Self, LayoutError> {
        let leaves = (0..).zip(input.chunks(LEAF_BYTES_MAX));
        let hashes = leaves.map(|(index, leaf)| merkle::leaf_hash(index, leaf)).collect();
        Self::new(root, reference, hashes)
    }

    /// How many leaves a blob has, from what the chain says.
    ///
    /// # Errors
    /// [`LayoutError::Manifest`].
    pub fn leaf_count(root: &Root, reference: &Reference) -> Result<u64, LayoutError> {
        match reference {
            Reference::Artefact { manifest: bytes, .. } => Ok(manifest(root, bytes)?.leaf_count()),
            Reference::Input { bytes, .. } => Ok(bytes.div_ceil(INPUT_LEAF_BYTES)),
        }
    }

    /// What the blob is known by.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What the chain said of it.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest, where it is an artefact.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The hash of each leaf.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Length of the whole.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How many pieces it has.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.ends.len()
    }

    /// Where a piece lies; `None` past the last.
    #[must_use]
    pub fn piece(&self, index: usize) -> Option<Piece> {
        let end = *self.ends.get(index)?;
        let offset = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(Piece { offset, len: end - offset })
    }

    /// Where leaf `index` lies.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Piece> {
        let index = usize::try_from(index).ok()?;
        self.piece(index.checked_add(usize::from(self.manifest.is_some()))?)
    }

    /// The piece that holds the byte at `offset`.
    #[must_use]
    pub fn piece_at(&self, offset: u64) -> usize {
        self.ends.partition_point(|end| *end <= offset)
    }

    /// Whether these are the bytes of a piece.
    #[must_use]
    pub fn holds(&self, index: usize, bytes: &[u8]) -> bool {
        let leaf = match (&self.reference, index) {
            (Reference::Artefact { .. }, 0) => return bytes == self.head,
            (Reference::Artefact { .. }, _) => index - 1,
            (Reference::Input { .. }, _) => index,
        };
        self.hashes.get(leaf) == Some(&merkle::leaf_hash(leaf as u64, bytes))
    }

    /// The bytes to keep it by.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let leaves = self.hashes.concat();
        let kept = match &self.reference {
            Reference::Artefact { version, manifest } => {
                Kept { version: *version, manifest: manifest.clone(), leaves, ..Kept::default() }
            }
            Reference::Input { job, bytes } => {
                Kept { job: *job, bytes: *bytes, leaves, ..Kept::default() }
            }
        };
        kept.encode_to_vec()
    }

    /// Reads what [`Layout::encode`] made, and checks it as if it came from a stranger.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn decode(root: Root, bytes: &[u8]) -> Result<Self, LayoutError> {
        let kept = Kept::decode(bytes).map_err(|error| LayoutError::Manifest(error.to_string()))?;
        let reference = if kept.manifest.is_empty() {
            Reference::Input { job: kept.job, bytes: kept.bytes }
        } else {
            Reference::Artefact { version: kept.version, manifest: kept.manifest }
        };
        Self::new(root, reference, hashes(&kept.leaves).ok_or(LayoutError::Root)?)
    }
}

/// Cuts the bytes of a list of hashes; `None` where they are no whole number of hashes.
#[must_use]
pub(super) fn hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// All of an artefact before its first leaf, as `docs/vm.md` lays it out.
fn artefact_head(manifest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(manifest.len()).unwrap_or(u32::MAX);
    [b"LOCKSTEP", &1_u32.to_le_bytes()[..], &length.to_le_bytes(), manifest].concat()
}

/// The root of an input of so many bytes, from the tree over its leaves.
fn input_root(bytes: u64, tree: &Hash) -> Root {
    hash("lockstep/input/v1", &[&bytes.to_le_bytes(), tree])
}

fn manifest(root: &Root, bytes: &[u8]) -> Result<Manifest, LayoutError> {
    let refused = |error: &dyn std::fmt::Display| LayoutError::Manifest(error.to_string());
    let manifest = Manifest::decode(bytes).map_err(|error| refused(&error))?;
    if manifest.root() != *root {
        return Err(refused(&"it hashes to another root"));
    }
    Ok(manifest)
}

/// A layout as it is kept beside its blob.
#[derive(Clone, PartialEq, Message)]
struct Kept {
    #[prost(bytes = "bytes", tag = "1")]
    manifest: Bytes,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(bytes = "vec", tag = "3")]
    leaves: Vec<u8>,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(uint64, tag = "5")]
    job: u64,
}
