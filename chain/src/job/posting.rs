//! Opening a job: what it costs, and its escrow.

use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::model::v1::Version;

use super::{committee, open_window, save};
use crate::bank::withdraw;
use crate::context::{Context, add, basis_points, share_up};
use crate::error::{Fault, OVERFLOW, Reject, TxError};
use crate::model::artefact;
use crate::state::StateRead;
use crate::state::tables::{MANIFESTS, MODELS, PARAMS};

/// Executors with more than a third of the power do not hold the model now.
pub const NO_COMMITTEE: Reject =
    Reject::new(4006, "too few executors hold this version now; hint: try again later");

/// What a job with so many tokens costs, in ulock, without deposit and posting charge.
///
/// # Errors
/// Where the tokens are out of the program's range.
pub fn price(state: &dyn StateRead, version: &Version, tokens: u32) -> Result<u64, TxError> {
    let manifest = MANIFESTS.must(state, &version.id)?;
    let macs = artefact::macs(&manifest, tokens)?;
    let compute_price = PARAMS.must(state, &())?.compute_price;
    let model = MODELS.must(state, &version.model)?;
    Ok(add(model.price, share_up(macs, compute_price, 1_000_000))?)
}

/// Takes everything that the job may cost from its poster, and opens it.
///
/// The caller has filled in what the poster chose; the rest is set here.
///
/// # Errors
/// Where the poster cannot pay or no committee can be formed.
pub fn open(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<u64, TxError> {
    job.deposit = basis_points(job.fee, ctx.params.deposit_bps);
    job.posting_charge = ctx.params.posting_charge;
    let escrow = escrow(&job)?;
    withdraw(ctx, &crate::bank::address_of(&job.poster)?, escrow)?;
    job.id = ctx.totals(|totals| {
        totals.escrow = add(totals.escrow, escrow)?;
        totals.open_jobs = add(totals.open_jobs, 1)?;
        totals.jobs = add(totals.jobs, 1)?;
        Ok(totals.jobs)
    })?;
    job.attempt = 1;
    job.posted_height = ctx.tip.height;
    job.posted_time_ms = ctx.tip.time_ms;
    if job.input.is_empty() {
        job.set_state(JobState::AwaitingInput);
        let (blocks, millis) = (ctx.params.commit_window_blocks, ctx.params.commit_window_ms);
        open_window(ctx, &mut job, blocks, millis);
    } else {
        start(ctx, &mut job)?;
    }
    save(ctx, &job)?;
    Ok(job.id)
}

/// Begins the first commit phase.
///
/// # Errors
/// [`NO_COMMITTEE`].
pub fn start(ctx: &mut Context<'_, '_>, job: &mut Job) -> Result<(), TxError> {
    job.set_state(JobState::Posted);
    if !committee::fill(ctx, job)? {
        return Err(NO_COMMITTEE.into());
    }
    let (blocks, millis) = (ctx.params.commit_window_blocks, ctx.params.commit_window_ms);
    open_window(ctx, job, blocks, millis);
    Ok(())
}

/// What is held for a job, in ulock.
///
/// # Errors
/// [`OVERFLOW`].
pub fn escrow(job: &Job) -> Result<u64, TxError> {
    let sum = job.fee.checked_add(job.deposit).and_then(|s| s.checked_add(job.posting_charge));
    Ok(sum.ok_or(OVERFLOW)?)
}

/// [`escrow`] of a job in the books, where an overflow means that they are wrong.
///
/// # Errors
/// A fault where a job's escrow overflows.
pub fn escrow_checked(job: &Job) -> Result<u64, Fault> {
    escrow(job).map_err(|_| Fault::Invariant("a job's escrow overflows"))
}
