//! A referee over made-up leaves: the rules of a trial in small, for traces longer than any that a
//! test could compute.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_proto::lockstep::trial::v1::{
    Answer as OnTrial, Challenge, Game, GameState, Supporter, SupporterState, Trace, Trial,
};
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle::{Tree, below, fold, height, leaf_hash, root_of_top, under, verify_hash};
use lockstep_vm::result::Status;
use lockstep_vm::trace::last_leaf;

use crate::play::{
    Answer, Claim, Evidence, Intent, Move, Node, Nodes, Now, PlayError, Player, Seat, Window,
};

pub(super) type Account = [u8; 20];

const DEFEND: u64 = 8;
const CALL: u64 = 16;
const MOVE: u64 = 6;

/// The hashes of a right trace.
pub(super) fn truth(leaves: u64) -> Vec<Hash> {
    (0..leaves).map(|at| leaf_hash(at, b"right")).collect()
}

/// The right trace with other leaves at these places, and at the end, which holds the answer.
pub(super) fn lie(leaves: u64, at: &[u64], what: &str) -> Vec<Hash> {
    let mut hashes = truth(leaves);
    for at in at.iter().copied().chain([leaves - 1]) {
        hashes[usize::try_from(at).unwrap()] = leaf_hash(at, what.as_bytes());
    }
    hashes
}

/// What somebody computed, or says so.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) leaves: Vec<Hash>,
    pub(super) tree: Tree,
    /// How long it takes to trace.
    pub(super) tracing: Duration,
    /// The second run gives what the first gave.
    pub(super) steady: bool,
}

impl Made {
    pub(super) fn new(leaves: Vec<Hash>) -> Self {
        let tree = Tree::new(leaves.clone());
        Self { tree, leaves, tracing: Duration::ZERO, steady: true }
    }

    fn count(&self) -> u64 {
        self.tree.count()
    }
}

impl Evidence for Made {
    fn answer(&self) -> Answer {
        let root = *self.leaves.last().unwrap();
        Answer { status: RunStatus::Halted, output_root: root, result_root: root }
    }

    fn again(&self) -> Result<bool, PlayError> {
        Ok(self.steady)
    }

    fn is_traced(&self) -> bool {
        self.tracing.is_zero()
    }

    fn leaves(&self) -> u64 {
        self.count()
    }

    fn steps_root(&self) -> Result<Hash, PlayError> {
        std::thread::sleep(self.tracing);
        Ok(self.tree.root())
    }

    fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, PlayError> {
        let level_below = below(level);
        let range = under(self.count(), level, position, level_below).unwrap();
        Ok(range.map(|at| self.tree.node(level_below, at).unwrap()).collect())
    }

    fn node(&self, level: u32, position: u64) -> Result<Hash, PlayError> {
        Ok(self.tree.node(level, position).unwrap())
    }

    /// All that a real witness needs of the other's tree: the leaf's path.
    fn witness(&self, leaf: u64, theirs: Nodes<'_>) -> Result<Vec<u8>, PlayError> {
        for level in 0..height(self.count()) {
            let other = (leaf >> level) ^ 1;
            let left = other < leaf >> level;
            if theirs(0, leaf).is_some() && !left && self.tree.node(level, other).is_some() {
                assert!(theirs(level, other).is_some(), "node {other} of level {level} is missing");
            }
        }
        Ok(Vec::new())
    }

    fn recompute(&self, _: &Hash, leaf: u64, _: &[u8]) -> Result<Option<Hash>, PlayError> {
        Ok(truth(self.count()).get(usize::try_from(leaf).unwrap()).copied())
    }
}

/// What a leaf of a trace with this root must be, from a witness.
type Judge = Box<dyn Fn(&Hash, u64, &[u8]) -> Option<Hash> + Send + Sync>;

/// A trial, its referee, and what was opened.
pub(super) struct Court {
    pub(super) trial: Trial,
    pub(super) height: u64,
    lists: BTreeMap<Node, Vec<u8>>,
    leaves: u64,
    judge: Judge,
}

impl Court {
    /// Members by account, and what each revealed, before a judge who knows what is right.
    pub(super) fn open(members: &[(Account, &Made)]) -> Self {
        let leaves = members[0].1.count();
        let truth = truth(leaves);
        let judge =
            move |_: &Hash, leaf, _: &[u8]| truth.get(usize::try_from(leaf).unwrap()).copied();
        let members: Vec<_> = members.iter().map(|(it, made)| (*it, made.answer())).collect();
        Self::before(Box::new(judge), leaves, &members)
    }

    /// Members by account, and what each revealed.
    pub(super) fn before(judge: Judge, leaves: u64, members: &[(Account, Answer)]) -> Self {
        let mut trial =
            Trial { job: 1, defend_counter: DEFEND, call_counter: CALL, ..Trial::default() };
        for (account, revealed) in members {
            let answer = answer(&mut trial, &revealed.result_root);
            stand(&mut trial, *account, *account, answer, 0);
        }
        Self { trial, height: 0, lists: BTreeMap::new(), leaves, judge }
    }

