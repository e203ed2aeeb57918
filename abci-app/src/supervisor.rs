//! Runs a node: the application, CometBFT as a child, the executor as another.
//!
//! CometBFT is stopped first and the application after it. The executor may come and go; the node
//! ends with CometBFT.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::child::Child;
use crate::home::Home;
use crate::http::Components;
use crate::{exit, metrics as names};

const POLL: Duration = Duration::from_millis(50);
const COMETBFT_STOP_MAX: Duration = Duration::from_secs(10);
const EXECUTOR_STOP_MAX: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// An executor that ran for so long starts again at once.
const STEADY: Duration = Duration::from_mins(1);

/// What to run, and what tells it to stop.
#[derive(Debug)]
pub struct Plan {
    /// The node's folder.
    pub home: Home,
    /// CometBFT.
    pub cometbft: PathBuf,
    /// The executor; none where this node has none.
    pub executor: Option<PathBuf>,
    /// Where the application answers CometBFT.
    pub abci_socket: PathBuf,
    /// Set by a signal.
    pub stop: Arc<AtomicBool>,
    /// Set when an ABCI connection ended.
    pub abci_ended: Arc<AtomicBool>,
    /// What runs, for others to see.
    pub components: Arc<Components>,
}

/// Runs until a signal or until CometBFT ends. Returns the exit code.
///
/// # Errors
/// Where a child cannot be started.
pub fn run(plan: &Plan) -> anyhow::Result<i32> {
    let mut cometbft = start_cometbft(plan)?;
    let mut executor = Executor::new(plan);
    plan.components.cometbft.store(true, Ordering::Relaxed);
    record(plan, cometbft.id(), None);
    let code = loop {
        if plan.stop.load(Ordering::Relaxed) {
            tracing::info!("stopping");
            break 0;
        }
        if let Some(status) = cometbft.ended()? {
            let words = cometbft.last_words();
            tracing::error!("CometBFT ended ({status}); its last words:\n{words}");
            eprintln!("lockstepd: CometBFT ended ({status}); its last words:\n{words}");
            break exit::COMETBFT;
        }
        if plan.abci_ended.load(Ordering::Relaxed) {
            // CometBFT ends itself when an ABCI connection does, mostly.
            tracing::error!("CometBFT closed its connection to the application: stopping it");
            cometbft.stop(COMETBFT_STOP_MAX);
            continue;
        }
        executor.tend(cometbft.id());
        std::thread::sleep(POLL);
    };
    plan.components.cometbft.store(false, Ordering::Relaxed);
    cometbft.stop(COMETBFT_STOP_MAX);
    if let Some(mut child) = executor.child {
        child.stop(EXECUTOR_STOP_MAX);
    }
    let _ = std::fs::remove_file(plan.home.run_file());
    Ok(code)
}

fn start_cometbft(plan: &Plan) -> anyhow::Result<Child> {
    let arguments = [
        "node".to_owned(),
        "--home".to_owned(),
        plan.home.cometbft().display().to_string(),
        "--proxy_app".to_owned(),
        format!("unix://{}", plan.abci_socket.display()),
    ];
    let log = plan.home.logs().join("cometbft.log");
    let child = Child::spawn("CometBFT", &plan.cometbft, &arguments, &log)?;
    tracing::info!(process = child.id(), log = %log.display(), "CometBFT started");
    Ok(child)
}

/// The executor and when to start it next.
struct Executor<'a> {
    plan: &'a Plan,
    child: Option<Child>,
    started: Instant,
    next: Instant,
    backoff: Duration,
}

impl<'a> Executor<'a> {
    fn new(plan: &'a Plan) -> Self {
        let now = Instant::now();
        Self { plan, child: None, started: now, next: now, backoff: BACKOFF_MIN }
    }

    /// Starts it where it does not run; its end never ends the node.
    fn tend(&mut self, cometbft: u32) {
        let Some(program) = &self.plan.executor else { return };
        if let Some(child) = &mut self.child {
            let Ok(Some(status)) = child.ended() else { return };
            if self.started.elapsed() > STEADY {
                self.backoff = BACKOFF_MIN;
            }
            tracing::warn!(
                "the executor ended ({status}), starts again in {:?}; its last words:\n{}",
                self.backoff,
                child.last_words()
            );
            self.child = None;
            self.plan.components.executor.store(false, Ordering::Relaxed);
            self.next = Instant::now() + self.backoff;
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        }
        if Instant::now() < self.next {
            return;
        }
        let home = self.plan.home.executor();
        let arguments = ["--home".to_owned(), home.display().to_string()];
        let log = self.plan.home.logs().join("executor.log");
        match Child::spawn("the executor", program, &arguments, &log) {
            Ok(child) => {
                tracing::info!(process = child.id(), log = %log.display(), "the executor started");
                self.child = Some(child);
                self.started = Instant::now();
                self.plan.components.executor.store(true, Ordering::Relaxed);
                metrics::counter!(names::EXECUTOR_STARTS).increment(1);
                record(self.plan, cometbft, self.child.as_ref().map(Child::id));
            }
            Err(error) => {
                tracing::error!("{error:#}");
                self.next = Instant::now() + self.backoff;
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Process ids, for scripts.
fn record(plan: &Plan, cometbft: u32, executor: Option<u32>) {
    let ids = json!({"node": std::process::id(), "cometbft": cometbft, "executor": executor});
    let path = plan.home.run_file();
    let written = std::fs::write(&path, ids.to_string())
        .with_context(|| format!("cannot write {}", path.display()));
    if let Err(error) = written {
        tracing::warn!("{error:#}");
    }
}
