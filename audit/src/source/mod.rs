//! Where blocks come from.

use lockstep_proto::lockstep::audit::v1::TxResult;
use tendermint_proto::v0_38::types::{Block, Commit};

use crate::Result;

mod rpc;

pub use rpc::Rpc;

/// One height, as a source gives it. Nothing about it is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The block.
    pub block: Block,
    /// The votes for it.
    pub commit: Commit,
    /// What became of its transactions.
    pub results: Vec<TxResult>,
    /// The root of the state after it.
    pub app_hash: Vec<u8>,
}

/// The heights that a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heights {
    /// The first.
    pub first: u64,
    /// The last, at this moment.
    pub last: u64,
}

/// Where blocks come from. Not to be called on a thread of an async runtime: it waits.
pub trait Source: Send {
    /// What it is, for people.
    fn name(&self) -> String;

    /// The heights that it has.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn heights(&mut self) -> Result<Heights>;

    /// At least one height from `from` on, at most `max` of them, in order.
    ///
    /// # Errors
    /// Where `from` is not there, cannot be read, or is damaged.
    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>>;
}
