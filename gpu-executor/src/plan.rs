//! What to do next: a pure state machine over duties and what became of earlier steps.
//!
//! It touches no disk, no clock and no socket: events come in, effects go out, `worker` carries
//! them out. Nothing here waits, so a slow model never delays an answer that is ready.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lockstep_chain::address::{self, Address};
use lockstep_chain::commitment::Opening;
use lockstep_chain::commitment::commitment;
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::block::v1::{Commitment, Reveal, VoteExtension};
use lockstep_proto::lockstep::job::v1::{
    Job, MsgCommitResult, MsgDeliverOutput, MsgRevealResult, QueryDutiesResponse, RunStatus,
};
use prost_types::Any;

use crate::blobs::Root;
use crate::fault::{FaultError, Faults, Kind};
use crate::key::Key;

/// An offer rides on the votes of the next height and stands one later; what is still asked for
/// after so many heights did not fit, and goes as a transaction.
const OFFER_BLOCKS: u64 = 3;
/// After so many heights a transaction that did not help is sent again.
const TX_BLOCKS: u64 = 6;
/// A step that failed waits for 1, 2, 4, … heights, at most for so many.
const PAUSE_BLOCKS_MAX: u64 = 16;
/// After so many heights without a duty, what is known of a step is dropped.
const FORGET_BLOCKS: u64 = 1024;
/// How long a reveal that a fault kept back stays on offer.
const LATE_BLOCKS: u64 = 20;
/// Commitments and reveals that go into one transaction.
const TX_MESSAGES: usize = 8;
/// Answers that are kept.
const ANSWERS_MAX: usize = 4096;

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub status: RunStatus,
    /// f32, little endian; empty where it ended in FAULT.
    pub output: Bytes,
    /// What is committed to.
    pub result_root: Root,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// What is to be done at a height.
    Duties(Box<QueryDutiesResponse>),
    /// The node was away: what it had on offer is lost.
    NodeLost,
    /// A version's artefact was fetched, validated and loaded, or not.
    Prepared(u64, Result<(), String>),
    /// An input is here, or not.
    Input(Root, Result<(), String>),
    /// A job was run, or not.
    Ran(u64, Result<Answer, String>),
    /// A proof of possession was sent, or not.
    Proved(u64, Result<(), String>),
    /// A transaction with these messages was sent, or refused.
    Sent(Vec<Step>, Result<(), String>),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Fetch, validate and load a version.
    Prepare(u64),
    /// Fetch an input.
    FetchInput(Box<Job>, Root),
    /// Run jobs of one version together.
    Run(u64, Vec<Order>),
    /// Prove that the artefact of a version is here.
    Prove(u64),
    /// Put this on offer for vote extensions, instead of what was.
    Offer(VoteExtension),
    /// Send these messages as one transaction.
    Send(Vec<(Step, Any)>),
    /// Look at the trials.
    Trials(Docket),
}

/// What those who play the trials need to know of a height.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Docket {
    /// The height.
    pub height: u64,
    /// The trial clock.
    pub clock: u64,
    /// Jobs on trial, and what to do wrong about each.
    pub trials: Vec<(u64, Option<Kind>)>,
    /// Jobs whose right answer is to be challenged: injected faults.
    pub accused: Vec<u64>,
}

/// A job to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The job.
    pub job: Job,
    /// Make its output wrong: an injected fault.
    pub falsify: bool,
}

/// Something that is done once, and again after a pause where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Preparing a version.
    Prepare(u64),
    /// Fetching an input.
    Input(Root),
    /// Running a job.
    Run(u64),
    /// Proving possession of a version.
    Prove(u64),
    /// Sending a commitment, by job and attempt.
    Commit(u64, u32),
    /// Sending a reveal.
    Reveal(u64, u32),
    /// Sending an output.
    Deliver(u64, u32),
}

/// How far a step is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Not again before this height; none while it runs.
    resume_height: Option<u64>,
    failures: u32,
}

/// Who the executor works for.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its key.
    pub key: Key,
    /// The network.
    pub chain_id: String,
    /// Its validator.
    pub operator: Address,
}

/// The state machine.
#[derive(Debug)]
pub struct Plan {
    me: Me,
    faults: Faults,
    batch_jobs_max: usize,
    duties: QueryDutiesResponse,
    answers: BTreeMap<u64, Answer>,
    ready: BTreeSet<u64>,
    held: BTreeSet<Root>,
    steps: BTreeMap<Step, Progress>,
    /// Since which height something is on offer.
    offered_since: BTreeMap<Step, u64>,
    offered: Option<VoteExtension>,
    /// Reveals that a fault keeps back, until the chain no longer asks for them.
    late: BTreeMap<u64, u32>,
    /// Jobs whose answer was another one before.
    warned: BTreeSet<u64>,
}

