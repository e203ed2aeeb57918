//! The two kinds of failure, which must never be confused.

use alloc::string::String;

/// Why a transaction was refused. The same on every node: `code` is hashed into the block.
///
/// The action with permanent number `n` owns the codes `100·n` to `100·n + 99`; the codes below 100
/// are the common ones here. A code is permanent: never renumber one and never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (code {code})")]
pub struct Reject {
    /// The ABCI result code; never zero.
    pub code: u32,
    /// For people: what is wrong, and after `hint:` what to do. Not part of consensus.
    pub reason: &'static str,
}

impl Reject {
    pub(crate) const fn new(code: u32, reason: &'static str) -> Self {
        assert!(code != 0, "code 0 means success");
        Self { code, reason }
    }
}

/// This node cannot go on: its disk failed or its state is corrupt. It never becomes a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The backing store failed.
    #[error("storage: {0}")]
    Storage(String),
    /// A stored value does not decode.
    #[error("corrupt value in table `{0}`")]
    Corrupt(&'static str),
    /// Something that the state machine guarantees does not hold.
    #[error("broken invariant: {0}")]
    Invariant(&'static str),
}

/// What an action may return: a refusal, or a reason to stop the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    /// Refuse this transaction and go on.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// Stop the node.
    #[error(transparent)]
    Fault(#[from] Fault),
}