    pub(super) fn now(&self) -> Now {
        let height = self.height;
        let window = |blocks| Window { blocks, ms: 0 };
        Now { height, clock: height, time_ms: 0, defend: window(DEFEND), moves: window(MOVE) }
    }

    /// Everything that a seat has to do now, with the lists that it asks for.
    pub(super) fn turn<E: Evidence>(&self, seat: &mut Seat<E>) -> Vec<(Intent, Move)> {
        let mut moves = Vec::new();
        loop {
            let turn = seat.turn(&self.trial, &self.now());
            assert!(turn.failures.is_empty(), "{:?}", turn.failures);
            moves.extend(turn.moves);
            if turn.missing.is_empty() {
                return moves;
            }
            for node in turn.missing {
                seat.put(&self.trial, &self.now(), node, &self.list(&node)).unwrap();
            }
        }
    }

    /// What was opened below a node.
    pub(super) fn list(&self, node: &Node) -> Vec<u8> {
        self.lists.get(node).cloned().unwrap_or_default()
    }

    /// One block with these moves; none may be refused, but about a trace that has just fallen.
    pub(super) fn block(&mut self, moves: Vec<(Account, Move)>) {
        self.height += 1;
        for (account, it) in moves {
            let words = format!("{it:?}");
            let late = self.is_late(&it);
            let taken = self.apply(account, it);
            assert!(taken.is_some() || late, "refused: {words}");
        }
        self.deadlines();
    }

    fn is_late(&self, it: &Move) -> bool {
        let (Move::Call(node) | Move::Open(node, _) | Move::Prove(node, _)) = it else {
            return false;
        };
        self.trial.traces[usize::try_from(node.trace).unwrap()].fallen
    }

    fn apply(&mut self, me: Account, it: Move) -> Option<()> {
        match it {
            Move::Challenge { answer: root, own } => {
                let doubted = answer(&mut self.trial, &root);
                let challenge = Challenge {
                    account: me.to_vec(),
                    answer: doubted,
                    bond: 9,
                    ..Challenge::default()
                };
                self.trial.challenges.push(challenge);
                let Some(own) = own else { return Some(()) };
                let number = answer(&mut self.trial, &own.answer.result_root);
                stand(&mut self.trial, me, [0; 20], number, 9);
                self.apply(me, Move::Defend(own))
            }
            Move::Defend(Claim { answer: claimed, steps_root, nodes, last_path }) => {
                let Answer { status, output_root, result_root } = claimed;
                if !self.trial.supporters.iter().any(|it| it.account == me) {
                    let number = answer(&mut self.trial, &result_root);
                    stand(&mut self.trial, me, [0; 20], number, 9);
                }
                let count = self.leaves;
                let root = fold(count, height(count), 0, &nodes)?;
                (root_of_top(count, &root) == steps_root).then_some(())?;
                let number = u32::try_from(self.trial.traces.len()).unwrap();
                let node = Node { trace: number, level: height(count), position: 0 };
                self.lists.insert(node, nodes.concat());
                let leaf = last_leaf(count, status_of(status), &output_root);
                // Made-up leaves have no such form.
                let says = verify_hash(&steps_root, count - 1, count, &leaf, &last_path);
                let mine = self.trial.supporters.iter().find(|it| it.account == me)?;
                let answer = mine.answer;
                let made = self.trial.answers[usize::try_from(answer).unwrap()].result_root.clone();
                (says || made == output_root).then_some(())?;
                self.trial.traces.push(Trace {
                    account: me.to_vec(),
                    answer,
                    steps_root: steps_root.to_vec(),
                    leaves: count,
                    ..Trace::default()
                });
                Some(())
            }
            Move::Call(node) => self.call(me, node),
            Move::Open(node, nodes) => {
                let list = self.lists.insert(node, nodes.concat());
                self.games_at(node, GameState::Open, GameState::Call);
                list.is_none().then_some(())
            }
            Move::Prove(node, witness) => self.prove(node, &witness),
            Move::Concede => {
                let mut mine = self.trial.supporters.iter_mut().filter(|it| it.account == me);
                mine.next()?.set_state(SupporterState::Conceded);
                Some(())
            }
        }
    }

    fn call(&mut self, me: Account, node: Node) -> Option<()> {
        let count = self.leaves;
        let mut games = self.trial.games.iter_mut();
        let game = games.find(|game| game.trace == node.trace && game.challenger == me);
        let (level, position) = game.as_ref().map_or((height(count), 0), |g| (g.level, g.position));
        let child = node.level == below(level) && node.position >> (level - node.level) == position;
        child.then_some(())?;
        let state = if self.lists.contains_key(&node) { GameState::Call } else { GameState::Open };
        let next = Game {
            trace: node.trace,
            challenger: me.to_vec(),
            level: node.level,
            position: node.position,
            state: state.into(),
            move_counter: self.height + MOVE,
            ..Game::default()
        };
        match game {
            Some(game) if game.state() == GameState::Call => *game = next,
            Some(_) => return None,
            None => self.trial.games.push(next),
        }
        Some(())
    }