impl Plan {
    /// A plan that knows of nothing yet.
    #[must_use]
    pub fn new(me: Me, faults: Faults, batch_jobs_max: usize) -> Self {
        Self {
            me,
            faults,
            batch_jobs_max,
            duties: QueryDutiesResponse::default(),
            answers: BTreeMap::new(),
            ready: BTreeSet::new(),
            held: BTreeSet::new(),
            steps: BTreeMap::new(),
            offered_since: BTreeMap::new(),
            offered: None,
            late: BTreeMap::new(),
            warned: BTreeSet::new(),
        }
    }

    /// Takes in an event, and says what to do about it.
    ///
    /// # Errors
    /// Only where injected faults cannot be kept.
    pub fn handle(&mut self, event: Event) -> Result<Vec<Effect>, FaultError> {
        let mut effects = Vec::new();
        match event {
            Event::Duties(duties) => {
                self.duties = *duties;
                self.forget();
                for job in &self.duties.commit {
                    self.faults.asked(job.id)?;
                }
                self.warn_of_differences();
                effects.push(Effect::Trials(self.docket()));
            }
            Event::NodeLost => self.offered = None,
            Event::Prepared(version, result) => {
                if self.ended(Step::Prepare(version), &result) {
                    self.ready.insert(version);
                }
            }
            Event::Input(root, result) => {
                if self.ended(Step::Input(root), &result) {
                    self.held.insert(root);
                }
            }
            Event::Ran(job, result) => self.ran(job, result),
            Event::Proved(version, result) => self.sent(Step::Prove(version), &result),
            Event::Sent(steps, result) => {
                for step in steps {
                    self.sent(step, &result);
                }
            }
        }
        // What is ready goes first.
        self.offer(&mut effects);
        self.run(&mut effects);
        self.hold(&mut effects);
        self.possess(&mut effects);
        self.send(&mut effects);
        Ok(effects)
    }

    fn docket(&self) -> Docket {
        let trials = self.duties.trials.iter().map(|job| (*job, self.faults.of(*job)));
        Docket {
            height: self.duties.height,
            clock: self.duties.trial_clock,
            trials: trials.collect(),
            accused: self.faults.accused(),
        }
    }

    /// What a job gave.
    #[must_use]
    pub fn answer(&self, job: u64) -> Option<&Answer> {
        self.answers.get(&job)
    }

    fn ran(&mut self, job: u64, result: Result<Answer, String>) {
        if !self.ended(Step::Run(job), &result) {
            // The model may have been put out of memory, or the input be damaged: look again.
            let failed = self.wanted().find(|wanted| wanted.id == job);
            if let Some((version, root)) = failed.map(|job| (job.version, input_root(job))) {
                self.ready.remove(&version);
                self.steps.remove(&Step::Prepare(version));
                if let Some(root) = root {
                    self.held.remove(&root);
                    self.steps.remove(&Step::Input(root));
                }
            }
            return;
        }
        let Ok(answer) = result else { return };
        self.answers.insert(job, answer);
        while self.answers.len() > ANSWERS_MAX {
            self.answers.pop_first();
        }
    }

    /// Jobs that need an answer.
    fn wanted(&self) -> impl Iterator<Item = &Job> {
        let duties = &self.duties;
        let all = duties.reveal.iter().chain(&duties.deliver).chain(&duties.commit);
        all.filter(|job| !matches!(self.faults.of(job.id), Some(Kind::Silent | Kind::NoShow)))
    }

    /// Runs what has no answer, version by version.
    fn run(&mut self, effects: &mut Vec<Effect>) {
        let jobs = self.wanted().filter(|job| !self.answers.contains_key(&job.id));
        let jobs: Vec<Job> = jobs.cloned().collect();
        let mut batches: BTreeMap<u64, Vec<Order>> = BTreeMap::new();
        for job in jobs {
            let ready = self.prepared(job.version, effects) & self.input_is_here(&job, effects);
            if ready && self.begin(Step::Run(job.id)) {
                let falsify = self.faults.of(job.id).is_some_and(Kind::falsifies);
                batches.entry(job.version).or_default().push(Order { job, falsify });
            }
        }
        for (version, jobs) in batches {
            let chunks = jobs.chunks(self.batch_jobs_max);
            effects.extend(chunks.map(|chunk| Effect::Run(version, chunk.to_vec())));
        }
    }

    fn prepared(&mut self, version: u64, effects: &mut Vec<Effect>) -> bool {
        let ready = self.ready.contains(&version);
        if !ready && self.begin(Step::Prepare(version)) {
            effects.push(Effect::Prepare(version));
        }
        ready
    }

