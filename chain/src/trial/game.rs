//! The moves: call a node, open it, prove a leaf.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::trial::v1::{Game, GameState, SupporterState, Trace, Trial};
use lockstep_vm::merkle;
use lockstep_vm::trace::{Statement, Step, verify_step};

use super::defend::{manifest, tokens};
use super::{fall, get, keep, may_call, party, supporter, trace as trace_of, trace_mut, tree};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{Fault, Reject, TxError};
use crate::event::Event;
use crate::job;
use crate::limits::GAS_PER_STEP;
use crate::state::tables::{Hash, TRACE_NODES, TRACE_STEPS};

/// No trace of that number stands.
pub const NO_SUCH_TRACE: Reject = Reject::new(4800, "no trace of that number stands");
/// The account may not call this trace.
pub const NOT_A_CHALLENGER: Reject =
    Reject::new(4801, "the account may not call this trace; hint: challenge its answer first");
/// The challenger has called, or lost.
pub const NOT_YOUR_MOVE: Reject =
    Reject::new(4802, "it is not this challenger's move, or its game is over");
/// The node does not lie below the one that was opened.
pub const WRONG_NODE: Reject =
    Reject::new(4803, "the node is not one of those eight levels below the one opened last");
/// No game begins any more.
pub const CALLS_OVER: Reject = Reject::new(4804, "no trace can be called for the first time now");
/// The leaf was proved already.
pub const PROVED_ALREADY: Reject = Reject::new(4805, "this leaf was proved already");
/// Nobody called the node.
pub const NOT_CALLED: Reject = Reject::new(4900, "the node is not called now");
/// The hashes do not fold to the node.
pub const WRONG_NODES: Reject = Reject::new(4901, "these nodes do not fold to the one called");
/// The account does not stand behind the answer.
pub const NOT_A_SUPPORTER: Reject =
    Reject::new(4902, "the account does not stand behind this trace's answer");
/// The leaf's hash is not known yet.
pub const NOT_OPENED: Reject = Reject::new(5000, "the leaf's hash has not been opened");
/// The witness does not open what the step needs.
pub const WITNESS_REFUSED: Reject =
    Reject::new(5001, "the witness is refused: it is malformed or does not open to the roots");
/// The account has no part in the trial.
pub const NO_STAKE: Reject =
    Reject::new(5002, "the account has no part in this trial; hint: challenge or defend first");

/// A node of a trace of a job.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// The job.
    pub job: u64,
    /// Number of the trace.
    pub trace: u32,
    /// From the leaves upward.
    pub level: u32,
    /// In its level.
    pub position: u64,
}

/// A trace that stands.
fn standing(trial: &Trial, number: u32) -> Result<Trace, Reject> {
    trace_of(trial, number).filter(|trace| !trace.fallen).cloned().ok_or(NO_SUCH_TRACE)
}

fn game_of(trial: &Trial, trace: u32, account: &Address) -> Option<usize> {
    trial.games.iter().position(|game| game.trace == trace && game.challenger == account)
}

/// Whether a challenger may call the node now, after what it called before.
fn check_call(
    trial: &Trial,
    trace: &Trace,
    before: Option<&Game>,
    account: &Address,
    node: &Node,
) -> Result<(), Reject> {
    if !tree::can_be_called(trace.leaves, node.level, node.position) {
        return Err(WRONG_NODE);
    }
    let (level, position) = match before {
        None if !may_call(trial, account, trace.answer) => return Err(NOT_A_CHALLENGER),
        None if trial.call_over => return Err(CALLS_OVER),
        None => (merkle::height(trace.leaves), 0),
        Some(game) if game.state() == GameState::Call => (game.level, game.position),
        Some(_) => return Err(NOT_YOUR_MOVE),
    };
    let next = merkle::below(level) == node.level;
    if next && tree::is_below(node.level, node.position, level, position) {
        Ok(())
    } else {
        Err(WRONG_NODE)
    }
}

