//! Traces and steps: a run cut into leaves so small that anyone can recompute one.
//!
//! A trace is a Merkle tree whose leaves are numbered as [`Layout`] says, which follows from the
//! program and the number of tokens alone. Each leaf holds a status and a block of numbers that follow
//! from a few earlier leaves, constants of the artefact and the input: its witness. [`verify_step`]
//! recomputes one leaf from its witness. `docs/vm.md` defines all of it to the byte.

mod attention;
mod elementwise;
mod embed;
mod error;
mod evaluate;
mod layout;
mod linear;
mod norm;
mod pool;
mod steps;
#[cfg(test)]
mod tests;
mod tracer;
mod tree;
mod verify;
mod witness;

pub use error::{Output, Source, TraceError};
pub use layout::{Layout, Place};
pub use tracer::Tracer;
pub use tree::TraceTree;
pub use verify::{Statement, Step, WitnessError, verify_step};

pub use crate::limits::WITNESS_BYTES_MAX;

use crate::hash::Hash;
use crate::merkle;
use crate::result::Status;

/// The hash of the leaf at `position`: that of a Merkle tree's leaf of the status byte and the block.
#[must_use]
pub fn leaf_hash(position: u64, status: Status, block: &[u8]) -> Hash {
    merkle::leaf_hash(position, &[&[status.byte()], block].concat())
}

/// The hash of the last leaf of a trace of `count` leaves that ended like this.
#[must_use]
pub fn last_leaf(count: u64, status: Status, output_root: &Hash) -> Hash {
    let block: &[u8] = if status == Status::Halted { output_root } else { &[] };
    leaf_hash(count.saturating_sub(1), status, block)
}
