//! Decides what to look at, to challenge, to play and to hand in, and remembers what became of it.
//!
//! All that is known is changed in one place, between tasks: each task does one thing for one job
//! and comes back with what it found, so that a model that does not load or an input that does not
//! come holds up no other job. What fails is tried again for as long as it can still help: nothing
//! counts as done before it shows on the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_audit::play::{
    Answer, Evidence as _, Intent, Now, PlayError, Player, Sample, Seat, Shared, accuse, turn,
};
use lockstep_client::Error;
use lockstep_proto::lockstep::chain::v1::Tip;
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::trial::v1::Trial;
use lockstep_vm::hash::Hash;
use tokio::task::JoinSet;

use super::bench::{Again, Bench, WatchError};
use super::says::Says;

/// How often the node is asked for a new block.
const POLL: Duration = Duration::from_millis(150);
/// After so many heights what was sent, and does not show, is sent again.
const AGAIN_BLOCKS: u64 = 5;
/// Heights between two tries to run a job at most.
const WAIT_BLOCKS_MAX: u64 = 16;
/// After so many heights a job that is neither verified nor on trial is forgotten.
const FORGET_BLOCKS: u64 = 10;
/// Jobs that are run again at the same time, beside those whose trials have a part of the own account.
const LOOKS_MAX: usize = 4;

/// What is known of a job, and what was done about it.
struct Case<E> {
    /// A task is at work for it.
    busy: bool,
    /// When it was last verified or on trial.
    height: u64,
    /// The answer that was found right.
    right: Option<Hash>,
    /// The answer that two runs found wrong, and the height at which to challenge it, or to do so again.
    wrong: Option<(Hash, u64)>,
    /// The place in its trial, or in the one that is to come.
    seat: Option<Shared<E>>,
    /// The own account has a part in its trial.
    in_trial: bool,
    /// What the own account has challenged there, and in which attempt of the job that was.
    challenged: BTreeSet<Hash>,
    attempt: u32,
    /// What was computed here, to hand it in.
    output: Option<Output>,
    /// The height at which to hand it in, or to do so again.
    deliver_height: u64,
    /// How often it could not be run, and the height at which to try again.
    failures: u32,
    try_height: u64,
}

// Derived, it would ask for a default of `E`.
impl<E> Default for Case<E> {
    fn default() -> Self {
        Self {
            busy: false,
            height: 0,
            right: None,
            wrong: None,
            seat: None,
            in_trial: false,
            challenged: BTreeSet::new(),
            attempt: 0,
            output: None,
            deliver_height: 0,
            failures: 0,
            try_height: 0,
        }
    }
}

struct Output {
    answer: Answer,
    bytes: Vec<u8>,
}

/// A run that may have to stand in a trial.
struct Taken<E> {
    seat: Shared<E>,
    output: Output,
}

/// A move, and what became of it.
type Made = (Intent, Result<(), WatchError>);

/// What a task came back with.
enum Found<E> {
    /// The answer is right, and this is its output.
    Right(Hash, Output),
    /// The answer is wrong.
    Wrong(Box<Job>, Hash, Taken<E>),
    Challenged(Intent, Result<(), WatchError>),
    /// Moves in a trial; with the seat, where it was taken for them.
    Played(Option<Taken<E>>, Result<Vec<Made>, WatchError>),
    Delivered(Result<(), WatchError>),
    /// It could not be `recomputed`, or `played`.
    Failed(&'static str, WatchError),
}

pub(super) struct Watcher<B: Bench> {
    bench: Arc<B>,
    sample: Sample,
    pub(super) says: Says,
    height: u64,
    time_ms: u64,
    /// The round of that height was not carried through.
    due: bool,
    /// There are verified jobs that something is to be done about.
    open: bool,
    cases: BTreeMap<u64, Case<B::Run>>,
    /// Answers that survived an own challenge. To go on would cost two bonds each time.
    survived: BTreeSet<(u64, Hash)>,
    tasks: JoinSet<(u64, Found<B::Run>)>,
}

impl<B: Bench> Watcher<B> {
    pub(super) fn new(bench: B, sample: Sample, says: Says) -> Self {
        let (cases, survived, tasks) = Default::default();
        let (bench, height, time_ms) = (Arc::new(bench), 0, 0);
        let (due, open) = (true, true);
        Self { bench, sample, says, height, time_ms, due, open, cases, survived, tasks }
    }

