//! What can go wrong with blobs.

use std::io;
use std::path::Path;

use super::layout::LayoutError;
use crate::node::NodeError;

/// Why a blob could not be stored, read or served.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no complete blob with this root.
    #[error("no blob {root} here")]
    Missing {
        /// In hex.
        root: String,
    },
    /// Bytes that came are not those of the blob; nothing of them was kept.
    #[error("corrupt block: bytes {offset}.. of blob {root} have another hash than the root says")]
    Corrupt {
        /// In hex.
        root: String,
        /// Where the bad block starts.
        offset: u64,
    },
    /// Bytes on this machine's disk are no longer those that were stored.
    #[error(
        "the stored copy of blob {root} is damaged at byte {offset}; it is set aside and will be \
         fetched anew; hint: check the disk"
    )]
    Damaged {
        /// In hex.
        root: String,
        /// Where the bad block starts.
        offset: u64,
    },
    /// More bytes came than the blob has.
    #[error("blob {root} has {bytes} bytes, more were sent")]
    TooLong {
        /// In hex.
        root: String,
        /// Its length.
        bytes: u64,
    },
    /// The stream does not start where the verified bytes end.
    #[error("{verified} bytes of blob {root} are here, the data starts at {start}")]
    Gap {
        /// In hex.
        root: String,
        /// How many bytes are here.
        verified: u64,
        /// Where the data starts.
        start: u64,
    },
    /// Its leaf hashes are not known yet.
    #[error("the leaf hashes of blob {root} are not here; hint: PUT /v1/blobs/{root}/leaves first")]
    NoLeaves {
        /// In hex.
        root: String,
    },
    /// Somebody else is storing the same blob.
    #[error("another transfer of blob {root} is running; hint: try again later")]
    Busy {
        /// In hex.
        root: String,
    },
    /// The leaf hashes are not those of the blob.
    #[error("blob {root}: {source}")]
    Layout {
        /// In hex.
        root: String,
        /// What is wrong.
        source: LayoutError,
    },
    /// The chain does not reference the root.
    #[error(
        "the chain references no blob {root}; hint: publish the version or post the job first, and \
         wait until this node has that block"
    )]
    Unknown {
        /// In hex.
        root: String,
    },
    /// No peer gave it.
    #[error("no peer gave blob {root}: {words}")]
    Unfetched {
        /// In hex.
        root: String,
        /// What each said.
        words: String,
    },
    /// The disk is full.
    #[error("no space left on the disk for {what}; hint: free space, or move `blobs` elsewhere")]
    Full {
        /// What was written.
        what: String,
    },
    /// The disk failed.
    #[error("{what}: {source}")]
    Disk {
        /// What was being done, to which file.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The object store failed.
    #[error("blob store: {0}")]
    Store(#[from] object_store::Error),
    /// The node could not be asked.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl BlobError {
    /// Names a failure of the disk.
    pub(crate) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{doing} {}", path.display());
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { what },
            _ => Self::Disk { what, source },
        }
    }

    /// A failure of the object store, with a full disk named.
    pub(crate) fn store(error: object_store::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>()
                && matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            {
                return Self::Full { what: "a blob".to_owned() };
            }
            cause = inner.source();
        }
        Self::Store(error)
    }
}
