//! A sixteenth of the tree: an arena of nodes, and updates beside it that leave it as it is.

use alloc::vec::Vec;
use core::mem;

use super::LeafWrite;
use super::rule::{Hash, HashRule, Pair};
use crate::error::Fault;

/// Shards divide the tree at this depth, counted in bits of the path.
pub(super) const SHARD_DEPTH: u16 = 4;
const PATH_BITS: u16 = 256;

const BROKEN: Fault = Fault::Invariant("a node of the state tree is missing");

/// A node's place: 30 bits of index, one for its kind and one for which arena it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ref(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    Leaf,
    Inner,
}

const LEAF: u32 = 1 << 31;
const PENDING: u32 = 1 << 30;
const INDEX: u32 = PENDING - 1;

impl Ref {
    pub(super) const EMPTY: Self = Self(u32::MAX);

    fn new(index: usize, flags: u32) -> Result<Self, Fault> {
        match u32::try_from(index) {
            Ok(index) if index < INDEX => Ok(Self(index | flags)),
            _ => Err(Fault::Invariant("a shard of the state tree holds 2^30 nodes")),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::EMPTY => Kind::Empty,
            Self(bits) if bits & LEAF != 0 => Kind::Leaf,
            Self(_) => Kind::Inner,
        }
    }

    fn is_pending(self) -> bool {
        self.0 & PENDING != 0
    }

    fn index(self) -> usize {
        // On every target with at least 32 bits this is the index itself.
        usize::try_from(self.0 & INDEX).unwrap_or(usize::MAX)
    }

    /// The same place, in the arena that adopts the pending one as a whole.
    fn adopted(self) -> Self {
        if self == Self::EMPTY { self } else { Self(self.0 & !PENDING) }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Inner {
    pub(super) hash: Hash,
    pub(super) left: Ref,
    pub(super) right: Ref,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) path: Hash,
    /// The leaf's hash; its value's hash while an update is being made.
    pub(super) hash: Hash,
}

#[derive(Debug, Default)]
struct Arena {
    inners: Vec<Inner>,
    leaves: Vec<Leaf>,
}

/// The committed nodes below one prefix of four bits.
#[derive(Debug)]
pub(super) struct Shard {
    nodes: Arena,
    free_inners: Vec<Ref>,
    free_leaves: Vec<Ref>,
    root: Ref,
}

/// Nodes that replace some of a shard's; the rest are shared with it.
#[derive(Debug)]
pub(super) struct ShardUpdate {
    nodes: Arena,
    freed_inners: Vec<Ref>,
    freed_leaves: Vec<Ref>,
    root: Ref,
    /// Positions of the writes whose keys were not there before.
    pub(super) inserted: Vec<(u32, Hash)>,
    /// Positions of the deletions whose keys were there before.
    pub(super) removed: Vec<(u32, Hash)>,
}

/// A shard as it is, or as it would be after an update.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    shard: &'a Shard,
    update: Option<&'a ShardUpdate>,
}

impl<'a> View<'a> {
    pub(super) fn new(shard: &'a Shard, update: Option<&'a ShardUpdate>) -> Self {
        Self { shard, update }
    }

    pub(super) fn root(&self) -> Ref {
        self.update.map_or(self.shard.root, |update| update.root)
    }

    fn arena(&self, place: Ref) -> Option<&'a Arena> {
        if place.is_pending() { self.update.map(|u| &u.nodes) } else { Some(&self.shard.nodes) }
    }

    pub(super) fn inner(&self, place: Ref) -> Result<&'a Inner, Fault> {
        self.arena(place).and_then(|arena| arena.inners.get(place.index())).ok_or(BROKEN)
    }

    pub(super) fn leaf(&self, place: Ref) -> Result<&'a Leaf, Fault> {
        self.arena(place).and_then(|arena| arena.leaves.get(place.index())).ok_or(BROKEN)
    }

    pub(super) fn hash<R: HashRule>(&self, place: Ref) -> Result<Hash, Fault> {
        match place.kind() {
            Kind::Empty => Ok(R::EMPTY),
            Kind::Leaf => Ok(self.leaf(place)?.hash),
            Kind::Inner => Ok(self.inner(place)?.hash),
        }
    }
}

impl Shard {
    pub(super) const fn new() -> Self {
        Self {
            nodes: Arena { inners: Vec::new(), leaves: Vec::new() },
            free_inners: Vec::new(),
            free_leaves: Vec::new(),
            root: Ref::EMPTY,
        }
    }

