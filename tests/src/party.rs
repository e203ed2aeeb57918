//! The parties of trials: executors and auditors, each playing its story by the strategy of the real
//! player, and the ways in which they deviate from it.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_audit::play::{Claim as Proof, Evidence as _, Intent, Move, Now, Player, Run, Seat};
use lockstep_chain::address::Address;
use lockstep_chain::state::StateRead;
use lockstep_chain::state::tables::{ACCOUNTS, JOBS, PARAMS, TIP, TRACE_NODES, TRIALS, VERIFIED};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::{Job, MsgDeliverOutput};
use lockstep_proto::lockstep::trial::v1::Trial;
use lockstep_vm::merkle;
use prost_types::Any;

use crate::executor::{Claim, run_status, tokens};
use crate::keys::Account;
use crate::story::story;

/// A kind of move, or of what comes before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Puts a bond against an answer.
    Challenge,
    /// Admits to be wrong.
    Concede,
    /// Posts a trace.
    Defend,
    /// Calls a trace for the first time.
    FirstCall,
    /// Calls further down.
    Call,
    /// Opens what was called.
    Open,
    /// Proves a leaf of an own trace.
    Prove,
    /// Refutes a leaf of another's.
    Refute,
    /// Hands in the output of an answer that it brought.
    Deliver,
}

/// How somebody plays trials. The default is as one should.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a vice of its own")]
pub struct Manner {
    /// What it says a run gives; none: for executors what they revealed, for others the truth.
    pub claim: Option<Claim>,
    /// The leaf of its trace that is false; none: the one before the last of a lie.
    pub bogus: Option<u64>,
    /// Moves that it never makes.
    pub mute: BTreeSet<Kind>,
    /// A byte of its witnesses is another.
    pub spoils_witnesses: bool,
    /// Posts the trace of the truth for its lie.
    pub borrows_trace: bool,
    /// Recomputes verified jobs, and puts a bond against what differs from its story.
    pub watches: bool,
    /// Challenges what it has challenged in vain before.
    pub insists: bool,
}

impl Manner {
    /// Recomputes verified jobs and challenges what is wrong.
    #[must_use]
    pub fn watching() -> Self {
        Self { watches: true, ..Self::default() }
    }

    /// Says this, whatever was revealed.
    #[must_use]
    pub fn saying(claim: Claim) -> Self {
        Self { claim: Some(claim), ..Self::default() }
    }

    /// Falls silent where it would make a move of these kinds.
    #[must_use]
    pub fn mute(kinds: &[Kind]) -> Self {
        Self { mute: kinds.iter().copied().collect(), ..Self::default() }
    }

    /// Plays by the rules, for the truth.
    #[must_use]
    pub fn is_sincere(&self, revealed: Claim) -> bool {
        let honest = Self { watches: self.watches, claim: self.claim, ..Self::default() };
        *self == honest && self.claim.unwrap_or(revealed) == Claim::Truth
    }
}

/// A move of somebody, ready to be sent.
#[derive(Debug, Clone)]
pub struct Act {
    /// Which kind.
    pub kind: Kind,
    /// The messages of its transaction.
    pub messages: Vec<Any>,
}

/// One account's place in all trials.
#[derive(Debug, Default)]
pub struct Chair {
    seats: BTreeMap<(u64, u32), Seated>,
    /// Answers that it has put on trial, by job.
    challenged: BTreeSet<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct Seated {
    player: Player,
    plot: (Claim, Option<u64>),
    /// The trial began at this height.
    started: u64,
    seat: Seat<Run>,
}

/// Who acts, and what it has revealed of a job, or would have.
#[derive(Clone, Copy)]
struct Actor<'a> {
    account: &'a Account,
    manner: &'a Manner,
    revealed: Claim,
}

impl Actor<'_> {
    /// What it says of the job in a trial.
    fn claim(&self) -> Claim {
        self.manner.claim.unwrap_or(self.revealed)
    }
}

impl Chair {
    /// Everything that an account sends now.
    ///
    /// # Panics
    /// Where the state is not one of the chain's, or a sincere player cannot make its move.
    pub fn acts(
        &mut self,
        state: &dyn StateRead,
        account: &Account,
        manner: &Manner,
        revealed: &dyn Fn(u64) -> Claim,
    ) -> Vec<Act> {
        let actor = |job| Actor { account, manner, revealed: revealed(job) };
        let mut acts = Vec::new();
        for (id, trial) in TRIALS.scan(state, &(), usize::MAX).unwrap() {
            let job = JOBS.must(state, &id).unwrap();
            acts.extend(self.play(state, actor(id), &job, &trial));
        }
        for (id, _) in VERIFIED.scan(state, &(), usize::MAX).unwrap() {
            let job = JOBS.must(state, &id).unwrap();
            acts.extend(self.watch(actor(id), &job));
            acts.extend(deliver(actor(id), &job));
        }
        acts.retain(|act| !manner.mute.contains(&act.kind));
        acts
    }