/// Asks for what lies below a node, or for the proof of a leaf.
///
/// # Errors
/// Where the account may not, or it is not its move, or the node is not on its way.
pub fn call(ctx: &mut Context<'_, '_>, signer: &Address, node: &Node) -> Result<(), TxError> {
    let job = job::get(ctx.state, node.job)?;
    let mut trial = get(ctx.state, node.job)?;
    let trace = standing(&trial, node.trace)?;
    let account = party(ctx, &trial, signer)?;
    let place = game_of(&trial, node.trace, &account);
    let before = place.and_then(|place| trial.games.get(place));
    check_call(&trial, &trace, before, &account, node)?;
    let proved = (node.job, node.trace, node.position);
    if node.level == 0 && TRACE_STEPS.has(ctx.state, &proved)? {
        return Err(PROVED_ALREADY.into());
    }
    let key = (node.job, node.trace, node.level, node.position);
    let open = node.level > 0 && TRACE_NODES.has(ctx.state, &key)?;
    let state = if open { GameState::Call } else { GameState::Open };
    let (move_counter, move_time_ms) = next_deadline(ctx, &trial);
    let game = Game {
        trace: node.trace,
        challenger: account.to_vec(),
        level: node.level,
        position: node.position,
        state: state.into(),
        move_counter,
        move_time_ms,
        moves: before.map_or(0, |game| game.moves).saturating_add(1),
        paid_moves: before.map_or(0, |game| game.paid_moves),
    };
    match place.and_then(|place| trial.games.get_mut(place)) {
        Some(stored) => *stored = game,
        None => trial.games.push(game),
    }
    ctx.emit(event("called", node).with("challenger", address::account(&account)));
    keep(ctx, job, &trial)
}

/// Until when the next move has time, on the trial clock and in block time.
pub(super) fn next_deadline(ctx: &Context<'_, '_>, trial: &Trial) -> (u64, u64) {
    let time_ms = ctx.params.trial_move_ms.saturating_add(trial.trace_ms);
    (
        ctx.tip.trial_clock.saturating_add(ctx.params.trial_move_blocks.max(1)),
        ctx.tip.time_ms.saturating_add(time_ms),
    )
}

fn event(kind: &str, node: &Node) -> Event {
    Event::new(kind)
        .with("job", node.job)
        .with("trace", node.trace)
        .with("level", node.level)
        .with("position", node.position)
}

/// Gives what lies below a node that was called; every game that waits for it goes on.
///
/// # Errors
/// Where the node is not called, the account does not support the answer, or the nodes do not fold.
pub fn open(
    ctx: &mut Context<'_, '_>,
    signer: &Address,
    node: &Node,
    nodes: &[Hash],
) -> Result<(), TxError> {
    let job = job::get(ctx.state, node.job)?;
    let mut trial = get(ctx.state, node.job)?;
    let trace = standing(&trial, node.trace)?;
    let account = party(ctx, &trial, signer)?;
    if !supports(&trial, &account, trace.answer) {
        return Err(NOT_A_SUPPORTER.into());
    }
    let waits = |game: &Game| {
        game.trace == node.trace
            && game.state() == GameState::Open
            && (game.level, game.position) == (node.level, node.position)
    };
    if node.level == 0 || !trial.games.iter().any(waits) {
        return Err(NOT_CALLED.into());
    }
    let place = (node.level, node.position);
    let expected = tree::opened(ctx.state, node.job, node.trace, trace.leaves, place)?;
    let expected = expected.ok_or(Fault::Invariant("a called node has no hash"))?;
    if merkle::fold(trace.leaves, node.level, node.position, nodes) != Some(expected) {
        return Err(WRONG_NODES.into());
    }
    TRACE_NODES.put(ctx.state, &(node.job, node.trace, node.level, node.position), &nodes.concat());
    let (counter, time_ms) = next_deadline(ctx, &trial);
    for game in trial.games.iter_mut().filter(|game| waits(game)) {
        game.set_state(GameState::Call);
        (game.move_counter, game.move_time_ms) = (counter, time_ms);
    }
    defended(&mut trial, node.trace);
    ctx.emit(event("opened", node).with("defender", address::account(&account)));
    keep(ctx, job, &trial)
}

/// Whether the account stands behind the answer.
fn supports(trial: &Trial, account: &Address, answer: u32) -> bool {
    supporter(trial, account)
        .is_some_and(|found| found.answer == answer && found.state() == SupporterState::In)
}

/// Counts a move in a trace's defence.
fn defended(trial: &mut Trial, number: u32) {
    if let Some(trace) = trace_mut(trial, number) {
        trace.moves = trace.moves.saturating_add(1);
    }
}

