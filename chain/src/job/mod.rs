//! The life of a job, from escrow to payout.
//!
//! `posting` opens it, `phase` takes commitments, reveals and outputs, `window` ends what nobody
//! finished in time, `verdict` lets equal answers stand and puts others on trial ([`crate::trial`]),
//! `settle` pays and closes. A job is written
//! in one place, [`save`], which keeps the queues and the executors' duties in step with it.

pub mod committee;
pub mod phase;
pub mod posting;
pub mod settle;
pub mod verdict;
pub mod window;

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Earner, Job, JobState, Member, MemberState};

use crate::address::Address;
use crate::bank::address_of;
use crate::context::Context;
use crate::error::{Fault, NO_SUCH_JOB, NOT_AN_EXECUTOR, TxError};
use crate::event::Event;
use crate::staking::power;
use crate::state::StateRead;
use crate::state::tables::{ACCOUNTS, DUTIES, JOBS, JOBS_DUE, VALIDATORS, VERIFIED};

/// What an executor can be asked to do for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Fetch the input blob and attest to it.
    Hold,
    /// Run and commit.
    Commit,
    /// Open the commitment.
    Reveal,
    /// Hand in the output.
    Deliver,
}

impl Duty {
    /// Its part of the key in the table of duties; permanent.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Hold => 1,
            Self::Commit => 2,
            Self::Reveal => 3,
            Self::Deliver => 4,
        }
    }
}

/// The operator that an executor's account works for.
///
/// # Errors
/// [`NOT_AN_EXECUTOR`].
pub fn executor_of(state: &dyn StateRead, executor: &Address) -> Result<Address, TxError> {
    let account = ACCOUNTS.get(state, executor)?.ok_or(NOT_AN_EXECUTOR)?;
    let operator = Address::try_from(account.validator).map_err(|_| NOT_AN_EXECUTOR)?;
    let validator = VALIDATORS.must(state, &operator)?;
    if validator.executor != executor {
        return Err(NOT_AN_EXECUTOR.into());
    }
    Ok(operator)
}

/// A job by its id.
///
/// # Errors
/// [`NO_SUCH_JOB`].
pub fn get(state: &dyn StateRead, id: u64) -> Result<Job, TxError> {
    Ok(JOBS.get(state, &id)?.ok_or(NO_SUCH_JOB)?)
}

/// Whether the job has ended; what has ended never changes again.
#[must_use]
pub fn is_terminal(state: JobState) -> bool {
    match state {
        JobState::Final
        | JobState::Expired
        | JobState::Unavailable
        | JobState::Failed
        | JobState::Cancelled => true,
        JobState::Unspecified
        | JobState::AwaitingInput
        | JobState::Posted
        | JobState::Committed
        | JobState::OnTrial
        | JobState::Verified => false,
    }
}

/// Whether members may commit.
#[must_use]
pub fn in_commit_phase(job: &Job) -> bool {
    job.state() == JobState::Posted
}

/// Whether members may reveal.
#[must_use]
pub fn in_reveal_phase(job: &Job) -> bool {
    job.state() == JobState::Committed
}

/// The members of the present attempt.
pub fn present(job: &Job) -> impl Iterator<Item = &Member> {
    job.members.iter().filter(move |member| member.attempt == job.attempt)
}

/// Who is asked to do what now, as far as it follows from the job alone.
fn duties(job: &Job) -> Result<Vec<(Address, Duty)>, Fault> {
    let of = |wanted: MemberState, duty: Duty| {
        present(job)
            .filter(|member| member.state() == wanted)
            .map(|member| Ok((address_of(&member.validator)?, duty)))
            .collect()
    };
    if in_commit_phase(job) {
        return of(MemberState::Asked, Duty::Commit);
    }
    if in_reveal_phase(job) {
        return of(MemberState::Committed, Duty::Reveal);
    }
    if job.state() != JobState::Verified || job.delivered_height != 0 {
        return Ok(Vec::new());
    }
    let members = deliverers(job).map(|member| &member.validator);
    let outside = earners(job).map(|earner| &earner.validator).filter(|of| !of.is_empty());
    members.chain(outside).map(|operator| Ok((address_of(operator)?, Duty::Deliver))).collect()
}

/// The members that revealed the answer that stands, and were not wrong about it.
pub fn right_members(job: &Job) -> impl Iterator<Item = &Member> {
    present(job).filter(|member| {
        member.state() == MemberState::Revealed && member.result_root == job.result_root
    })
}

/// The members that may hand in the output: the first that was right, after its window all of them.
fn deliverers(job: &Job) -> impl Iterator<Item = &Member> {
    right_members(job).take(if job.delivery_open { usize::MAX } else { 1 })
}

/// Who may hand it in besides: whoever brought the answer, where the members have let their window pass
/// or there is none.
fn earners(job: &Job) -> impl Iterator<Item = &Earner> {
    let now = job.delivery_open || right_members(job).next().is_none();
    job.earners.iter().filter(move |_| now)
}

/// Writes a job, and moves its place in the queues and among the duties.
///
/// # Errors
/// A fault where the state is corrupt.
pub fn save(ctx: &mut Context<'_, '_>, job: &Job) -> Result<(), Fault> {
    let before = JOBS.get(ctx.state, &job.id)?;
    if let Some(before) = &before {
        JOBS_DUE.delete(ctx.state, &(before.window_counter, job.id));
        for (operator, duty) in duties(before)? {
            DUTIES.delete(ctx.state, &(operator, duty.number(), job.id));
        }
        if before.state() == JobState::AwaitingInput {
            for (operator, _) in power::all(ctx.state)? {
                DUTIES.delete(ctx.state, &(operator, Duty::Hold.number(), job.id));
            }
        }
    }
    for (operator, duty) in duties(job)? {
        DUTIES.put(ctx.state, &(operator, duty.number(), job.id), &job.id);
    }
    if job.state() == JobState::AwaitingInput {
        for (operator, _) in power::bonded(ctx.state)?.0 {
            if !job.holders.iter().any(|holder| *holder == operator) {
                DUTIES.put(ctx.state, &(operator, Duty::Hold.number(), job.id), &job.id);
            }
        }
    }
    if !is_terminal(job.state()) {
        JOBS_DUE.put(ctx.state, &(job.window_counter, job.id), &job.id);
    }
    JOBS.put(ctx.state, &job.id, job);
    if job.state() == JobState::Verified {
        VERIFIED.put(ctx.state, &job.id, &job.id);
    } else if before.as_ref().is_some_and(|before| before.state() == JobState::Verified) {
        VERIFIED.delete(ctx.state, &job.id);
    }
    let state_before = before.map_or(JobState::Unspecified, |before| before.state());
    if state_before != job.state() {
        ctx.emit(
            Event::new("job")
                .with("job", job.id)
                .with("state", job.state().as_str_name())
                .with("attempt", job.attempt),
        );
    }
    Ok(())
}

/// Starts the window of the present phase: counted heights AND block time must pass.
pub fn open_window(ctx: &Context<'_, '_>, job: &mut Job, blocks: u64, millis: u64) {
    job.window_counter = ctx.tip.counter.saturating_add(blocks.max(1));
    job.window_time_ms = ctx.tip.time_ms.saturating_add(millis);
}
