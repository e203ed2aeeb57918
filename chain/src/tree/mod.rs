//! The authenticated tree over the state: a binary sparse Merkle tree in memory.
//!
//! A key stands at the path `hash(key)`, most significant bit first. Wherever a subtree holds a
//! single leaf, that leaf stands at its top. `docs/state.md` defines it to the byte.
//!
//! The tree holds hashes only; keys and values stay with the caller. It is divided by the first
//! four bits of the path into 16 shards that an [`Executor`] may update at the same time.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use alloc::vec::Vec;
use core::marker::PhantomData;

mod ics23;
mod proof;
mod rule;
mod shard;

#[cfg(test)]
mod ics23_tests;
#[cfg(test)]
mod tests;

pub use ics23::{PROOF_BYTES_MAX, verify_ics23};
pub use proof::{LeafProof, Proof, ProofError};
pub use rule::{Blake3Rule, EMPTY_VALUE, Hash, HashRule, INNER_TAG, LEAF_TAG, Pair, Tag, provable};

use crate::error::Fault;
use crate::state::Writes;
use shard::{Kind, Shard, ShardUpdate, View};

const SHARDS: usize = 16;
/// Writes hashed by one task of an [`Executor`].
const HASHES_PER_TASK: usize = 512;

/// Runs a function over items, perhaps several at a time.
pub trait Executor {
    /// `work` of each item, in the order of the items.
    fn map<T: Send, U: Send>(&self, items: Vec<T>, work: impl Fn(T) -> U + Send + Sync) -> Vec<U>;
}

/// One item after another.
#[derive(Debug, Clone, Copy)]
pub struct Sequential;

impl Executor for Sequential {
    fn map<T: Send, U: Send>(&self, items: Vec<T>, work: impl Fn(T) -> U + Send + Sync) -> Vec<U> {
        items.into_iter().map(work).collect()
    }
}

/// A write as the tree sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafWrite {
    path: Hash,
    value: Option<Hash>,
    position: u32,
}

impl LeafWrite {
    /// The write of `value`, or a deletion, at `key`. `position` is its place among the writes,
    /// by which [`PendingUpdate::inserted`] names it.
    #[must_use]
    pub fn new<R: HashRule>(key: &[u8], value: Option<&[u8]>, position: u32) -> Self {
        Self { path: R::bytes(key), value: value.map(|value| R::bytes(provable(value))), position }
    }
}

/// The tree of the committed state.
#[derive(Debug)]
pub struct Tree<R> {
    shards: Vec<Shard>,
    /// Counts commits, so that an update of an older tree is refused.
    version: u64,
    rule: PhantomData<fn() -> R>,
}

/// What some writes make of a tree that stays as it is. Dropping it forgets them.
#[derive(Debug)]
pub struct PendingUpdate {
    shards: Vec<ShardUpdate>,
    root: Hash,
    version: u64,
}

impl PendingUpdate {
    /// The root once the writes are applied.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// Position and path of each write whose key was absent before.
    pub fn inserted(&self) -> impl Iterator<Item = (u32, Hash)> {
        self.shards.iter().flat_map(|shard| shard.inserted.iter().copied())
    }

    /// Position and path of each deletion whose key was there before.
    pub fn removed(&self) -> impl Iterator<Item = (u32, Hash)> {
        self.shards.iter().flat_map(|shard| shard.removed.iter().copied())
    }
}

impl<R: HashRule> Default for Tree<R> {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::new()).collect();
        Self { shards, version: 0, rule: PhantomData }
    }
}

impl<R: HashRule> Tree<R> {
    /// The tree of a whole state, given as writes of distinct keys in any order.
    ///
    /// # Errors
    /// Where a key is there twice, or a shard would hold 2^30 nodes.
    pub fn build(executor: &impl Executor, leaves: Vec<LeafWrite>) -> Result<Self, Fault> {
        let mut tree = Self::default();
        let pending = tree.update(executor, leaves)?;
        tree.commit(executor, pending)?;
        Ok(tree)
    }

    /// How many keys there are.
    #[must_use]
    pub fn leaf_count(&self) -> usize {
        self.shards.iter().map(Shard::leaf_count).fold(0, usize::saturating_add)
    }

