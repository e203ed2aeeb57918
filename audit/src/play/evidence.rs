//! What a player knows of a job by its own computation.

use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle::siblings_of;

use super::PlayError;

/// The nodes of somebody's trace, by level and position; none where a node was not opened.
pub type Nodes<'a> = &'a dyn Fn(u32, u64) -> Option<Hash>;

/// An answer that was recomputed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How the run ended.
    pub status: RunStatus,
    /// Root of its output.
    pub output_root: Hash,
    /// What stands on trial.
    pub result_root: Hash,
}

/// A run that was repeated here, with its trace.
pub trait Evidence: Send {
    /// What came of it.
    fn answer(&self) -> Answer;

    /// Whether the same comes of it once more, from the start: a bit that flips does not flip twice.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    fn again(&self) -> Result<bool, PlayError>;

    /// Whether the trace is made, so that nobody has to wait for it.
    fn is_traced(&self) -> bool;

    /// Leaves of the trace, which follow from program and input alone.
    fn leaves(&self) -> u64;

    /// Root of the trace.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    fn steps_root(&self) -> Result<Hash, PlayError>;

    /// All nodes eight levels below a node, or its leaves where there are fewer levels.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, PlayError>;

    /// One node of the trace.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    fn node(&self, level: u32, position: u64) -> Result<Hash, PlayError>;

    /// The path of the last leaf, from the leaf upward.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    fn last_path(&self) -> Result<Vec<Hash>, PlayError> {
        let count = self.leaves();
        let path = siblings_of(count, &[count.saturating_sub(1)]).into_iter();
        path.map(|(level, position)| self.node(level, position)).collect()
    }

    /// What the chain needs to recompute a leaf of a trace that agrees with the own one left of it.
    /// Where `theirs` has no node, it is as in the own trace.
    ///
    /// # Errors
    /// Where the run cannot be repeated.
    fn witness(&self, leaf: u64, theirs: Nodes<'_>) -> Result<Vec<u8>, PlayError>;

    /// What the chain will compute from a witness: the leaf's hash, or none where the trace is
    /// malformed there.
    ///
    /// # Errors
    /// Where the chain would refuse the witness.
    fn recompute(
        &self,
        steps_root: &Hash,
        leaf: u64,
        witness: &[u8],
    ) -> Result<Option<Hash>, PlayError>;
}
