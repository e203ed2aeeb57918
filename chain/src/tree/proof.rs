//! Proofs that a key has a value or has none, and their verification, which needs no tree.

use alloc::vec::Vec;

use super::rule::{Hash, HashRule, provable};
use super::shard::{Kind, Ref, SHARD_DEPTH, View, bit};
use super::{PendingUpdate, SHARDS, Tree, shard_of};
use crate::error::Fault;
use crate::state::Entry;

/// A path of 256 bits has at most so many siblings.
const SIBLINGS_MAX: usize = 256;

/// A key with its value, and the way from its leaf to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafProof {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The hashes beside the way, the leaf's own sibling first.
    pub siblings: Vec<Hash>,
}

/// What a state says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The key has this value.
    Present(LeafProof),
    /// The key has none: nothing stands between these two neighbours in the order of paths.
    Absent {
        /// The nearest leaf before the key's path; none where the key would come first.
        left: Option<LeafProof>,
        /// The nearest leaf after the key's path; none where the key would come last.
        right: Option<LeafProof>,
    },
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The hashes lead to another root.
    #[error("the proof leads to another root\nhint: check that it is of the same height")]
    Root,
    /// It is about another key or another value, or shows the opposite.
    #[error("the proof is about something else than what is claimed")]
    Claim,
    /// The neighbours leave room for a leaf between them.
    #[error("the proof's neighbours are not next to each other")]
    Neighbours,
    /// Not in the form in which this chain writes proofs.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
}

impl LeafProof {
    /// The root of a tree in which this leaf stands.
    fn root<R: HashRule>(&self) -> Result<Hash, ProofError> {
        if self.siblings.len() > SIBLINGS_MAX {
            return Err(ProofError::Malformed("more than 256 siblings"));
        }
        let path = R::bytes(&self.key);
        let mut hash = R::leaf(&path, &R::bytes(provable(&self.value)));
        for (depth, sibling) in self.steps() {
            hash =
                if bit(&path, depth) { R::inner(sibling, &hash) } else { R::inner(&hash, sibling) };
        }
        Ok(hash)
    }

    /// Each sibling with the depth of the parent, from the leaf upwards.
    pub(super) fn steps(&self) -> impl Iterator<Item = (u16, &Hash)> {
        let depth = u16::try_from(self.siblings.len()).unwrap_or(u16::MAX);
        (0..depth).rev().zip(&self.siblings)
    }

    /// Whether no leaf comes after this one (or before it) below `depth`.
    fn is_last<R: HashRule>(&self, depth: u16, after: bool) -> bool {
        let path = R::bytes(&self.key);
        self.steps()
            .filter(|(at, _)| *at >= depth && bit(&path, *at) != after)
            .all(|(_, sibling)| *sibling == R::EMPTY)
    }
}

impl Proof {
    /// Checks that under `root` the key has `value`, or has none.
    ///
    /// # Errors
    /// [`ProofError`] where that does not follow from the proof.
    pub fn verify<R: HashRule>(
        &self,
        root: &Hash,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), ProofError> {
        match (self, value) {
            (Self::Present(leaf), Some(value)) if leaf.key == key && leaf.value == value => {
                leads_to::<R>(leaf, root)
            }
            (Self::Absent { left, right }, None) => {
                absent::<R>(root, &R::bytes(key), left.as_ref(), right.as_ref())
            }
            _ => Err(ProofError::Claim),
        }
    }
}

fn leads_to<R: HashRule>(leaf: &LeafProof, root: &Hash) -> Result<(), ProofError> {
    if leaf.root::<R>()? == *root { Ok(()) } else { Err(ProofError::Root) }
}

fn absent<R: HashRule>(
    root: &Hash,
    path: &Hash,
    left: Option<&LeafProof>,
    right: Option<&LeafProof>,
) -> Result<(), ProofError> {
    for leaf in [left, right].into_iter().flatten() {
        leads_to::<R>(leaf, root)?;
    }
    let left_path = left.map(|leaf| R::bytes(&leaf.key));
    let right_path = right.map(|leaf| R::bytes(&leaf.key));
    if left_path.is_some_and(|left| left >= *path) || right_path.is_some_and(|it| it <= *path) {
        return Err(ProofError::Claim);
    }
    // Below the node at which the two ways part, nothing may stand between them.
    let below = match (&left_path, &right_path) {
        (Some(left), Some(right)) => common_bits(left, right).saturating_add(1),
        _ => 0,
    };
    let adjacent = match (left, right) {
        (None, None) => *root == R::EMPTY,
        _ => {
            left.is_none_or(|leaf| leaf.is_last::<R>(below, true))
                && right.is_none_or(|leaf| leaf.is_last::<R>(below, false))
        }
    };
    if adjacent { Ok(()) } else { Err(ProofError::Neighbours) }
}

fn common_bits(a: &Hash, b: &Hash) -> u16 {
    (0..256).find(|depth| bit(a, *depth) != bit(b, *depth)).unwrap_or(256)
}

