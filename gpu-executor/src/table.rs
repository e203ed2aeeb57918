//! What those share who play trials and who watch: models to recompute with, and places in trials.
//!
//! What is right is recomputed on this machine's processor, whatever the backend.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_audit::play::{
    Court, Evidence as _, Move, Node as TraceNode, PlayError, Player, Program, Run, Seat, Shared,
};
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_proto::lockstep::trial::v1::{QueryTraceNodesRequest, Supporter, Trial};
use lockstep_vm::artefact::Reader;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::blobs::Root;
use crate::fault::Kind;
use crate::lane::{Lane, Place};
use crate::plan::{Docket, input_root};
use crate::steps::{StepError, Tools};

/// Models that are kept in memory to recompute with, beside those of the backend.
const PROGRAMS_MAX: usize = 2;
/// For so many heights a place is kept whose trial does not show.
const KEEP_BLOCKS: u64 = 12;
/// Challenges that are remembered.
const CHALLENGED_MAX: usize = 4096;
/// How long blobs may take to come; what came is kept for the next time.
const FETCH: Duration = Duration::from_mins(1);

/// How to take part.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Of other validators' verified jobs, so many percent are run again.
    pub watch_percent: u8,
    /// Threads to recompute with.
    pub threads: usize,
    /// Jobs that are run together.
    pub batch_jobs_max: usize,
}

/// An answer to a job: its id, the attempt, the result root.
pub(crate) type Answer = (u64, u32, Root);

/// See the module.
pub(crate) struct Table {
    pub(crate) tools: Tools,
    pub(crate) settings: Settings,
    /// By version, the last one used at the end.
    programs: Mutex<Vec<(u64, Program)>>,
    /// By job, with the height at which it was taken.
    seats: Mutex<BTreeMap<u64, (u64, Shared<Run>)>>,
    /// Answers that this account has challenged, and when the trial began.
    challenged: Mutex<BTreeMap<Answer, u64>>,
    /// Whose turn it is to use the backend's idle time.
    pub(crate) idle: tokio::sync::Mutex<()>,
    /// Where trials are computed that this account has a part in …
    pub(crate) own: Arc<Lane>,
    /// … and all else.
    pub(crate) others: Arc<Lane>,
    /// What is on trial at the newest height.
    pub(crate) dockets: watch::Receiver<Docket>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    pub(crate) fn new(tools: Tools, settings: Settings, dockets: watch::Receiver<Docket>) -> Self {
        let (programs, seats, challenged, idle, own, others) = Default::default();
        Self { tools, settings, programs, seats, challenged, idle, own, others, dockets }
    }

    /// The account's supporters and challenges in a trial: whether it has a part.
    pub(crate) fn has_part(&self, trial: &Trial) -> bool {
        let me = self.tools.me.key.address();
        trial.supporters.iter().any(|it| self.is_mine(it))
            || trial.challenges.iter().any(|it| it.account == me)
    }

    fn is_mine(&self, supporter: &Supporter) -> bool {
        supporter.validator == self.tools.me.operator
            || supporter.account == self.tools.me.key.address()
    }

    /// Remembers what this account has challenged.
    pub(crate) fn note(&self, trial: &Trial) {
        let me = self.tools.me.key.address();
        let mut challenged = lock(&self.challenged);
        for challenge in trial.challenges.iter().filter(|it| it.account == me) {
            let number = usize::try_from(challenge.answer).ok();
            let answer = number.and_then(|number| trial.answers.get(number));
            let root = answer.and_then(|it| Root::try_from(it.result_root.as_slice()).ok());
            if let Some(root) = root {
                challenged.insert((trial.job, trial.attempt, root), trial.started_height);
            }
        }
        while challenged.len() > CHALLENGED_MAX {
            challenged.pop_first();
        }
    }

    /// Whether this account has had an answer on trial before.
    pub(crate) fn has_challenged(&self, answer: &Answer) -> bool {
        lock(&self.challenged).contains_key(answer)
    }

    /// Whether an answer in a trial has survived an earlier challenge of this account.
    fn has_survived(&self, trial: &Trial) -> bool {
        let challenged = lock(&self.challenged);
        trial.answers.iter().any(|answer| {
            let root = Root::try_from(answer.result_root.as_slice());
            let earlier = root.ok().and_then(|it| challenged.get(&(trial.job, trial.attempt, it)));
            earlier.is_some_and(|started| *started != trial.started_height)
        })
    }

    pub(crate) fn seat(&self, job: u64) -> Option<Shared<Run>> {
        lock(&self.seats).get(&job).map(|(_, seat)| Arc::clone(seat))
    }

    /// Takes the place in a trial, with what was recomputed.
    pub(crate) fn take_seat(
        &self,
        job: u64,
        trial: Option<&Trial>,
        run: Run,
        fault: Option<Kind>,
    ) -> Shared<Run> {
        let stubborn = fault.is_some_and(|fault| fault.lie().is_some());
        let watches = self.settings.watch_percent > 0;
        let player = Player {
            account: self.tools.me.key.address(),
            operator: Some(self.tools.me.operator),
            bonds: stubborn || (watches && !trial.is_some_and(|it| self.has_survived(it))),
            stubborn,
        };
        let seat = Arc::new(Mutex::new(Seat::new(player, run)));
        self.keep_seat(job, Arc::clone(&seat));
        seat
    }

    /// Keeps a place for some heights, until its trial shows.
    pub(crate) fn keep_seat(&self, job: u64, seat: Shared<Run>) {
        let height = self.dockets.borrow().height;
        lock(&self.seats).insert(job, (height, seat));
    }