    /// Bytes of memory that the nodes occupy.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(Shard::memory_bytes).fold(0, usize::saturating_add)
    }

    /// The root of the committed state.
    ///
    /// # Errors
    /// Only when a node is missing, which is a bug.
    pub fn root(&self) -> Result<Hash, Fault> {
        Ok(self.top(None)?.root().1)
    }

    /// The root and the nodes after `writes`, without applying them.
    ///
    /// # Errors
    /// Where a shard would hold 2^30 nodes.
    pub fn root_after(
        &self,
        executor: &impl Executor,
        writes: &Writes,
    ) -> Result<PendingUpdate, Fault> {
        let items: Vec<_> = (0_u32..).zip(writes).collect();
        let tasks: Vec<_> = items.chunks(HASHES_PER_TASK).collect();
        let hashed = executor.map(tasks, |task| {
            task.iter()
                .map(|(position, (key, value))| {
                    LeafWrite::new::<R>(key, value.as_deref(), *position)
                })
                .collect::<Vec<_>>()
        });
        self.update(executor, hashed.into_iter().flatten())
    }

    fn update(
        &self,
        executor: &impl Executor,
        writes: impl IntoIterator<Item = LeafWrite>,
    ) -> Result<PendingUpdate, Fault> {
        let mut by_shard: Vec<Vec<LeafWrite>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for write in writes {
            if let Some(shard) = by_shard.get_mut(shard_of(&write.path)) {
                shard.push(write);
            }
        }
        let tasks: Vec<_> = self.shards.iter().zip(by_shard).collect();
        let updated = executor.map(tasks, |(shard, mut writes)| {
            writes.sort_unstable_by_key(|write| write.path);
            shard.update::<R>(&writes)
        });
        let shards = updated.into_iter().collect::<Result<_, Fault>>()?;
        let mut pending = PendingUpdate { shards, root: R::EMPTY, version: self.version };
        pending.root = self.top(Some(&pending))?.root().1;
        Ok(pending)
    }

    /// Applies an update of this tree.
    ///
    /// # Errors
    /// Where the update was made before the last commit.
    pub fn commit(
        &mut self,
        executor: &impl Executor,
        pending: PendingUpdate,
    ) -> Result<(), Fault> {
        self.same_version(&pending)?;
        let tasks: Vec<_> = self.shards.iter_mut().zip(pending.shards).collect();
        let done = executor.map(tasks, |(shard, update)| shard.commit(update));
        done.into_iter().collect::<Result<(), Fault>>()?;
        self.version = self.version.saturating_add(1);
        Ok(())
    }

    fn same_version(&self, pending: &PendingUpdate) -> Result<(), Fault> {
        if pending.version == self.version {
            return Ok(());
        }
        Err(Fault::Invariant("an update of an older state tree"))
    }

    fn view<'a>(&'a self, pending: Option<&'a PendingUpdate>, shard: usize) -> Option<View<'a>> {
        let update = pending.and_then(|pending| pending.shards.get(shard));
        self.shards.get(shard).map(|shard| View::new(shard, update))
    }

    /// The nodes above the shards.
    fn top(&self, pending: Option<&PendingUpdate>) -> Result<Top, Fault> {
        let mut level = Vec::with_capacity(SHARDS);
        for view in (0..SHARDS).filter_map(|shard| self.view(pending, shard)) {
            level.push((view.root().kind(), view.hash::<R>(view.root())?));
        }
        let mut levels = Vec::new();
        while level.len() > 1 {
            let (pairs, _) = level.as_chunks::<2>();
            let above = pairs.iter().map(|[left, right]| joined::<R>(*left, *right)).collect();
            levels.push(core::mem::replace(&mut level, above));
        }
        levels.push(level);
        levels.reverse();
        Ok(Top { levels })
    }
}

/// The first four bits of a path.
fn shard_of(path: &Hash) -> usize {
    let [first, ..] = path;
    usize::from(first >> 4)
}

type Summary = (Kind, Hash);

fn joined<R: HashRule>(left: Summary, right: Summary) -> Summary {
    match (left.0, right.0) {
        (Kind::Empty, Kind::Empty | Kind::Leaf) => right,
        (Kind::Leaf, Kind::Empty) => left,
        (Kind::Inner, _) | (_, Kind::Inner) | (Kind::Leaf, Kind::Leaf) => {
            (Kind::Inner, R::inner(&left.1, &right.1))
        }
    }
}

/// One node, then two, four, eight and sixteen.
struct Top {
    levels: Vec<Vec<Summary>>,
}

impl Top {
    fn node(&self, depth: usize, index: usize) -> Summary {
        let level = self.levels.get(depth);
        level.and_then(|level| level.get(index)).copied().unwrap_or((Kind::Empty, [0; 32]))
    }

    fn root(&self) -> Summary {
        self.node(0, 0)
    }
}
