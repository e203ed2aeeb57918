//! The replicated state machine: a pure function from (state, block) to (state, results).
//!
//! Nothing here reads a clock, a file, a socket, an environment variable or a random number.

#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::expect_used,
        clippy::float_arithmetic,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod bank;
pub mod block;
pub mod commitment;
pub mod context;
pub mod envelope;
pub mod error;
pub mod event;
pub mod extension;
pub mod genesis;
pub mod invariants;
pub mod job;
pub mod limits;
pub mod mempool;
pub mod model;
pub mod pipeline;
pub mod proposal;
pub mod query;
pub mod staking;
pub mod state;
pub mod tree;
pub mod trial;
pub mod tx;
pub mod wire;
