//! For tests: what parties of a trial can do, and what an honest one does.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::trial::v1::{GameState, Trial};
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle;

use super::defend::{concede, defend};
use super::game::{self, Node};
use super::open;
use super::testing::{World, auditor};
use super::traces::{Model, Trace};
use crate::address::Address;
use crate::error::Reject;
use crate::job::phase;

/// Which of the prepared traces.
pub(super) type Kind = usize;
pub(super) const HONEST: Kind = 0;
pub(super) const LIAR: Kind = 1;
pub(super) const BOGUS: Kind = 2;

/// What a party can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Challenge {
        answer: Kind,
        own: Option<Kind>,
    },
    Defend(Kind),
    Concede,
    /// The node on the way to a leaf.
    Call {
        trace: u32,
        leaf: u64,
    },
    Open {
        trace: u32,
        level: u32,
        position: u64,
    },
    Prove {
        trace: u32,
        leaf: u64,
    },
    Deliver(Kind),
}

pub(super) struct Game {
    pub(super) model: Model,
    pub(super) traces: [Trace; 3],
    pub(super) witnesses: BTreeMap<(Kind, u64), Vec<u8>>,
    /// A leaf that is right in all of them.
    pub(super) right: u64,
    /// Whether parties also dispute that leaf of traces that are wrong elsewhere, spoil the right
    /// answer by a wrong trace, and defend what others have said.
    pub(super) foolish: bool,
}

impl Game {
    pub(super) fn new(doublings: u32, bogus: u64, right: u64) -> Self {
        let model = Model::new(doublings);
        let traces = [model.honest(), model.liar(), model.bogus(bogus)];
        let mut witnesses = BTreeMap::new();
        for (kind, trace) in traces.iter().enumerate() {
            for leaf in [right, bogus, traces[LIAR].leaves() - 1] {
                witnesses.insert((kind, leaf), model.witness(trace, leaf));
            }
        }
        Self { model, traces, witnesses, right, foolish: true }
    }

    /// Which trace somebody has posted.
    fn kind(&self, trial: &Trial, trace: u32) -> Kind {
        let root = &super::trace(trial, trace).unwrap().steps_root;
        self.traces.iter().position(|trace| trace.root() == root.as_slice()).unwrap()
    }

    fn answer(&self, world: &World, kind: Kind) -> Hash {
        world.root_of(&self.traces[kind].output)
    }

    /// Everything that the party could try now; some of it is refused.
    pub(super) fn moves(&self, world: &World, who: &Address) -> Vec<Move> {
        let audits = *who == auditor(0);
        let job = world.job();
        let mut moves = Vec::new();
        if job.state() == JobState::Verified {
            let stands = [HONEST, LIAR].map(|kind| self.answer(world, kind) == *job.result_root);
            let (answer, other) = if stands[HONEST] { (HONEST, LIAR) } else { (LIAR, HONEST) };
            moves.push(Move::Deliver(answer));
            if audits {
                moves.push(Move::Challenge { answer, own: Some(other) });
                moves.push(Move::Challenge { answer, own: None });
            }
        }
        if job.state() != JobState::OnTrial {
            return moves;
        }
        let trial = world.trial();
        if !trial.defend_over {
            let stands_by = super::supporter(&trial, who).is_some();
            let defended = trial.traces.iter().any(|trace| trace.account == who);
            if !defended && (self.foolish || stands_by) {
                moves.extend([HONEST, LIAR].map(Move::Defend));
                moves.extend(self.foolish.then_some(Move::Defend(BOGUS)));
            }
            if audits {
                moves.extend([HONEST, LIAR].map(|answer| Move::Challenge { answer, own: None }));
            } else {
                moves.push(Move::Concede);
            }
        }
        for (trace, _) in (0_u32..).zip(&trial.traces).filter(|(_, trace)| !trace.fallen) {
            let wrong = self.traces[self.kind(&trial, trace)].wrong;
            let right = (wrong.is_none() || self.foolish).then_some(self.right);
            for leaf in wrong.into_iter().chain(right) {
                moves.extend([Move::Call { trace, leaf }, Move::Prove { trace, leaf }]);
            }
            for game in trial.games.iter().filter(|game| game.trace == trace && game.level > 0) {
                if game.state() == GameState::Open {
                    let (level, position) = (game.level, game.position);
                    moves.push(Move::Open { trace, level, position });
                }
            }
        }
        moves
    }

