//! Protobuf messages: the Cosmos packages that wallets use and those of Lockstep.
//!
//! The `.proto` files beside this crate's manifest are the source; `src/generated` is made from
//! them and committed. Everything here also compiles without the standard library.

#![no_std]

extern crate alloc;

pub mod json;

#[expect(clippy::pedantic, missing_docs, reason = "generated")]
mod generated;

pub use generated::{cosmos, lockstep};
