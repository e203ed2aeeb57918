//! How a trial begins, and how challenges join it.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, JobState, Member, MemberState};
use lockstep_proto::lockstep::trial::v1::{Answer, Challenge, Supporter, SupporterState, Trial};
use lockstep_vm::hash::Hex;

use super::{
    BOTH_SIDES, OUT, answer_of, bonds, challenge as challenge_of, get, keep, party, supporter,
};
use crate::address::{self, Address};
use crate::bank::address_of;
use crate::context::Context;
use crate::error::{Fault, Reject, TxError};
use crate::event::Event;
use crate::job::{self, present};
use crate::limits::{
    ANSWER_CHALLENGES_MAX, TRIAL_AUTHORS_MAX, TRIAL_CHALLENGES_MAX, TRIAL_OUTSIDERS_MAX,
};
use crate::state::tables::{Hash, VALIDATORS};
use crate::trial::defend::leaves;
use crate::trial::game::next_deadline;

/// The answer is not in its challenge window, or the trial takes no more challenges.
pub const NO_WINDOW: Reject =
    Reject::new(4600, "the job's answer cannot be challenged now; hint: only within its window");
/// Another answer stands or is on trial.
pub const NO_SUCH_ANSWER: Reject = Reject::new(4601, "that is no answer to this job");
/// One bond for each challenger and answer.
pub const CHALLENGED_ALREADY: Reject =
    Reject::new(4602, "the account has challenged this answer already");
/// The trial's lists are full.
pub const TOO_MANY: Reject = Reject::new(4604, "the trial has too many challenges or answers");

/// Puts all revealed answers on trial; each member that revealed one may call the others' traces.
///
/// # Errors
/// Only a fault.
pub fn by_difference(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    let trial = begin(ctx, &mut job)?;
    let mut event = Event::new("answers_differ").with("job", job.id);
    for supporter in &trial.supporters {
        let answer = usize::try_from(supporter.answer).ok().and_then(|n| trial.answers.get(n));
        let root = answer.map_or(&[][..], |answer| &answer.result_root);
        event = event
            .with("validator", address::operator(&address_of(&supporter.validator)?))
            .with("result_root", Hex(root));
    }
    ctx.emit(event);
    keep(ctx, job, &trial)
}

/// A trial of everything that members of this attempt stand behind.
fn begin(ctx: &Context<'_, '_>, job: &mut Job) -> Result<Trial, TxError> {
    let params = ctx.params;
    let trace_ms = trace_ms(ctx, job)?;
    let defend_counter = ctx.tip.trial_clock.saturating_add(params.trial_defend_blocks.max(1));
    let defend_time_ms =
        ctx.tip.time_ms.saturating_add(params.trial_defend_ms).saturating_add(trace_ms);
    let mut trial = Trial {
        job: job.id,
        attempt: job.attempt,
        started_height: ctx.tip.height,
        defend_counter,
        defend_time_ms,
        call_counter: defend_counter.saturating_add(params.trial_call_blocks),
        call_time_ms: defend_time_ms.saturating_add(params.trial_call_ms).saturating_add(trace_ms),
        trace_ms,
        challenge_blocks_left: job.challenge_counter.saturating_sub(ctx.tip.counter),
        challenge_ms_left: job.challenge_time_ms.saturating_sub(ctx.tip.time_ms),
        ..Trial::default()
    };
    if job.state() == JobState::Verified {
        // It stands even where no member is left behind it.
        let author = job.earners.first().map(|earner| earner.account.clone()).unwrap_or_default();
        trial.answers.push(Answer { result_root: job.result_root.clone(), fallen: false, author });
    }
    let revealed = |member: &&Member| member.state() == MemberState::Revealed;
    for member in present(job).filter(revealed) {
        let answer = match answer_of(&trial, &member.result_root) {
            Some(answer) => answer,
            None => push_answer(&mut trial, &member.result_root, &[])?,
        };
        let operator = address_of(&member.validator)?;
        let executor = VALIDATORS.must(ctx.state, &operator)?.executor;
        trial.supporters.push(Supporter {
            account: if executor.is_empty() { operator.to_vec() } else { executor },
            validator: operator.to_vec(),
            answer,
            bond: 0,
            state: SupporterState::In.into(),
        });
    }
    job.set_state(JobState::OnTrial);
    Ok(trial)
}

/// How long an honest party may trace the job, so that no window ends before it could.
fn trace_ms(ctx: &Context<'_, '_>, job: &Job) -> Result<u64, TxError> {
    let leaves = leaves(ctx, job)?;
    Ok(leaves.saturating_mul(ctx.params.trial_us_per_leaf).div_ceil(1_000))
}

fn push_answer(trial: &mut Trial, result_root: &[u8], author: &[u8]) -> Result<u32, TxError> {
    let number = u32::try_from(trial.answers.len()).map_err(|_| TOO_MANY)?;
    trial.answers.push(Answer {
        result_root: result_root.to_vec(),
        fallen: false,
        author: author.to_vec(),
    });
    Ok(number)
}

