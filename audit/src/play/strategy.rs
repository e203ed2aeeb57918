//! What to do next in a trial: decided from its state and the own computation alone.

use lockstep_chain::address::Address;
use lockstep_proto::lockstep::trial::v1::{Game, GameState, SupporterState, Trace, Trial};
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle::{below, height};

use super::evidence::Evidence;
use super::moves::{Intent, Node};
use super::opened::{Opened, ancestor, top};
use super::{PlayError, Player};

/// The chain's clocks and the windows that the parameters give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// The last committed height.
    pub height: u64,
    /// The trial clock.
    pub clock: u64,
    /// Trial-clock heights for which a trial takes traces.
    pub defend_blocks: u64,
    /// Trial-clock heights for which a party may think about a move.
    pub move_blocks: u64,
}

impl Now {
    /// Whether at most half of a window's heights are left.
    fn is_late(&self, counter: u64, blocks: u64) -> bool {
        self.clock.saturating_add(blocks / 2) >= counter
    }
}

/// What to do, and what has to be known before more can be said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// In the order in which they help.
    pub(super) intents: Vec<Intent>,
    /// Nodes whose lists are wanted from the chain.
    pub(super) missing: Vec<Node>,
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
    pub(super) fn decide(&self) -> Result<Decision, PlayError> {
        let mut decision = Decision::default();
        self.concede(&mut decision);
        self.defend(&mut decision);
        self.answer_calls(&mut decision)?;
        self.doubt(&mut decision);
        for (number, trace) in (0..).zip(&self.trial.traces) {
            if self.may_call(trace) {
                self.descend(number, trace, &mut decision)?;
            }
        }
        Ok(decision)
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
        if self.supports(own)
            && !self.trial.defend_over
            && !self.has_fallen(own)
            && !self.trial.traces.iter().any(posted)
        {
            decision.intents.push(Intent::Defend);
        }
    }

    /// Opens and proves what was called of traces that are like the own one.
    fn answer_calls(&self, decision: &mut Decision) -> Result<(), PlayError> {
        for game in self.trial.games.iter().filter(|game| game.state() == GameState::Open) {
            let Some(trace) = self.trace(game.trace).filter(|trace| !trace.fallen) else {
                continue;
            };
            // Whoever posted it answers; where that one is silent, any other supporter.
            let late = self.now.is_late(game.move_counter, self.now.move_blocks);
            let mine = trace.account == self.me() || (late && self.supports(trace.answer));
            if !mine || trace.steps_root != self.evidence.steps_root()? {
                continue;
            }
            let node = called(game);
            let intent = if node.level == 0 { Intent::Prove(node) } else { Intent::Open(node) };
            if !decision.intents.contains(&intent) {
                decision.intents.push(intent);
            }
        }
        Ok(())
    }

    /// Challenges with a bond.
    fn doubt(&self, decision: &mut Decision) {
        if !self.player.bonds || self.trial.defend_over {
            return;
        }
        // A member calls without a bond; one that conceded has no more to say.
        let mut members = self.trial.supporters.iter().filter(|it| !it.validator.is_empty());
        if members.any(|it| it.account == self.me()) {
            return;
        }
        let own = self.own();
        let joined = self.has_challenged(None);
        let defended = |trace: &Trace| !trace.fallen && Some(trace.answer) == own;
        let left_alone = !self.trial.traces.iter().any(defended)
            && self.now.is_late(self.trial.defend_counter, self.now.defend_blocks);
        if !joined && own.is_some() && !left_alone {
            return;
        }
        for (number, answer) in (0..).zip(&self.trial.answers) {
            if Some(number) != own && !answer.fallen && !self.has_challenged(Some(number)) {
                let Ok(answer) = answer.result_root.as_slice().try_into() else { continue };
                let stands = own.is_some_and(|own| self.supports(own));
                let own = (!stands).then_some(self.evidence.answer().result_root);
                decision.intents.push(Intent::Challenge { answer, own });
            }
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
        // A revealed answer is a challenge to all others, unless it is about to be conceded.
        stands.any(|(answer, member)| member && Some(answer) == self.own())
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
                decision.missing.push(node);
                // Where it was not opened yet, it has to be called.
                decision.intents.extend(self.call(trace, node).map(Intent::Call));
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
        let inside = from.level > 0 || height(trace.leaves) == 0;
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
