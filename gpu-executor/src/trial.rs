//! Plays the trials that this executor has a part in, beside its other work, and watches over what
//! other validators answer.
//!
//! What is right is recomputed on this machine's processor, whatever the backend: where the two
//! differ, the device was at fault, and the executor concedes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use lockstep_audit::play::{
    self, Court, Intent, Move, Node as TraceNode, Now, PlayError, Player, Program, Run, Seat,
    Shared,
};
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::trial::v1::{QueryTraceNodesRequest, Trial};
use lockstep_vm::artefact::Reader;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

use crate::fault::Kind;
use crate::plan::{Docket, input_root};
use crate::steps::{StepError, Tools};
use crate::watch::Watch;
use crate::worker::contain;

/// Models that are kept in memory to recompute with, beside those of the backend.
const PROGRAMS_MAX: usize = 2;
/// Heights between two looks at what others answered.
const WATCH_BLOCKS: u64 = 4;

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

/// What all turns share.
pub(crate) struct Table {
    pub(crate) tools: Tools,
    settings: Settings,
    programs: tokio::sync::Mutex<BTreeMap<u64, Program>>,
    seats: tokio::sync::Mutex<BTreeMap<u64, Shared<Run>>>,
}

/// Plays until there are no more dockets.
pub(crate) async fn play(tools: Tools, settings: Settings, mut dockets: watch::Receiver<Docket>) {
    let watch = Arc::new(tokio::sync::Mutex::new(Watch::new(&tools.me, &settings)));
    let (programs, seats) = Default::default();
    let table = Arc::new(Table { tools, settings, programs, seats });
    let mut turns = JoinSet::new();
    // By job, since which height a turn is under way; that of the watch goes by no job's id.
    let mut busy = BTreeSet::new();
    let mut looked: BTreeMap<u64, u64> = BTreeMap::new();
    loop {
        tokio::select! {
            changed = dockets.changed() => if changed.is_err() { return },
            Some(ended) = turns.join_next() => drop(ended.map(|job: u64| busy.remove(&job))),
        }
        let docket = dockets.borrow_and_update().clone();
        let height = docket.height;
        for (job, fault) in docket.trials.iter().copied() {
            let silent = matches!(fault, Some(Kind::Silent | Kind::WrongSilent));
            if silent || looked.get(&job) == Some(&height) || !busy.insert(job) {
                continue;
            }
            looked.insert(job, height);
            let table = Arc::clone(&table);
            turns.spawn(async move {
                table.turn(job, fault).await;
                job
            });
        }
        let due = looked.get(&0).is_none_or(|last| height >= last.saturating_add(WATCH_BLOCKS));
        let watches = settings.watch_percent > 0 || !docket.accused.is_empty();
        if watches && due && height > 0 && busy.insert(0) {
            looked.insert(0, height);
            let (table, watch, docket) = (Arc::clone(&table), Arc::clone(&watch), docket.clone());
            turns.spawn(async move {
                let look = async move { watch.lock().await.look(&table, &docket.accused).await };
                if let Err(error) = contain(look).await {
                    tracing::warn!(%error, "what others answered was not looked at");
                }
                0
            });
        }
        looked.retain(|job, last| *job == 0 || last.saturating_add(1000) > height);
    }
}

impl Table {
    /// Looks at a trial and makes the moves that are due.
    async fn turn(self: Arc<Self>, job: u64, fault: Option<Kind>) {
        let turn = async move {
            let seat = self.seat(job, fault).await?;
            let now = Now::of(&self.tools.node.tip().await?, &self.tools.node.params().await?);
            play::turn(self.as_ref(), &seat, job, now).await
        };
        match contain(turn).await {
            Ok(moves) => {
                for (intent, result) in moves {
                    report(job, &intent, result);
                }
            }

            Err(error) => tracing::warn!(job, %error, "a trial was not played"),
        }
    }

