//! Binary BLAKE3 Merkle trees over numbered leaves.
//!
//! A leaf's hash binds its index, an inner node's its level and position, the root the number of
//! leaves. So no node can pass for another, nor one tree for a tree of another length. Where a level
//! has an odd number of nodes, the last one goes up unchanged.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod open;

pub use open::{
    OPEN_LEVELS, below, fold, fold_from, height, level_above, root_of_many, root_of_top,
    siblings_of, under, verify_many, width,
};

use crate::hash::{Hash, hash};

/// The hash of leaf number `index`.
#[must_use]
pub fn leaf_hash(index: u64, bytes: &[u8]) -> Hash {
    hash("lockstep/leaf/v1", &[&index.to_le_bytes(), bytes])
}

/// The root over leaves with these hashes, which come from [`leaf_hash`] in order.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut builder = Builder::new();
    for leaf in leaves {
        builder.push_hash(*leaf);
    }
    builder.finish().0
}

/// Whether `bytes` is leaf `index` of the tree of `count` leaves with this root.
///
/// `path` holds the sibling hashes from the leaf upward; levels where the node has no sibling are
/// left out, so its length follows from `index` and `count` and is checked.
#[must_use]
pub fn verify(root: &Hash, index: u64, count: u64, bytes: &[u8], path: &[Hash]) -> bool {
    verify_hash(root, index, count, &leaf_hash(index, bytes), path)
}

/// [`verify`] for a leaf whose [`leaf_hash`] is known.
#[must_use]
pub fn verify_hash(root: &Hash, index: u64, count: u64, leaf: &Hash, path: &[Hash]) -> bool {
    verify_many(root, count, &[(index, *leaf)], path)
}

fn inner(level: u32, position: u64, left: &Hash, right: &Hash) -> Hash {
    hash("lockstep/node/v1", &[&level.to_le_bytes(), &position.to_le_bytes(), left, right])
}

fn top(count: u64, node: Option<&Hash>) -> Hash {
    hash("lockstep/tree/v1", &[&count.to_le_bytes(), node.map_or(&[], |node| node.as_slice())])
}

/// Where the sibling of a node stands in its level, if it has one.
fn sibling(position: u64, width: u64) -> Option<u64> {
    let other = position ^ 1;
    (other < width).then_some(other)
}

/// Computes a root leaf by leaf in memory of O(log n).
#[derive(Debug, Clone, Default)]
pub struct Builder {
    /// By level: the complete subtree that waits for its right sibling.
    waiting: Vec<Option<Hash>>,
    count: u64,
}

impl Builder {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_hash(leaf_hash(self.count, bytes));
    }

    /// Appends a leaf by its [`leaf_hash`], which must be that of the next index.
    pub fn push_hash(&mut self, leaf: Hash) {
        let (mut node, mut position, mut level) = (leaf, self.count, 0_u32);
        for slot in &mut self.waiting {
            let Some(left) = slot.take() else {
                *slot = Some(node);
                self.count = self.count.saturating_add(1);
                return;
            };
            position >>= 1;
            level = level.saturating_add(1);
            node = inner(level, position, &left, &node);
        }
        self.waiting.push(Some(node));
        self.count = self.count.saturating_add(1);
    }

    /// Leaves so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The root and the number of leaves.
    #[must_use]
    pub fn finish(self) -> (Hash, u64) {
        let mut carried: Option<Hash> = None;
        let mut width = self.count;
        for (level, slot) in (1_u32..).zip(&self.waiting) {
            width = width.div_ceil(2);
            carried = match (slot, carried) {
                (Some(left), Some(right)) => {
                    Some(inner(level, width.saturating_sub(1), left, &right))
                }
                (waits, None) => *waits,
                (None, carried) => carried,
            };
        }
        (top(self.count, carried.as_ref()), self.count)
    }
}

/// All nodes of a tree, for whoever proves leaves.
#[derive(Debug, Clone)]
pub struct Tree {
    levels: Vec<Vec<Hash>>,
    count: u64,
}

impl Tree {
    /// Builds it from the leaves' [`leaf_hash`]es.
    #[must_use]
    pub fn new(leaves: Vec<Hash>) -> Self {
        let count = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        let mut levels = vec![leaves];
        let mut level = 1_u32;
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let above = level_above(level, 0, below);
            levels.push(above);
            level = level.saturating_add(1);
        }
        Self { levels, count }
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        top(self.count, self.levels.last().and_then(|level| level.first()))
    }

    /// Number of leaves.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A node; none where there is no such node.
    #[must_use]
    pub fn node(&self, level: u32, position: u64) -> Option<Hash> {
        let nodes = self.levels.get(usize::try_from(level).ok()?)?;
        nodes.get(usize::try_from(position).ok()?).copied()
    }

    /// The path of a leaf for [`verify`]; none where there is no such leaf.
    #[must_use]
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        if index >= self.count {
            return None;
        }
        let (mut path, mut position) = (Vec::new(), index);
        for level in &self.levels {
            let width = u64::try_from(level.len()).ok()?;
            if let Some(other) = sibling(position, width) {
                path.push(*level.get(usize::try_from(other).ok()?)?);
            }
            position >>= 1;
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<Vec<u8>> {
        (0..count)
            .map(|i| vec![u8::try_from(i).unwrap(); 1 + usize::try_from(i % 5).unwrap()])
            .collect()
    }

    fn tree(leaves: &[Vec<u8>]) -> Tree {
        Tree::new((0..).zip(leaves).map(|(i, bytes)| leaf_hash(i, bytes)).collect())
    }

    #[test]
    fn every_leaf_of_every_size_is_proved_and_the_ways_to_the_root_agree() {
        for count in 0..70 {
            let leaves = leaves(count);
            let tree = tree(&leaves);
            let mut builder = Builder::new();
            for leaf in &leaves {
                builder.push(leaf);
            }
            assert_eq!(builder.finish(), (tree.root(), count));
            for (i, leaf) in (0..).zip(&leaves) {
                let path = tree.path(i).unwrap();
                assert!(verify(&tree.root(), i, count, leaf, &path), "{i} of {count}");
            }
            assert!(tree.path(count).is_none());
        }
    }

    #[test]
    fn another_index_count_leaf_or_path_is_refused() {
        for count in 1..20_u64 {
            let leaves = leaves(count);
            let tree = tree(&leaves);
            let root = tree.root();
            for (i, leaf) in (0..).zip(&leaves) {
                let path = tree.path(i).unwrap();
                assert!((0..40).all(|j| j == i || !verify(&root, j, count, leaf, &path)));
                assert!((0..40).all(|n| n == count || !verify(&root, i, n, leaf, &path)));
                assert!(!verify(&root, i, count, &[9, 9, 9], &path));
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert!(!verify(&root, i, count, leaf, &longer));
                for k in 0..path.len() {
                    let mut wrong = path.clone();
                    wrong[k][31] ^= 1;
                    assert!(!verify(&root, i, count, leaf, &wrong));
                    assert!(!verify(&root, i, count, leaf, &path[..k]));
                }
            }
        }
    }

    #[test]
    fn an_inner_node_is_no_leaf_and_lengths_are_bound() {
        let tree = tree(&leaves(4));
        let short = Tree::new(tree.levels[1].clone());
        assert_ne!(short.root(), tree.root());
        assert!(!verify_hash(&tree.root(), 0, 2, &tree.levels[1][0], &[tree.levels[1][1]]));
    }
}