    fn input_is_here(&mut self, job: &Job, effects: &mut Vec<Effect>) -> bool {
        let Some(root) = input_root(job) else { return true };
        let here = self.held.contains(&root);
        if !here && self.begin(Step::Input(root)) {
            effects.push(Effect::FetchInput(Box::new(job.clone()), root));
        }
        here
    }

    fn hold(&mut self, effects: &mut Vec<Effect>) {
        for job in self.duties.hold.clone() {
            if self.faults.of(job.id) != Some(Kind::Silent) {
                self.input_is_here(&job, effects);
            }
        }
    }

    fn possess(&mut self, effects: &mut Vec<Effect>) {
        for version in self.duties.possess.clone() {
            if self.prepared(version, effects) && self.begin(Step::Prove(version)) {
                effects.push(Effect::Prove(version));
            }
        }
    }

    /// Everything that could ride on a vote now, oldest job first.
    fn offer(&mut self, effects: &mut Vec<Effect>) {
        let mut offers = VoteExtension::default();
        for job in &self.duties.commit {
            offers.commitments.extend(self.commitment(job));
        }
        for job in &self.duties.reveal {
            match self.faults.of(job.id) {
                Some(Kind::Silent) => {}
                Some(Kind::LateReveal) => drop(self.late.insert(job.id, job.attempt)),
                _ => offers.reveals.extend(self.reveal(job.id, job.attempt)),
            }
        }
        let asked: BTreeSet<u64> = self.duties.reveal.iter().map(|job| job.id).collect();
        let late = self.late.iter().filter(|(job, _)| !asked.contains(job));
        offers.reveals.extend(late.filter_map(|(job, attempt)| self.reveal(*job, *attempt)));
        let held = self.duties.hold.iter().filter(|job| {
            input_root(job).is_some_and(|root| self.held.contains(&root))
                && self.faults.of(job.id) != Some(Kind::Silent)
        });
        offers.holds = held.map(|job| job.id).collect();

        let height = self.duties.height;
        for item in &offers.commitments {
            self.offered_since.entry(Step::Commit(item.job, item.attempt)).or_insert(height);
        }
        for item in &offers.reveals {
            self.offered_since.entry(Step::Reveal(item.job, item.attempt)).or_insert(height);
        }
        if self.offered.as_ref() != Some(&offers) {
            self.offered = Some(offers.clone());
            effects.push(Effect::Offer(offers));
        }
    }

    fn commitment(&self, job: &Job) -> Option<Commitment> {
        let commitment = match self.faults.of(job.id) {
            Some(Kind::Silent | Kind::NoShow) => None,
            Some(Kind::Copy) => {
                let others = job.members.iter().filter(|member| {
                    member.attempt == job.attempt && member.validator != self.me.operator
                });
                others.map(|m| m.commitment.clone()).find(|commitment| !commitment.is_empty())
            }
            _ => {
                let answer = self.answers.get(&job.id)?;
                let salt = &self.me.key.salt(&self.me.chain_id, job.id, job.attempt);
                let result_root = &answer.result_root;
                let opening = Opening { attempt: job.attempt, salt, result_root };
                Some(commitment(&self.me.chain_id, job.id, &self.me.operator, &opening).to_vec())
            }
        };
        Some(Commitment { job: job.id, attempt: job.attempt, commitment: commitment? })
    }

    /// Says so where the chain holds another commitment of this executor than the present answer's.
    fn warn_of_differences(&mut self) {
        let differs = |job: &&Job| {
            let mut members = job.members.iter();
            let own = members
                .find(|it| it.attempt == job.attempt && it.validator == self.me.operator)
                .filter(|it| !it.commitment.is_empty());
            own.zip(self.commitment(job)).is_some_and(|(own, now)| own.commitment != now.commitment)
        };
        let jobs = self.duties.reveal.iter().filter(differs).map(|job| job.id);
        for job in jobs.collect::<Vec<_>>() {
            if self.warned.insert(job) {
                tracing::warn!(
                    job,
                    "this run gives another answer than the one that was committed to; hint: test \
                     the device with `lockstep-executor --home DIR self-test`"
                );
            }
        }
        while self.warned.len() > ANSWERS_MAX {
            self.warned.pop_first();
        }
    }

    fn reveal(&self, job: u64, attempt: u32) -> Option<Reveal> {
        let answer = self.answers.get(&job)?;
        Some(Reveal {
            job,
            attempt,
            salt: self.me.key.salt(&self.me.chain_id, job, attempt).to_vec(),
            result_root: answer.result_root.to_vec(),
        })
    }

