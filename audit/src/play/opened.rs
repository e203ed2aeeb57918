//! What the parties of a trial have opened of their traces.

use std::collections::BTreeMap;

use lockstep_proto::lockstep::trial::v1::Trace;
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle::{below, fold, fold_from, height, root_of_top, under};

use super::PlayError;
use super::moves::{Node, ancestor, top};

/// The lists of nodes that were opened, each checked against the trace's root when it came.
#[derive(Debug, Default)]
pub(super) struct Opened {
    lists: BTreeMap<Node, Vec<Hash>>,
    /// Lists that could not be had at a height.
    absent: BTreeMap<Node, u64>,
}

impl Opened {
    /// What was opened below a node.
    #[must_use]
    pub(super) fn list(&self, node: &Node) -> Option<&[Hash]> {
        self.lists.get(node).map(Vec::as_slice)
    }

    /// There is no list below a node at this height, or none to be had.
    pub(super) fn lack(&mut self, node: Node, height: u64) {
        self.absent.insert(node, height);
    }

    /// Whether a list was asked for in vain at this height.
    #[must_use]
    pub(super) fn lacks(&self, node: &Node, height: u64) -> bool {
        self.absent.get(node) == Some(&height)
    }

    /// Takes in what the chain says was opened below a node.
    ///
    /// # Errors
    /// Where it does not lead to the trace's root: a node that answers so is not to be believed.
    pub(super) fn put(&mut self, trace: &Trace, node: Node, bytes: &[u8]) -> Result<(), PlayError> {
        let nodes: Vec<Hash> = bytes.as_chunks().0.to_vec();
        let folded = fold(trace.leaves, node.level, node.position, &nodes);
        let right = folded.is_some_and(|hash| {
            if node == top(node.trace, trace.leaves) {
                return root_of_top(trace.leaves, &hash).as_slice() == trace.steps_root;
            }
            self.node(trace.leaves, node) == Some(hash)
        });
        if !right {
            return Err(PlayError::Opened(node));
        }
        self.lists.insert(node, nodes);
        Ok(())
    }

    /// A node that was opened, or that follows from nodes that were.
    #[must_use]
    pub(super) fn node(&self, leaves: u64, node: Node) -> Option<Hash> {
        // The list that reaches down to the node's level or just beyond it.
        let mut level = height(leaves);
        while below(level) > node.level {
            level = below(level);
        }
        let parent = ancestor(node, level);
        let list = self.lists.get(&parent)?;
        let bottom = below(level);
        let start = under(leaves, node.level, node.position, bottom)?;
        let first = under(leaves, parent.level, parent.position, bottom)?.start;
        let at = |position: u64| usize::try_from(position.checked_sub(first)?).ok();
        let nodes = list.get(at(start.start)?..at(start.end)?)?;
        fold_from(leaves, node.level, node.position, bottom, nodes)
    }
}
