//! What to do next in a trial: decided from its state and the own computation alone.

use std::mem;

use lockstep_chain::address::Address;
use lockstep_proto::lockstep::chain::v1::{Params, Tip};
use lockstep_proto::lockstep::trial::v1::{Game, GameState, SupporterState, Trace, Trial};
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle::{below, height};

use super::evidence::Evidence;
use super::moves::{Intent, Node, ancestor, top};
use super::opened::Opened;
use super::{PlayError, Player};

/// The chain's clocks and the windows that the parameters give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// The last committed height.
    pub height: u64,
    /// The trial clock.
    pub clock: u64,
    /// Block time, in milliseconds.
    pub time_ms: u64,
    /// For how long a trial takes traces.
    pub defend: Window,
    /// For how long a party may think about a move.
    pub moves: Window,
}

/// A window of a trial. It ends when both have passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Heights of the trial clock.
    pub blocks: u64,
    /// Block time, in milliseconds.
    pub ms: u64,
}

impl Now {
    /// What the chain's clocks and parameters say.
    #[must_use]
    pub fn of(tip: &Tip, params: &Params) -> Self {
        Self {
            height: tip.height,
            clock: tip.trial_clock,
            time_ms: tip.time_ms,
            defend: Window { blocks: params.trial_defend_blocks, ms: params.trial_defend_ms },
            moves: Window { blocks: params.trial_move_blocks, ms: params.trial_move_ms },
        }
    }

    /// Whether half of the time for traces is over, and with it the time to leave a trial to others.
    #[must_use]
    pub fn is_half_over(&self, trial: &Trial) -> bool {
        self.is_late(self.defend, trial, trial.defend_counter, trial.defend_time_ms)
    }

    /// Whether at most half of a window is left before its end, which is later by what tracing takes.
    fn is_late(&self, window: Window, trial: &Trial, counter: u64, time_ms: u64) -> bool {
        let ms = window.ms.saturating_add(trial.trace_ms);
        self.clock.saturating_add(window.blocks / 2) >= counter
            && self.time_ms.saturating_add(ms / 2) >= time_ms
    }
}

/// What to do, and what has to be known before more can be said.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// In the order in which they help.
    pub(super) intents: Vec<Intent>,
    /// Nodes whose lists are wanted from the chain.
    pub(super) missing: Vec<Node>,
    /// What cannot be decided, and why.
    pub(super) failures: Vec<(Intent, PlayError)>,
}

/// A trial as one player sees it.
pub(super) struct View<'a> {
    pub(super) player: &'a Player,
    pub(super) trial: &'a Trial,
    pub(super) now: &'a Now,
    pub(super) evidence: &'a dyn Evidence,
    pub(super) opened: &'a Opened,
}