    /// The moves of one trial.
    fn play(
        &mut self,
        state: &dyn StateRead,
        actor: Actor<'_>,
        job: &Job,
        trial: &Trial,
    ) -> Vec<Act> {
        let Actor { account, manner, revealed } = actor;
        for challenge in trial.challenges.iter().filter(|it| it.account == account.address) {
            let answer = usize::try_from(challenge.answer).unwrap();
            self.challenged.insert((job.id, trial.answers[answer].result_root.clone()));
        }
        let sincere = manner.is_sincere(revealed);
        let player = Player {
            account: account.address,
            operator: operator_of(state, account),
            bonds: manner.watches,
            stubborn: !sincere,
        };
        let ids = tokens(job);
        let plot = (actor.claim(), manner.bogus);
        let fresh = || {
            let seat = Seat::new(player, story(&ids, plot.0, plot.1));
            Seated { player, plot, started: trial.started_height, seat }
        };
        let seated = self.seats.entry((job.id, job.attempt)).or_insert_with(fresh);
        // A new manner, or a second trial of the same attempt.
        let same = (seated.player, seated.plot, seated.started);
        if same != (player, plot, trial.started_height) {
            *seated = fresh();
        }
        let moves = turn(state, &mut seated.seat, trial, sincere);
        let leaves = seated.seat.evidence().leaves();
        let act = |(intent, it): (Intent, Move)| {
            let kind = kind(&intent, &it, leaves);
            Act { kind, messages: bent(it, actor, job) }
        };
        moves.into_iter().map(act).collect()
    }

    /// Recomputes a verified job, and challenges an answer that is not the own.
    fn watch(&self, actor: Actor<'_>, job: &Job) -> Option<Act> {
        let own = story(&tokens(job), actor.claim(), actor.manner.bogus);
        let before = self.challenged.contains(&(job.id, job.result_root.clone()));
        let manner = actor.manner;
        if !manner.watches
            || own.answer().result_root == *job.result_root
            || (before && !manner.insists)
        {
            return None;
        }
        let own = Some(Proof::of(&own).unwrap());
        let it = Move::Challenge { answer: job.result_root.as_slice().try_into().unwrap(), own };
        Some(Act { kind: Kind::Challenge, messages: bent(it, actor, job) })
    }
}

/// The operator that an account works for.
fn operator_of(state: &dyn StateRead, account: &Account) -> Option<Address> {
    let stored = ACCOUNTS.get(state, &account.address).unwrap()?;
    stored.validator.try_into().ok()
}

/// Lets a seat decide, with all that the chain knows.
fn turn(
    state: &dyn StateRead,
    seat: &mut Seat<Run>,
    trial: &Trial,
    sincere: bool,
) -> Vec<(Intent, Move)> {
    let (tip, params) = (TIP.must(state, &()).unwrap(), PARAMS.must(state, &()).unwrap());
    let now = Now::of(&tip, &params);
    let mut moves = Vec::new();
    loop {
        let turn = seat.turn(trial, &now);
        assert!(!sincere || turn.failures.is_empty(), "job {}: {:?}", trial.job, turn.failures);
        moves.extend(turn.moves);
        if turn.missing.is_empty() {
            return moves;
        }
        for node in turn.missing {
            let key = (trial.job, node.trace, node.level, node.position);
            let bytes = TRACE_NODES.get(state, &key).unwrap().unwrap_or_default();
            seat.put(trial, &now, node, &bytes).unwrap();
        }
    }
}

fn kind(intent: &Intent, it: &Move, leaves: u64) -> Kind {
    match (intent, it) {
        (_, Move::Call(node)) => {
            let first = merkle::below(merkle::height(leaves));
            if node.level == first { Kind::FirstCall } else { Kind::Call }
        }
        (Intent::Challenge { .. }, _) => Kind::Challenge,
        (Intent::Defend, _) => Kind::Defend,
        (Intent::Call(_), _) => Kind::Call,
        (Intent::Open(_), _) => Kind::Open,
        (Intent::Prove(_), _) => Kind::Prove,
        (Intent::Refute(_), _) => Kind::Refute,
        (Intent::Concede, _) => Kind::Concede,
    }
}

/// The messages of a right move, as a manner makes them.
fn bent(it: Move, actor: Actor<'_>, job: &Job) -> Vec<Any> {
    let Actor { account, manner, .. } = actor;
    let mut messages = bend(it, manner, &tokens(job)).messages(&account.address, job.id);
    if manner.mute.contains(&Kind::Defend) {
        // An own answer is brought, and never proved.
        messages.truncate(1);
    }
    messages
}

/// Makes of a right move what a manner makes of it.
fn bend(it: Move, manner: &Manner, ids: &[u32]) -> Move {
    match it {
        Move::Prove(node, mut witness) if manner.spoils_witnesses => {
            let middle = witness.len() / 2;
            witness[middle] ^= 1;
            Move::Prove(node, witness)
        }
        Move::Defend(Proof { answer, .. }) if manner.borrows_trace => {
            let truth = Proof::of(&story(ids, Claim::Truth, None)).unwrap();
            Move::Defend(Proof { answer, ..truth })
        }
        other => other,
    }
}

/// Hands in the output of an answer that the account brought, as the chain asks only those without a
/// validator.
fn deliver(actor: Actor<'_>, job: &Job) -> Option<Act> {
    let me = actor.account;
    let asked = job.delivered_height == 0
        && job.earners.iter().any(|it| it.account == me.address && it.validator.is_empty());
    if !asked {
        return None;
    }
    let run = actor.claim().run(&tokens(job));
    let message = any(&MsgDeliverOutput {
        executor: me.text(),
        job: job.id,
        status: run_status(run.status).into(),
        output: run.output,
    });
    Some(Act { kind: Kind::Deliver, messages: vec![message] })
}
