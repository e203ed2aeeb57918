//! A player's place in one trial: what it knows, what it has sent, what it does next.

use std::collections::BTreeMap;

use lockstep_proto::lockstep::trial::v1::Trial;
use lockstep_vm::hash::Hash;

use super::evidence::Evidence;
use super::moves::{Claim, Intent, Move, Node};
use super::opened::Opened;
use super::strategy::{Now, View};
use super::{PlayError, Player};

/// After so many heights a move that did not help is made again.
const AGAIN_BLOCKS: u64 = 4;

/// What a turn gives.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be sent, in this order.
    pub moves: Vec<(Intent, Move)>,
    /// Nodes whose lists are wanted from the chain; with them there may be more to do.
    pub missing: Vec<Node>,
    /// Moves that could not be made, and why.
    pub failures: Vec<(Intent, PlayError)>,
}

/// A player's place in one trial. All that it must not lose stands on the chain, so that it can be
/// taken anew after a restart.
#[derive(Debug)]
pub struct Seat<E> {
    player: Player,
    evidence: E,
    /// When the trial began that the rest is about: a job may be on trial again.
    started_height: u64,
    opened: Opened,
    /// At which height a move was made.
    made: BTreeMap<Intent, u64>,
    /// A second run has given the same answer.
    confirmed: bool,
}

impl<E: Evidence> Seat<E> {
    /// A seat with all that is known by own computation.
    #[must_use]
    pub fn new(player: Player, evidence: E) -> Self {
        Self {
            player,
            evidence,
            started_height: 0,
            opened: Opened::default(),
            made: BTreeMap::new(),
            confirmed: false,
        }
    }

    /// Forgets another trial of the same job.
    fn enter(&mut self, trial: &Trial) {
        if self.started_height != trial.started_height {
            self.started_height = trial.started_height;
            self.opened = Opened::default();
            self.made.clear();
        }
    }

    /// What is known by own computation.
    pub fn evidence(&self) -> &E {
        &self.evidence
    }

    /// Takes in what the chain says was opened below a node; no bytes where it was not opened.
    ///
    /// # Errors
    /// [`PlayError::Opened`]; then the list counts as not opened at this height.
    pub fn put(
        &mut self,
        trial: &Trial,
        now: &Now,
        node: Node,
        bytes: &[u8],
    ) -> Result<(), PlayError> {
        self.enter(trial);
        self.opened.lack(node, now.height);
        if bytes.is_empty() {
            return Ok(());
        }
        let trace = usize::try_from(node.trace).ok().and_then(|at| trial.traces.get(at));
        self.opened.put(trace.ok_or(PlayError::Opened(node))?, node, bytes)
    }

    /// Makes the moves that are due and were not made lately.
    pub fn turn(&mut self, trial: &Trial, now: &Now) -> Turn {
        self.enter(trial);
        let decision = self.view(trial, now).decide();
        let (missing, failures) = (decision.missing, decision.failures);
        let mut turn = Turn { moves: Vec::new(), missing, failures };
        for intent in decision.intents {
            let before = self.made.get(&intent.key());
            if before.is_some_and(|at| at.saturating_add(AGAIN_BLOCKS) > now.height) {
                continue;
            }
            self.made.insert(intent.key(), now.height);
            match self.make(trial, now, intent) {
                Ok(moves) => turn.moves.extend(moves.map(|it| (intent, it))),
                Err(error) => turn.failures.push((intent, error)),
            }
        }
        turn
    }

    /// A move did not get out: it is made again at the next height.
    pub fn forget(&mut self, intent: &Intent) {
        self.made.remove(&intent.key());
    }

    /// Runs the job once more, before something is done that cannot be taken back.
    ///
    /// # Errors
    /// [`PlayError::Unstable`], or where the run cannot be repeated.
    pub fn confirm(&mut self) -> Result<(), PlayError> {
        if !self.confirmed && !self.player.stubborn {
            if !self.evidence.again()? {
                return Err(PlayError::Unstable);
            }
            self.confirmed = true;
        }
        Ok(())
    }

    fn view<'a>(&'a self, trial: &'a Trial, now: &'a Now) -> View<'a> {
        let (player, opened) = (&self.player, &self.opened);
        View { player, trial, now, evidence: &self.evidence, opened }
    }

    fn make(
        &mut self,
        trial: &Trial,
        now: &Now,
        intent: Intent,
    ) -> Result<Option<Move>, PlayError> {
        if matches!(intent, Intent::Challenge { .. } | Intent::Concede) {
            self.confirm()?;
        }
        let evidence = &self.evidence;
        Ok(Some(match intent {
            Intent::Challenge { answer, own } => {
                Move::Challenge { answer, own: own.then(|| Claim::of(evidence)).transpose()? }
            }
            Intent::Defend => Move::Defend(Claim::of(evidence)?),
            Intent::Call(node) => Move::Call(node),
            Intent::Open(node) => Move::Open(node, evidence.open(node.level, node.position)?),
            Intent::Prove(leaf) => {
                let witness = evidence.witness(leaf.position, &|_, _| None)?;
                let steps_root = evidence.steps_root()?;
                let found = evidence.recompute(&steps_root, leaf.position, &witness)?;
                if found != Some(evidence.node(0, leaf.position)?) && !self.player.stubborn {
                    return Err(PlayError::Unprovable(leaf));
                }
                Move::Prove(leaf, witness)
            }
            Intent::Refute(leaf) => return self.refute(trial, now, leaf),
            Intent::Concede => Move::Concede,
        }))
    }

    /// Proves that a leaf of another's trace is wrong.
    fn refute(&self, trial: &Trial, now: &Now, leaf: Node) -> Result<Option<Move>, PlayError> {
        let trace = usize::try_from(leaf.trace).ok().and_then(|at| trial.traces.get(at));
        let trace = trace.ok_or(PlayError::Opened(leaf))?;
        let theirs = |level, position| {
            self.opened.node(trace.leaves, Node { trace: leaf.trace, level, position })
        };
        let steps_root: Hash =
            trace.steps_root.as_slice().try_into().map_err(|_| PlayError::Opened(leaf))?;
        let witness = self.evidence.witness(leaf.position, &theirs)?;
        let found = self.evidence.recompute(&steps_root, leaf.position, &witness)?;
        if found != theirs(0, leaf.position) {
            return Ok(Some(Move::Prove(leaf, witness)));
        }
        if self.player.stubborn {
            let call = self.view(trial, now).call(trace, leaf);
            return Ok(call.map(Move::Call));
        }
        Err(PlayError::Unprovable(leaf))
    }
}
