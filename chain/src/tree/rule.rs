//! How nodes are hashed.

use alloc::vec::Vec;

use blake3::IncrementCounter;
use blake3::platform::Platform;

/// 32 bytes of a hash function.
pub type Hash = [u8; 32];

/// What goes below a node: a path and a value's hash, or a left and a right child.
pub type Pair = [Hash; 2];

/// The hashes of a tree. Wherever a leaf is alone in a subtree, it stands at that subtree's top
/// and its hash is the subtree's: a leaf's hash does not depend on its depth.
pub trait HashRule {
    /// The hash of a subtree without leaves.
    const EMPTY: Hash;

    /// The hash of a key, which is its path from the root, or of a value.
    fn bytes(data: &[u8]) -> Hash;

    /// The hash of a leaf.
    fn leaf(path: &Hash, value: &Hash) -> Hash;

    /// The hash of an inner node.
    fn inner(left: &Hash, right: &Hash) -> Hash;

    /// [`HashRule::leaf`] of each pair; `out` is overwritten.
    fn leaves(pairs: &[Pair], out: &mut Vec<Hash>) {
        out.clear();
        out.extend(pairs.iter().map(|[path, value]| Self::leaf(path, value)));
    }

    /// [`HashRule::inner`] of each pair; `out` is overwritten.
    fn inners(pairs: &[Pair], out: &mut Vec<Hash>) {
        out.clear();
        out.extend(pairs.iter().map(|[left, right]| Self::inner(left, right)));
    }
}

/// What a leaf commits to for `value`: itself, or one zero byte for the empty value, because ICS 23
/// proves nothing about an empty one. No value is a zero byte: protobuf has no field 0.
#[must_use]
pub const fn provable(value: &[u8]) -> &[u8] {
    if value.is_empty() { &EMPTY_VALUE } else { value }
}

/// Stands for the empty value in leaves and in proofs, and may not be a value itself.
pub const EMPTY_VALUE: [u8; 1] = [0];

/// A tag fills one BLAKE3 block, so that its compression is shared by all nodes of a kind.
pub type Tag = [u8; 64];

/// Before the path and the value's hash in a leaf; zeros up to 64 bytes.
pub const LEAF_TAG: Tag = tag(b"lockstep/state/leaf/v1");

/// Before the children in an inner node; zeros up to 64 bytes.
pub const INNER_TAG: Tag = tag(b"lockstep/state/inner/v1");

const fn tag(text: &[u8]) -> Tag {
    let mut out = [0; 64];
    let (mut rest, mut free) = (text, out.as_mut_slice());
    while let ([first, tail @ ..], [slot, space @ ..]) = (rest, free) {
        *slot = *first;
        (rest, free) = (tail, space);
    }
    out
}

/// The chain's rule: `blake3(tag ‖ left ‖ right)`, 128 bytes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blake3Rule;

impl HashRule for Blake3Rule {
    const EMPTY: Hash = [0; 32];

    fn bytes(data: &[u8]) -> Hash {
        *blake3::hash(data).as_bytes()
    }

    fn leaf(path: &Hash, value: &Hash) -> Hash {
        tagged(&LEAF_TAG, path, value)
    }

    fn inner(left: &Hash, right: &Hash) -> Hash {
        tagged(&INNER_TAG, left, right)
    }

    fn leaves(pairs: &[Pair], out: &mut Vec<Hash>) {
        tagged_many(&LEAF_TAG, pairs, out);
    }

    fn inners(pairs: &[Pair], out: &mut Vec<Hash>) {
        tagged_many(&INNER_TAG, pairs, out);
    }
}

fn tagged(tag: &Tag, first: &Hash, second: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(tag).update(first).update(second);
    *hasher.finalize().as_bytes()
}

// The constants of BLAKE3's specification, section 2.
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

/// [`tagged`] of many pairs, several at a time with SIMD. `blake3::platform` is public but promises
/// nothing, which is why the crate's version is pinned and a test compares the two functions.
fn tagged_many(tag: &Tag, pairs: &[Pair], out: &mut Vec<Hash>) {
    let platform = Platform::detect();
    let mut state = IV;
    platform.compress_in_place(&mut state, tag, 64, 0, CHUNK_START);
    let blocks: Vec<&[u8; 64]> =
        pairs.iter().filter_map(|pair| pair.as_flattened().first_chunk()).collect();
    out.clear();
    out.resize(pairs.len(), [0; 32]);
    let bytes = out.as_flattened_mut();
    platform.hash_many(&blocks, &state, 0, IncrementCounter::No, 0, 0, CHUNK_END | ROOT, bytes);
}
