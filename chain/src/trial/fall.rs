//! What falls, and who answers for it.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, MemberState};
use lockstep_proto::lockstep::staking::v1::{Offence, Reward};
use lockstep_proto::lockstep::trial::v1::{
    Game, GameState, Supporter, SupporterState, Trace, Trial,
};
use lockstep_vm::hash::Hex;

use super::open::member_of;
use super::{bonds, has_trace, payee, trace_mut};
use crate::address;
use crate::bank::address_of;
use crate::context::Context;
use crate::error::{Fault, TxError};
use crate::event::Event;
use crate::staking::slashing::{self, Finding};

/// What somebody is found to have done in a trial, and who is paid from the penalty.
#[derive(Debug, Clone)]
pub struct Blame {
    offence: Offence,
    winners: Vec<Reward>,
    premium: bool,
}

impl Blame {
    /// Its answer or trace was wrong.
    #[must_use]
    pub const fn wrong(winners: Vec<Reward>) -> Self {
        Self { offence: Offence::WrongResult, winners, premium: true }
    }

    /// It said so itself: it pays what the others' moves cost, and no premium.
    #[must_use]
    pub const fn conceded(winners: Vec<Reward>) -> Self {
        Self { offence: Offence::Conceded, winners, premium: false }
    }
}

/// A trace was refuted, or its defence fell silent: the games on it are won, whoever posted it was
/// wrong, and where traces are no longer taken and no other stands, its answer falls, too.
///
/// # Errors
/// Only a fault.
pub fn trace(
    ctx: &mut Context<'_, '_>,
    job: &mut Job,
    trial: &mut Trial,
    number: u32,
) -> Result<(), TxError> {
    let missing = Fault::Invariant("a trace that is not there falls");
    let fallen = trace_mut(trial, number).ok_or(missing)?;
    fallen.fallen = true;
    let (account, answer) = (fallen.account.clone(), fallen.answer);
    for game in trial.games.iter_mut().filter(|game| game.trace == number) {
        if matches!(game.state(), GameState::Open | GameState::Call) {
            game.set_state(GameState::Won);
        }
    }
    ctx.emit(
        Event::new("trace_fallen")
            .with("job", job.id)
            .with("trace", number)
            .with("defender", address::account(&address_of(&account)?)),
    );
    let won = |game: &Game| game.trace == number && game.state() == GameState::Won;
    let blame = Blame::wrong(charge(ctx, trial, won)?);
    let place = trial.supporters.iter().position(|supporter| supporter.account == account);
    condemn(ctx, job, trial, place.ok_or(Fault::Invariant("a trace without supporter"))?, &blame)?;
    if trial.defend_over && !has_trace(trial, answer) {
        self::answer(ctx, job, trial, answer)?;
    }
    Ok(())
}

/// An answer without a trace that stands: everybody behind it was wrong.
///
/// # Errors
/// Only a fault.
pub fn answer(
    ctx: &mut Context<'_, '_>,
    job: &mut Job,
    trial: &mut Trial,
    number: u32,
) -> Result<(), TxError> {
    let place = usize::try_from(number).ok();
    let fallen = place.and_then(|place| trial.answers.get_mut(place));
    let fallen = fallen.ok_or(Fault::Invariant("an answer that is not there falls"))?;
    fallen.fallen = true;
    let event = Event::new("answer_fallen").with("job", job.id);
    ctx.emit(event.with("result_root", Hex(&fallen.result_root)));
    let traces: Vec<u32> = of_answer(trial, number);
    let won = |game: &Game| traces.contains(&game.trace) && game.state() == GameState::Won;
    let mut winners = charge(ctx, trial, won)?;
    if winners.is_empty() {
        // Nobody defended it: whoever had put it on trial was right.
        for challenge in trial.challenges.iter().filter(|challenge| challenge.answer == number) {
            let account = payee(trial, &challenge.account)?.to_vec();
            winners.push(Reward { account, cost: 0, amount: 0 });
        }
    }
    let mut blame = Blame::wrong(winners);
    for place in 0..trial.supporters.len() {
        let behind = |supporter: &Supporter| {
            supporter.answer == number && supporter.state() == SupporterState::In
        };
        if trial.supporters.get(place).is_some_and(behind) {
            condemn(ctx, job, trial, place, &blame)?;
            blame.winners.iter_mut().for_each(|winner| winner.cost = 0);
        }
    }
    Ok(())
}