    /// The place in a trial, which is taken by recomputing the job.
    async fn seat(&self, id: u64, fault: Option<Kind>) -> Result<Shared<Run>, StepError> {
        if let Some(seat) = self.seats.lock().await.get(&id) {
            return Ok(Arc::clone(seat));
        }
        let job = self.tools.node.job(id).await?;
        // A member of the job cannot challenge what it revealed.
        let own = job.members.iter().any(|it| it.validator == self.tools.me.operator);
        let fault = fault.filter(|fault| !own || *fault != Kind::FalseChallenge);
        let run = self.recompute(&job, fault).await?;
        Ok(self.take_seat(id, run, fault).await)
    }

    /// Takes the place in a trial, with what was recomputed.
    pub(crate) async fn take_seat(&self, job: u64, run: Run, fault: Option<Kind>) -> Shared<Run> {
        let stubborn = fault.is_some_and(|fault| fault.lie().is_some());
        let player = Player {
            account: self.tools.me.key.address(),
            operator: Some(self.tools.me.operator),
            bonds: self.settings.watch_percent > 0 || stubborn,
            stubborn,
        };
        let mut seats = self.seats.lock().await;
        let seat = Arc::new(Mutex::new(Seat::new(player, run)));
        seats.insert(job, Arc::clone(&seat));
        // A trace is large; of old trials nobody asks again.
        while seats.len() > 64 {
            seats.pop_first();
        }
        seat
    }

    /// Runs a job on the processor, or says something else where a fault is injected.
    pub(crate) async fn recompute(&self, job: &Job, fault: Option<Kind>) -> Result<Run, StepError> {
        if let Some(root) = input_root(job) {
            self.tools.fetch_input(job, &root).await?;
        }
        let ids = self.tools.input(job).await?;
        let version = self.tools.references.version(job.version).await?;
        let program = self.program(job.version).await?;
        let job = job.clone();
        let run = spawn_blocking(move || match fault.and_then(Kind::lie) {
            Some(lie) => program.lie(&version, &job, &ids, lie),
            None => program.repeat(&version, &job, &ids),
        });
        Ok(run.await.map_err(PlayError::trace)??)
    }

    async fn program(&self, version: u64) -> Result<Program, StepError> {
        // One at a time: two trials of one version would load it twice.
        let mut programs = self.programs.lock().await;
        if let Some(program) = programs.get(&version) {
            return Ok(program.clone());
        }
        let tools = &self.tools;
        let (root, reference) = tools.references.artefact(version).await?;
        tools.peers.fetch(&tools.store, &root, &reference).await?;
        let bytes = tools.store.bytes(&root).await?;
        let threads = self.settings.threads;
        let load = spawn_blocking(move || {
            let reader = Reader::new(Cursor::new(bytes)).map_err(PlayError::trace)?;
            Program::load(reader, threads)
        });
        let program = load.await.map_err(PlayError::trace)??;
        while programs.len() >= PROGRAMS_MAX {
            programs.pop_first();
        }
        programs.insert(version, program.clone());
        Ok(program)
    }

    /// Challenges an answer that is not what was recomputed, and takes its place in the trial.
    pub(crate) async fn challenge(
        &self,
        job: &Job,
        run: Run,
        fault: Option<Kind>,
    ) -> Result<(), StepError> {
        let seat = self.take_seat(job.id, run, fault).await;
        let now_ms = self.tools.node.tip().await?.time_ms;
        play::accuse(self, &seat, job, now_ms).await?;
        tracing::warn!(job = job.id, "challenged an answer that is not what was recomputed");
        Ok(())
    }
}

fn report(job: u64, intent: &Intent, result: Result<(), StepError>) {
    match result {
        Ok(()) if *intent == Intent::Concede => tracing::warn!(
            job,
            "conceding: this machine's processor computes another answer than its backend \
             revealed; hint: test the device with `lockstep-executor --home DIR self-test`"
        ),
        Ok(()) => tracing::info!(job, "trial: {intent}"),
        Err(error) => tracing::warn!(job, %error, "trial: could not {intent}"),
    }
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
}
