//! `lockstep audit watch`.

mod bench;
mod says;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;
use lockstep_audit::play::{
    Evidence as _, Intent, Now, Player, Run, Sample, Seat, Shared, accuse, turn,
};
use lockstep_audit::recompute::Holdings;
use lockstep_client::{Error, Result, query};
use lockstep_proto::lockstep::chain::v1::Tip;
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::trial::v1::Trial;

use self::bench::{Bench, WatchError};
use self::says::Says;
use super::unable;
use crate::cli::{Globals, PassphraseFrom};
use crate::commands::{client, submit};
use crate::console::note;

/// How often the node is asked for a new block.
const POLL: Duration = Duration::from_millis(150);
/// Heights within which a challenge that was sent must stand.
const PENDING_BLOCKS: u64 = 10;
/// After so long, trials are looked at again before the next verified job.
const AT_ONCE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The key that signs, of an auditor or executor: a name from `lockstep keys list`, or a devnet's
    /// account such as `auditor`.
    #[arg(long, env = "LOCKSTEP_FROM", hide_env_values = true)]
    from: String,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    /// Refuses any other network.
    #[arg(long)]
    chain_id: Option<String>,
    /// Of all verified jobs, so many percent are run again: which, nobody can foretell.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Folder with artefacts; what it lacks is fetched from --blobs.
    #[arg(long)]
    artefacts: Option<PathBuf>,
    /// Threads to run models with; all unless told.
    #[arg(long)]
    threads: Option<usize>,
    /// Looks at what can be challenged now, plays what comes of it to the end, and ends.
    #[arg(long)]
    once: bool,
}