    /// Waits for the next thing to do, and does it.
    pub(super) async fn step(&mut self) {
        tokio::select! {
            Some(done) = self.tasks.join_next() => self.take(done),
            () = tokio::time::sleep(POLL) => self.poll().await,
        }
    }

    /// Whether nothing is left to be done now.
    pub(super) fn is_done(&self) -> bool {
        let waits = |case: &Case<B::Run>| case.busy || case.in_trial || case.wrong.is_some();
        !self.due && !self.open && !self.cases.values().any(waits)
    }

    /// Looks whether there is a new block, and what is due then.
    async fn poll(&mut self) {
        if let Err(error) = self.try_poll().await {
            self.says.waiting(&error);
        }
    }

    async fn try_poll(&mut self) -> Result<(), WatchError> {
        let tip = self.bench.tip().await?;
        if tip.height > self.height {
            (self.height, self.time_ms, self.due) = (tip.height, tip.time_ms, true);
        }
        if self.due {
            self.round(&tip).await?;
            self.due = false;
        }
        Ok(())
    }

    /// What is due at a height: moves in trials first, since their deadlines are short.
    async fn round(&mut self, tip: &Tip) -> Result<(), WatchError> {
        let params = self.bench.params().await?;
        let now = Now::of(tip, &params);
        let trials = self.bench.trials().await?;
        for trial in &trials {
            self.attend(trial, now);
        }
        let trials: BTreeSet<u64> = trials.iter().map(|trial| trial.job).collect();
        self.end_trials(&trials).await;
        let mut verified = self.bench.verified().await?;
        // What could not be run does not keep others from being looked at.
        verified.sort_by_key(|job| self.cases.get(&job.id).map_or(0, |case| case.failures));
        self.open = false;
        for job in verified.iter().filter(|job| !trials.contains(&job.id)) {
            self.open |= self.look(job);
        }
        self.cases.retain(|id, case| {
            // A run holds its model in memory.
            if !trials.contains(id) && !case.in_trial && case.wrong.is_none() {
                case.seat = None;
            }
            let kept = case.busy || case.in_trial || case.height + FORGET_BLOCKS >= tip.height;
            if !kept {
                self.says.forget(*id);
            }
            kept
        });
        Ok(())
    }

    /// Plays a trial: always where the own account has a part, for then a bond is at stake.
    fn attend(&mut self, trial: &Trial, now: Now) {
        let (id, me) = (trial.job, self.bench.account());
        let roots: Vec<Hash> = trial
            .answers
            .iter()
            .map(|it| it.result_root.as_slice().try_into().unwrap_or_default())
            .collect();
        let in_trial = trial.supporters.iter().any(|it| it.account == me)
            || trial.challenges.iter().any(|it| it.account == me);
        let doubtful = roots.iter().any(|root| self.survived.contains(&(id, *root)));
        if !in_trial && (doubtful || !self.sample.takes(id)) {
            return;
        }
        let busy = self.is_busy();
        let case = self.cases.entry(id).or_default();
        case.height = now.height;
        if case.attempt != trial.attempt {
            (case.attempt, case.in_trial) = (trial.attempt, false);
            case.challenged.clear();
        }
        case.in_trial |= in_trial;
        for challenge in trial.challenges.iter().filter(|it| it.account == me) {
            let at = usize::try_from(challenge.answer).ok();
            case.challenged.extend(at.and_then(|at| roots.get(at)));
        }
        let waits = busy || case.try_height > now.height;
        if case.busy || (case.seat.is_none() && !case.in_trial && waits) {
            return;
        }
        let (bench, seat) = (Arc::clone(&self.bench), case.seat.clone());
        // Nobody else says what is found here, and money would be staked on it.
        let confirm = move |root: &Hash| !in_trial && !roots.contains(root);
        self.spawn(id, "played", async move {
            let (seat, taken) = if let Some(seat) = seat {
                (seat, None)
            } else {
                let job = bench.job(id).await?;
                let again = recompute(&*bench, &job, confirm).await?;
                let taken = take_seat(&*bench, again);
                (Arc::clone(&taken.seat), Some(taken))
            };
            let moves = turn(&*bench, &seat, id, now).await;
            Ok(Found::Played(taken, moves))
        });
    }

