//! Trials in the random life of a chain: in which manner everybody plays, and what must hold whatever
//! they do. One auditor is always honest and watches, with a bond; that is enough.

use std::collections::BTreeSet;

use lockstep_chain::block::{Outcome, TxOutcome};
use lockstep_chain::event::Event;
use lockstep_chain::state::tables::{JOBS, SLASHES, TRIALS, VALIDATORS};
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_proto::lockstep::trial::v1::GameState;
use lockstep_tests::cluster::{Cluster, FEE};
use lockstep_tests::executor::{self, Behaviour, Claim};
use lockstep_tests::genesis::BALANCE;
use lockstep_tests::party::{Kind, Manner};
use lockstep_tests::rng::Rng;

use crate::workload::Done;

/// Who is always honest.
pub(crate) const WATCHER: &str = "auditor0";

/// Every kind of move that somebody may fail to make.
const KINDS: [Kind; 9] = [
    Kind::Challenge,
    Kind::Concede,
    Kind::Defend,
    Kind::FirstCall,
    Kind::Call,
    Kind::Open,
    Kind::Prove,
    Kind::Refute,
    Kind::Deliver,
];

/// Who has kept to the rules since the chain began, and what was seen.
#[derive(Debug)]
pub(crate) struct Disputes {
    /// Numbers of the validators whose executors have, always.
    honest: BTreeSet<usize>,
    /// Games that were lost: job, when the trial began, trace, challenger.
    lost: BTreeSet<(u64, u64, u32, Vec<u8>)>,
}

impl Disputes {
    pub(crate) fn new(cluster: &mut Cluster) -> Self {
        cluster.manners.insert(WATCHER.to_owned(), Manner::watching());
        Self { honest: (0..cluster.validators.len()).collect(), lost: BTreeSet::new() }
    }

    /// Now and then somebody plays in another manner.
    pub(crate) fn moods(&mut self, cluster: &mut Cluster, rng: &mut Rng) {
        if rng.one_in(3) {
            let number = rng.index(cluster.validators.len());
            let who = cluster.validators[number].executor.name.clone();
            cluster.manners.insert(who, any_manner(rng));
        }
        if rng.one_in(4) {
            let who = *rng.pick(&["auditor1", "auditor2"]);
            cluster.manners.insert(who.to_owned(), any_manner(rng));
        }
        if rng.one_in(6) {
            cluster.manners.retain(|who, _| who == WATCHER);
        }
        let jobs = cluster.totals().jobs;
        for (number, behaviour) in cluster.behaviours.iter().enumerate() {
            let revealed = behaviour.claim(jobs + 1);
            let who = &cluster.validators[number].executor.name;
            let manner = cluster.manners.get(who).cloned().unwrap_or_default();
            let plays = *behaviour != Behaviour::Dead && manner.is_sincere(revealed);
            if revealed != Claim::Truth || !plays {
                self.honest.remove(&number);
            }
        }
    }

    /// The council has taken an executor's role, so that it cannot play.
    pub(crate) fn revoked(&mut self, number: usize) {
        self.honest.remove(&number);
    }

    /// Looks at what a block did.
    pub(crate) fn learn(&mut self, cluster: &Cluster, outcome: &Outcome, done: &mut Done) {
        let by_moves = outcome.txs.iter().flat_map(|tx: &TxOutcome| &tx.events);
        let events =
            by_moves.map(|it| (it, true)).chain(outcome.events.iter().map(|it| (it, false)));
        for (event, by_move) in events {
            let Event { kind, .. } = event;
            match (kind.as_str(), by_move) {
                ("trace_fallen", true) => done.count("traces fallen by proof"),
                ("trace_fallen", false) => done.count("traces fallen by silence"),
                ("answers_differ", _) => done.count("trials of differences"),
                ("challenged", _) => done.count("challenges"),
                ("conceded", _) => done.count("concessions"),
                ("answer_fallen", _) => done.count("answers fallen"),
                ("trial_ended", _) => done.count("trials ended"),
                ("verdict_wave", _) => done.count("waves"),
                ("verdict_cancelled", _) => done.count("cancelled verdicts"),
                _ => {}
            }
        }
        for (id, trial) in TRIALS.scan(cluster.state(), &(), usize::MAX).unwrap() {
            for game in trial.games.iter().filter(|game| game.state() == GameState::Lost) {
                let key = (id, trial.started_height, game.trace, game.challenger.clone());
                if self.lost.insert(key) {
                    done.count("games lost");
                }
            }
        }
    }

