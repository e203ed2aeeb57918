//! What the code that changes the state may see and touch.

use alloc::vec::Vec;

use lockstep_proto::lockstep::chain::v1::{Params, Tip, Totals};
use prost::{Message, Name};
use prost_types::Any;

use crate::error::{Fault, OUT_OF_GAS, OVERFLOW, Reject, TxError};
use crate::event::Event;
use crate::limits::SUPPLY_MAX;
use crate::state::Overlay;
use crate::state::tables::{PARAMS, TIP, TOTALS};
use crate::wire;

/// The state, the block that is being executed, and where events go.
#[derive(Debug)]
pub struct Context<'a, 'b> {
    /// The state, with what was written before in this block.
    pub state: &'a mut Overlay<'b>,
    /// The rules, as they stood when the block began.
    pub params: &'a Params,
    /// Height, time and counter of the block being executed.
    pub tip: &'a Tip,
    /// What observers are told.
    pub events: Vec<Event>,
    /// What the message answers.
    pub response: Option<Any>,
    /// The gas that its messages may use.
    pub gas_max: u64,
    /// The transaction only waits for a block: what a block will compute need not be computed now.
    pub waits: bool,
}

impl<'a, 'b> Context<'a, 'b> {
    /// A context without events.
    #[must_use]
    pub const fn new(state: &'a mut Overlay<'b>, params: &'a Params, tip: &'a Tip) -> Self {
        let events = Vec::new();
        Self { state, params, tip, events, response: None, gas_max: u64::MAX, waits: false }
    }

    /// Tells observers.
    pub fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Sets what the message answers.
    pub fn respond<M: Message + Name>(&mut self, message: &M) {
        self.response = Some(wire::any(message));
    }

    /// Takes gas for work that is about to be done.
    ///
    /// # Errors
    /// [`OUT_OF_GAS`], before the work.
    pub fn charge(&mut self, gas: u64) -> Result<(), TxError> {
        self.state.charge_gas(gas);
        if self.state.gas() > self.gas_max { Err(OUT_OF_GAS.into()) } else { Ok(()) }
    }

    /// Reads the counters and pools, lets `change` work on them, and writes them back.
    ///
    /// # Errors
    /// What `change` returns, and a failing store.
    pub fn totals<T>(
        &mut self,
        change: impl FnOnce(&mut Totals) -> Result<T, TxError>,
    ) -> Result<T, TxError> {
        let mut totals = TOTALS.must(self.state, &())?;
        let result = change(&mut totals)?;
        TOTALS.put(self.state, &(), &totals);
        Ok(result)
    }
}

/// The rules in force.
///
/// # Errors
/// Only when this node's store fails, or before genesis.
pub fn params(state: &dyn crate::state::StateRead) -> Result<Params, Fault> {
    PARAMS.must(state, &())
}

/// What the last block left behind.
///
/// # Errors
/// Only when this node's store fails, or before genesis.
pub fn tip(state: &dyn crate::state::StateRead) -> Result<Tip, Fault> {
    TIP.must(state, &())
}

/// `a + b`, refused where it does not fit.
///
/// # Errors
/// [`OVERFLOW`].
pub fn add(a: u64, b: u64) -> Result<u64, Reject> {
    a.checked_add(b).filter(|sum| *sum <= SUPPLY_MAX).ok_or(OVERFLOW)
}

/// `a - b` of an account in the books; less than zero means that the books are wrong.
///
/// # Errors
/// A fault: the caller has checked that there is enough.
pub fn take(a: u64, b: u64) -> Result<u64, Fault> {
    a.checked_sub(b).ok_or(Fault::Invariant("a pool would go below zero"))
}

/// `amount * part / whole`, rounded down; `whole` 0 gives 0.
#[must_use]
pub fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(amount).saturating_mul(u128::from(part));
    let quotient = product.checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// `amount * part / whole`, rounded up; `whole` 0 gives 0.
#[must_use]
pub fn share_up(amount: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(amount).saturating_mul(u128::from(part));
    let rounded = product.saturating_add(u128::from(whole.saturating_sub(1)));
    u64::try_from(rounded.checked_div(u128::from(whole)).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// `amount * bps / 10,000`, rounded down.
#[must_use]
pub fn basis_points(amount: u64, bps: u32) -> u64 {
    share(amount, u64::from(bps), 10_000)
}
