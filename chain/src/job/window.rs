//! What happens when a window ends: absences are noted, others are asked, or the job ends.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, JobState, MemberState};
use lockstep_proto::lockstep::staking::v1::Offence;

use super::{committee, open_window, phase, present, save, settle, verdict};
use crate::address::Address;
use crate::bank::address_of;
use crate::context::Context;
use crate::error::{Fault, TxError};
use crate::limits::DUE_PER_BLOCK_MAX;
use crate::model::possession;
use crate::staking::power;
use crate::staking::slashing::{self, Finding};
use crate::state::tables::{JOBS, JOBS_DUE};
use crate::trial;

/// Works off the windows that end with this block, first in, first out.
///
/// # Errors
/// Only a fault.
pub fn close_due(ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
    for ((counter, id), _) in JOBS_DUE.scan(ctx.state, &(), DUE_PER_BLOCK_MAX)? {
        if counter > ctx.tip.counter {
            break;
        }
        let mut job = JOBS.must(ctx.state, &id)?;
        if job.window_time_ms > ctx.tip.time_ms {
            job.window_counter = ctx.tip.counter.saturating_add(1);
            save(ctx, &job)?;
            continue;
        }
        close(ctx, job)?;
    }
    Ok(())
}

fn close(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    match job.state() {
        JobState::AwaitingInput => settle::refund(ctx, job, JobState::Unavailable),
        JobState::Posted => end_commits(ctx, job),
        JobState::Committed => end_reveals(ctx, job),
        JobState::OnTrial => trial::close::look(ctx, job),
        JobState::Verified if job.delivered_height != 0 => settle::finish(ctx, job),
        JobState::Verified if job.delivery_open => verdict::attempt_again(ctx, job),
        JobState::Verified => {
            job.delivery_open = true;
            let (blocks, ms) = (ctx.params.deliver_window_blocks, ctx.params.deliver_window_ms);
            open_window(ctx, &mut job, blocks, ms);
            Ok(save(ctx, &job)?)
        }
        JobState::Unspecified
        | JobState::Final
        | JobState::Expired
        | JobState::Unavailable
        | JobState::Failed
        | JobState::Cancelled => Err(Fault::Invariant("an ended job has a window").into()),
    }
}

/// Members that have not committed are no-shows; the next in turn are asked.
fn end_commits(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    let absent = mark(&mut job, MemberState::Asked, MemberState::NoShow)?;
    no_shows(ctx, &job, &absent)?;
    let committed = present(&job).any(|member| member.state() == MemberState::Committed);
    if !committed && ctx.tip.height >= job.deadline_height {
        return settle::refund(ctx, job, JobState::Expired);
    }
    let enough = committee::fill(ctx, &mut job)?;
    if !enough {
        return settle::refund(ctx, job, JobState::Expired);
    }
    if anyone_asked(&job) {
        let (blocks, ms) = (ctx.params.commit_window_blocks, ctx.params.commit_window_ms);
        open_window(ctx, &mut job, blocks, ms);
    } else {
        phase::close_commits(ctx, &mut job);
    }
    Ok(save(ctx, &job)?)
}

fn anyone_asked(job: &Job) -> bool {
    present(job).any(|member| member.state() == MemberState::Asked)
}

/// Members that have not revealed lose a little; what the others revealed stands.
fn end_reveals(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    for (operator, committed_height) in
        mark(&mut job, MemberState::Committed, MemberState::Unrevealed)?
    {
        let finding = Finding::new(operator, Offence::NoReveal, job.id, committed_height);
        slashing::record(ctx, finding)?;
    }
    verdict::decide(ctx, job)
}

/// Moves the members of this attempt from one state to another; returns who they were and when
/// they had committed.
fn mark(job: &mut Job, from: MemberState, to: MemberState) -> Result<Vec<(Address, u64)>, Fault> {
    let attempt = job.attempt;
    let mut moved = Vec::new();
    for member in &mut job.members {
        if member.attempt == attempt && member.state() == from {
            member.set_state(to);
            moved.push((address_of(&member.validator)?, member.committed_height));
        }
    }
    Ok(moved)
}

/// A no-show is out of committees until it proves possession anew, and loses a little stake, unless
/// so much of the power is absent that something else is at work.
fn no_shows(
    ctx: &mut Context<'_, '_>,
    job: &Job,
    absent: &[(Address, u64)],
) -> Result<(), TxError> {
    let (bonded, total) = power::bonded(ctx.state)?;
    let gone = bonded.iter().filter(|(known, _)| absent.iter().any(|(who, _)| who == known));
    let gone = gone.fold(0_u64, |sum, (_, power)| sum.saturating_add(*power));
    let penalise = !power::exceeds(gone, total, 1, 3);
    for (operator, _) in absent {
        possession::withdraw(ctx, job.version, operator);
        if penalise {
            let finding = Finding::new(*operator, Offence::NoShow, job.id, job.posted_height);
            slashing::record(ctx, finding)?;
        }
    }
    Ok(())
}