/// Watches until ctrl-c, or until all is done; the exit code.
pub(super) async fn run(globals: &Globals, arguments: Watch) -> Result<u8> {
    let wallet = submit::wallet_of(globals, &arguments.from, &arguments.passphrase)?;
    let mut holdings = Holdings::new(&globals.blobs, arguments.threads).map_err(unable)?;
    if let Some(folder) = &arguments.artefacts {
        holdings.add_folder(folder).map_err(unable)?;
    }
    let chain_id = arguments.chain_id.as_deref();
    let bench = Bench::open(client(globals)?, wallet, chain_id, holdings).await?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|cause| Error::usage(format!("no random bytes: {cause}"), "try again"))?;
    let account = bench.wallet.address_text();
    note(&format!("watching {} as {account}, ctrl-c ends", bench.chain_id));
    let sample = Sample::new(secret, arguments.percent);
    let mut watcher = Watcher::new(bench, sample, Says::new(globals.json));
    let mut height = 0;
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let round = async {
            match query::tip(&watcher.bench.client).await {
                Ok(tip) if tip.height > height => {
                    height = tip.height;
                    watcher.round(&tip).await
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        tokio::select! {
            result = round => if let Err(error) = result { watcher.says.failed(&error); },
            _ = &mut stop => break,
        }
        if arguments.once && watcher.is_done() {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(watcher.says.end())
}

/// What is known of the jobs, and what was done about them.
struct Watcher {
    bench: Bench,
    sample: Sample,
    says: Says,
    /// Jobs and the answers that were found right or challenged.
    seen: BTreeSet<(u64, Vec<u8>)>,
    /// Places in trials.
    seats: BTreeMap<u64, Shared<Run>>,
    /// Trials with a part of the own account: since which height, and whether they were seen.
    running: BTreeMap<u64, (u64, bool)>,
    /// Jobs with an own answer on the chain: status and output.
    brought: BTreeMap<u64, Brought>,
    /// All that could be looked at was.
    idle: bool,
}

/// An answer that this watcher brought into a trial.
struct Brought {
    result_root: Vec<u8>,
    status: i32,
    output: Vec<u8>,
    /// When it was last handed in.
    delivered_height: u64,
}

impl Watcher {
    fn new(bench: Bench, sample: Sample, says: Says) -> Self {
        let (seen, seats, running, brought) = Default::default();
        Self { bench, sample, says, seen, seats, running, brought, idle: false }
    }

    fn is_done(&self) -> bool {
        self.idle && self.running.is_empty() && self.brought.is_empty()
    }

    /// What is due at a height: moves in trials first, since their deadlines are short.
    async fn round(&mut self, tip: &Tip) -> Result<(), WatchError> {
        let params = query::params(&self.bench.client).await?;
        let (now, height) = (Now::of(tip, &params), tip.height);
        let trials = query::trials(&self.bench.client).await?.trials;
        self.end_trials(&trials, height).await?;
        for trial in &trials {
            if self.seats.contains_key(&trial.job) || self.sample.takes(trial.job) {
                self.play(trial, now).await;
            }
        }
        self.deliver(height).await?;
        self.look(tip).await
    }

    /// Says what became of trials that run no more.
    async fn end_trials(&mut self, trials: &[Trial], height: u64) -> Result<(), WatchError> {
        let mut over = Vec::new();
        for (id, (since, seen)) in &mut self.running {
            let runs = trials.iter().any(|trial| trial.job == *id);
            *seen |= runs;
            // A challenge takes some heights to come into a block.
            if !runs && (*seen || since.saturating_add(PENDING_BLOCKS) < height) {
                over.push(*id);
            }
        }
        for id in over {
            let job = query::job(&self.bench.client, id).await?;
            self.running.remove(&id);
            self.seats.remove(&id);
            self.says.trial_ended(&job);
        }
        Ok(())
    }

    async fn play(&mut self, trial: &Trial, now: Now) {
        let id = trial.job;
        let played = async {
            let seat = if let Some(seat) = self.seats.get(&id) {
                Arc::clone(seat)
            } else {
                let job = query::job(&self.bench.client, id).await?;
                let run = self.bench.recompute(&job).await?;
                self.take_seat(&job, run)
            };
            turn(&self.bench, &seat, id, now).await
        };
        match played.await {
            Ok(moves) => {
                if self.has_part(trial) || !moves.is_empty() {
                    self.running.entry(id).or_insert((now.height, true));
                }
                for (intent, result) in moves {
                    if let (Intent::Challenge { answer, .. }, Ok(())) = (&intent, &result) {
                        self.says.wrong(id, answer);
                    }
                    self.says.moved(id, &intent, result);
                }
            }
            Err(error) => self.says.job_failed(id, &error),
        }
    }

    fn has_part(&self, trial: &Trial) -> bool {
        let me = self.bench.wallet.address();
        trial.supporters.iter().any(|it| it.account == me)
            || trial.challenges.iter().any(|it| it.account == me)
    }

    fn take_seat(&mut self, job: &Job, run: Run) -> Shared<Run> {
        let answer = run.answer();
        self.brought.entry(job.id).or_insert(Brought {
            result_root: answer.result_root.to_vec(),
            status: answer.status.into(),
            output: run.output().to_vec(),
            delivered_height: 0,
        });
        let account = self.bench.wallet.address();
        let player = Player { account, operator: None, bonds: true, stubborn: false };
        let seat = Arc::new(Mutex::new(Seat::new(player, run)));
        self.seats.insert(job.id, Arc::clone(&seat));
        seat
    }

    /// Hands in outputs behind own answers that were found right.
    async fn deliver(&mut self, height: u64) -> Result<(), WatchError> {
        for (id, brought) in std::mem::take(&mut self.brought) {
            let job = query::job(&self.bench.client, id).await?;
            let mine = job.earners.iter().any(|it| it.account == self.bench.wallet.address());
            let due = mine && job.delivered_height == 0 && job.result_root == brought.result_root;
            let mut kept = brought;
            match job.state() {
                _ if self.running.contains_key(&id) => {}
                JobState::Verified if due => {
                    if kept.delivered_height.saturating_add(6) <= height {
                        kept.delivered_height = height;
                        let sent = self.bench.deliver(id, kept.status, kept.output.clone()).await;
                        self.says.delivered(id, sent);
                    }
                }
                _ => continue,
            }
            self.brought.insert(id, kept);
        }
        Ok(())
    }

    /// Runs again what can be challenged and was not looked at, for as long as trials can wait.
    async fn look(&mut self, tip: &Tip) -> Result<(), WatchError> {
        let start = Instant::now();
        let jobs = self.bench.verified().await?;
        self.seen.retain(|(id, _)| jobs.iter().any(|job| job.id == *id));
        self.idle = false;
        for job in jobs {
            let key = (job.id, job.result_root.clone());
            if self.seen.contains(&key) || !self.sample.takes(job.id) {
                continue;
            }
            if start.elapsed() > AT_ONCE {
                return Ok(());
            }
            match self.check(&job, tip).await {
                Ok(right) => self.says.looked(&job, right),
                Err(error) => self.says.job_failed(job.id, &error),
            }
            self.seen.insert(key);
        }
        self.idle = true;
        Ok(())
    }

    /// Whether an answer is right; else it is challenged.
    async fn check(&mut self, job: &Job, tip: &Tip) -> Result<bool, WatchError> {
        let run = self.bench.recompute(job).await?;
        let own = run.answer().result_root;
        if own.as_slice() == job.result_root {
            return Ok(true);
        }
        self.says.wrong(job.id, &job.result_root);
        let answer: [u8; 32] = job.result_root.as_slice().try_into().unwrap_or_default();
        let seat = self.take_seat(job, run);
        self.running.insert(job.id, (tip.height, false));
        let result = accuse(&self.bench, &seat, job, tip.time_ms).await;
        self.says.moved(job.id, &Intent::Challenge { answer, own: true }, result);
        Ok(false)
    }
}