    pub(super) fn leaf_count(&self) -> usize {
        self.nodes.leaves.len().saturating_sub(self.free_leaves.len())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let inners = self.nodes.inners.capacity().saturating_mul(size_of::<Inner>());
        let leaves = self.nodes.leaves.capacity().saturating_mul(size_of::<Leaf>());
        let free = self.free_inners.capacity().saturating_add(self.free_leaves.capacity());
        inners.saturating_add(leaves).saturating_add(free.saturating_mul(size_of::<Ref>()))
    }

    /// What `writes` (in path order, one per path) make of this shard.
    pub(super) fn update<R: HashRule>(&self, writes: &[LeafWrite]) -> Result<ShardUpdate, Fault> {
        let mut builder = Builder {
            shard: self,
            out: ShardUpdate {
                nodes: Arena::default(),
                freed_inners: Vec::new(),
                freed_leaves: Vec::new(),
                root: self.root,
                inserted: Vec::new(),
                removed: Vec::new(),
            },
            levels: Vec::new(),
            replacing: None,
        };
        builder.out.root = builder.update(self.root, SHARD_DEPTH, writes)?;
        builder.hash::<R>()
    }

    /// Makes the update's nodes the shard's.
    pub(super) fn commit(&mut self, update: ShardUpdate) -> Result<(), Fault> {
        if self.root == Ref::EMPTY {
            self.adopt(update);
            return Ok(());
        }
        self.free_inners.extend(update.freed_inners);
        self.free_leaves.extend(update.freed_leaves);
        let mut leaves = Vec::with_capacity(update.nodes.leaves.len());
        for leaf in update.nodes.leaves {
            leaves.push(place(leaf, &mut self.nodes.leaves, &mut self.free_leaves, LEAF)?);
        }
        let mut inners: Vec<Ref> = Vec::with_capacity(update.nodes.inners.len());
        for inner in update.nodes.inners {
            // Children were made before their parents, so they have their places already.
            let left = settled(inner.left, &inners, &leaves)?;
            let right = settled(inner.right, &inners, &leaves)?;
            let inner = Inner { hash: inner.hash, left, right };
            inners.push(place(inner, &mut self.nodes.inners, &mut self.free_inners, 0)?);
        }
        self.root = settled(update.root, &inners, &leaves)?;
        Ok(())
    }

    /// Takes the nodes as they are, since there are no others.
    fn adopt(&mut self, update: ShardUpdate) {
        let ShardUpdate { mut nodes, root, .. } = update;
        for inner in &mut nodes.inners {
            inner.left = inner.left.adopted();
            inner.right = inner.right.adopted();
        }
        nodes.inners.shrink_to_fit();
        nodes.leaves.shrink_to_fit();
        *self = Self { nodes, root: root.adopted(), ..Self::new() };
    }
}

fn place<T>(node: T, nodes: &mut Vec<T>, free: &mut Vec<Ref>, flags: u32) -> Result<Ref, Fault> {
    if let Some(place) = free.pop() {
        *nodes.get_mut(place.index()).ok_or(BROKEN)? = node;
        return Ok(place);
    }
    let place = Ref::new(nodes.len(), flags)?;
    nodes.push(node);
    Ok(place)
}

fn settled(place: Ref, inners: &[Ref], leaves: &[Ref]) -> Result<Ref, Fault> {
    let places = match place.kind() {
        Kind::Leaf if place.is_pending() => leaves,
        Kind::Inner if place.is_pending() => inners,
        Kind::Empty | Kind::Leaf | Kind::Inner => return Ok(place),
    };
    places.get(place.index()).copied().ok_or(BROKEN)
}

struct Builder<'a> {
    shard: &'a Shard,
    out: ShardUpdate,
    /// New inner nodes by depth below the shard's root, to be hashed a level at a time.
    levels: Vec<Vec<usize>>,
    /// The write whose key has a leaf now.
    replacing: Option<u32>,
}