/// Recomputes a leaf. If it is what the trace says, those who had called it have lost; else the trace
/// falls. Returns which.
///
/// # Errors
/// Where the leaf's hash is unknown, the account has no part in the trial, or the witness proves
/// nothing.
pub fn prove(
    ctx: &mut Context<'_, '_>,
    signer: &Address,
    node: &Node,
    witness: &[u8],
) -> Result<bool, TxError> {
    let mut job = job::get(ctx.state, node.job)?;
    let mut trial = get(ctx.state, node.job)?;
    let trace = standing(&trial, node.trace)?;
    let account = party(ctx, &trial, signer)?;
    if supporter(&trial, &account).is_none()
        && !trial.challenges.iter().any(|challenge| challenge.account == account)
    {
        return Err(NO_STAKE.into());
    }
    if TRACE_STEPS.has(ctx.state, &(node.job, node.trace, node.position))? {
        return Err(PROVED_ALREADY.into());
    }
    let place = (0, node.position);
    let claimed = tree::opened(ctx.state, node.job, node.trace, trace.leaves, place)?;
    let claimed = claimed.ok_or(NOT_OPENED)?;
    ctx.charge(GAS_PER_STEP)?;
    if ctx.waits {
        return Ok(true);
    }
    let right = recompute(ctx, &job, &trace, node.position, witness)? == Step::Leaf(claimed);
    let called = |game: &Game| {
        let there = game.trace == node.trace && (game.level, game.position) == place;
        there && game.state() == GameState::Open
    };
    // What nobody asked for would only cost the loser more.
    if right && !trial.games.iter().any(called) {
        return Err(NOT_CALLED.into());
    }
    ctx.emit(
        event("step_proved", node).with("prover", address::account(&account)).with("right", right),
    );
    count_move(&mut trial, &trace, node.trace, &account, right);
    if right {
        TRACE_STEPS.put(ctx.state, &(node.job, node.trace, node.position), &ctx.tip.height);
        for game in trial.games.iter_mut().filter(|game| called(game)) {
            game.set_state(GameState::Lost);
        }
    } else {
        fall::trace(ctx, &mut job, &mut trial, node.trace)?;
    }
    keep(ctx, job, &trial)?;
    Ok(right)
}

/// The proof is a move of its prover's game, or of the defence. Whoever refutes a leaf that it had not
/// called has played, and won.
fn count_move(trial: &mut Trial, trace: &Trace, number: u32, account: &Address, right: bool) {
    if supports(trial, account, trace.answer) {
        defended(trial, number);
        return;
    }
    if right {
        return;
    }
    if let Some(game) = game_of(trial, number, account).and_then(|at| trial.games.get_mut(at)) {
        game.moves = game.moves.saturating_add(1);
    } else if may_call(trial, account, trace.answer) {
        trial.games.push(Game {
            trace: number,
            challenger: account.to_vec(),
            level: merkle::height(trace.leaves),
            state: GameState::Call.into(),
            moves: 1,
            ..Game::default()
        });
    }
}

fn recompute(
    ctx: &Context<'_, '_>,
    job: &Job,
    trace: &Trace,
    position: u64,
    witness: &[u8],
) -> Result<Step, TxError> {
    let root = |bytes: &[u8]| -> Result<Hash, Fault> {
        bytes.try_into().map_err(|_| Fault::Invariant("a root in the state is not 32 bytes"))
    };
    let (input_root, steps_root) = (root(&job.input_root)?, root(&trace.steps_root)?);
    let manifest = manifest(ctx, job.version)?;
    let statement = Statement {
        manifest: &manifest,
        input_root: &input_root,
        tokens: tokens(job)?,
        steps_root: &steps_root,
    };
    Ok(verify_step(&statement, position, witness).map_err(|_| WITNESS_REFUSED)?)
}

/// Hashes as messages carry them.
///
/// # Errors
/// [`crate::error::BAD_FIELD`] where the bytes do not divide, or are more than a move opens.
pub fn hashes(bytes: &[u8]) -> Result<Vec<Hash>, Reject> {
    let hashes = tree::hashes(bytes).filter(|hashes| hashes.len() <= 1 << merkle::OPEN_LEVELS);
    hashes.map(<[Hash]>::to_vec).ok_or(crate::error::BAD_FIELD)
}