impl View<'_> {
    pub(super) fn decide(&self) -> Decision {
        let mut decision = Decision::default();
        self.concede(&mut decision);
        self.defend(&mut decision);
        self.answer_calls(&mut decision);
        self.doubt(&mut decision);
        for (number, trace) in (0..).zip(&self.trial.traces) {
            if !self.may_call(trace) {
                continue;
            }
            if let Err(error) = self.descend(number, trace, &mut decision) {
                decision.failures.push((Intent::Call(top(number, trace.leaves)), error));
            }
        }
        decision
    }

    /// The account that the trial knows the player by.
    fn me(&self) -> &[u8] {
        let operator = self.player.operator.as_ref().map(Address::as_slice);
        let mut members = self.trial.supporters.iter().filter(|it| !it.validator.is_empty());
        let member = members.find(|it| Some(it.validator.as_slice()) == operator);
        member.map_or(&self.player.account, |member| &member.account)
    }

    /// The number of the own answer, where it is on trial.
    fn own(&self) -> Option<u32> {
        let root = self.evidence.answer().result_root;
        let at = self.trial.answers.iter().position(|answer| answer.result_root == root)?;
        u32::try_from(at).ok()
    }

    fn has_fallen(&self, answer: u32) -> bool {
        let at = usize::try_from(answer).ok();
        at.and_then(|at| self.trial.answers.get(at)).is_none_or(|answer| answer.fallen)
    }

    /// The answers that the player stands behind, and whether its validator revealed them.
    fn stands(&self) -> impl Iterator<Item = (u32, bool)> {
        let mine = self.trial.supporters.iter().filter(|it| it.account == self.me());
        let standing = mine.filter(|it| it.state() == SupporterState::In);
        standing.map(|it| (it.answer, !it.validator.is_empty()))
    }

    fn supports(&self, answer: u32) -> bool {
        self.stands().any(|(own, _)| own == answer)
    }

    fn is_defended(&self, answer: u32) -> bool {
        self.trial.traces.iter().any(|trace| trace.answer == answer && !trace.fallen)
    }

    /// Whether the player puts bonds here. A member calls without one, and has no more to say where it
    /// conceded.
    fn bonds(&self) -> bool {
        let mut members = self.trial.supporters.iter().filter(|it| !it.validator.is_empty());
        self.player.bonds && !members.any(|it| it.account == self.me())
    }

    fn has_challenged(&self, answer: Option<u32>) -> bool {
        let mut mine = self.trial.challenges.iter().filter(|it| it.account == self.me());
        mine.any(|it| answer.is_none_or(|answer| it.answer == answer))
    }

    fn concede(&self, decision: &mut Decision) {
        let wrong = self.stands().any(|(answer, member)| member && Some(answer) != self.own());
        let defended = self.trial.traces.iter().any(|trace| trace.account == self.me());
        if wrong && !defended && !self.trial.defend_over {
            decision.intents.push(Intent::Concede);
        }
    }

    fn defend(&self, decision: &mut Decision) {
        let Some(own) = self.own() else { return };
        let posted = |trace: &Trace| trace.answer == own && trace.account == self.me();
        // The right answer must not fall because those who gave it are silent.
        let relieves =
            || self.bonds() && self.now.is_half_over(self.trial) && !self.is_defended(own);
        if (self.supports(own) || relieves())
            && !self.trial.defend_over
            && !self.has_fallen(own)
            && !self.trial.traces.iter().any(posted)
        {
            decision.intents.push(Intent::Defend);
        }
    }

    /// Opens and proves what was called of traces that are like the own one.
    fn answer_calls(&self, decision: &mut Decision) {
        for game in self.trial.games.iter().filter(|game| game.state() == GameState::Open) {
            let Some(trace) = self.trace(game.trace).filter(|trace| !trace.fallen) else {
                continue;
            };
            // Whoever posted it answers; where that one is silent, any other supporter.
            let (counter, time_ms) = (game.move_counter, game.move_time_ms);
            let late = self.now.is_late(self.now.moves, self.trial, counter, time_ms);
            let mine = trace.account == self.me() || (late && self.supports(trace.answer));
            if !mine {
                continue;
            }
            let node = called(game);
            let intent = if node.level == 0 { Intent::Prove(node) } else { Intent::Open(node) };
            match self.evidence.steps_root() {
                Ok(root) if trace.steps_root != root || decision.intents.contains(&intent) => {}
                Ok(_) => decision.intents.push(intent),
                Err(error) => decision.failures.push((intent, error)),
            }
        }
    }

    /// Challenges with a bond: at once where the right answer is not there, else when half of the time
    /// is over. Whoever stands behind a wrong answer may have an accomplice that defends the right one
    /// and never calls; a bond against what is wrong always returns.
    fn doubt(&self, decision: &mut Decision) {
        if !self.bonds() || self.trial.defend_over {
            return;
        }
        let (own, late) = (self.own(), self.now.is_half_over(self.trial));
        if own.is_some() && !late && !self.has_challenged(None) {
            return;
        }
        // Where the trace may come too late, the challenge alone fells the lie.
        let mut brings = own.is_none() && (!late || self.evidence.is_traced());
        for (number, answer) in (0..).zip(&self.trial.answers) {
            let mut supporters = self.trial.supporters.iter();
            let stands =
                supporters.any(|it| it.answer == number && it.state() == SupporterState::In);
            // What nobody stands behind falls of itself.
            let due = stands || own.is_none();
            if !due || Some(number) == own || answer.fallen || self.has_challenged(Some(number)) {
                continue;
            }
            let Ok(answer) = answer.result_root.as_slice().try_into() else { continue };
            decision.intents.push(Intent::Challenge { answer, own: mem::take(&mut brings) });
        }
    }

    fn trace(&self, number: u32) -> Option<&Trace> {
        self.trial.traces.get(usize::try_from(number).ok()?)
    }

    /// Whether the player has the right to call nodes of a trace, and a reason.
    fn may_call(&self, trace: &Trace) -> bool {
        if trace.fallen || self.has_fallen(trace.answer) || Some(trace.answer) == self.own() {
            return false;
        }
        let mut stands = self.stands();
        // Whoever stands behind an answer doubts all others, unless it is about to concede.
        stands.any(|(answer, _)| Some(answer) == self.own())
            || self.has_challenged(Some(trace.answer))
    }

    /// Goes down a trace along its first difference to the own one.
    fn descend(
        &self,
        number: u32,
        trace: &Trace,
        decision: &mut Decision,
    ) -> Result<(), PlayError> {
        let ours = self.evidence.leaves();
        if trace.leaves != ours {
            return Err(PlayError::Leaves { ours, theirs: trace.leaves });
        }
        let mut node = top(number, trace.leaves);
        loop {
            let Some(theirs) = self.opened.list(&node) else {
                // Asked for first: a call for what is open already costs a height.
                if self.opened.lacks(&node, self.now.height) {
                    decision.intents.extend(self.call(trace, node).map(Intent::Call));
                } else {
                    decision.missing.push(node);
                }
                return Ok(());
            };
            let ours = self.evidence.open(node.level, node.position)?;
            let Some(child) = first_difference(node, &ours, theirs) else { return Ok(()) };
            if child.level == 0 {
                decision.intents.push(Intent::Refute(child));
                return Ok(());
            }
            node = child;
        }
    }

    /// The call that leads towards a node.
    pub(super) fn call(&self, trace: &Trace, target: Node) -> Option<Node> {
        let mut games = self.trial.games.iter();
        let game = games.find(|game| game.trace == target.trace && game.challenger == self.me());
        let from = match game {
            None if !self.trial.call_over => top(target.trace, trace.leaves),
            Some(game) if game.state() == GameState::Call => called(game),
            _ => return None,
        };
        let next = ancestor(target, below(from.level).max(target.level));
        let inside = next.level < from.level || height(trace.leaves) == 0;
        (inside && ancestor(next, from.level) == from).then_some(next)
    }
}

fn called(game: &Game) -> Node {
    Node { trace: game.trace, level: game.level, position: game.position }
}

/// The first child of a node that is not what it should be.
fn first_difference(node: Node, ours: &[Hash], theirs: &[Hash]) -> Option<Node> {
    let at = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs)?;
    let level = below(node.level);
    let first = node.position.checked_shl(node.level - level)?;
    let position = first.checked_add(u64::try_from(at).ok()?)?;
    Some(Node { level, position, ..node })
}