impl Builder<'_> {
    fn update(&mut self, at: Ref, depth: u16, writes: &[LeafWrite]) -> Result<Ref, Fault> {
        if writes.is_empty() {
            return Ok(at);
        }
        let view = View::new(self.shard, None);
        match at.kind() {
            Kind::Empty => self.build(None, depth, writes),
            Kind::Leaf => {
                let path = view.leaf(at)?.path;
                let found = writes.binary_search_by(|write| write.path.cmp(&path));
                let Some(write) = found.ok().and_then(|index| writes.get(index)) else {
                    return self.build(Some((at, path)), depth, writes);
                };
                self.replacing = Some(write.position);
                self.out.freed_leaves.push(at);
                let new = self.build(None, depth, writes);
                self.replacing = None;
                new
            }
            Kind::Inner => {
                let Inner { left, right, .. } = *view.inner(at)?;
                let (low, high) = split(writes, depth);
                let below = depth.saturating_add(1);
                let new_left = self.update(left, below, low)?;
                let new_right = self.update(right, below, high)?;
                if new_left == left && new_right == right {
                    return Ok(at);
                }
                self.out.freed_inners.push(at);
                self.join(new_left, new_right, depth)
            }
        }
    }

    /// A subtree of the writes and of one leaf from above, which none of them names.
    fn build(
        &mut self,
        carried: Option<(Ref, Hash)>,
        depth: u16,
        writes: &[LeafWrite],
    ) -> Result<Ref, Fault> {
        match (writes, carried) {
            ([], None) => Ok(Ref::EMPTY),
            ([], Some((leaf, _))) => Ok(leaf),
            ([write], None) => self.place(write),
            _ if depth >= PATH_BITS => Err(Fault::Invariant("one key is written twice")),
            _ => {
                let (low, high) = split(writes, depth);
                let (carried_low, carried_high) = match carried {
                    Some((_, path)) if bit(&path, depth) => (None, carried),
                    _ => (carried, None),
                };
                let below = depth.saturating_add(1);
                let left = self.build(carried_low, below, low)?;
                let right = self.build(carried_high, below, high)?;
                self.join(left, right, depth)
            }
        }
    }

    fn place(&mut self, write: &LeafWrite) -> Result<Ref, Fault> {
        let replaces = self.replacing == Some(write.position);
        let Some(value) = write.value else {
            if replaces {
                self.out.removed.push((write.position, write.path));
            }
            return Ok(Ref::EMPTY);
        };
        if !replaces {
            self.out.inserted.push((write.position, write.path));
        }
        let place = Ref::new(self.out.nodes.leaves.len(), LEAF | PENDING)?;
        self.out.nodes.leaves.push(Leaf { path: write.path, hash: value });
        Ok(place)
    }

    fn join(&mut self, left: Ref, right: Ref, depth: u16) -> Result<Ref, Fault> {
        match (left.kind(), right.kind()) {
            (Kind::Empty, Kind::Empty | Kind::Leaf) => return Ok(right),
            (Kind::Leaf, Kind::Empty) => return Ok(left),
            (Kind::Inner, _) | (_, Kind::Inner) | (Kind::Leaf, Kind::Leaf) => {}
        }
        let index = self.out.nodes.inners.len();
        let place = Ref::new(index, PENDING)?;
        self.out.nodes.inners.push(Inner { hash: [0; 32], left, right });
        let level = usize::from(depth.saturating_sub(SHARD_DEPTH));
        if self.levels.len() <= level {
            self.levels.resize_with(level.saturating_add(1), Vec::new);
        }
        self.levels.get_mut(level).ok_or(BROKEN)?.push(index);
        Ok(place)
    }

    fn hash<R: HashRule>(mut self) -> Result<ShardUpdate, Fault> {
        let mut hashes = Vec::new();
        let mut pairs: Vec<Pair> =
            self.out.nodes.leaves.iter().map(|leaf| [leaf.path, leaf.hash]).collect();
        R::leaves(&pairs, &mut hashes);
        for (leaf, hash) in self.out.nodes.leaves.iter_mut().zip(&hashes) {
            leaf.hash = *hash;
        }
        for level in mem::take(&mut self.levels).into_iter().rev() {
            pairs.clear();
            let view = View::new(self.shard, Some(&self.out));
            for index in &level {
                let Inner { left, right, .. } = self.out.nodes.inners.get(*index).ok_or(BROKEN)?;
                pairs.push([view.hash::<R>(*left)?, view.hash::<R>(*right)?]);
            }
            R::inners(&pairs, &mut hashes);
            for (index, hash) in level.into_iter().zip(&hashes) {
                self.out.nodes.inners.get_mut(index).ok_or(BROKEN)?.hash = *hash;
            }
        }
        Ok(self.out)
    }
}

/// The bit of `path` at `depth`, the most significant first.
pub(super) fn bit(path: &Hash, depth: u16) -> bool {
    let byte = path.get(usize::from(depth >> 3)).copied().unwrap_or_default();
    byte.unbounded_shr(7_u32.saturating_sub(u32::from(depth & 7))) & 1 == 1
}

/// The writes whose paths go left at `depth`, and those that go right.
fn split(writes: &[LeafWrite], depth: u16) -> (&[LeafWrite], &[LeafWrite]) {
    let middle = writes.partition_point(|write| !bit(&write.path, depth));
    writes.split_at_checked(middle).unwrap_or((writes, &[]))
}
