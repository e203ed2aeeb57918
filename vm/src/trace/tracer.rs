//! Repeats a run with tracing.

use std::io::{Read, Seek};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::Layout;
use crate::artefact::{ArtefactError, Reader};
use crate::hash::Hash;
use crate::interp::Model;
use crate::merkle;
use crate::ops::Cpu;
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
    /// A node is neither in the own trace nor known from the other party's.
    #[error("node {position} of level {level} of the trace on trial is not known")]
    Node {
        /// Its level.
        level: u32,
        /// Its place in the level.
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

/// A run that can be repeated with tracing, any part of it on demand.
pub struct Tracer {
    layout: Layout,
    output: Output,
}

impl Tracer {
    /// Runs once without tracing. `source` is the artefact that `model` was loaded from, `cpu` an
    /// engine of the model's instruction set.
    ///
    /// # Errors
    /// [`TraceError::Tokens`].
    pub fn new(
        model: Arc<Model>,
        cpu: Arc<Cpu>,
        source: Arc<dyn Source>,
        ids: &[u32],
    ) -> Result<Self, TraceError> {
        let _ = (model, cpu, source, ids);
        Err(TraceError::Tokens { tokens: ids.len(), tokens_max: 0 })
    }

    /// Says of one leaf something else than the run gave: a liar's trace, for tests and fault injection.
    #[must_use]
    pub fn with_override(self, position: u64, status: Status, block: Vec<u8>) -> Self {
        let _ = (position, status, block);
        self
    }

    /// The numbering of the leaves.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.layout.leaf_count()
    }

    /// How the run ended.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The hashes of a range of leaves.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn leaves(&self, range: Range<u64>) -> Result<Vec<Hash>, TraceError> {
        let _ = range;
        Ok(Vec::new())
    }

    /// Status and block of one leaf.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn leaf(&self, position: u64) -> Result<(Status, Vec<u8>), TraceError> {
        Err(TraceError::Position { position, count: self.leaf_count() })
    }

    /// The witness of the leaf at `position`, against a trace whose nodes `node` gives: the own one, or
    /// that of the other party, which may differ in leaves from `position` on. `artefact` is the tree
    /// over the artefact's leaves.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn witness(
        &self,
        position: u64,
        node: &dyn Fn(u32, u64) -> Option<Hash>,
        artefact: &merkle::Tree,
    ) -> Result<Vec<u8>, TraceError> {
        let _ = (node, artefact);
        Err(TraceError::Position { position, count: self.leaf_count() })
    }
}
