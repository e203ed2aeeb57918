//! What may wait for a block, and what a transaction would do.

use crate::address::Address;
use crate::context;
use crate::envelope::{Envelope, Verifier};
use crate::error::Fault;
use crate::pipeline::{self, Mode, TxOutcome};
use crate::state::tables::ACCOUNTS;
use crate::state::{Overlay, StateRead};

/// Whether a transaction may wait: everything that a block would check, on a thrown-away overlay.
///
/// # Errors
/// Only a failing store.
pub fn check_tx(
    state: &dyn StateRead,
    bytes: &[u8],
    verifier: &dyn Verifier,
) -> Result<TxOutcome, Fault> {
    run(state, bytes, Mode::Check(verifier))
}

/// What decides where a waiting transaction can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Who has signed.
    pub signer: Address,
    /// None where unordered.
    pub sequence: Option<u64>,
    /// The account's next sequence in the committed state.
    pub next: u64,
    /// The gas that was signed.
    pub gas: u64,
    /// What it takes of a block's budget for moves, where it is nothing but moves of trials.
    pub moves: Option<u32>,
}

/// The place of a transaction; none where it can never stand in a block.
///
/// # Errors
/// Only a failing store.
pub fn place(state: &dyn StateRead, bytes: &[u8]) -> Result<Option<Place>, Fault> {
    let Ok(envelope) = Envelope::decode(bytes) else { return Ok(None) };
    let account = ACCOUNTS.get(state, &envelope.signer)?;
    Ok(account.map(|account| Place {
        signer: envelope.signer,
        sequence: envelope.unordered_until_ms.is_none().then_some(envelope.sequence),
        next: account.sequence,
        gas: envelope.gas_limit,
        moves: envelope.only_moves().then(|| envelope.moves()),
    }))
}

/// What a transaction would do now; neither its signature nor its fee counts.
///
/// # Errors
/// Only a failing store.
pub fn simulate(state: &dyn StateRead, bytes: &[u8]) -> Result<TxOutcome, Fault> {
    run(state, bytes, Mode::Simulate)
}

fn run(state: &dyn StateRead, bytes: &[u8], mode: Mode<'_>) -> Result<TxOutcome, Fault> {
    let params = context::params(state)?;
    let mut tip = context::tip(state)?;
    tip.height = tip.height.saturating_add(1);
    let overlay = Overlay::new(state);
    Ok(pipeline::execute(&overlay, &params, &tip, bytes, mode)?.0)
}