    /// Says what became of trials with a part of the own account that are held no more.
    async fn end_trials(&mut self, trials: &BTreeSet<u64>) {
        let over = self.cases.iter().filter(|(id, case)| case.in_trial && !trials.contains(id));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            let job = match self.bench.job(id).await {
                Ok(job) if job.state() == JobState::OnTrial => continue,
                Ok(job) => job,
                Err(error) => {
                    self.says.waiting(&error);
                    continue;
                }
            };
            self.says.trial_ended(&job);
            let Some(case) = self.cases.get_mut(&id) else { continue };
            let challenged = std::mem::take(&mut case.challenged);
            (case.in_trial, case.wrong, case.seat) = (false, None, None);
            // In another attempt it is another answer, though the same.
            let stands = matches!(job.state(), JobState::Verified | JobState::Final)
                && job.attempt == case.attempt;
            if let Some(root) = root_of(&job).filter(|root| stands && challenged.contains(root)) {
                self.survived.insert((id, root));
                self.says.survived(id);
            }
        }
    }

    /// Whether there is something to be done about a verified job; does what is due.
    fn look(&mut self, job: &Job) -> bool {
        let (id, height, me) = (job.id, self.height, self.bench.account());
        let Some(root) = root_of(job) else { return false };
        let doubted = self.sample.takes(id) && !self.survived.contains(&(id, root));
        let earns = job.earners.iter().any(|it| it.account == me);
        // Once those who are paid have let their window pass, anybody may hand in the output.
        let mine = job.delivered_height == 0 && (earns || (doubted && job.delivery_open));
        if !mine && !doubted {
            return false;
        }
        let busy = self.is_busy();
        let case = self.cases.entry(id).or_default();
        case.height = height;
        let own = case.output.as_ref().filter(|own| own.answer.result_root == root);
        if !mine && (own.is_some() || case.right == Some(root)) {
            (case.right, case.output) = (Some(root), None);
            return false;
        }
        let wrong = case.wrong.filter(|(wrong, _)| *wrong == root);
        if case.busy {
            return true;
        }
        if let Some(Output { answer, bytes }) = own {
            if case.deliver_height <= height {
                let (status, bytes) = (answer.status.into(), bytes.clone());
                let bench = Arc::clone(&self.bench);
                self.spawn(id, "played", async move {
                    Ok(Found::Delivered(bench.deliver(id, status, bytes).await))
                });
            }
            return true;
        }
        if let Some((_, at)) = wrong {
            if at <= height {
                self.challenge(job, root);
            }
            return true;
        }
        // What cannot be run now is no reason to go on for ever.
        let open = mine || case.failures == 0;
        if !busy && case.try_height <= height {
            (case.wrong, case.seat) = (None, None);
            let (bench, job) = (Arc::clone(&self.bench), job.clone());
            self.spawn(id, "recomputed", async move { check(&*bench, &job, root, mine).await });
        }
        open
    }

    /// Challenges what was found wrong.
    fn challenge(&mut self, job: &Job, answer: Hash) {
        let id = job.id;
        let Some(seat) = self.cases.get(&id).and_then(|case| case.seat.clone()) else { return };
        let (bench, job, now_ms) = (Arc::clone(&self.bench), job.clone(), self.time_ms);
        self.spawn(id, "played", async move {
            let made = accuse(&*bench, &seat, &job, now_ms).await;
            Ok(Found::Challenged(Intent::Challenge { answer, own: true }, made))
        });
    }

    /// Whether as many jobs are being run again as may be.
    fn is_busy(&self) -> bool {
        let runs = |case: &&Case<B::Run>| case.busy && case.seat.is_none() && !case.in_trial;
        self.cases.values().filter(runs).count() >= LOOKS_MAX
    }

    /// Begins a task for a job.
    fn spawn(
        &mut self,
        id: u64,
        what: &'static str,
        task: impl Future<Output = Result<Found<B::Run>, WatchError>> + Send + 'static,
    ) {
        self.cases.entry(id).or_default().busy = true;
        // In one of its own, so that it comes back in any case.
        let task = tokio::spawn(task);
        self.tasks.spawn(async move {
            let done = task.await.map_err(|cause| WatchError::from(PlayError::trace(cause)));
            let found = done.and_then(|found| found);
            (id, found.unwrap_or_else(|error| Found::Failed(what, error)))
        });
    }

