//! What has been opened of a trace.
//!
//! A move opens eight levels, so nodes are opened at the root's level, at every eighth level below it,
//! and at the leaves. What an opened node gave is stored under the node.

use lockstep_vm::merkle;

use crate::error::Fault;
use crate::state::StateRead;
use crate::state::tables::{Hash, TRACE_NODES};

/// The level whose nodes, when opened, give those of `level`; `None` where moves do not open to it.
fn parent_level(leaves: u64, level: u32) -> Option<u32> {
    let height = merkle::height(leaves);
    // From the root's level down, as moves go.
    let levels =
        core::iter::successors(Some(height), |upper| (*upper > 0).then(|| merkle::below(*upper)));
    let mut parents = levels.filter(|upper| merkle::below(*upper) == level);
    // Of a tree that is one leaf, the leaf is its own parent.
    parents.find(|upper| *upper > level || height == 0)
}

/// Whether a node can be called at all: it lies in the tree, on a level that moves open.
pub(super) fn can_be_called(leaves: u64, level: u32, position: u64) -> bool {
    parent_level(leaves, level).is_some() && position < merkle::width(leaves, level)
}

/// Whether a node lies below another one.
pub(super) fn is_below(level: u32, position: u64, upper: u32, upper_position: u64) -> bool {
    let up = upper.checked_sub(level).and_then(|levels| position.checked_shr(levels));
    up == Some(upper_position)
}

/// The hash of a node, where the one above it has been opened.
pub(super) fn opened(
    state: &dyn StateRead,
    job: u64,
    trace: u32,
    leaves: u64,
    (level, position): (u32, u64),
) -> Result<Option<Hash>, Fault> {
    if !can_be_called(leaves, level, position) {
        return Ok(None);
    }
    let Some(parent) = parent_level(leaves, level) else { return Ok(None) };
    let levels = parent.saturating_sub(level);
    let above = position.checked_shr(levels).unwrap_or(0);
    let Some(nodes) = TRACE_NODES.get(state, &(job, trace, parent, above))? else {
        return Ok(None);
    };
    let first = above.checked_shl(levels).unwrap_or(0);
    let place = position.checked_sub(first).and_then(|place| usize::try_from(place).ok());
    let (hashes, _) = nodes.as_chunks::<32>();
    Ok(place.and_then(|place| hashes.get(place)).copied())
}

/// Hashes as they travel, 32 bytes each; `None` where the bytes do not divide.
pub(super) fn hashes(bytes: &[u8]) -> Option<&[Hash]> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_open_the_root_every_eighth_level_below_it_and_the_leaves() {
        let leaves = 1_u64 << 20;
        let parents: alloc::vec::Vec<_> =
            (0..=20).filter_map(|level| Some((level, parent_level(leaves, level)?))).collect();
        assert_eq!(parents, [(0, 4), (4, 12), (12, 20)]);
        assert_eq!(parent_level(65_536, 0), Some(8));
        assert_eq!(parent_level(65_536, 8), Some(16));
        assert_eq!(parent_level(5, 0), Some(3));
        assert_eq!(parent_level(1, 0), Some(0));
        assert_eq!(parent_level(1, 1), None);
    }

    #[test]
    fn a_node_outside_the_tree_cannot_be_called() {
        assert!(can_be_called(600, 2, 149));
        assert!(!can_be_called(600, 2, 150));
        assert!(!can_be_called(600, 1, 0));
        assert!(!can_be_called(600, 99, 0));
    }

    #[test]
    fn a_node_lies_below_the_one_that_its_path_goes_through() {
        assert!(is_below(0, 0x1234, 8, 0x12));
        assert!(!is_below(0, 0x1234, 8, 0x13));
        assert!(!is_below(8, 0, 0, 0));
    }
}