    fn prove(&mut self, node: Node, witness: &[u8]) -> Option<()> {
        let said = self.lists.iter().find_map(|(list, bytes)| {
            let leaves = list.trace == node.trace && below(list.level) == 0;
            let first = list.position << list.level;
            let at = usize::try_from(node.position.checked_sub(first)?).unwrap();
            leaves.then(|| bytes.as_chunks::<32>().0.get(at).copied())?
        })?;
        let trace = &self.trial.traces[usize::try_from(node.trace).unwrap()];
        let root = trace.steps_root.as_slice().try_into().unwrap();
        if (self.judge)(root, node.position, witness) == Some(said) {
            self.games_at(node, GameState::Open, GameState::Lost);
        } else {
            self.fell(node.trace);
        }
        Some(())
    }

    fn games_at(&mut self, node: Node, from: GameState, to: GameState) {
        for game in &mut self.trial.games {
            let here = (game.trace, game.level, game.position);
            if here == (node.trace, node.level, node.position) && game.state() == from {
                game.set_state(to);
                game.move_counter = self.height + MOVE;
            }
        }
    }

    fn fell(&mut self, trace: u32) {
        self.trial.traces[usize::try_from(trace).unwrap()].fallen = true;
        for game in self.trial.games.iter_mut().filter(|game| game.trace == trace) {
            game.set_state(GameState::Won);
        }
        let traces = self.trial.traces.clone();
        let fallen = &traces[usize::try_from(trace).unwrap()];
        for it in &mut self.trial.supporters {
            if it.account == fallen.account {
                it.set_state(SupporterState::Wrong);
            }
        }
    }

    fn deadlines(&mut self) {
        let games = self.trial.games.clone();
        for (at, game) in games.iter().enumerate() {
            if game.move_counter > self.height {
                continue;
            }
            match game.state() {
                GameState::Open => self.fell(game.trace),
                GameState::Call => self.trial.games[at].set_state(GameState::Lost),
                _ => {}
            }
        }
        self.trial.call_over = self.height >= self.trial.call_counter;
        self.trial.defend_over = self.height >= self.trial.defend_counter;
        if !self.trial.defend_over {
            return;
        }
        let traces = self.trial.traces.clone();
        for (number, answer) in (0..).zip(&mut self.trial.answers) {
            answer.fallen = !traces.iter().any(|trace| trace.answer == number && !trace.fallen);
        }
    }

    /// Whether the trial can end, and with which answers.
    pub(super) fn survivors(&self) -> Option<Vec<Hash>> {
        let open = |game: &Game| matches!(game.state(), GameState::Open | GameState::Call);
        let over = self.trial.call_over && !self.trial.games.iter().any(open);
        let standing = self.trial.answers.iter().filter(|answer| !answer.fallen);
        over.then(|| standing.map(|it| it.result_root.as_slice().try_into().unwrap()).collect())
    }
}

fn status_of(status: RunStatus) -> Status {
    if status == RunStatus::Halted { Status::Halted } else { Status::Fault }
}

fn answer(trial: &mut Trial, root: &Hash) -> u32 {
    let at = trial.answers.iter().position(|answer| answer.result_root == root);
    let at = at.unwrap_or_else(|| {
        trial.answers.push(OnTrial { result_root: root.to_vec(), ..OnTrial::default() });
        trial.answers.len() - 1
    });
    u32::try_from(at).unwrap()
}

fn stand(trial: &mut Trial, account: Account, validator: Account, answer: u32, bond: u64) {
    let validator = if bond == 0 { validator.to_vec() } else { Vec::new() };
    let state = SupporterState::In.into();
    trial.supporters.push(Supporter { account: account.to_vec(), validator, answer, bond, state });
}

/// A party at a trial.
pub(super) struct Party<E = Made> {
    pub(super) account: Account,
    pub(super) seat: Seat<E>,
    /// How many moves it makes before it falls silent.
    pub(super) patience: usize,
    /// Calls and refutes nothing.
    pub(super) tame: bool,
}

impl<E: Evidence> Party<E> {
    pub(super) fn new(name: u8, evidence: E, bonds: bool, stubborn: bool) -> Self {
        let account = [name; 20];
        let player = Player { account, operator: None, bonds, stubborn };
        Self { account, seat: Seat::new(player, evidence), patience: usize::MAX, tame: false }
    }
}

/// Plays until the trial can end: which answers stand.
pub(super) fn play<E: Evidence>(court: &mut Court, parties: &mut [Party<E>]) -> Vec<Hash> {
    for _ in 0..100 {
        if let Some(survivors) = court.survivors() {
            return survivors;
        }
        let mut moves = Vec::new();
        for party in parties.iter_mut() {
            for (intent, it) in court.turn(&mut party.seat) {
                let attacks = matches!(intent, Intent::Call(_) | Intent::Refute(_));
                if party.patience > 0 && !(party.tame && attacks) {
                    party.patience -= 1;
                    moves.push((party.account, it));
                }
            }
        }
        court.block(moves);
    }
    panic!("no end: {:?}", court.trial);
}
