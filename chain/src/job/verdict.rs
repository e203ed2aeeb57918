//! Which answer stands.
//!
//! [`judge`] is the whole rule, one function of what was revealed. A proof by recomputation is to
//! replace it: then a difference no longer asks how many say so.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, JobState, MemberState};
use lockstep_proto::lockstep::staking::v1::Offence;

use super::{committee, open_window, present, save, settle};
use crate::address::{self, Address};
use crate::bank::address_of;
use crate::context::Context;
use crate::error::TxError;
use crate::event::Event;
use crate::staking::power;
use crate::staking::slashing::{self, Finding};

/// An answer that a member revealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who.
    pub operator: Address,
    /// Its voting power.
    pub power: u64,
    /// What.
    pub result_root: Vec<u8>,
    /// When it committed to it.
    pub committed_height: u64,
}

/// What follows from the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// One answer stands; those who gave another were wrong.
    Stands {
        /// The answer.
        result_root: Vec<u8>,
        /// Who gave another, by place in the list.
        wrong: Vec<usize>,
    },
    /// Answers differ, and not everyone was asked yet.
    AskEveryone,
    /// Answers differ and no side has enough; nobody is called a liar.
    Undecided,
    /// Nobody revealed.
    Nothing,
}

/// Judges the answers of one attempt.
///
/// Equal answers stand. Until a proof decides, a difference asks all executors, and equal answers
/// of more than two thirds of the total power stand; whoever is outvoted counts as proven wrong.
#[must_use]
pub fn judge(answers: &[Answer], escalated: bool, total: u64) -> Verdict {
    let mut sides: BTreeMap<&[u8], u64> = BTreeMap::new();
    for answer in answers {
        let side = sides.entry(&answer.result_root).or_default();
        *side = side.saturating_add(answer.power);
    }
    let standing = match (sides.len(), escalated) {
        (0, _) => return Verdict::Nothing,
        (1, false) => sides.keys().next(),
        (_, false) => return Verdict::AskEveryone,
        (_, true) => sides.iter().find(|(_, p)| power::exceeds(**p, total, 2, 3)).map(|(r, _)| r),
    };
    let Some(result_root) = standing.map(|root| root.to_vec()) else { return Verdict::Undecided };
    let wrong = answers.iter().enumerate().filter(|(_, a)| a.result_root != result_root);
    Verdict::Stands { wrong: wrong.map(|(place, _)| place).collect(), result_root }
}

/// Carries out what the judgement says of a job all of whose members have acted or run out of time.
///
/// # Errors
/// Only a fault.
pub fn decide(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    let answers = answers(&job)?;
    let (_, total) = power::bonded(ctx.state)?;
    match judge(&answers, job.escalated, total) {
        Verdict::Stands { result_root, wrong } => {
            for place in wrong {
                let Some(answer) = answers.get(place) else { continue };
                let finding = Finding {
                    operator: answer.operator,
                    offence: Offence::WrongResult,
                    job: job.id,
                    infraction_height: answer.committed_height,
                };
                slashing::record(ctx, &finding)?;
            }
            stand(ctx, job, result_root)
        }
        Verdict::AskEveryone => {
            job.escalated = true;
            job.set_state(JobState::OnTrial);
            ctx.emit(differ(&job, &answers));
            if committee::ask_everyone(ctx, &mut job)? == 0 {
                return decide(ctx, job);
            }
            let (blocks, ms) = (ctx.params.commit_window_blocks, ctx.params.commit_window_ms);
            open_window(ctx, &mut job, blocks, ms);
            Ok(save(ctx, &job)?)
        }
        Verdict::Undecided => settle::refund(ctx, job, JobState::Failed),
        Verdict::Nothing => attempt_again(ctx, job),
    }
}

fn answers(job: &Job) -> Result<Vec<Answer>, TxError> {
    let mut answers = Vec::new();
    for member in present(job).filter(|member| member.state() == MemberState::Revealed) {
        answers.push(Answer {
            operator: address_of(&member.validator)?,
            power: member.power,
            result_root: member.result_root.clone(),
            committed_height: member.committed_height,
        });
    }
    Ok(answers)
}

fn differ(job: &Job, answers: &[Answer]) -> Event {
    let event = Event::new("answers_differ").with("job", job.id);
    answers.iter().fold(event, |event, answer| {
        event
            .with("validator", address::operator(&answer.operator))
            .with("result_root", lockstep_vm::hash::Hex(&answer.result_root))
    })
}

/// One answer stands: its output is to be delivered, and the challenge window runs.
fn stand(ctx: &mut Context<'_, '_>, mut job: Job, result_root: Vec<u8>) -> Result<(), TxError> {
    job.set_state(JobState::Verified);
    job.result_root = result_root;
    job.verified_height = ctx.tip.height;
    let counter = ctx.tip.counter;
    job.challenge_counter = counter.saturating_add(ctx.params.challenge_window_blocks);
    job.challenge_time_ms = ctx.tip.time_ms.saturating_add(ctx.params.challenge_window_ms);
    job.delivery_open = false;
    open_window(ctx, &mut job, ctx.params.deliver_window_blocks, ctx.params.deliver_window_ms);
    Ok(save(ctx, &job)?)
}

/// Starts over with members that had no part in the last attempt, or gives up.
///
/// # Errors
/// Only a fault.
pub fn attempt_again(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    if job.attempt >= ctx.params.attempts_max {
        return settle::refund(ctx, job, JobState::Failed);
    }
    settle::release_commitments(ctx, &job)?;
    job.attempt = job.attempt.saturating_add(1);
    job.escalated = false;
    job.result_root.clear();
    job.set_state(JobState::Posted);
    if !committee::fill(ctx, &mut job)? {
        return settle::refund(ctx, job, JobState::Failed);
    }
    open_window(ctx, &mut job, ctx.params.commit_window_blocks, ctx.params.commit_window_ms);
    Ok(save(ctx, &job)?)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn answers(list: &[(u8, u64, u8)]) -> Vec<Answer> {
        let answer = |(operator, power, root): &(u8, u64, u8)| Answer {
            operator: [*operator; 20],
            power: *power,
            result_root: vec![*root; 32],
            committed_height: 1,
        };
        list.iter().map(answer).collect()
    }

    #[test]
    fn equal_answers_stand_however_few() {
        let verdict = judge(&answers(&[(1, 1, 7), (2, 1, 7)]), false, 100);
        assert_eq!(verdict, Verdict::Stands { result_root: vec![7; 32], wrong: vec![] });
    }

    #[test]
    fn a_difference_asks_everyone_before_anyone_is_called_a_liar() {
        assert_eq!(judge(&answers(&[(1, 90, 7), (2, 1, 8)]), false, 100), Verdict::AskEveryone);
    }

    #[test]
    fn more_than_two_thirds_of_the_total_power_decide_and_exactly_two_thirds_do_not() {
        let three = answers(&[(1, 100, 7), (2, 100, 8), (3, 100, 7), (4, 100, 7)]);
        let verdict = judge(&three, true, 400);
        assert_eq!(verdict, Verdict::Stands { result_root: vec![7; 32], wrong: vec![1] });
        let two = answers(&[(1, 100, 7), (2, 100, 8), (3, 100, 7)]);
        assert_eq!(judge(&two, true, 300), Verdict::Undecided);
    }

    #[test]
    fn no_answer_is_no_verdict() {
        assert_eq!(judge(&[], true, 300), Verdict::Nothing);
    }
}
