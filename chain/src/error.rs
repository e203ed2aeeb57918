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

macro_rules! rejects {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $reason:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: Reject = Reject::new($code, $reason);)+
        /// The refusals that any transaction can meet.
        pub const COMMON: &[Reject] = &[$($name),+];
    };
}

rejects! {
    /// The bytes are not a transaction.
    MALFORMED = 1, "not a well-formed transaction; hint: send the bytes of a cosmos.tx.v1beta1.TxRaw";
    /// The bytes are a transaction, but not the one encoding of it.
    NOT_CANONICAL = 2, "not the canonical encoding; hint: no unknown, repeated or over-long fields";
    /// The transaction or a part of it is over its bound.
    TOO_LARGE = 3, "too large; hint: see the limits in docs/protocol.md";
    /// No message, or an unknown one.
    UNKNOWN_MESSAGE = 4, "unknown message type; hint: this chain may run an older version";
    /// A field that must be there is missing or out of its range.
    BAD_FIELD = 5, "a field is missing or out of range";
    /// Text that should be an address is none.
    MALFORMED_ADDRESS = 6, "not an address; hint: lockstep1… for accounts, lockstepvaloper1… for operators";
    /// Not one secp256k1 key in `SIGN_MODE_DIRECT`.
    UNSUPPORTED_SIGNER = 7, "unsupported signer; hint: one secp256k1 key, SIGN_MODE_DIRECT";
    /// A message names another signer than the key that signed.
    WRONG_SIGNER = 8, "a message names another signer than the key that signed";
    /// The signature does not fit key, chain id, account number and bytes.
    BAD_SIGNATURE = 9, "bad signature; hint: check chain id, account number and sequence that were signed";
    /// The signer is not a member.
    NOT_A_MEMBER = 10, "the signer is not a member; hint: a council member can grant it a role";
    /// The signer lacks every role that the message asks for.
    UNAUTHORIZED = 11, "the signer lacks the role; hint: a council member can grant it";
    /// The sequence is not the account's next one.
    WRONG_SEQUENCE = 12, "wrong account sequence; hint: query the account and sign again";
    /// The fee is below gas limit times price.
    FEE_TOO_LOW = 13, "fee too low; hint: fee >= gas limit x gas price, in ulock";
    /// The account holds less than it is to pay.
    INSUFFICIENT_FUNDS = 14, "insufficient funds";
    /// The messages cost more gas than the limit that was signed.
    OUT_OF_GAS = 15, "out of gas; hint: simulate, then sign a higher gas limit";
    /// The gas limit is above what a transaction may use.
    GAS_LIMIT_TOO_HIGH = 16, "gas limit above the chain's maximum";
    /// The transaction was valid up to an earlier height or time.
    EXPIRED = 17, "the transaction has expired; hint: sign it again with a later timeout";
    /// The unordered transaction was included before.
    REPLAYED = 18, "this unordered transaction was included already";
    /// A sum does not fit its type.
    OVERFLOW = 19, "arithmetic overflow";
    /// An amount is not a positive number of ulock.
    BAD_AMOUNT = 20, "bad amount; hint: a positive whole number of ulock";
    /// More free duty transactions than an epoch has.
    DUTY_QUOTA = 21, "no free duty transactions left in this epoch; hint: pay a fee";
    /// The receiver or the account named is not a member.
    NO_SUCH_MEMBER = 22, "no such member";
    /// There is no such validator.
    NO_SUCH_VALIDATOR = 23, "no such validator";
    /// There is no such model, version or alias.
    NO_SUCH_MODEL = 24, "no such model, version or alias; hint: name, name:alias or name:number";
    /// There is no such job.
    NO_SUCH_JOB = 25, "no such job";
    /// The account signed is not an executor of a validator.
    NOT_AN_EXECUTOR = 26, "the signer is no validator's executor";
    /// Other moves in trials have used up this block's budget.
    MOVES_FULL = 27, "this block takes no more moves in trials; hint: send it again";
    /// The node has too much waiting that comes before it, or that nobody can execute.
    MEMPOOL_BUSY = 28, "no room in this node's mempool; hint: send in the order of sequences, or again in some blocks";
}
