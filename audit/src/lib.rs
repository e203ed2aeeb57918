//! The audit of a chain: recomputes it from its blocks, and says where they differ from it.
//!
//! Needs no node, no database and no GPU: blocks come from a [`source`], the state machine is
//! `lockstep-chain` itself, and what was found is a [`report::Report`].

pub mod amounts;
pub mod books;
pub mod commit;
pub mod play;
pub mod receipt;
pub mod report;
pub mod source;
mod stop;

pub use stop::{Compared, Result, Stop};
