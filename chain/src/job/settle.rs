//! The one exit of an escrow: everything that was held for a job leaves here, once, exactly.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, JobState, Payout, PayoutKind};

use super::{is_terminal, posting, save};
use crate::address::{self, Address};
use crate::bank::{address_of, burn, deposit};
use crate::context::{Context, add, basis_points, share, take};
use crate::error::{Fault, TxError};
use crate::event::Event;
use crate::model::lineage;
use crate::state::tables::{COMMITMENTS, VERSIONS};

/// Pays everyone who made the result possible, and ends the job.
///
/// # Errors
/// Only a fault.
pub fn finish(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    let version = VERSIONS.must(ctx.state, &job.version)?;
    let params = ctx.params;
    let mut left = job.fee;
    let mut payouts = Vec::new();

    let pool = basis_points(job.fee, params.share_executors_bps);
    let right: Vec<Address> = right(&job)?;
    let heads = u64::try_from(right.len()).unwrap_or(u64::MAX);
    let each = share(pool, 1, heads);
    for account in &right {
        pay(ctx, &mut payouts, PayoutKind::Executor, account, each)?;
        left = take(left, each)?;
    }

    let models = basis_points(job.fee, params.share_model_bps);
    let (authors, rest) = lineage::pay(ctx, &version.recipients, models)?;
    payouts.extend(authors);
    left = take(left, take(models, rest)?)?;

    let burned = basis_points(job.fee, params.share_burn_bps);
    left = take(left, burned)?;
    // The treasury's share, and what rounding left over.
    let treasury = address_of(&params.treasury)?;
    pay(ctx, &mut payouts, PayoutKind::Treasury, &treasury, left)?;

    destroy(ctx, &mut payouts, add(burned, job.posting_charge)?)?;
    let poster = address_of(&job.poster)?;
    pay(ctx, &mut payouts, PayoutKind::Refund, &poster, job.deposit)?;
    job.payouts = payouts;
    end(ctx, job, JobState::Final)
}

/// Gives the poster everything back; the posting charge only where nobody else is to blame for it.
///
/// # Errors
/// Only a fault.
pub fn refund(ctx: &mut Context<'_, '_>, mut job: Job, state: JobState) -> Result<(), TxError> {
    let mut back = add(job.fee, job.deposit)?;
    let mut payouts = Vec::new();
    if matches!(state, JobState::Failed | JobState::Expired) {
        back = add(back, job.posting_charge)?;
    } else {
        destroy(ctx, &mut payouts, job.posting_charge)?;
    }
    let poster = address_of(&job.poster)?;
    pay(ctx, &mut payouts, PayoutKind::Refund, &poster, back)?;
    job.payouts = payouts;
    end(ctx, job, state)
}

/// The operators that revealed the answer that stands, without having been wrong about it, and whoever
/// brought it into a trial.
fn right(job: &Job) -> Result<Vec<Address>, Fault> {
    let members = super::right_members(job).map(|member| &member.validator);
    members.chain(job.earners.iter().map(|earner| &earner.account)).map(|a| address_of(a)).collect()
}

fn pay(
    ctx: &mut Context<'_, '_>,
    payouts: &mut Vec<Payout>,
    kind: PayoutKind,
    account: &Address,
    amount: u64,
) -> Result<(), TxError> {
    if amount > 0 {
        deposit(ctx, account, amount)?;
        payouts.push(Payout { kind: kind.into(), account: account.to_vec(), amount });
    }
    Ok(())
}

fn destroy(
    ctx: &mut Context<'_, '_>,
    payouts: &mut Vec<Payout>,
    amount: u64,
) -> Result<(), TxError> {
    if amount > 0 {
        burn(ctx, amount)?;
        payouts.push(Payout { kind: PayoutKind::Burn.into(), account: Vec::new(), amount });
    }
    Ok(())
}

/// Closes the escrow and the job. What was paid must be what was held.
fn end(ctx: &mut Context<'_, '_>, mut job: Job, state: JobState) -> Result<(), TxError> {
    if is_terminal(job.state()) {
        return Err(Fault::Invariant("a job would end twice").into());
    }
    let held = posting::escrow(&job)?;
    let paid = job.payouts.iter().try_fold(0_u64, |sum, p| sum.checked_add(p.amount));
    if paid != Some(held) {
        return Err(Fault::Invariant("a job's payouts are not its escrow").into());
    }
    ctx.totals(|totals| {
        totals.escrow = take(totals.escrow, held)?;
        totals.open_jobs = take(totals.open_jobs, 1)?;
        Ok(())
    })?;
    release_commitments(ctx, &job)?;
    job.set_state(state);
    job.ended_height = ctx.tip.height;
    ctx.emit(paid_out(&job)?);
    Ok(save(ctx, &job)?)
}

/// Where everything that was held for the job went.
fn paid_out(job: &Job) -> Result<Event, Fault> {
    let state = job.state().as_str_name();
    let mut event = Event::new("job_paid_out").with("job", job.id).with("state", state);
    for payout in &job.payouts {
        event = event.with("kind", payout.kind().as_str_name());
        if !payout.account.is_empty() {
            event = event.with("account", address::account(&address_of(&payout.account)?));
        }
        event = event.with("amount", payout.amount);
    }
    Ok(event)
}

/// The commitments to this job no longer hold back anyone's unbonding.
///
/// # Errors
/// A fault where the state is corrupt.
pub fn release_commitments(ctx: &mut Context<'_, '_>, job: &Job) -> Result<(), Fault> {
    for member in job.members.iter().filter(|member| member.committed_height != 0) {
        let operator = address_of(&member.validator)?;
        COMMITMENTS.delete(ctx.state, &(operator, member.committed_height, job.id));
    }
    Ok(())
}
