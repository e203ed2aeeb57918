//! What ends a game, an answer or a trial when nobody moves any more.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Earner, Job, JobState};
use lockstep_proto::lockstep::trial::v1::{Answer, GameState, Trace, Trial};

use super::{bonds, fall, get, has_trace, is_over, keep, passed, survivors};
use crate::bank::address_of;
use crate::context::{Context, add};
use crate::error::{Fault, TxError};
use crate::event::Event;
use crate::job::{open_window, save, verdict};
use crate::state::tables::{ACCOUNTS, TRACE_NODES, TRACE_STEPS, TRIALS};

/// Looks at a job on trial: which deadlines have passed, and whether the trial is over.
///
/// # Errors
/// Only a fault.
pub fn look(ctx: &mut Context<'_, '_>, mut job: Job) -> Result<(), TxError> {
    let mut trial = get(ctx.state, job.id).map_err(|_| Fault::Invariant("a job without trial"))?;
    end_games(ctx, &mut job, &mut trial)?;
    if !trial.defend_over && passed(ctx, trial.defend_counter, trial.defend_time_ms) {
        trial.defend_over = true;
        let undefended: Vec<u32> = survivors(&trial)
            .map(|(number, _)| number)
            .filter(|number| !has_trace(&trial, *number))
            .collect();
        for number in undefended {
            fall::answer(ctx, &mut job, &mut trial, number)?;
        }
    }
    if trial.defend_over && !trial.call_over {
        trial.call_over = passed(ctx, trial.call_counter, trial.call_time_ms);
    }
    if is_over(&trial) { end(ctx, job, &trial) } else { keep(ctx, job, &trial) }
}

/// Whoever was to move in time has lost: a challenger its game, a defence its trace.
fn end_games(ctx: &mut Context<'_, '_>, job: &mut Job, trial: &mut Trial) -> Result<(), TxError> {
    let mut silent = Vec::new();
    for game in &mut trial.games {
        if !passed(ctx, game.move_counter, game.move_time_ms) {
            continue;
        }
        match game.state() {
            GameState::Call => game.set_state(GameState::Lost),
            GameState::Open => silent.push(game.trace),
            GameState::Unspecified | GameState::Won | GameState::Lost => {}
        }
    }
    silent.sort_unstable();
    silent.dedup();
    for number in silent {
        fall::trace(ctx, job, trial, number)?;
    }
    Ok(())
}

/// Pays or returns every bond, forgets the trial, and lets the job go on with the one answer that
/// survived; where none or several did, with a new attempt.
fn end(ctx: &mut Context<'_, '_>, mut job: Job, trial: &Trial) -> Result<(), TxError> {
    settle_challenges(ctx, trial)?;
    for supporter in trial.supporters.iter().filter(|supporter| supporter.bond > 0) {
        bonds::give_back(ctx, trial.job, &supporter.account, supporter.bond)?;
    }
    TRIALS.delete(ctx.state, &job.id);
    for (key, _) in TRACE_NODES.scan(ctx.state, &job.id, usize::MAX)? {
        TRACE_NODES.delete(ctx.state, &key);
    }
    for (key, _) in TRACE_STEPS.scan(ctx.state, &job.id, usize::MAX)? {
        TRACE_STEPS.delete(ctx.state, &key);
    }
    let left: Vec<_> = survivors(trial).collect();
    ctx.emit(
        Event::new("trial_ended")
            .with("job", job.id)
            .with("attempt", job.attempt)
            .with("answers", left.len()),
    );
    let [(number, answer)] = left.as_slice() else { return verdict::attempt_again(ctx, job) };
    if answer.result_root == job.result_root {
        return resume(ctx, job, trial);
    }
    job.earners = earner(ctx, trial, *number, answer)?.into_iter().collect();
    verdict::stand(ctx, job, answer.result_root.clone())
}

/// A challenge of a verified answer has failed: what was left of its window goes on, for at least as
/// long as a move.
fn resume(ctx: &mut Context<'_, '_>, mut job: Job, trial: &Trial) -> Result<(), TxError> {
    job.set_state(JobState::Verified);
    let blocks = trial.challenge_blocks_left.max(ctx.params.trial_move_blocks);
    let millis = trial.challenge_ms_left.max(ctx.params.trial_move_ms);
    job.challenge_counter = ctx.tip.counter.saturating_add(blocks);
    job.challenge_time_ms = ctx.tip.time_ms.saturating_add(millis);
    if job.delivered_height == 0 {
        let (blocks, ms) = (ctx.params.deliver_window_blocks, ctx.params.deliver_window_ms);
        open_window(ctx, &mut job, blocks, ms);
    } else {
        job.window_counter = job.challenge_counter;
        job.window_time_ms = job.challenge_time_ms;
    }
    Ok(save(ctx, &job)?)
}

/// Whose trace of an answer that no member had given stood first earns what members do: its author's, if
/// that has done the work.
fn earner(
    ctx: &Context<'_, '_>,
    trial: &Trial,
    number: u32,
    answer: &Answer,
) -> Result<Option<Earner>, TxError> {
    let stands = |trace: &&Trace| trace.answer == number && !trace.fallen;
    let first = trial.traces.iter().find(stands).filter(|_| !answer.author.is_empty());
    let Some(trace) = first else { return Ok(None) };
    let validator = ACCOUNTS.must(ctx.state, &address_of(&trace.account)?)?.validator;
    Ok(Some(Earner { account: trace.account.clone(), validator }))
}

/// The bond of a challenge is lost where the answer survives.
fn settle_challenges(ctx: &mut Context<'_, '_>, trial: &Trial) -> Result<(), TxError> {
    for (number, answer) in (0_u32..).zip(&trial.answers) {
        let mut lost = 0_u64;
        for challenge in trial.challenges.iter().filter(|c| c.answer == number) {
            if answer.fallen {
                bonds::give_back(ctx, trial.job, &challenge.payer, challenge.bond)?;
            } else {
                lost = add(lost, challenge.bond)?;
            }
        }
        bonds::pay_defence(ctx, trial, number, lost)?;
    }
    Ok(())
}