    /// No wrong answer has become final, and nobody honest has lost anything because of trials.
    pub(crate) fn check(&self, cluster: &mut Cluster, done: &mut Done) {
        for (id, job) in JOBS.scan(cluster.state(), &(), usize::MAX).unwrap() {
            if job.state() == JobState::Final {
                let right = executor::root(cluster.state(), &job, Claim::Truth);
                assert_eq!(job.result_root, right, "job {id} is final with a wrong answer");
            }
            if !job.earners.is_empty() {
                done.count("answers of challengers");
            }
        }
        for (_, slash) in SLASHES.scan(cluster.state(), &(), usize::MAX).unwrap() {
            let found = |number: &&usize| {
                cluster.validators[**number].operator.address == slash.validator.as_slice()
            };
            if matches!(slash.offence(), Offence::WrongResult | Offence::Conceded) {
                let honest = self.honest.iter().find(found);
                assert_eq!(honest, None, "{slash:?}");
            }
            let premium = |reward: &&lockstep_proto::lockstep::staking::v1::Reward| {
                reward.amount > reward.cost
            };
            for _ in slash.rewards.iter().filter(premium) {
                done.count("premiums paid");
            }
        }
        let mut honest: Vec<String> = vec![WATCHER.to_owned()];
        for number in &self.honest {
            let me = &cluster.validators[*number];
            let stored = VALIDATORS.get(cluster.state(), &me.operator.address).unwrap();
            if stored.is_some_and(|stored| stored.executor == me.executor.address) {
                honest.push(me.executor.name.clone());
            }
        }
        for who in honest {
            Self::check_money(cluster, &who);
        }
        done.add("moves", u64::try_from(cluster.played.len()).unwrap());
    }

    /// Bonds return, so that an honest account has spent the fees of its challenges and nothing else.
    fn check_money(cluster: &mut Cluster, who: &str) {
        let address = cluster.keys(who).address;
        let mut bonds = 0;
        for (_, trial) in TRIALS.scan(cluster.state(), &(), usize::MAX).unwrap() {
            let challenges = trial.challenges.iter().filter(|it| it.account == address);
            let stands = trial.supporters.iter().filter(|it| it.account == address);
            bonds += challenges.map(|it| it.bond).sum::<u64>();
            bonds += stands.map(|it| it.bond).sum::<u64>();
        }
        let mine = cluster.played.iter().filter(|it| it.who == who && it.kind == Kind::Challenge);
        let fees = FEE * u64::try_from(mine.count()).unwrap();
        let balance = cluster.balance(who);
        assert!(balance + bonds + fees >= BALANCE, "{who} has lost: {balance} and {bonds}");
    }
}

fn any_manner(rng: &mut Rng) -> Manner {
    let lie = Claim::Lie(u8::try_from(rng.below(4)).unwrap());
    let bogus = Some(rng.below(400));
    match rng.below(12) {
        0 | 1 => Manner::watching(),
        2 => Manner::saying(Claim::Truth),
        3 => Manner { bogus, ..Manner::default() },
        4 => Manner { bogus, ..Manner::saying(lie) },
        5 => Manner { spoils_witnesses: true, ..Manner::default() },
        6 => Manner { borrows_trace: true, ..Manner::default() },
        7 => Manner { watches: true, ..Manner::saying(lie) },
        8 => Manner { watches: true, insists: true, bogus, ..Manner::saying(lie) },
        9 => Manner { mute: KINDS.into(), ..Manner::watching() },
        _ => {
            let count = 1 + rng.index(3);
            let kinds: Vec<_> = (0..count).map(|_| *rng.pick(&KINDS)).collect();
            Manner { watches: rng.one_in(2), ..Manner::mute(&kinds) }
        }
    }
}