    /// Leaves the place in a trial: it is taken anew, by computing again.
    pub(crate) fn leave_seat(&self, job: u64) {
        lock(&self.seats).remove(&job);
    }

    /// Leaves all places but those in trials that run, or are about to: each holds a model.
    pub(crate) fn leave_seats(&self, docket: &Docket) {
        lock(&self.seats).retain(|job, (taken, _)| {
            docket.trials.iter().any(|(on_trial, _)| on_trial == job)
                || taken.saturating_add(KEEP_BLOCKS) > docket.height
        });
    }

    /// A job's version and token ids, once its input is here.
    pub(crate) async fn gather(&self, job: &Job) -> Result<(Version, Vec<u32>), StepError> {
        let gather = async {
            if let Some(root) = input_root(job) {
                self.tools.fetch_input(job, &root).await?;
            }
            let version = self.tools.references.version(job.version).await?;
            Ok((version, self.tools.input(job).await?))
        };
        timeout(FETCH, gather).await.map_err(|_| StepError::Slow(FETCH))?
    }

    /// Runs a job on the processor, or says something else where a fault is injected. Computes only
    /// in the place that comes with the run; whoever still has to trace it keeps the place.
    pub(crate) async fn recompute(
        &self,
        job: &Job,
        fault: Option<Kind>,
        lane: &Arc<Lane>,
        deadline: u64,
    ) -> Result<(Run, Place), StepError> {
        // Nobody computes while it waits for others' blob services, nor are locks held.
        let (version, ids) = self.gather(job).await?;
        let artefact = match self.loaded(version.id) {
            Some(_) => None,
            None => Some(self.artefact(version.id).await?),
        };
        let place = lane.place(deadline).await;
        let program = match (self.loaded(version.id), artefact) {
            (Some(program), _) => program,
            (None, Some(root)) => self.load(version.id, &root).await?,
            // Another model took its place meanwhile.
            (None, None) => self.load(version.id, &self.artefact(version.id).await?).await?,
        };
        let job = job.clone();
        let run = spawn_blocking(move || match fault.and_then(Kind::lie) {
            Some(lie) => program.lie(&version, &job, &ids, lie),
            None => program.repeat(&version, &job, &ids),
        });
        Ok((run.await.map_err(PlayError::trace)??, place))
    }

    /// Loads a version before there is a trial about it, where there is room: the time of a trial is for
    /// its moves. Puts no other model out of memory.
    pub(crate) async fn warm(&self, version: u64) -> Result<(), StepError> {
        let (root, reference) = self.tools.references.artefact(version).await?;
        let _place = self.others.place(u64::MAX).await;
        let is_full = lock(&self.programs).len() >= PROGRAMS_MAX;
        let fits = !is_full && self.tools.has_room(&reference);
        if fits && self.loaded(version).is_none() {
            self.load(version, &root).await?;
        }
        Ok(())
    }

    /// Fetches a version's artefact; its root.
    async fn artefact(&self, version: u64) -> Result<Root, StepError> {
        let tools = &self.tools;
        let fetch = async {
            let (root, reference) = tools.references.artefact(version).await?;
            tools.peers.fetch(&tools.store, &root, &reference).await?;
            Ok(root)
        };
        timeout(FETCH, fetch).await.map_err(|_| StepError::Slow(FETCH))?
    }

    /// The model of a version, where it is in memory.
    fn loaded(&self, version: u64) -> Option<Program> {
        let mut programs = lock(&self.programs);
        let at = programs.iter().position(|(it, _)| *it == version)?;
        let found = programs.remove(at);
        let program = found.1.clone();
        programs.push(found);
        Some(program)
    }

    async fn load(&self, version: u64, root: &Root) -> Result<Program, StepError> {
        let bytes = self.tools.store.bytes(root).await?;
        let threads = self.settings.threads;
        let load = spawn_blocking(move || {
            let reader = Reader::new(Cursor::new(bytes)).map_err(PlayError::trace)?;
            Program::load(reader, threads)
        });
        let program = load.await.map_err(PlayError::trace)??;
        let mut programs = lock(&self.programs);
        programs.retain(|(it, _)| *it != version);
        programs.push((version, program.clone()));
        while programs.len() > PROGRAMS_MAX {
            programs.remove(0);
        }
        Ok(program)
    }
}

/// Whether the trace was made, which takes about as long as many runs; not where it is being made.
pub(crate) fn is_traced(seat: &Shared<Run>) -> bool {
    seat.try_lock().is_ok_and(|seat| seat.evidence().is_traced())
}

impl Court for Table {
    type Error = StepError;

    async fn trial(&self, job: u64) -> Result<Option<Trial>, StepError> {
        Ok(self.tools.node.trial(job).await?)
    }

    async fn nodes(&self, job: u64, node: TraceNode) -> Result<Vec<u8>, StepError> {
        let TraceNode { trace, level, position } = node;
        let request = QueryTraceNodesRequest { job, trace, level, position };
        Ok(self.tools.node.trace_nodes(&request).await?)
    }

    async fn send(&self, job: u64, it: Move) -> Result<(), StepError> {
        // Free of charge, and as much as a large trial may take.
        self.tools.send(it.messages(&self.tools.me.key.address(), job), u64::MAX).await
    }

    fn refuses(error: &StepError) -> bool {
        matches!(error, StepError::Refused { .. })
    }
}
