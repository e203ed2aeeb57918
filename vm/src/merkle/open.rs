//! Parts of a tree: nodes opened some levels further down, and several leaves proved at once.

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

use std::ops::Range;

use super::{inner, sibling};
use crate::hash::Hash;
use crate::limits::TRACE_LEAVES_MAX;

/// Levels that one opening goes down: 256 nodes at most.
pub const OPEN_LEVELS: u32 = 8;

/// Levels above the leaves: 0 for up to one leaf.
#[must_use]
pub fn height(count: u64) -> u32 {
    count.checked_sub(1).map_or(0, |last| u64::BITS.saturating_sub(last.leading_zeros()))
}

/// Number of nodes at a level.
#[must_use]
pub fn width(count: u64, level: u32) -> u64 {
    let leaves = 1_u64.checked_shl(level).unwrap_or(u64::MAX);
    count.div_ceil(leaves)
}

/// The level at which the nodes of an opening of a node at `level` stand.
#[must_use]
pub fn below(level: u32) -> u32 {
    level.saturating_sub(OPEN_LEVELS)
}

/// The nodes at `to` that lie under node `position` of `level`, by position; none where there is no
/// such node, or `to` lies above it.
#[must_use]
pub fn under(count: u64, level: u32, position: u64, to: u32) -> Option<Range<u64>> {
    if position >= width(count, level) {
        return None;
    }
    let levels = level.checked_sub(to)?;
    let start = position.checked_mul(1_u64.checked_shl(levels)?)?;
    let end = start.saturating_add(1_u64.checked_shl(levels)?).min(width(count, to));
    Some(start..end)
}

/// The hash of node `position` of `level` in a tree of `count` leaves, from all nodes at `from` under
/// it, in order; none where their number is wrong or there is no such node.
#[must_use]
pub fn fold_from(count: u64, level: u32, position: u64, from: u32, nodes: &[Hash]) -> Option<Hash> {
    let range = under(count, level, position, from)?;
    let (mut first, mut nodes) = (range.start, nodes.to_vec());
    if u64::try_from(nodes.len()).ok()? != range.end.checked_sub(first)? {
        return None;
    }
    for above in from.checked_add(1)?..=level {
        first >>= 1;
        nodes = level_above(above, first, &nodes);
    }
    nodes.first().copied()
}

/// The nodes of `level` from position `first` on, whose children are `nodes`; a last one without a
/// sibling goes up unchanged.
#[must_use]
pub fn level_above(level: u32, first: u64, nodes: &[Hash]) -> Vec<Hash> {
    let pairs = nodes.chunks(2).zip(first..);
    pairs
        .map(|(pair, position)| match pair {
            [left, right] => inner(level, position, left, right),
            [node, ..] => *node,
            [] => [0; 32],
        })
        .collect()
}

/// [`fold_from`] for an opening: from the nodes at [`below`]`(level)`.
#[must_use]
pub fn fold(count: u64, level: u32, position: u64, nodes: &[Hash]) -> Option<Hash> {
    fold_from(count, level, position, below(level), nodes)
}

/// The root of a tree of `count` leaves whose node at [`height`] is `top`.
#[must_use]
pub fn root_of_top(count: u64, top: &Hash) -> Hash {
    super::top(count, Some(top))
}

/// The nodes, as level and position, that [`verify_many`] needs beside leaves `indices`, which rise
/// strictly: level by level from the leaves upward, each from left to right.
#[must_use]
pub fn siblings_of(count: u64, indices: &[u64]) -> Vec<(u32, u64)> {
    let mut needed = Vec::new();
    let mut known = indices.to_vec();
    for level in 0..height(count) {
        let width = width(count, level);
        let mut above: Vec<u64> = Vec::with_capacity(known.len());
        for (at, position) in known.iter().enumerate() {
            if above.last() == Some(&(position >> 1)) {
                continue;
            }
            above.push(position >> 1);
            if let Some(other) = sibling(*position, width)
                && known.get(at.saturating_add(1)) != Some(&other)
            {
                needed.push((level, other));
            }
        }
        known = above;
    }
    needed
}

/// Whether these are leaves of the tree of `count` leaves with this root.
///
/// `leaves` gives index and hash of each, indices rising strictly; `siblings` the nodes of
/// [`siblings_of`], all of them and no others.
#[must_use]
pub fn verify_many(root: &Hash, count: u64, leaves: &[(u64, Hash)], siblings: &[Hash]) -> bool {
    root_of_many(count, leaves, siblings).is_some_and(|found| found == *root)
}

/// The root that leaves and siblings as in [`verify_many`] lead to; none where they fit no tree.
#[must_use]
pub fn root_of_many(count: u64, leaves: &[(u64, Hash)], siblings: &[Hash]) -> Option<Hash> {
    let rising = leaves.is_sorted_by(|(a, _), (b, _)| a < b);
    let within = leaves.last().is_some_and(|(last, _)| *last < count);
    if !rising || !within || count > TRACE_LEAVES_MAX {
        return None;
    }
    let mut siblings = siblings.iter();
    let mut known = leaves.to_vec();
    for level in 0..height(count) {
        let width = width(count, level);
        let mut above: Vec<(u64, Hash)> = Vec::with_capacity(known.len());
        let mut nodes = known.iter().peekable();
        while let Some((position, node)) = nodes.next() {
            let parent = position >> 1;
            let Some(other) = sibling(*position, width) else {
                above.push((parent, *node));
                continue;
            };
            let given = nodes.next_if(|(next, _)| *next == other).map(|(_, node)| node);
            let beside = given.or_else(|| siblings.next())?;
            let (left, right) = if other < *position { (beside, node) } else { (node, beside) };
            above.push((parent, inner(level.saturating_add(1), parent, left, right)));
        }
        known = above;
    }
    let all = siblings.next().is_none();
    known.first().filter(|_| all).map(|(_, node)| root_of_top(count, node))
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "trees of a few hundred nodes")]
mod tests {
    use super::*;
    use crate::merkle::{Tree, leaf_hash};

