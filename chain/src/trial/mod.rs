//! Disputes: which of several answers is right, found by recomputing one step.
//!
//! Only traces are on trial. Whoever supports an answer posts the root of its trace (`defend`);
//! whoever doubts the answer calls the trace's nodes, eight levels at a time, down to a leaf (`game`);
//! there the chain recomputes the leaf. A trace that is refuted or left undefended falls, and an answer
//! without a trace that stands falls with it (`fall`). `open` begins a trial, `close` ends what nobody
//! moved in time, and the trial. Silence loses.

pub mod bonds;
pub mod close;
pub mod defend;
#[cfg(test)]
mod exhaustive_tests;
pub mod fall;
pub mod game;
#[cfg(test)]
mod game_tests;
#[cfg(test)]
mod moves;
pub mod open;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traces;
mod tree;

use lockstep_proto::lockstep::chain::v1::Totals;
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::trial::v1::{
    Answer, Challenge, GameState, Supporter, SupporterState, Trace, Trial,
};

use crate::address::Address;
use crate::bank::address_of;
use crate::context::Context;
use crate::error::{Fault, MOVES_FULL, Reject, TOO_LARGE, TxError};
use crate::job::{executor_of, save};
use crate::limits::{TRIAL_MOVES_PER_BLOCK_MAX, TRIAL_PROOF_MOVES};
use crate::state::StateRead;
use crate::state::tables::TRIALS;

/// There is no trial of that job now.
pub const NOT_ON_TRIAL: Reject = Reject::new(4700, "the job is not on trial");
/// The account conceded, or was proven wrong, in this trial.
pub const OUT: Reject = Reject::new(4605, "the account has conceded or was proven wrong here");
/// An account would be on both sides of an answer, or stand behind two.
pub const BOTH_SIDES: Reject =
    Reject::new(4603, "an account cannot doubt what it supports, nor support two answers");

/// The trial of a job.
///
/// # Errors
/// [`NOT_ON_TRIAL`].
pub fn get(state: &dyn StateRead, job: u64) -> Result<Trial, TxError> {
    Ok(TRIALS.get(state, &job)?.ok_or(NOT_ON_TRIAL)?)
}

/// Who the signer is in this trial. A member is known by the account that worked for its validator
/// when the trial began, so that a new executor can go on where the old one stopped.
///
/// # Errors
/// Only a fault.
pub fn party(ctx: &Context<'_, '_>, trial: &Trial, signer: &Address) -> Result<Address, TxError> {
    let operator = match executor_of(ctx.state, signer) {
        Ok(operator) => operator,
        Err(TxError::Reject(_)) => return Ok(*signer),
        Err(fault) => return Err(fault),
    };
    let member = trial.supporters.iter().find(|supporter| supporter.validator == operator);
    Ok(member.map_or(Ok(*signer), |member| address_of(&member.account))?)
}

/// Who is paid for what a party does: a member's operator, as for its work; else the account itself.
///
/// # Errors
/// A fault where the state is corrupt.
pub fn payee(trial: &Trial, account: &[u8]) -> Result<Address, Fault> {
    let member =
        |supporter: &&Supporter| supporter.account == account && !supporter.validator.is_empty();
    let validator = trial.supporters.iter().find(member).map(|member| member.validator.as_slice());
    address_of(validator.unwrap_or(account))
}

/// What the account supports, if anything.
#[must_use]
pub fn supporter<'a>(trial: &'a Trial, account: &Address) -> Option<&'a Supporter> {
    trial.supporters.iter().find(|supporter| supporter.account == account)
}

/// Its bonded challenge of an answer, if there is one.
#[must_use]
pub fn challenge<'a>(trial: &'a Trial, account: &[u8], answer: u32) -> Option<&'a Challenge> {
    trial.challenges.iter().find(|c| c.account == account && c.answer == answer)
}

/// The number of the answer with this root.
#[must_use]
pub fn answer_of(trial: &Trial, result_root: &[u8]) -> Option<u32> {
    let place = trial.answers.iter().position(|answer| answer.result_root == result_root)?;
    u32::try_from(place).ok()
}

/// A trace by its number.
#[must_use]
pub fn trace(trial: &Trial, number: u32) -> Option<&Trace> {
    trial.traces.get(usize::try_from(number).ok()?)
}

fn trace_mut(trial: &mut Trial, number: u32) -> Option<&mut Trace> {
    trial.traces.get_mut(usize::try_from(number).ok()?)
}

