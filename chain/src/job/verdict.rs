//! What follows from the answers that were revealed.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, JobState, MemberState};

use super::{committee, open_window, present, save, settle};
use crate::context::Context;
use crate::error::TxError;
use crate::trial;

/// Goes on with a job all of whose members have acted or run out of time: equal answers stand, however
/// few; where they differ, all go on trial. A majority never decides what is right.
///
/// # Errors
/// Only a fault.
pub fn decide(ctx: &mut Context<'_, '_>, job: Job) -> Result<(), TxError> {
    let revealed = present(&job).filter(|member| member.state() == MemberState::Revealed);
    let answers: BTreeSet<Vec<u8>> = revealed.map(|member| member.result_root.clone()).collect();
    if answers.len() > 1 {
        return trial::open::by_difference(ctx, job);
    }
    match answers.into_iter().next() {
        Some(result_root) => stand(ctx, job, result_root),
        None => attempt_again(ctx, job),
    }
}

/// One answer stands: its output is to be delivered, and the challenge window runs.
///
/// # Errors
/// Only a fault.
pub fn stand(ctx: &mut Context<'_, '_>, mut job: Job, result_root: Vec<u8>) -> Result<(), TxError> {
    forget_output(&mut job);
    job.set_state(JobState::Verified);
    job.result_root = result_root;
    job.verified_height = ctx.tip.height;
    let counter = ctx.tip.counter;
    job.challenge_counter = counter.saturating_add(ctx.params.challenge_window_blocks);
    job.challenge_time_ms = ctx.tip.time_ms.saturating_add(ctx.params.challenge_window_ms);
    open_window(ctx, &mut job, ctx.params.deliver_window_blocks, ctx.params.deliver_window_ms);
    Ok(save(ctx, &job)?)
}

/// Nothing is delivered of another answer than the one that was to stand.
fn forget_output(job: &mut Job) {
    job.delivery_open = false;
    job.delivered_height = 0;
    job.status = 0;
    job.output_root.clear();
    job.output.clear();
}

/// Starts over with members that had no part in the last attempt, or gives up.
///
/// # Errors
/// Only a fault.
pub fn attempt_again(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    forget_output(&mut job);
    job.result_root.clear();
    job.earners.clear();
    if job.attempt >= ctx.params.attempts_max {
        return settle::refund(ctx, job, JobState::Failed);
    }
    settle::release_commitments(ctx, &job)?;
    job.attempt = job.attempt.saturating_add(1);
    job.set_state(JobState::Posted);
    if !committee::fill(ctx, &mut job)? {
        return settle::refund(ctx, job, JobState::Failed);
    }
    open_window(ctx, &mut job, ctx.params.commit_window_blocks, ctx.params.commit_window_ms);
    Ok(save(ctx, &job)?)
}
