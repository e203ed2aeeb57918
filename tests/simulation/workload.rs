//! A random life of a chain: whatever members, executors and CometBFT may do, from one seed.

use std::collections::BTreeMap;

use lockstep_chain::block::Evidence;
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::state::tables::{JOBS, MODELS, SLASHES};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::staking::v1::{MsgCancelVerdict, Offence, Slash};
use lockstep_tests::actions;
use lockstep_tests::cluster::{Cluster, Plan, Report, Weather};
use lockstep_tests::executor::Behaviour;
use lockstep_tests::genesis::{LOCK, genesis, params};
use lockstep_tests::model::{TOKENS_MAX, VOCABULARY};
use lockstep_tests::rng::Rng;
use prost_types::Any;

use crate::disputes::Disputes;

/// How much a run did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// By what: states of jobs, offences, codes.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Done {
    pub(crate) fn count(&mut self, what: impl Into<String>) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: impl Into<String>, count: u64) {
        *self.counts.entry(what.into()).or_default() += count;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }
}

/// A chain, the numbers that drive it, and what it did so far.
struct World {
    cluster: Cluster,
    rng: Rng,
    done: Done,
    blocks_left: u64,
    /// Transactions of earlier blocks, to be sent again.
    old: Vec<Vec<u8>>,
    disputes: Disputes,
}

/// Plays so many heights from a seed; returns what it did and a hash over everything.
pub(crate) fn play(seed: u64, heights: u64) -> (Done, [u8; 32]) {
    let mut rng = Rng::new(seed);
    let count = 3 + rng.index(3);
    let stakes: Vec<u64> = (0..count).map(|_| 20 + rng.below(100)).collect();
    let mut params = params();
    params.compute_price = rng.below(2) * 1_000_000;
    params.open_jobs_max = 12;
    // Every third network loses moves; there, windows leave time to send again, and life is longer.
    let rough = seed % 3 == 1;
    if rough {
        params.challenge_window_blocks = 12;
        params.trial_defend_blocks = 12;
        params.trial_call_blocks = 12;
        params.trial_move_blocks = 12;
        params.unbonding_blocks = 200;
    }
    let mut cluster = actions::with_models(&genesis(&stakes, params));
    cluster.weather = rough.then(|| Weather::new(seed));
    let disputes = Disputes::new(&mut cluster);
    let mut world = World {
        cluster,
        rng,
        disputes,
        done: Done::default(),
        blocks_left: if rough { heights + heights / 2 } else { heights },
        old: Vec::new(),
    };
    while world.blocks_left > 0 {
        world.step();
    }
    world.tally();
    (world.done, *world.cluster.transcript.finalize().as_bytes())
}

const PEOPLE: &[&str] =
    &["council2", "treasury", "author0", "author1", "dev0", "dev1", "delegator", "poor", "val0"];

impl World {
    fn step(&mut self) {
        self.blocks_left -= 1;
        self.moods();
        self.disputes.moods(&mut self.cluster, &mut self.rng);
        let mut txs = Vec::new();
        for _ in 0..self.rng.below(6) {
            txs.push(self.good());
        }
        for _ in 0..self.rng.below(3) {
            txs.extend(self.bad());
        }
        let plan = self.plan(txs);
        let report = self.cluster.block(plan);
        self.learn(&report);
    }

    /// Now and then an executor changes its ways; most of the time most are honest.
    fn moods(&mut self) {
        if !self.rng.one_in(4) {
            return;
        }
        let number = self.rng.index(self.cluster.validators.len());
        let job = self.cluster.totals().jobs;
        let wild = [
            Behaviour::LiesFrom(job + 1),
            Behaviour::LiesOnceFor(job + 1),
            Behaviour::Invents(u8::try_from(number).unwrap()),
            Behaviour::Silent,
            Behaviour::NeverReveals,
            Behaviour::RevealsAfter(1 + self.rng.below(8)),
            Behaviour::Copies,
            Behaviour::Equivocates,
            Behaviour::NeverDelivers,
            Behaviour::Dead,
        ];
        let wicked = self.cluster.behaviours.iter().filter(|b| **b != Behaviour::Honest).count();
        let pick = *self.rng.pick(&wild);
        self.cluster.behaviours[number] = if wicked < 2 { pick } else { Behaviour::Honest };
        if self.rng.one_in(12) {
            // All at once, as where a driver or a power line fails.
            self.cluster.behaviours.fill(pick);
        } else if self.rng.one_in(4) {
            self.cluster.behaviours.fill(Behaviour::Honest);
        }
    }

