//! The audit of a chain: recomputes it from its blocks, and says where they differ from it.
//!
//! Needs no node, no database and no GPU: blocks come from a [`source`], the state machine is
//! `lockstep-chain` itself, and what was found is a [`report::Report`]. [`play`] takes part in trials.

pub mod abci;
pub mod amounts;
pub mod archive;
pub mod books;
pub mod comet;
pub mod compare;
pub mod go_json;
pub mod light;
pub mod play;
pub mod receipt;
pub mod recompute;
pub mod replay;
pub mod report;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod signatures;
pub mod source;
mod stop;
#[cfg(test)]
mod testing;

pub use stop::{Compared, Result, Stop};
