//! Every bound of the chain that is not a parameter. Each list and loop has one here.

/// Bytes of a transaction, so that a manifest of 256 KiB or the leaves of a possession proof fit.
pub const TX_BYTES_MAX: usize = 384 << 10;
/// Bytes of a block's transactions. CometBFT's own bound is off, so that proposers see all that waits.
pub const BLOCK_BYTES_MAX: u64 = 4 << 20;
/// Messages of a transaction.
pub const TX_MESSAGES_MAX: usize = 64;
/// Bytes of a memo.
pub const MEMO_BYTES_MAX: usize = 256;
/// How far ahead of the account's sequence a waiting transaction may be.
pub const SEQUENCE_AHEAD_MAX: u64 = 4096;
/// How long an unordered transaction may stay valid.
pub const UNORDERED_MS_MAX: u64 = 10 * 60 * 1000;
/// Bytes of a vote extension: 2 KB ones doubled the latency of 175 validators.
pub const EXTENSION_BYTES_MAX: usize = 1024;
/// Bytes of an inline input or output.
pub const INLINE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a blob input.
pub const BLOB_BYTES_MAX: u64 = 1 << 20;
/// Bytes of names, licences, aliases and monikers.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of the reference of a royalty payment.
pub const REFERENCE_BYTES_MAX: usize = 256;
/// Parents of a model.
pub const PARENTS_MAX: usize = 16;
/// Generations between a model and one without parents.
pub const LINEAGE_DEPTH_MAX: u32 = 16;
/// Accounts that one version pays.
pub const RECIPIENTS_MAX: usize = 256;
/// Moves of an alias that are remembered.
pub const ALIAS_HISTORY_MAX: usize = 64;
/// Validators that a parameter may allow.
pub const VALIDATORS_MAX: u32 = 200;
/// Items of one queue that a block works off; the rest waits for the next block.
pub const DUE_PER_BLOCK_MAX: usize = 1000;
/// Challenges of a trial.
pub const TRIAL_CHALLENGES_MAX: usize = 256;
/// Challenges of one answer.
pub const ANSWER_CHALLENGES_MAX: usize = 64;
/// Answers of a trial that no member revealed.
pub const TRIAL_AUTHORS_MAX: usize = 16;
/// Who stands behind an answer with a bond, beside its author. Each may post a trace.
pub const TRIAL_OUTSIDERS_MAX: usize = 24;
/// Moves in all trials that one block takes.
pub const TRIAL_MOVES_PER_BLOCK_MAX: u32 = 64;
/// What the proof of a step counts for: it takes up to 128 KiB and five milliseconds.
pub const TRIAL_PROOF_MOVES: u32 = 4;
/// Gas that moves may use, whatever they sign: a trial's record grows with its parties, and nobody shall
/// lose for that. What bounds them is the budget.
pub const MOVE_GAS_MAX: u64 = 64_000_000;
/// What a free transaction that fails takes of the quota beside itself.
pub const FREE_FAILURE_TXS: u32 = 100;
/// 365 days.
pub const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
/// Objects that one query answers with.
pub const QUERY_ITEMS_MAX: usize = 256;
/// ulock of voting power 1.
pub const POWER_UNIT: u64 = 1_000_000;
/// Total supply in ulock, so that no product of an amount and a part overflows 128 bits.
pub const SUPPLY_MAX: u64 = 1 << 62;

/// Gas of reading a key.
pub const GAS_PER_READ: u64 = 100;
/// Gas of writing a key.
pub const GAS_PER_WRITE: u64 = 400;
/// Gas of a byte that is read, written or sent.
pub const GAS_PER_BYTE: u64 = 4;
/// Gas of recomputing a step of a trace.
pub const GAS_PER_STEP: u64 = 2_000_000;
/// Gas of checking a signature.
pub const GAS_PER_SIGNATURE: u64 = 4000;