    fn plan(&mut self, txs: Vec<Vec<u8>>) -> Plan {
        let mut plan = Plan { txs, ..Plan::default() };
        let count = self.cluster.validators.len();
        plan.step_ms = *self.rng.pick(&[1, 200, 1000, 1000, 1000, 5000, 60_000]);
        plan.restart = self.rng.one_in(10);
        plan.finalizations = u32::try_from(1 + self.rng.below(3)).unwrap();
        if self.rng.one_in(4) {
            plan.failed_rounds = u32::try_from(self.rng.below(3)).unwrap();
        }
        if self.rng.one_in(3) {
            plan.absent.insert(self.rng.index(count));
        }
        if self.rng.one_in(5) {
            let len = self.rng.index(1500);
            plan.late.insert(self.rng.index(count), self.rng.bytes(len));
        }
        if self.rng.one_in(60) {
            let number = self.rng.index(count);
            let address = self.cluster.validators[number].consensus_address();
            plan.evidence =
                vec![Evidence { address, height: 1 + self.rng.below(self.cluster.height) }];
        }
        if self.rng.one_in(20) {
            plan.evidence.push(Evidence { address: [7; 20], height: 1 });
        }
        plan
    }

    fn tokens(&mut self) -> Vec<u32> {
        let count = 1 + self.rng.index(8);
        // Sometimes a FAULT, sometimes not in the vocabulary.
        let kinds = match self.rng.below(15) {
            0 => VOCABULARY + 1,
            1 | 2 => VOCABULARY,
            _ => VOCABULARY - 1,
        };
        (0..count).map(|_| u32::try_from(self.rng.below(kinds.into())).unwrap()).collect()
    }

    /// Tokens of a blob that executors find.
    fn blob(&mut self) -> Vec<u32> {
        let first = u32::try_from(self.rng.below(VOCABULARY.into())).unwrap();
        let count = 1 + u32::try_from(self.rng.below(TOKENS_MAX.into())).unwrap();
        (first..first + count).map(|id| id % VOCABULARY).collect()
    }

    fn model(&mut self) -> String {
        let count = MODELS.scan(self.cluster.state(), &(), 100).unwrap();
        let (_, model) = self.rng.pick(&count);
        model.name.clone()
    }

    /// A message that may well succeed, and who signs it.
    fn message(&mut self) -> (String, Any) {
        let who = (*self.rng.pick(PEOPLE)).to_owned();
        let validator = self.rng.index(self.cluster.validators.len());
        let amount = 1 + self.rng.below(30 * LOCK);
        match self.rng.below(20) {
            0..8 => {
                let (dev, tokens, model) = (self.developer(), self.tokens(), self.model());
                let post = match self.rng.below(4) {
                    0 => actions::blob_job(&dev, &model, &self.blob()),
                    _ => actions::job(&dev, &model, &tokens),
                };
                (dev, any(&post))
            }
            8 => {
                let dev = self.developer();
                let job = self.cluster.totals().jobs.saturating_sub(self.rng.below(3));
                let message = actions::cancel(&dev, job);
                (dev, message)
            }
            9 => (who.clone(), actions::royalty(&who, &self.model(), amount)),
            10 | 11 => (who.clone(), actions::delegate(&who, validator, amount)),
            12 => (who.clone(), actions::undelegate(&who, validator, amount)),
            13 => {
                let operator = format!("val{validator}");
                let message = actions::undelegate(&operator, validator, amount);
                (operator, message)
            }
            14 => self.council(validator),
            15 => self.publisher(),
            16 => {
                let message = actions::create_validator(validator, 10 + self.rng.below(60));
                (format!("val{validator}"), message)
            }
            _ => {
                let to = *self.rng.pick(PEOPLE);
                (who.clone(), actions::send(&who, to, amount))
            }
        }
    }

    fn developer(&mut self) -> String {
        (*self.rng.pick(&["dev0", "dev1", "dev0", "poor"])).to_owned()
    }

    fn council(&mut self, validator: usize) -> (String, Any) {
        let message = match self.rng.below(8) {
            6 | 7 => return self.cancel_verdict(),
            0 => actions::grant(&format!("new{}", self.rng.below(9)), Role::Developer, None),
            1 => actions::revoke("poor", Role::Developer),
            2 => actions::grant("poor", Role::Developer, None),
            3 => {
                self.disputes.revoked(validator);
                actions::revoke(&format!("exec{validator}"), Role::Executor)
            }
            _ => actions::grant(&format!("exec{validator}"), Role::Executor, Some(validator)),
        };
        ("council".to_owned(), message)
    }

