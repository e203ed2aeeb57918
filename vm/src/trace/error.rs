//! What a tracer takes and gives beside leaves: where constants come from, how a run ended, what fails.

use std::io::{Read, Seek};
use std::sync::{Mutex, PoisonError};

use crate::artefact::{ArtefactError, Reader};
use crate::hash::Hash;
use crate::result::Status;

/// Where the leaves of an artefact come from.
pub trait Source: Send + Sync {
    /// One leaf, its values checked.
    ///
    /// # Errors
    /// [`ArtefactError`] where it cannot be had.
    fn leaf(&self, index: u64) -> Result<Vec<u8>, ArtefactError>;
}

impl<R: Read + Seek + Send> Source for Mutex<Reader<R>> {
    fn leaf(&self, index: u64) -> Result<Vec<u8>, ArtefactError> {
        self.lock().unwrap_or_else(PoisonError::into_inner).leaf(index)
    }
}

/// Why a trace cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The artefact cannot be read.
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// There are no such leaves.
    #[error("the trace has {count} leaves, leaf {position} is not one of them")]
    Position {
        /// The leaf asked for.
        position: u64,
        /// The number of leaves.
        count: u64,
    },
    /// A node is not in the trace that a witness is made against.
    #[error("node {position} of level {level} of the trace on trial is not known")]
    Node {
        /// Its level.
        level: u32,
        /// Its place in the level.
        position: u64,
    },
    /// The steps of an operator fault where it did not, or the other way round: a defect of this build
    /// or of the machine.
    #[error("the steps around leaf {position} do not agree with the run; hint: check the machine")]
    Inconsistent {
        /// The leaf.
        position: u64,
    },
    /// The run cannot have that many tokens.
    #[error("a run of this program takes 1 to {tokens_max} tokens, not {tokens}")]
    Tokens {
        /// Tokens given.
        tokens: usize,
        /// The program's limit.
        tokens_max: u32,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// HALTED or FAULT.
    pub status: Status,
    /// The output row, f32 little endian; empty after a FAULT.
    pub bytes: Vec<u8>,
    /// [`crate::result::output_root`].
    pub root: Hash,
}
