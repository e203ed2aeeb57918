//! Executes a block.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use lockstep_proto::lockstep::block::v1::ExtendedCommit;
use lockstep_proto::lockstep::chain::v1::Tip;
use prost::Message as _;

use crate::context::{self, Context};
use crate::envelope::Verifier;
use crate::error::{Fault, OVERFLOW, TxError};
use crate::genesis::{Genesis, GenesisError};
use crate::limits::DUE_PER_BLOCK_MAX;
use crate::pipeline::{self, Mode};
use crate::state::tables::{Hash, TIP, TOTALS, UNORDERED};
use crate::state::{MemoryState, Overlay, StateRead, Writes};
use crate::{extension, job, staking, trial};

pub use crate::event::Event;
pub use crate::pipeline::TxOutcome;
pub use crate::staking::power::ValidatorUpdate;
pub use crate::staking::slashing::Evidence;

/// What the chain uses of a block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its height.
    pub height: u64,
    /// Block time in Unix milliseconds.
    pub time_ms: u64,
    /// The block's hash.
    pub hash: Hash,
}

/// A decided block.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    /// Its header.
    pub header: Header,
    /// Its transactions; the first is the extended commit of the height before.
    pub txs: &'a [Vec<u8>],
    /// Misbehaviour.
    pub evidence: Vec<Evidence>,
}

/// What a block does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To be written at Commit.
    pub writes: Writes,
    /// One for each transaction, in order.
    pub txs: Vec<TxOutcome>,
    /// What observers are told of the block as a whole.
    pub events: Vec<Event>,
    /// In order of operator; no key twice.
    pub validator_updates: Vec<ValidatorUpdate>,
}

/// The first state of a chain.
///
/// # Errors
/// When the genesis is not valid.
pub fn init_chain(
    genesis: &Genesis,
    chain_id: &str,
    initial_height: u64,
    time_ms: u64,
) -> Result<(Writes, Vec<ValidatorUpdate>), GenesisError> {
    genesis.check()?;
    let empty = MemoryState::default();
    let mut state = Overlay::new(&empty);
    let tip = Tip {
        height: initial_height.saturating_sub(1),
        time_ms,
        counter: 0,
        beacon: lockstep_vm::hash::hash("lockstep/beacon/v1", &[chain_id.as_bytes()]).to_vec(),
        chain_id: chain_id.to_string(),
        initial_height,
        trial_clock: 0,
    };
    let updates = crate::genesis::apply(genesis, &tip, &mut state)?;
    Ok((state.into_writes(), updates))
}

/// Runs a block on top of the committed state. Repeatable: nothing is changed but what is returned.
///
/// # Errors
/// Only a [`Fault`]: the caller must stop the node and write nothing.
pub fn finalize(
    state: &dyn StateRead,
    block: &Block<'_>,
    verifier: &dyn Verifier,
) -> Result<Outcome, Fault> {
    let params = context::params(state)?;
    let before = context::tip(state)?;
    if before.height.checked_add(1) != Some(block.header.height) {
        return Err(Fault::Invariant("a block does not follow the state's height"));
    }
    // A proposer's extended commit was checked by more than two thirds before; one that does not
    // decode counts as none.
    let injected = block.txs.first();
    let commit = injected.and_then(|bytes| ExtendedCommit::decode(bytes.as_slice()).ok());
    let commit = commit.unwrap_or_else(|| ExtendedCommit { empty: true, ..Default::default() });
    let tip = next_tip(&before, &block.header, &commit)?;

    let mut overlay = Overlay::new(state);
    TIP.put(&mut overlay, &(), &tip);
    let mut ctx = Context::new(&mut overlay, &params, &tip);
    stop_on(begin(&mut ctx, block, &commit))?;
    let mut events = core::mem::take(&mut ctx.events);

    let mut txs = Vec::with_capacity(block.txs.len());
    txs.extend(injected.map(|_| TxOutcome::default()));
    for bytes in block.txs.iter().skip(1) {
        let mode = Mode::Deliver(verifier);
        let (outcome, writes) = pipeline::execute(&overlay, &params, &tip, bytes, mode)?;
        overlay.absorb(writes);
        txs.push(outcome);
    }

    let tip = without_full_height(tip, &before, &mut overlay)?;
    let mut ctx = Context::new(&mut overlay, &params, &tip);
    let validator_updates = stop_on(end(&mut ctx))?;
    events.append(&mut ctx.events);
    Ok(Outcome { writes: overlay.into_writes(), txs, events, validator_updates })
}

/// Takes the height back from the trial clock where its budget of moves was used up, so that nobody can
/// be late who found no room.
pub(crate) fn without_full_height(
    mut tip: Tip,
    before: &Tip,
    overlay: &mut Overlay<'_>,
) -> Result<Tip, Fault> {
    let totals = TOTALS.must(overlay, &())?;
    if trial::is_full(&totals, tip.height) {
        tip.trial_clock = before.trial_clock;
        TIP.put(overlay, &(), &tip);
    }
    Ok(tip)
}

pub(crate) fn next_tip(
    before: &Tip,
    header: &Header,
    commit: &ExtendedCommit,
) -> Result<Tip, Fault> {
    let counted = u64::from(!commit.empty);
    Ok(Tip {
        height: header.height,
        time_ms: header.time_ms.max(before.time_ms),
        counter: before.counter.checked_add(counted).ok_or(Fault::Invariant("counter"))?,
        beacon: lockstep_vm::hash::hash("lockstep/beacon/v1", &[&before.beacon, &header.hash])
            .to_vec(),
        chain_id: before.chain_id.clone(),
        initial_height: before.initial_height,
        trial_clock: before.trial_clock.checked_add(counted).ok_or(Fault::Invariant("clock"))?,
    })
}

/// What comes before the transactions: misbehaviour, and what executors put into their votes.
fn begin(
    ctx: &mut Context<'_, '_>,
    block: &Block<'_>,
    commit: &ExtendedCommit,
) -> Result<(), TxError> {
    for evidence in &block.evidence {
        staking::slashing::evidence(ctx, evidence)?;
    }
    for ((until_ms, digest), _) in UNORDERED.scan(ctx.state, &(), DUE_PER_BLOCK_MAX)? {
        if until_ms > ctx.tip.time_ms {
            break;
        }
        UNORDERED.delete(ctx.state, &(until_ms, digest));
    }
    extension::apply(ctx, commit)
}

/// What comes after the transactions: queues that are due, then the one update of voting power.
pub(crate) fn end(ctx: &mut Context<'_, '_>) -> Result<Vec<ValidatorUpdate>, TxError> {
    job::window::close_due(ctx)?;
    staking::slashing::execute(ctx)?;
    staking::unbonding::mature(ctx)?;
    staking::power::update(ctx)
}

/// Outside a transaction a refusal cannot be: it means that the books are wrong.
pub(crate) fn stop_on<T>(result: Result<T, TxError>) -> Result<T, Fault> {
    result.map_err(|error| match error {
        TxError::Fault(fault) => fault,
        TxError::Reject(OVERFLOW) => Fault::Invariant("overflow outside a transaction"),
        TxError::Reject(reject) => Fault::Invariant(reject.reason),
    })
}
