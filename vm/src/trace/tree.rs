//! The nodes of a trace, for whoever defends or disputes it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::TraceError;
use super::tracer::Tracer;
use crate::hash::Hash;
use crate::merkle::{
    OPEN_LEVELS, below, fold_from, height, level_above, root_of_top, under, width,
};

/// Nodes of one level that are kept: 32 MiB of them, and half as many above.
const KEPT_MAX: u64 = 1 << 20;

/// The tree over a trace: of small ones all nodes are kept; of large ones those from some level on, and
/// what lies below is traced again when asked for.
pub struct TraceTree {
    tracer: Arc<Tracer>,
    /// The lowest level kept: that of the leaves, or a multiple of [`OPEN_LEVELS`] below the top.
    base: u32,
    /// From `base` upward.
    levels: Vec<Vec<Hash>>,
    /// Leaves of subtrees that were traced again, by the position of their node of `base`. A witness
    /// asks for nodes of several in turn, and each costs a run.
    traced: Mutex<BTreeMap<u64, Arc<Vec<Hash>>>>,
}

impl TraceTree {
    /// Traces the whole run.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn new(tracer: Arc<Tracer>) -> Result<Self, TraceError> {
        Self::keeping(tracer, KEPT_MAX)
    }

    /// [`TraceTree::new`] with at most so many nodes of one level kept.
    pub(super) fn keeping(tracer: Arc<Tracer>, kept_max: u64) -> Result<Self, TraceError> {
        let count = tracer.leaf_count();
        let top = height(count);
        // What an opening opens lies under one node of `base`, or not below it.
        let levels = (0..=top).rev().step_by(OPEN_LEVELS as usize).chain([0]);
        let base = levels.filter(|level| width(count, *level) <= kept_max).min().unwrap_or(top);
        let (mut nodes, mut waiting) = (Vec::new(), Vec::new());
        tracer.stream(0..count, &mut |hashes| {
            waiting.extend(hashes);
            nodes.extend(fold_ready(count, base, nodes.len() as u64, &mut waiting));
        })?;
        let mut levels = vec![nodes];
        for level in base + 1..=top {
            let next = level_above(level, 0, &levels[levels.len() - 1]);
            levels.push(next);
        }
        Ok(Self { tracer, base, levels, traced: Mutex::default() })
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

    /// The node above all others.
    #[must_use]
    pub fn top(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// The steps root.
    #[must_use]
    pub fn root(&self) -> Hash {
        root_of_top(self.count(), &self.top())
    }

    /// A node's hash.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn node(&self, level: u32, position: u64) -> Result<Hash, TraceError> {
        let nodes = self.nodes(level, position..position.saturating_add(1))?;
        nodes.first().copied().ok_or(TraceError::Node { level, position })
    }

    /// What opens a node: all nodes at [`below`] its level under it.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, TraceError> {
        let range = under(self.count(), level, position, below(level));
        self.nodes(below(level), range.ok_or(TraceError::Node { level, position })?)
    }

    /// Nodes of one level.
    fn nodes(&self, level: u32, range: Range<u64>) -> Result<Vec<Hash>, TraceError> {
        let missing = TraceError::Node { level, position: range.start };
        if range.end > width(self.count(), level) || range.is_empty() {
            return Err(missing);
        }
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(above) = level.checked_sub(self.base) {
            let kept = self.levels.get(index(above.into()));
            let found = kept.and_then(|level| level.get(index(range.start)..index(range.end)));
            return found.map(<[Hash]>::to_vec).ok_or(missing);
        }
        range.map(|position| self.lower_node(level, position)).collect()
    }

    /// A node below `base`.
    fn lower_node(&self, level: u32, position: u64) -> Result<Hash, TraceError> {
        let count = self.count();
        let root = position >> (self.base - level);
        let leaves = self.subtree(root)?;
        let first = root << self.base;
        let found = under(count, level, position, 0).and_then(|range| {
            let own = usize::try_from(range.start - first).ok()?..;
            let own = leaves.get(own)?.get(..usize::try_from(range.end - range.start).ok()?)?;
            fold_from(count, level, position, 0, own)
        });
        found.ok_or(TraceError::Node { level, position })
    }

    /// The leaves under a node at `base`.
    fn subtree(&self, position: u64) -> Result<Arc<Vec<Hash>>, TraceError> {
        let traced = || self.traced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaves) = traced().get(&position) {
            return Ok(Arc::clone(leaves));
        }
        let range = under(self.count(), self.base, position, 0);
        let range = range.ok_or(TraceError::Node { level: self.base, position })?;
        let leaves = Arc::new(self.tracer.leaves(range)?);
        let mut traced = traced();
        if (traced.len() as u64) << self.base >= KEPT_MAX {
            traced.clear();
        }
        traced.insert(position, Arc::clone(&leaves));
        drop(traced);
        Ok(leaves)
    }
}

/// Folds the leaves that wait for complete subtrees of `base` levels into these subtrees' nodes, the
/// first of which is number `first`.
fn fold_ready(count: u64, base: u32, first: u64, waiting: &mut Vec<Hash>) -> Vec<Hash> {
    let (mut nodes, mut used) = (Vec::new(), 0_usize);
    for position in first.. {
        let Some(range) = under(count, base, position, 0) else { break };
        let leaves = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let Some(own) = waiting.get(used..used.saturating_add(leaves)) else { break };
        nodes.extend(fold_from(count, base, position, 0, own));
        used += leaves;
    }
    waiting.drain(..used);
    nodes
}