/// Puts an answer on trial, with a bond, and what the challenger says instead, with another one.
///
/// # Errors
/// Where the answer cannot be challenged now, or not by this account, or it cannot pay.
pub fn challenge(
    ctx: &mut Context<'_, '_>,
    signer: &Address,
    id: u64,
    result_root: &Hash,
    own: Option<&Hash>,
) -> Result<(), TxError> {
    let mut job = job::get(ctx.state, id)?;
    let mut trial = match job.state() {
        JobState::Verified if in_window(ctx, &job) => begin(ctx, &mut job)?,
        JobState::OnTrial => get(ctx.state, id)?,
        _ => return Err(NO_WINDOW.into()),
    };
    if trial.defend_over {
        return Err(NO_WINDOW.into());
    }
    let answer = answer_of(&trial, result_root).ok_or(NO_SUCH_ANSWER)?;
    let account = party(ctx, &trial, signer)?;
    if let Some(supporter) = supporter(&trial, &account) {
        if supporter.state() != SupporterState::In {
            return Err(OUT.into());
        }
        if supporter.answer == answer {
            return Err(BOTH_SIDES.into());
        }
    }
    if challenge_of(&trial, &account, answer).is_some() {
        return Err(CHALLENGED_ALREADY.into());
    }
    let same = trial.challenges.iter().filter(|challenge| challenge.answer == answer);
    if same.count() >= ANSWER_CHALLENGES_MAX || trial.challenges.len() >= TRIAL_CHALLENGES_MAX {
        return Err(TOO_MANY.into());
    }
    let bond = bonds::post(ctx, trial.job, signer)?;
    let payer = signer.to_vec();
    trial.challenges.push(Challenge { account: account.to_vec(), answer, bond, payer });
    if let Some(own) = own {
        bring_answer(ctx, &mut trial, signer, &account, own)?;
    }
    ctx.emit(
        Event::new("challenged")
            .with("job", id)
            .with("challenger", address::account(&account))
            .with("result_root", Hex(result_root)),
    );
    keep(ctx, job, &trial)
}

/// Whether a verified answer can still be challenged.
#[must_use]
pub fn in_window(ctx: &Context<'_, '_>, job: &Job) -> bool {
    ctx.tip.counter < job.challenge_counter || ctx.tip.time_ms < job.challenge_time_ms
}

/// Whoever brings an answer that nobody gave is its author: it earns what members do if it survives.
fn bring_answer(
    ctx: &mut Context<'_, '_>,
    trial: &mut Trial,
    signer: &Address,
    account: &Address,
    own: &Hash,
) -> Result<(), TxError> {
    let answer = if let Some(answer) = answer_of(trial, own) {
        answer
    } else {
        let authors = trial.answers.iter().filter(|answer| !answer.author.is_empty());
        if authors.count() >= TRIAL_AUTHORS_MAX {
            return Err(TOO_MANY.into());
        }
        extend(ctx, trial);
        push_answer(trial, own, account)?
    };
    support(ctx, trial, signer, account, answer)
}

/// Whoever has something against a new answer finds the time for a move. There are few new ones.
fn extend(ctx: &Context<'_, '_>, trial: &mut Trial) {
    let (counter, time_ms) = next_deadline(ctx, trial);
    let blocks = counter.saturating_sub(trial.defend_counter);
    let millis = time_ms.saturating_sub(trial.defend_time_ms);
    trial.defend_counter = trial.defend_counter.saturating_add(blocks);
    trial.call_counter = trial.call_counter.saturating_add(blocks);
    trial.defend_time_ms = trial.defend_time_ms.saturating_add(millis);
    trial.call_time_ms = trial.call_time_ms.saturating_add(millis);
}

/// Makes sure that the account stands behind an answer; takes a bond where it did not before.
///
/// # Errors
/// Where it stands elsewhere, or cannot pay.
pub(super) fn support(
    ctx: &mut Context<'_, '_>,
    trial: &mut Trial,
    signer: &Address,
    account: &Address,
    answer: u32,
) -> Result<(), TxError> {
    if challenge_of(trial, account, answer).is_some() {
        return Err(BOTH_SIDES.into());
    }
    match supporter(trial, account) {
        Some(found) if found.state() != SupporterState::In => Err(OUT.into()),
        Some(found) if found.answer != answer => Err(BOTH_SIDES.into()),
        Some(_) => Ok(()),
        None => {
            if !has_place(trial, account, answer) {
                return Err(TOO_MANY.into());
            }
            let bond = bonds::post(ctx, trial.job, signer)?;
            trial.supporters.push(Supporter {
                account: account.to_vec(),
                validator: Vec::new(),
                answer,
                bond,
                state: SupporterState::In.into(),
            });
            Ok(())
        }
    }
}

/// Whether another bond may stand behind an answer: its author's always. Whoever has paid it has a place
/// for its trace.
fn has_place(trial: &Trial, account: &Address, answer: u32) -> bool {
    let author = |account: &[u8]| {
        let found = usize::try_from(answer).ok().and_then(|place| trial.answers.get(place));
        found.is_some_and(|answer| answer.author == account)
    };
    let outsiders = trial.supporters.iter().filter(|supporter| {
        let outside = supporter.validator.is_empty() && !author(&supporter.account);
        outside && supporter.answer == answer
    });
    author(account) || outsiders.count() < TRIAL_OUTSIDERS_MAX
}

/// The member's place in the job, for its supporter in the trial.
///
/// # Errors
/// A fault where there is none.
pub(super) fn member_of<'a>(
    job: &'a mut Job,
    supporter: &Supporter,
) -> Result<&'a mut Member, Fault> {
    let attempt = job.attempt;
    let found = |m: &&mut Member| m.attempt == attempt && m.validator == supporter.validator;
    job.members.iter_mut().find(found).ok_or(Fault::Invariant("a supporter is no member"))
}