/// Whether the account may call the traces of an answer: who challenged it, and who stands behind
/// another, with its stake or a bond.
#[must_use]
pub fn may_call(trial: &Trial, account: &[u8], answer: u32) -> bool {
    let stands = |supporter: &Supporter| {
        supporter.account == account
            && supporter.state() == SupporterState::In
            && supporter.answer != answer
    };
    challenge(trial, account, answer).is_some() || trial.supporters.iter().any(stands)
}

/// Whether a trace for the answer stands.
#[must_use]
pub fn has_trace(trial: &Trial, answer: u32) -> bool {
    trial.traces.iter().any(|trace| trace.answer == answer && !trace.fallen)
}

/// The answers that have not fallen, by number.
pub fn survivors(trial: &Trial) -> impl Iterator<Item = (u32, &Answer)> {
    (0_u32..).zip(&trial.answers).filter(|(_, answer)| !answer.fallen)
}

/// Whether a height's budget had no place left for a proof, so that somebody may have found none.
#[must_use]
pub fn is_full(totals: &Totals, height: u64) -> bool {
    let left = TRIAL_MOVES_PER_BLOCK_MAX.saturating_sub(totals.moves);
    totals.moves_height == height && left < TRIAL_PROOF_MOVES
}

/// Whether a deadline has passed: so many heights of the trial clock, and so much block time.
#[must_use]
pub fn passed(ctx: &Context<'_, '_>, counter: u64, time_ms: u64) -> bool {
    ctx.tip.trial_clock >= counter && ctx.tip.time_ms >= time_ms
}

/// Whether the trial is decided: no game runs, and nobody can begin one.
#[must_use]
pub fn is_over(trial: &Trial) -> bool {
    let runs = |state: GameState| matches!(state, GameState::Open | GameState::Call);
    if !trial.defend_over || trial.games.iter().any(|game| runs(game.state())) {
        return false;
    }
    trial.call_over || !anyone_may_begin(trial)
}

/// Whether somebody may call a trace that stands and that it has not called yet.
fn anyone_may_begin(trial: &Trial) -> bool {
    let callers = trial.challenges.iter().map(|challenge| &challenge.account);
    let callers = callers.chain(trial.supporters.iter().map(|supporter| &supporter.account));
    let standing = (0_u32..).zip(&trial.traces).filter(|(_, trace)| !trace.fallen);
    callers.into_iter().any(|account| {
        standing.clone().any(|(number, trace)| {
            let played = trial.games.iter().any(|g| g.trace == number && g.challenger == *account);
            !played && may_call(trial, account, trace.answer)
        })
    })
}

/// Takes a transaction's moves out of the block's budget, or only looks whether a block has so many.
///
/// # Errors
/// [`MOVES_FULL`].
pub fn spend(ctx: &mut Context<'_, '_>, cost: u32, takes: bool) -> Result<(), TxError> {
    if cost > TRIAL_MOVES_PER_BLOCK_MAX {
        return Err(TOO_LARGE.into());
    }
    if cost == 0 || !takes {
        return Ok(());
    }
    let height = ctx.tip.height;
    ctx.totals(|totals| {
        if totals.moves_height != height {
            (totals.moves_height, totals.moves) = (height, 0);
        }
        let moves = totals.moves.saturating_add(cost);
        if moves > TRIAL_MOVES_PER_BLOCK_MAX {
            return Err(MOVES_FULL.into());
        }
        totals.moves = moves;
        Ok(())
    })
}

/// Writes a trial and its job, which waits for the trial's next deadline; for none where it is over.
///
/// # Errors
/// Only a fault.
pub fn keep(ctx: &mut Context<'_, '_>, mut job: Job, trial: &Trial) -> Result<(), TxError> {
    let moves = trial.games.iter().filter_map(|game| match game.state() {
        GameState::Open | GameState::Call => Some(game.move_counter),
        GameState::Unspecified | GameState::Won | GameState::Lost => None,
    });
    let defend = (!trial.defend_over).then_some(trial.defend_counter);
    let call = (!trial.call_over).then_some(trial.call_counter);
    let next = moves.chain(defend).chain(call).min().unwrap_or(0);
    // The trial clock is never faster than the counter. Where it is slower, or block time is, the
    // job is looked at again with the next counted height.
    let wait = if is_over(trial) { 0 } else { next.saturating_sub(ctx.tip.trial_clock).max(1) };
    job.window_counter = ctx.tip.counter.saturating_add(wait);
    job.window_time_ms = 0;
    TRIALS.put(ctx.state, &job.id, trial);
    Ok(save(ctx, &job)?)
}