impl<R: HashRule> Tree<R> {
    /// Proves what the tree, or the tree after `pending`, says about `key`. `entry` finds the key
    /// and value of a path that has a leaf there.
    ///
    /// # Errors
    /// What `entry` returns, and where `pending` was made before the last commit.
    pub fn prove(
        &self,
        pending: Option<&PendingUpdate>,
        key: &[u8],
        entry: &dyn Fn(&Hash) -> Result<Entry, Fault>,
    ) -> Result<Proof, Fault> {
        if let Some(pending) = pending {
            self.same_version(pending)?;
        }
        let path = R::bytes(key);
        let leaf = |path: Hash| {
            let (key, value) = entry(&path)?;
            let (siblings, _) = self.descend(pending, &path)?;
            Ok::<_, Fault>(LeafProof { key, value, siblings })
        };
        if self.descend(pending, &path)?.1 == Some(path) {
            return leaf(path).map(Proof::Present);
        }
        let left = self.neighbour(pending, &path, false)?.map(leaf).transpose()?;
        let right = self.neighbour(pending, &path, true)?.map(leaf).transpose()?;
        Ok(Proof::Absent { left, right })
    }

    /// The siblings on the way to `path`, the deepest first, and the path of the leaf at its end.
    fn descend(
        &self,
        pending: Option<&PendingUpdate>,
        path: &Hash,
    ) -> Result<(Vec<Hash>, Option<Hash>), Fault> {
        let mut siblings = Vec::new();
        let top = self.top(pending)?;
        let shard = shard_of(path);
        let mut ends_above = None;
        for depth in 0..usize::from(SHARD_DEPTH) {
            let below = usize::from(SHARD_DEPTH).saturating_sub(depth).saturating_sub(1);
            let child = shard >> below;
            match top.node(depth, child >> 1).0 {
                Kind::Inner => siblings.push(top.node(depth.saturating_add(1), child ^ 1).1),
                Kind::Empty | Kind::Leaf => {
                    // The subtree's only leaf, if any, is the root of one of its shards.
                    let width = 2_usize << below;
                    let first = (child >> 1).saturating_mul(width);
                    ends_above = Some(first..first.saturating_add(width));
                    break;
                }
            }
        }
        siblings.reverse();
        if let Some(shards) = ends_above {
            let leaf = shards
                .filter_map(|shard| self.view(pending, shard))
                .find(|view| view.root().kind() == Kind::Leaf);
            let end = leaf.map(|view| view.leaf(view.root()).map(|leaf| leaf.path)).transpose()?;
            return Ok((siblings, end));
        }
        let Some(view) = self.view(pending, shard) else { return Ok((siblings, None)) };
        let (mut below, end) = descend_shard::<R>(view, path)?;
        below.extend(siblings);
        Ok((below, end))
    }

    /// The path of the nearest leaf after `path` (or before it).
    fn neighbour(
        &self,
        pending: Option<&PendingUpdate>,
        path: &Hash,
        after: bool,
    ) -> Result<Option<Hash>, Fault> {
        let shard = shard_of(path);
        if let Some(view) = self.view(pending, shard)
            && let Some(found) = neighbour_in_shard(view, path, after)?
        {
            return Ok(Some(found));
        }
        let mut rest: Vec<usize> = if after {
            (shard.saturating_add(1)..SHARDS).rev().collect()
        } else {
            (0..shard).collect()
        };
        while let Some(shard) = rest.pop() {
            if let Some(view) = self.view(pending, shard)
                && let Some(found) = outermost(view, view.root(), !after)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn descend_shard<R: HashRule>(
    view: View<'_>,
    path: &Hash,
) -> Result<(Vec<Hash>, Option<Hash>), Fault> {
    let mut siblings = Vec::new();
    let mut at = view.root();
    let mut depth = SHARD_DEPTH;
    while at.kind() == Kind::Inner {
        let inner = view.inner(at)?;
        let (next, sibling) =
            if bit(path, depth) { (inner.right, inner.left) } else { (inner.left, inner.right) };
        siblings.push(view.hash::<R>(sibling)?);
        at = next;
        depth = depth.saturating_add(1);
    }
    siblings.reverse();
    let end = match at.kind() {
        Kind::Leaf => Some(view.leaf(at)?.path),
        Kind::Empty | Kind::Inner => None,
    };
    Ok((siblings, end))
}

fn neighbour_in_shard(view: View<'_>, path: &Hash, after: bool) -> Result<Option<Hash>, Fault> {
    let mut at = view.root();
    let mut depth = SHARD_DEPTH;
    let mut beside = Ref::EMPTY;
    while at.kind() == Kind::Inner {
        let inner = view.inner(at)?;
        let goes_right = bit(path, depth);
        let (next, sibling) =
            if goes_right { (inner.right, inner.left) } else { (inner.left, inner.right) };
        if goes_right != after && sibling != Ref::EMPTY {
            beside = sibling;
        }
        at = next;
        depth = depth.saturating_add(1);
    }
    if at.kind() == Kind::Leaf {
        let end = view.leaf(at)?.path;
        if (end > *path) == after && end != *path {
            return Ok(Some(end));
        }
    }
    outermost(view, beside, !after)
}

/// The last leaf below `at` (or the first).
fn outermost(view: View<'_>, mut at: Ref, last: bool) -> Result<Option<Hash>, Fault> {
    while at.kind() == Kind::Inner {
        let inner = view.inner(at)?;
        let (outer, other) =
            if last { (inner.right, inner.left) } else { (inner.left, inner.right) };
        at = if outer == Ref::EMPTY { other } else { outer };
    }
    match at.kind() {
        Kind::Leaf => Ok(Some(view.leaf(at)?.path)),
        Kind::Empty | Kind::Inner => Ok(None),
    }
}