fn of_answer(trial: &Trial, answer: u32) -> Vec<u32> {
    let of = |(_, trace): &(u32, &Trace)| trace.answer == answer;
    (0_u32..).zip(&trial.traces).filter(of).map(|(number, _)| number).collect()
}

/// A member loses stake, anybody else its bond.
fn condemn(
    ctx: &mut Context<'_, '_>,
    job: &mut Job,
    trial: &mut Trial,
    place: usize,
    blame: &Blame,
) -> Result<(), TxError> {
    let supporter = trial.supporters.get_mut(place).ok_or(Fault::Invariant("no supporter"))?;
    if supporter.state() != SupporterState::In {
        return Ok(());
    }
    supporter.set_state(SupporterState::Wrong);
    if supporter.validator.is_empty() {
        let bond = core::mem::take(&mut supporter.bond);
        return bonds::forfeit(ctx, job.id, bond, blame.winners.clone(), premium_max(ctx, job));
    }
    let supporter = supporter.clone();
    find_against(ctx, job, &supporter, blame)?;
    member_of(job, &supporter)?.set_state(MemberState::Wrong);
    Ok(())
}

fn premium_max(ctx: &Context<'_, '_>, job: &Job) -> u64 {
    job.fee.saturating_mul(ctx.params.trial_premium_fees)
}

/// Records a verdict against a member, at most one of a kind for each validator and job, and none after a
/// lie.
///
/// # Errors
/// Only a fault.
pub fn find_against(
    ctx: &mut Context<'_, '_>,
    job: &mut Job,
    supporter: &Supporter,
    blame: &Blame,
) -> Result<(), TxError> {
    let attempt = job.attempt;
    let conceded = blame.offence == Offence::Conceded;
    let mut own = job.members.iter().filter(|member| member.validator == supporter.validator);
    // Whoever has conceded once has not bought the right to lie.
    let earlier =
        |state| state == MemberState::Wrong || (conceded && state == MemberState::Conceded);
    if own.any(|member| member.attempt != attempt && earlier(member.state())) {
        return Ok(());
    }
    let infraction_height = member_of(job, supporter)?.committed_height;
    let finding = Finding {
        rewards: blame.winners.clone(),
        premium_max: if blame.premium { premium_max(ctx, job) } else { 0 },
        least: if conceded { job.fee.saturating_mul(ctx.params.concede_fee_factor) } else { 0 },
        ..Finding::new(address_of(&supporter.validator)?, blame.offence, job.id, infraction_height)
    };
    slashing::record(ctx, finding)
}

/// What the moves of some games cost that no loser has been charged for, one entry for each challenger;
/// from now on one has.
fn charge(
    ctx: &Context<'_, '_>,
    trial: &mut Trial,
    wanted: impl Fn(&Game) -> bool,
) -> Result<Vec<Reward>, Fault> {
    let mut rewards: Vec<Reward> = Vec::new();
    let games: Vec<Game> = trial.games.iter().filter(|game| wanted(game)).cloned().collect();
    for game in games {
        let account = payee(trial, &game.challenger)?.to_vec();
        let moves = u64::from(game.moves.saturating_sub(game.paid_moves));
        let cost = ctx.params.trial_move_cost.saturating_mul(moves);
        match rewards.iter_mut().find(|reward| reward.account == account) {
            Some(reward) => reward.cost = reward.cost.saturating_add(cost),
            None => rewards.push(Reward { account, cost, amount: 0 }),
        }
    }
    for game in trial.games.iter_mut().filter(|game| wanted(game)) {
        game.paid_moves = game.moves;
    }
    Ok(rewards)
}

/// [`charge`] for all moves against an answer's traces that were not lost.
///
/// # Errors
/// A fault where the state is corrupt.
pub fn charge_so_far(
    ctx: &Context<'_, '_>,
    trial: &mut Trial,
    answer: u32,
) -> Result<Vec<Reward>, Fault> {
    let traces = of_answer(trial, answer);
    charge(ctx, trial, |game| traces.contains(&game.trace) && game.state() != GameState::Lost)
}