    /// The node that leads from where a game stands toward a leaf.
    fn toward(trial: &Trial, who: &Address, trace: u32, leaf: u64) -> Node {
        let leaves = super::trace(trial, trace).unwrap().leaves;
        let mut games = trial.games.iter();
        let game = games.find(|game| game.trace == trace && game.challenger == who);
        let level = merkle::below(game.map_or(merkle::height(leaves), |game| game.level));
        Node { job: 1, trace, level, position: leaf >> level }
    }

    pub(super) fn play(&self, world: &mut World, who: &Address, step: Move) -> Result<(), Reject> {
        let leaf_of = |trace, leaf| Node { job: 1, trace, level: 0, position: leaf };
        match step {
            Move::Challenge { answer, own } => {
                let root = self.answer(world, answer);
                let own = own.map(|own| self.answer(world, own));
                world.act(|ctx| open::challenge(ctx, who, 1, &root, own.as_ref()))
            }
            Move::Defend(kind) => {
                let claim = self.traces[kind].claim();
                world.act(|ctx| defend(ctx, who, 1, &claim)).map(drop)
            }
            Move::Concede => world.act(|ctx| concede(ctx, who, 1)),
            Move::Call { trace, leaf } => {
                let node = Self::toward(&world.trial(), who, trace, leaf);
                world.act(|ctx| game::call(ctx, who, &node))
            }
            Move::Open { trace, level, position } => {
                let nodes = self.traces[self.kind(&world.trial(), trace)].open(level, position);
                let node = Node { job: 1, trace, level, position };
                world.act(|ctx| game::open(ctx, who, &node, &nodes))
            }
            Move::Prove { trace, leaf } => {
                let kind = self.kind(&world.trial(), trace);
                let witness = &self.witnesses[&(kind, leaf)];
                world.act(|ctx| game::prove(ctx, who, &leaf_of(trace, leaf), witness)).map(drop)
            }
            Move::Deliver(kind) => {
                let output = &self.traces[kind].output;
                let status = world.output_root(output).0;
                world.act(|ctx| phase::deliver(ctx, who, 1, status, output))
            }
        }
    }

    /// What an honest party does, whatever the others do: it defends what is right, refutes what is
    /// wrong, and answers every call.
    pub(super) fn honest(&self, world: &mut World, who: &Address) {
        let right = self.answer(world, HONEST);
        if world.job().state() == JobState::Verified {
            if world.job().result_root == right {
                let _ = self.play(world, who, Move::Deliver(HONEST));
            } else {
                let own = Some(HONEST);
                let _ = self.play(world, who, Move::Challenge { answer: LIAR, own });
            }
        }
        if !world.is_on_trial() {
            return;
        }
        let _ = self.play(world, who, Move::Defend(HONEST));
        let traces = u32::try_from(world.trial().traces.len()).unwrap();
        for trace in 0..traces {
            if let Some(wrong) = self.traces[self.kind(&world.trial(), trace)].wrong {
                let refuted = self.play(world, who, Move::Prove { trace, leaf: wrong });
                if refuted.is_err() {
                    let _ = self.play(world, who, Move::Call { trace, leaf: wrong });
                }
                continue;
            }
            let open: Vec<_> = world
                .trial()
                .games
                .iter()
                .filter(|game| game.trace == trace && game.state() == GameState::Open)
                .map(|game| (game.level, game.position))
                .collect();
            for (level, position) in open {
                let answer = match level {
                    0 => Move::Prove { trace, leaf: position },
                    _ => Move::Open { trace, level, position },
                };
                let _ = self.play(world, who, answer);
            }
        }
    }
}
