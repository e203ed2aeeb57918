//! What executors bring: attestations, commitments, reveals and outputs. Each checks first and
//! writes after, since vote extensions are applied without a transaction around them.

use lockstep_proto::lockstep::job::v1::{Job, JobState, Member, MemberState, RunStatus};

use super::{
    executor_of, get, in_commit_phase, in_reveal_phase, open_window, posting, save, settle, verdict,
};
use crate::address::Address;
use crate::commitment::{self, Opening};
use crate::context::Context;
use crate::error;
use crate::error::{Reject, TxError};
use crate::limits::INLINE_BYTES_MAX;
use crate::staking::power;
use crate::state::tables::{COMMITMENTS, Hash, VERSIONS};

/// The job is not in a phase that takes this.
pub const WRONG_PHASE: Reject = Reject::new(4200, "the job is not in that phase");
/// The validator is not asked for this, or has done it.
pub const NOT_ASKED: Reject = Reject::new(4201, "the validator is not asked for this now");
/// The attempt is over.
pub const WRONG_ATTEMPT: Reject = Reject::new(4202, "the job is in another attempt");
/// Salt and result do not give the commitment.
pub const WRONG_OPENING: Reject =
    Reject::new(4300, "salt and result root do not open the commitment");
/// The output does not give the agreed result.
pub const WRONG_OUTPUT: Reject = Reject::new(4400, "the output does not give the agreed result");

/// Counts a validator among those that hold a job's input; starts the job where that is enough.
///
/// # Errors
/// Where the job does not wait for it.
pub fn hold(ctx: &mut Context<'_, '_>, operator: &Address, id: u64) -> Result<(), TxError> {
    let mut job = get(ctx.state, id)?;
    if job.state() != JobState::AwaitingInput {
        return Err(WRONG_PHASE.into());
    }
    let (bonded, total) = power::bonded(ctx.state)?;
    if job.holders.iter().any(|holder| holder == operator)
        || !bonded.iter().any(|(known, _)| known == operator)
    {
        return Err(NOT_ASKED.into());
    }
    job.holders.push(operator.to_vec());
    let held = bonded.iter().filter(|(known, _)| job.holders.iter().any(|holder| holder == known));
    let held = held.fold(0_u64, |sum, (_, power)| sum.saturating_add(*power));
    if power::exceeds(held, total, 2, 3) {
        // Where no committee can be formed the job goes on waiting, until its window ends.
        let mut started = job.clone();
        match posting::start(ctx, &mut started) {
            Ok(()) => job = started,
            Err(TxError::Reject(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(save(ctx, &job)?)
}

/// Binds a member to a sealed result. The first commitment binds; a later one is refused.
///
/// # Errors
/// Where the member is not asked for it now.
pub fn commit(
    ctx: &mut Context<'_, '_>,
    operator: &Address,
    id: u64,
    attempt: u32,
    commitment: &Hash,
) -> Result<(), TxError> {
    let mut job = get(ctx.state, id)?;
    if !in_commit_phase(&job) {
        return Err(WRONG_PHASE.into());
    }
    let height = ctx.tip.height;
    let member = member(&mut job, operator, attempt, MemberState::Asked)?;
    member.set_state(MemberState::Committed);
    member.commitment = commitment.to_vec();
    member.committed_height = height;
    COMMITMENTS.put(ctx.state, &(*operator, height, id), &id);
    if !super::present(&job).any(|member| member.state() == MemberState::Asked) {
        close_commits(ctx, &mut job);
    }
    Ok(save(ctx, &job)?)
}

/// Ends a commit phase: from now on members reveal.
pub fn close_commits(ctx: &Context<'_, '_>, job: &mut Job) {
    job.set_state(JobState::Committed);
    open_window(ctx, job, ctx.params.reveal_window_blocks, ctx.params.reveal_window_ms);
}

/// Opens a member's commitment; decides the job where it was the last one.
///
/// # Errors
/// Where the member is not asked for it now, or the opening does not fit.
pub fn reveal(
    ctx: &mut Context<'_, '_>,
    operator: &Address,
    id: u64,
    opening: &Opening<'_>,
) -> Result<(), TxError> {
    let mut job = get(ctx.state, id)?;
    if !in_reveal_phase(&job) {
        return Err(WRONG_PHASE.into());
    }
    let height = ctx.tip.height;
    let expected = commitment::commitment(&ctx.tip.chain_id, id, operator, opening);
    let member = member(&mut job, operator, opening.attempt, MemberState::Committed)?;
    if member.commitment != expected {
        return Err(WRONG_OPENING.into());
    }
    member.set_state(MemberState::Revealed);
    member.result_root = opening.result_root.to_vec();
    member.revealed_height = height;
    if super::present(&job).any(|member| member.state() == MemberState::Committed) {
        return Ok(save(ctx, &job)?);
    }
    verdict::decide(ctx, job)
}

/// Takes the output behind the agreed result, from a member's executor or who brought the answer.
///
/// # Errors
/// Where it is not asked for now, or does not give the result.
pub fn deliver(
    ctx: &mut Context<'_, '_>,
    signer: &Address,
    id: u64,
    status: RunStatus,
    output: &[u8],
) -> Result<(), TxError> {
    let mut job = get(ctx.state, id)?;
    if job.state() != JobState::Verified || job.delivered_height != 0 {
        return Err(WRONG_PHASE.into());
    }
    let operator = match executor_of(ctx.state, signer) {
        Ok(operator) => Some(operator),
        Err(TxError::Reject(_)) => None,
        Err(fault) => return Err(fault),
    };
    let member = |operator| super::deliverers(&job).any(|member| member.validator == operator);
    // After the first window anybody may who has it: the poster must not wait for whom the chain pays.
    let outside = job.delivery_open || super::earners(&job).any(|earner| earner.account == signer);
    if !outside && !operator.is_some_and(member) {
        return Err(NOT_ASKED.into());
    }
    if output.len() > INLINE_BYTES_MAX {
        return Err(error::TOO_LARGE.into());
    }
    let version = VERSIONS.must(ctx.state, &job.version)?;
    let output_root = commitment::output_root(&version, status, output).ok_or(WRONG_OUTPUT)?;
    if commitment::result_root(&version, &job, status, &output_root)? != *job.result_root {
        return Err(WRONG_OUTPUT.into());
    }
    job.status = status.into();
    job.output_root = output_root.to_vec();
    job.output = output.to_vec();
    job.delivered_height = ctx.tip.height;
    job.window_counter = job.challenge_counter;
    job.window_time_ms = job.challenge_time_ms;
    if ctx.tip.counter >= job.window_counter && ctx.tip.time_ms >= job.window_time_ms {
        return settle::finish(ctx, job);
    }
    Ok(save(ctx, &job)?)
}

/// The operator's place in the present attempt, if it is in the state that is asked for.
fn member<'a>(
    job: &'a mut Job,
    operator: &Address,
    attempt: u32,
    state: MemberState,
) -> Result<&'a mut Member, Reject> {
    if attempt != job.attempt {
        return Err(WRONG_ATTEMPT);
    }
    let present = |member: &&mut Member| member.attempt == attempt && member.validator == operator;
    let member = job.members.iter_mut().find(present).ok_or(NOT_ASKED)?;
    if member.state() == state { Ok(member) } else { Err(NOT_ASKED) }
}
