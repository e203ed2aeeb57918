//! What may wait for a block, and what a transaction would do.

use crate::block::TxOutcome;
use crate::context;
use crate::envelope::Verifier;
use crate::error::Fault;
use crate::state::{Overlay, StateRead};
use crate::tx::{self, Mode};

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
    Ok(tx::execute(&overlay, &params, &tip, bytes, mode)?.0)
}