    fn tree(count: u64) -> Tree {
        Tree::new((0..count).map(|i| leaf_hash(i, &i.to_le_bytes())).collect())
    }

    #[test]
    fn heights_and_widths_are_those_of_the_built_tree() {
        for count in 0..70 {
            let tree = tree(count);
            assert_eq!(tree.levels.len(), height(count) as usize + 1, "{count}");
            for (level, nodes) in (0..).zip(&tree.levels) {
                assert_eq!(nodes.len() as u64, width(count, level), "{count}, level {level}");
            }
        }
        assert_eq!((height(1 << 40), height((1 << 40) + 1)), (40, 41));
        assert_eq!((width(5, 64), width(0, 3), width(u64::MAX, 70)), (1, 0, 1));
    }

    #[test]
    fn every_node_folds_from_the_nodes_below_and_a_wrong_number_is_refused() {
        for count in (1..40).chain([255, 256, 257, 511, 513, 600]) {
            let tree = tree(count);
            for (level, nodes) in (0..).zip(&tree.levels) {
                for (position, node) in (0..).zip(nodes) {
                    let range = under(count, level, position, below(level)).unwrap();
                    let (start, end) = (range.start as usize, range.end as usize);
                    let lower = &tree.levels[below(level) as usize];
                    let fold = |nodes: &[Hash]| fold(count, level, position, nodes);
                    assert_eq!(fold(&lower[start..end]), Some(*node));
                    assert_eq!(fold(&lower[start..end - 1]), None);
                    let more = [&lower[start..end], &[[0; 32]]].concat();
                    assert_eq!(fold(&more), None);
                    let mut other = lower[start..end].to_vec();
                    other[0][0] ^= 1;
                    assert_ne!(fold(&other), Some(*node));
                }
                assert_eq!(fold(count, level, nodes.len() as u64, &[[0; 32]]), None);
            }
            let top = tree.levels.last().unwrap()[0];
            assert_eq!(root_of_top(count, &top), tree.root());
            assert_eq!(fold(count, height(count) + 1, 1, &[top]), None);
        }
    }

    /// Every subset of up to 9 leaves.
    #[test]
    fn any_set_of_leaves_is_proved_together_and_any_change_is_refused() {
        for count in 1..10_u64 {
            let tree = tree(count);
            for set in 1..1_u64 << count {
                let indices: Vec<u64> = (0..count).filter(|i| set >> i & 1 == 1).collect();
                let leaves: Vec<(u64, Hash)> =
                    indices.iter().map(|i| (*i, tree.levels[0][*i as usize])).collect();
                let node = |(level, at): &(u32, u64)| tree.levels[*level as usize][*at as usize];
                let siblings: Vec<Hash> = siblings_of(count, &indices).iter().map(node).collect();
                let root = tree.root();
                assert!(verify_many(&root, count, &leaves, &siblings), "{indices:?} of {count}");
                let more = [&siblings[..], &[[0; 32]]].concat();
                assert!(!verify_many(&root, count, &leaves, &more));
                assert!(!verify_many(&root, count + 1, &leaves, &siblings));
                for at in 0..siblings.len() {
                    let mut other = siblings.clone();
                    other[at][5] ^= 1;
                    assert!(!verify_many(&root, count, &leaves, &other));
                    other.remove(at);
                    assert!(!verify_many(&root, count, &leaves, &other));
                }
                for at in 0..leaves.len() {
                    let mut other = leaves.clone();
                    other[at].1[7] ^= 1;
                    assert!(!verify_many(&root, count, &other, &siblings));
                    other = leaves.clone();
                    other[at].0 ^= 1;
                    assert!(!verify_many(&root, count, &other, &siblings));
                }
            }
        }
    }

    #[test]
    fn leaves_out_of_order_twice_or_none_are_refused() {
        let tree = tree(4);
        let leaf = |i: usize| (i as u64, tree.levels[0][i]);
        let root = tree.root();
        assert!(verify_many(&root, 4, &[leaf(0), leaf(1)], &[tree.levels[1][1]]));
        assert!(!verify_many(&root, 4, &[leaf(1), leaf(0)], &[tree.levels[1][1]]));
        assert!(!verify_many(
            &root,
            4,
            &[leaf(0), leaf(0)],
            &[tree.levels[0][1], tree.levels[1][1]]
        ));
        assert!(!verify_many(&root, 4, &[], &[]));
        assert!(!verify_many(&root, 4, &[(4, [0; 32])], &[]));
        assert!(!verify_many(&root, 0, &[], &[]));
    }
}
