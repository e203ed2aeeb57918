//! Trials in the random life of a chain: in which manner everybody plays, and what must hold whatever
//! they do. One auditor is always honest and watches, with a bond; that is enough.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_audit::play::Now;
use lockstep_chain::address;
use lockstep_chain::bank::address_of;
use lockstep_chain::block::{Outcome, TxOutcome};
use lockstep_chain::event::Event;
use lockstep_chain::state::tables::{JOBS, PARAMS, SLASHES, TIP, TRIALS, VALIDATORS};
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::staking::v1::{Offence, Slash};
use lockstep_proto::lockstep::trial::v1::{GameState, SupporterState};
use lockstep_tests::cluster::Cluster;
use lockstep_tests::executor::{self, Behaviour, Claim};
use lockstep_tests::keys::Account;
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
    /// By account, in ulock: bonds that were posted, without those that came back.
    bonds: BTreeMap<String, u64>,
    /// By job and the height at which its trial began: operators that stood behind something wrong when
    /// watchers challenge it, and for how many heights.
    liars: BTreeMap<(u64, u64), BTreeMap<Vec<u8>, u64>>,
}

impl Disputes {
    pub(crate) fn new(cluster: &mut Cluster) -> Self {
        cluster.manners.insert(WATCHER.to_owned(), Manner::watching());
        let honest = (0..cluster.validators.len()).collect();
        Self { honest, lost: BTreeSet::new(), bonds: BTreeMap::new(), liars: BTreeMap::new() }
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
            self.count_bond(event);
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
        self.check_bonds(cluster);
        self.check_liars(cluster, done);
    }

    fn count_bond(&mut self, event: &Event) {
        let of = |name| event.attributes.iter().find(|it| it.0 == name).map(|it| it.1.clone());
        let (Some(account), Some(amount)) = (of("account"), of("amount")) else { return };
        let amount: u64 = amount.parse().unwrap();
        match event.kind.as_str() {
            "bond_posted" => *self.bonds.entry(account).or_default() += amount,
            "bond_returned" => *self.bonds.entry(account).or_default() -= amount,
            _ => {}
        }
    }

    /// Every bond of somebody honest stands in a trial, or has come back.
    fn check_bonds(&mut self, cluster: &Cluster) {
        let mut standing: BTreeMap<String, u64> = BTreeMap::new();
        for (_, trial) in TRIALS.scan(cluster.state(), &(), usize::MAX).unwrap() {
            let challenges = trial.challenges.iter().map(|it| (&it.account, it.bond));
            let stands = trial.supporters.iter().map(|it| (&it.account, it.bond));
            for (account, bond) in challenges.chain(stands).filter(|(_, bond)| *bond > 0) {
                let account = address::account(&address_of(account).unwrap());
                *standing.entry(account).or_default() += bond;
            }
        }
        let mut honest = vec![Account::named(WATCHER).text()];
        // Whoever works no more cannot play on.
        self.honest.retain(|number| {
            let me = &cluster.validators[*number];
            let stored = VALIDATORS.get(cluster.state(), &me.operator.address).unwrap();
            let works = stored.is_some_and(|stored| stored.executor == me.executor.address);
            let account = me.executor.text();
            let kept = works || !standing.contains_key(&account);
            honest.extend(works.then_some(account));
            kept
        });
        for account in honest {
            let posted = self.bonds.get(&account).copied().unwrap_or(0);
            let stands = standing.get(&account).copied().unwrap_or(0);
            assert_eq!(posted, stands, "a bond of {account} is lost");
        }
    }

    /// Whoever revealed a lie that somebody honest had the time to challenge pays for it.
    fn check_liars(&mut self, cluster: &Cluster, done: &mut Done) {
        let state = cluster.state();
        let now = Now::of(&TIP.must(state, &()).unwrap(), &PARAMS.must(state, &()).unwrap());
        let mut running = BTreeSet::new();
        for (id, trial) in TRIALS.scan(state, &(), usize::MAX).unwrap() {
            running.insert((id, trial.started_height));
            if trial.defend_over || !now.is_half_over(&trial) {
                continue;
            }
            let right = executor::root(state, &JOBS.must(state, &id).unwrap(), Claim::Truth);
            let chances = self.liars.entry((id, trial.started_height)).or_default();
            for member in trial.supporters.iter().filter(|it| !it.validator.is_empty()) {
                let answer = &trial.answers[usize::try_from(member.answer).unwrap()];
                if answer.result_root != right && member.state() == SupporterState::In {
                    *chances.entry(member.validator.clone()).or_default() += 1;
                }
            }
        }
        // Where moves get lost, there has to be time to send again.
        let enough = if cluster.weather.is_some() { 6 } else { 1 };
        let over = |trial: &(u64, u64)| !running.contains(trial);
        let over: Vec<_> = self.liars.keys().filter(|trial| over(trial)).copied().collect();
        for trial in over {
            let all = SLASHES.scan(state, &(), usize::MAX).unwrap();
            let chances = self.liars.remove(&trial).unwrap().into_iter();
            for (liar, _) in chances.filter(|(_, heights)| *heights >= enough) {
                let wrong = |it: &Slash| {
                    matches!(it.offence(), Offence::WrongResult | Offence::Conceded)
                        && (it.job, &it.validator) == (trial.0, &liar)
                };
                let pays = all.iter().any(|(_, slash)| wrong(slash));
                assert!(pays, "{} lied about job {}", hex::encode(liar), trial.0);
                done.count("lies paid for");
            }
        }
    }

    /// No wrong answer has become final, and nobody honest was found wrong.
    pub(crate) fn check(&self, cluster: &Cluster, done: &mut Done) {
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
        done.add("moves", u64::try_from(cluster.played.len()).unwrap());
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
