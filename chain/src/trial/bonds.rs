//! Bonds: taken from whoever puts an answer on trial or stands behind one without stake, held in a pool
//! of their own. Each has one exit: back, or to the winners' costs and premiums and the fire.

use alloc::vec::Vec;

use lockstep_proto::lockstep::staking::v1::Reward;
use lockstep_proto::lockstep::trial::v1::Trial;

use super::payee;
use crate::address::{self, Address};
use crate::bank::{address_of, burn, deposit, withdraw};
use crate::context::{Context, add, take};
use crate::error::TxError;
use crate::event::Event;
use crate::staking::slashing;

/// Takes a bond from an account; returns how much.
///
/// # Errors
/// Where the account holds less.
pub fn post(ctx: &mut Context<'_, '_>, job: u64, account: &Address) -> Result<u64, TxError> {
    let bond = ctx.params.trial_bond;
    withdraw(ctx, account, bond)?;
    ctx.totals(|totals| {
        totals.bonds = add(totals.bonds, bond)?;
        Ok(())
    })?;
    ctx.emit(event("bond_posted", job, bond).with("account", address::account(account)));
    Ok(bond)
}

fn release(ctx: &mut Context<'_, '_>, bond: u64) -> Result<(), TxError> {
    ctx.totals(|totals| {
        totals.bonds = take(totals.bonds, bond)?;
        Ok(())
    })
}

/// Gives a bond back.
///
/// # Errors
/// Only a fault.
pub fn give_back(
    ctx: &mut Context<'_, '_>,
    job: u64,
    account: &[u8],
    bond: u64,
) -> Result<(), TxError> {
    release(ctx, bond)?;
    let account = address_of(account)?;
    deposit(ctx, &account, bond)?;
    ctx.emit(event("bond_returned", job, bond).with("account", address::account(&account)));
    Ok(())
}

/// Forfeits the bond of a supporter that was wrong: to the winners as a slash would be, as if all of it
/// were self-bond.
///
/// # Errors
/// Only a fault.
pub fn forfeit(
    ctx: &mut Context<'_, '_>,
    job: u64,
    bond: u64,
    mut winners: Vec<Reward>,
    premium_max: u64,
) -> Result<(), TxError> {
    release(ctx, bond)?;
    slashing::pay_out(ctx, bond, bond, premium_max, &mut winners)?;
    let mut event = event("bond_forfeited", job, bond);
    for winner in &winners {
        event = rewarded(event, &address_of(&winner.account)?, winner.amount);
    }
    ctx.emit(event);
    Ok(())
}

/// Forfeits lost challenges of an answer: to what its traces' defence cost, in order; the rest burns.
///
/// # Errors
/// Only a fault.
pub fn pay_defence(
    ctx: &mut Context<'_, '_>,
    trial: &Trial,
    answer: u32,
    bonds: u64,
) -> Result<(), TxError> {
    if bonds == 0 {
        return Ok(());
    }
    release(ctx, bonds)?;
    let mut left = bonds;
    let mut event = event("bond_forfeited", trial.job, bonds);
    for trace in trial.traces.iter().filter(|t| t.answer == answer && !t.fallen) {
        let cost = ctx.params.trial_move_cost.saturating_mul(trace.moves.into()).min(left);
        let account = payee(trial, &trace.account)?;
        deposit(ctx, &account, cost)?;
        left = take(left, cost)?;
        event = rewarded(event, &account, cost);
    }
    burn(ctx, left)?;
    ctx.emit(event);
    Ok(())
}

fn event(kind: &str, job: u64, bond: u64) -> Event {
    Event::new(kind).with("job", job).with("amount", bond)
}

/// Adds who gets a part of what was taken; the rest burns.
fn rewarded(event: Event, account: &Address, amount: u64) -> Event {
    event.with("rewarded", address::account(account)).with("reward", amount)
}