    /// Takes in what a task found.
    fn take(&mut self, done: Result<(u64, Found<B::Run>), tokio::task::JoinError>) {
        let Ok((id, found)) = done else { return };
        let height = self.height;
        let case = self.cases.entry(id).or_default();
        case.busy = false;
        match found {
            Found::Right(root, output) => {
                self.says.done(id, "recomputed");
                if case.right != Some(root) {
                    self.says.right(id, &root);
                }
                (case.right, case.output, case.failures) = (Some(root), Some(output), 0);
            }
            Found::Wrong(job, root, taken) => {
                self.says.done(id, "recomputed");
                self.says.wrong(id, &root);
                (case.seat, case.output) = (Some(taken.seat), Some(taken.output));
                (case.wrong, case.failures) = (Some((root, height)), 0);
                self.challenge(&job, root);
            }
            Found::Challenged(intent, sent) => {
                case.wrong = case.wrong.map(|(root, _)| (root, again(&sent, height)));
                if is_doubtful(&sent) {
                    (case.wrong, case.seat) = (None, None);
                }
                self.says.moved(id, &intent, sent);
            }
            Found::Played(taken, moves) => {
                if let Some(taken) = taken {
                    (case.seat, case.output) = (Some(taken.seat), Some(taken.output));
                    case.failures = 0;
                }
                match moves {
                    Ok(moves) => {
                        if moves.iter().any(|(_, sent)| is_doubtful(sent)) {
                            case.seat = None;
                        }
                        self.moved(id, moves);
                    }
                    Err(error) => self.says.failed(id, "played", &error),
                }
            }
            Found::Delivered(sent) => {
                case.deliver_height = again(&sent, height);
                self.says.delivered(id, sent);
            }
            Found::Failed(what, error) => {
                case.failures = case.failures.saturating_add(1);
                let wait = 1_u64.checked_shl(case.failures).unwrap_or(WAIT_BLOCKS_MAX);
                case.try_height = height.saturating_add(wait.min(WAIT_BLOCKS_MAX));
                self.says.failed(id, what, &error);
                // It may be for want of room: trials that are only watched can be gone back to.
                for case in self.cases.values_mut() {
                    if !case.busy && !case.in_trial && case.wrong.is_none() {
                        case.seat = None;
                    }
                }
            }
        }
    }

    fn moved(&mut self, id: u64, moves: Vec<Made>) {
        self.says.done(id, "played");
        for (intent, sent) in moves {
            if let (Intent::Challenge { answer, .. }, Ok(())) = (&intent, &sent) {
                self.says.wrong(id, answer);
            }
            self.says.moved(id, &intent, sent);
        }
    }
}

/// The answer that stands.
fn root_of(job: &Job) -> Option<Hash> {
    job.result_root.as_slice().try_into().ok()
}

/// Whether the own run is in doubt.
fn is_doubtful(sent: &Result<(), WatchError>) -> bool {
    matches!(sent, Err(WatchError::Play(error)) if error.retake())
}

/// The height at which something is sent again that does not show; at the next one, where the node was
/// not reached.
fn again(sent: &Result<(), WatchError>, height: u64) -> u64 {
    let waits = matches!(sent, Ok(()) | Err(WatchError::Client(Error::Rejected(_))));
    height.saturating_add(if waits { AGAIN_BLOCKS } else { 1 })
}

/// Whether the answer to a job is right.
async fn check<B: Bench>(
    bench: &B,
    job: &Job,
    root: Hash,
    mine: bool,
) -> Result<Found<B::Run>, WatchError> {
    let again = recompute(bench, job, |own| *own != root).await?;
    let own = again.run.answer().result_root;
    let taken = take_seat(bench, again);
    if own == root {
        return Ok(Found::Right(root, taken.output));
    }
    // An own answer was found right here once: who says so now may be wrong as well.
    if mine {
        Err(faulty(&root, &own))
    } else {
        Ok(Found::Wrong(Box::new(job.clone()), root, taken))
    }
}

/// Runs a job again; a second time from the start where money depends on it.
async fn recompute<B: Bench>(
    bench: &B,
    job: &Job,
    confirm: impl FnOnce(&Hash) -> bool + Send,
) -> Result<Again<B::Run>, WatchError> {
    let again = bench.recompute(job).await?;
    let first = again.run.answer();
    if confirm(&first.result_root) {
        let second = bench.confirm(job, first).await?;
        if second != first {
            return Err(faulty(&first.result_root, &second.result_root));
        }
    }
    Ok(again)
}

fn take_seat<B: Bench>(bench: &B, again: Again<B::Run>) -> Taken<B::Run> {
    let output = Output { answer: again.run.answer(), bytes: again.output };
    let player = Player { account: bench.account(), operator: None, bonds: true, stubborn: false };
    Taken { seat: Arc::new(Mutex::new(Seat::new(player, again.run))), output }
}

fn faulty(one: &Hash, other: &Hash) -> WatchError {
    WatchError::Faulty { one: hex::encode(one), other: hex::encode(other) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