    /// The council finds that a verdict of a wave was a driver's fault.
    fn cancel_verdict(&mut self) -> (String, Any) {
        let all = SLASHES.scan(self.cluster.state(), &(), usize::MAX).unwrap();
        let waits = |slash: &&(u64, Slash)| slash.1.wave && !slash.1.executed && !slash.1.cancelled;
        let slash = all.iter().find(waits).map_or_else(|| self.rng.below(9), |(id, _)| *id);
        let message = MsgCancelVerdict {
            council_member: self.cluster.keys("council").text(),
            slash,
            reason: "a fault of the driver".to_owned(),
        };
        ("council".to_owned(), any(&message))
    }

    fn publisher(&mut self) -> (String, Any) {
        let owner = (*self.rng.pick(&["author0", "author1"])).to_owned();
        let model = self.model();
        let message = match self.rng.below(4) {
            0 => {
                let name = format!("model-{}", self.cluster.totals().models);
                let (price, share) = (self.rng.below(5000), 1 + self.rng.below(10_000));
                let parents = [(model.as_str(), u32::try_from(share).unwrap())];
                actions::register(&owner, &name, price, &parents)
            }
            1 => actions::alias(&owner, &model, "stable", 1),
            _ => actions::publish(&owner, &model),
        };
        (owner, message)
    }

    fn good(&mut self) -> Vec<u8> {
        let (signer, message) = self.message();
        let mut messages = vec![message];
        if self.rng.one_in(6) {
            // All or none: the second fails where the account is not that rich.
            messages.push(actions::send(&signer, "treasury", 1 + self.rng.below(2_000 * LOCK)));
        }
        let unsigned = self.cluster.unsigned(&signer, messages);
        let key = self.cluster.keys(&signer).key;
        unsigned.sign(&key)
    }

    /// A transaction of somebody else that must not get through.
    fn bad(&mut self) -> Option<Vec<u8>> {
        let mallory = self.cluster.keys("mallory");
        let base = self.cluster.unsigned("mallory", vec![actions::send("mallory", "dev0", 5)]);
        let far_ms = self.cluster.time_ms + 600_000;
        let signed = |unsigned: Unsigned| Some(unsigned.sign(&mallory.key));
        match self.rng.below(9) {
            0 => signed(Unsigned { sequence: base.sequence + 1 + self.rng.below(9), ..base }),
            1 => signed(Unsigned { fee: 1, ..base }),
            2 => signed(Unsigned { chain_id: "lockstep-other-1".to_owned(), ..base }),
            3 => signed(Unsigned { account_number: base.account_number + 1, ..base }),
            4 => signed(Unsigned { messages: vec![actions::send("dev0", "mallory", 5)], ..base }),
            5 => signed(Unsigned { gas_limit: 4_000, ..base }),
            6 => signed(Unsigned { sequence: 0, unordered_until_ms: Some(far_ms), ..base }),
            7 => {
                let mut bytes = base.sign(&mallory.key);
                let place = self.rng.index(bytes.len());
                bytes[place] ^= 1 << self.rng.below(8);
                Some(bytes)
            }
            _ if self.old.is_empty() => None,
            _ => Some(self.rng.pick(&self.old).clone()),
        }
    }

    fn learn(&mut self, report: &Report) {
        self.done.count(if report.counted { "heights counted" } else { "heights empty" });
        if !report.outcome.validator_updates.is_empty() {
            self.done.count("validator updates");
        }
        self.disputes.learn(&self.cluster, &report.outcome, &mut self.done);
        for (tx, outcome) in report.txs.iter().zip(&report.outcomes) {
            self.done.count(format!("code {}", outcome.code));
            if self.old.len() < 50 {
                self.old.push(tx.clone());
            }
        }
    }

    /// Counts how jobs ended and who was punished, once, at the end.
    fn tally(&mut self) {
        self.disputes.check(&self.cluster, &mut self.done);
        let state = self.cluster.state();
        for (_, job) in JOBS.scan(state, &(), usize::MAX).unwrap() {
            self.done.count(job.state().as_str_name());
            if job.attempt > 1 {
                self.done.count("new attempts");
            }
            let late = job.delivery_open && job.state() == JobState::Final;
            self.done.count(if late { "late deliveries" } else { "others" });
        }
        for (_, slash) in SLASHES.scan(state, &(), usize::MAX).unwrap() {
            self.done.count(slash.offence().as_str_name());
            if slash.offence() != Offence::Equivocation {
                assert_ne!(slash.job, 0);
            }
        }
    }
}
