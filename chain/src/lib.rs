//! The replicated state machine: a pure function from (state, block) to (state, results).
//!
//! Nothing here reads a clock, a file, a socket, an environment variable or a random number.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod error;
pub mod state;
pub mod tree;