    /// What goes as a transaction: outputs, and what did not get into a vote.
    fn send(&mut self, effects: &mut Vec<Effect>) {
        let executor = address::account(&self.me.key.address());
        let offered = self.offered.clone().unwrap_or_default();
        let mut together = Vec::new();
        for item in offered.commitments {
            let (job, attempt) = (item.job, item.attempt);
            let (executor, commitment) = (executor.clone(), item.commitment);
            let message = MsgCommitResult { executor, job, attempt, commitment };
            together.push((Step::Commit(job, attempt), any(&message)));
        }
        for Reveal { job, attempt, salt, result_root } in offered.reveals {
            let executor = executor.clone();
            let message = MsgRevealResult { executor, job, attempt, salt, result_root };
            together.push((Step::Reveal(job, attempt), any(&message)));
        }
        let height = self.duties.height;
        let since = &self.offered_since;
        together.retain(|(step, _)| {
            since.get(step).is_some_and(|since| height >= since.saturating_add(OFFER_BLOCKS))
        });
        together.retain(|(step, _)| self.begin(*step));
        // One bad message would refuse its whole transaction: what failed before goes alone.
        let (alone, together): (Vec<_>, Vec<_>) =
            together.into_iter().partition(|(step, _)| self.failures(step) > 0);
        effects.extend(together.chunks(TX_MESSAGES).map(|chunk| Effect::Send(chunk.to_vec())));
        effects.extend(alone.into_iter().map(|item| Effect::Send(vec![item])));
        self.deliver(&executor, effects);
    }

    fn deliver(&mut self, executor: &str, effects: &mut Vec<Effect>) {
        for job in self.duties.deliver.clone() {
            let Some(answer) = self.answers.get(&job.id).cloned() else { continue };
            let step = Step::Deliver(job.id, job.attempt);
            if self.faults.of(job.id) == Some(Kind::Silent) || !self.begin(step) {
                continue;
            }
            let message = MsgDeliverOutput {
                executor: executor.to_owned(),
                job: job.id,
                status: answer.status.into(),
                output: answer.output.to_vec(),
            };
            effects.push(Effect::Send(vec![(step, any(&message))]));
        }
    }

    /// Whether a step may begin now; it then runs until it [`Plan::ended`].
    fn begin(&mut self, step: Step) -> bool {
        let height = self.duties.height;
        let progress = self.steps.entry(step);
        let progress = progress.or_insert(Progress { resume_height: Some(0), failures: 0 });
        let may = progress.resume_height.is_some_and(|resume| resume <= height);
        if may {
            progress.resume_height = None;
        }
        may
    }

    fn failures(&self, step: &Step) -> u32 {
        self.steps.get(step).map_or(0, |progress| progress.failures)
    }

    /// Notes how a step ended; whether well.
    fn ended<T>(&mut self, step: Step, result: &Result<T, String>) -> bool {
        let Err(error) = result else {
            self.steps.remove(&step);
            return true;
        };
        let failures = self.failures(&step).saturating_add(1);
        let pause = 1_u64.checked_shl(failures - 1).unwrap_or(u64::MAX).min(PAUSE_BLOCKS_MAX);
        let resume_height = Some(self.duties.height.saturating_add(pause));
        self.steps.insert(step, Progress { resume_height, failures });
        tracing::warn!(?step, failures, pause_blocks = pause, %error, "a step failed");
        false
    }

    /// As [`Plan::ended`] for what went to the mempool: whether it helped, the next duties say.
    fn sent(&mut self, step: Step, result: &Result<(), String>) {
        if self.ended(step, result) {
            let resume_height = Some(self.duties.height.saturating_add(TX_BLOCKS));
            self.steps.insert(step, Progress { resume_height, failures: 0 });
        }
    }

    /// Drops what only concerns jobs that are long over.
    fn forget(&mut self) {
        let height = self.duties.height;
        self.steps.retain(|_, progress| {
            progress
                .resume_height
                .is_none_or(|resume| resume.saturating_add(FORGET_BLOCKS) > height)
        });
        self.offered_since.retain(|_, since| since.saturating_add(FORGET_BLOCKS) > height);
        let since = &self.offered_since;
        self.late.retain(|job, attempt| {
            let step = Step::Reveal(*job, *attempt);
            since.get(&step).is_none_or(|since| since.saturating_add(LATE_BLOCKS) > height)
        });
    }
}

/// The root of a job's input, where that is a blob.
pub(crate) fn input_root(job: &Job) -> Option<Root> {
    if job.input.is_empty() { job.input_root.as_slice().try_into().ok() } else { None }
}
