//! Runs models: keeps those that are needed in memory, within bounds of bytes and seconds, and lets
//! nothing that goes wrong in a run reach the rest of the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

use crate::backend::{Backend, BackendError, LoadedModel, Outcome};
use crate::metrics;

/// How long a run that only uses idle time waits for it.
const IDLE: Duration = Duration::from_secs(5);

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The model was put out of memory, or never loaded.
    #[error("version {0} is not in memory")]
    NotLoaded(u64),
    /// Duties come first.
    #[error("duties keep the backend busy")]
    Busy,
    /// It would not fit.
    #[error(
        "version {version} takes {bytes} bytes, allowed are {allowed}; hint: `memory_bytes_max` in \
         executor.toml"
    )]
    Memory {
        /// The version.
        version: u64,
        /// What it takes.
        bytes: u64,
        /// What it may take.
        allowed: u64,
    },
    /// It took too long.
    #[error("the run took longer than {0:?}; hint: `run_seconds_max` in executor.toml")]
    Time(Duration),
    /// It panicked; that is a bug.
    #[error("the run panicked: {0}; this is a bug, please report it")]
    Panic(String),
    /// The backend refused or failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Models in memory, and the one place where they run.
#[derive(Debug, Clone)]
pub struct Runner {
    backend: Arc<dyn Backend>,
    models: Arc<Mutex<Models>>,
    /// One run at a time: each uses all threads of the backend.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How many duties run or wait.
    duties: watch::Sender<usize>,
    time_max: Duration,
}

#[derive(Debug)]
struct Models {
    loaded: BTreeMap<u64, Loaded>,
    bytes_max: u64,
    /// Counts uses, to find the model that was not used for longest.
    uses: u64,
}

#[derive(Debug)]
struct Loaded {
    model: Arc<dyn LoadedModel>,
    last_use: u64,
    bytes: u64,
}

impl Runner {
    /// A runner that holds at most `bytes_max` bytes of models and lets a run take `time_max`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, bytes_max: u64, time_max: Duration) -> Self {
        let models = Models { loaded: BTreeMap::new(), bytes_max, uses: 0 };
        let models = Arc::new(Mutex::new(models));
        let duties = watch::Sender::new(0);
        Self { backend, models, turn: Arc::default(), duties, time_max }
    }

    fn models(&self) -> MutexGuard<'_, Models> {
        // Nothing panics while it is held.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a version is in memory.
    #[must_use]
    pub fn is_loaded(&self, version: u64) -> bool {
        self.models().loaded.contains_key(&version)
    }

    /// Whether so many more bytes fit without putting another model out.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        let models = self.models();
        models.bytes().saturating_add(bytes) <= models.bytes_max
    }

    /// Loads, checks and warms a version; puts others out of memory where it must.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn load(&self, version: u64, artefact: Bytes) -> Result<(), RunError> {
        if self.is_loaded(version) {
            return Ok(());
        }
        let (model, bytes) = self.open(version, artefact).await?;
        let mut models = self.models();
        models.make_room(bytes);
        models.uses += 1;
        let last_use = models.uses;
        models.keep(version, Loaded { model, last_use, bytes });
        Ok(())
    }

    /// As [`Runner::load`], but puts no other out, and is the first to go: says whether the version
    /// is in memory.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn load_aside(&self, version: u64, artefact: Bytes) -> Result<bool, RunError> {
        if self.is_loaded(version) {
            return Ok(true);
        }
        let (model, bytes) = self.open(version, artefact).await?;
        let mut models = self.models();
        let fits = models.bytes().saturating_add(bytes) <= models.bytes_max;
        if fits {
            models.keep(version, Loaded { model, last_use: 0, bytes });
        }
        Ok(fits)
    }

    /// Opens, checks and warms a version; with the bytes that it takes.
    async fn open(
        &self,
        version: u64,
        artefact: Bytes,
    ) -> Result<(Arc<dyn LoadedModel>, u64), RunError> {
        let backend = Arc::clone(&self.backend);
        let model = spawn_blocking(move || backend.load(artefact)).await.map_err(panicked)??;
        let model: Arc<dyn LoadedModel> = model.into();
        // What the longest input takes is what verification allowed for.
        let run = model.run_bytes(model.tokens_max().into());
        let bytes = model.weight_bytes().saturating_add(run);
        let allowed = self.models().bytes_max;
        if bytes > allowed {
            return Err(RunError::Memory { version, bytes, allowed });
        }
        // Pages, caches and thread pools are warm from then on.
        self.run_model(Arc::clone(&model), vec![vec![0]]).await?;
        Ok((model, bytes))
    }

    /// As [`Runner::run`]; where that fails, each input runs alone: a bad one costs the others nothing.
    pub async fn run_each(
        &self,
        version: u64,
        inputs: Vec<Vec<u32>>,
    ) -> Vec<Result<Outcome, RunError>> {
        match self.run(version, inputs.clone()).await {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(error) if inputs.len() == 1 => return vec![Err(error)],
            Err(error) => tracing::warn!(version, %error, "jobs that failed together run alone"),
        }
        let mut outcomes = Vec::with_capacity(inputs.len());
        for input in inputs {
            let alone = self.run(version, vec![input]).await;
            outcomes.push(alone.and_then(|mut it| it.pop().ok_or(RunError::NotLoaded(version))));
        }
        outcomes
    }

    /// Runs one input in idle time, of a version that is in memory; that does not count as a use.
    ///
    /// # Errors
    /// [`RunError::Busy`] where there is no idle time; or as [`Runner::run`].
    pub async fn run_aside(&self, version: u64, input: Vec<u32>) -> Result<Outcome, RunError> {
        let mut duties = self.duties.subscribe();
        let idle = duties.wait_for(|duties| *duties == 0);
        if tokio::time::timeout(IDLE, idle).await.is_err() {
            return Err(RunError::Busy);
        }
        let model = self.models().loaded.get(&version).map(|loaded| Arc::clone(&loaded.model));
        let model = model.ok_or(RunError::NotLoaded(version))?;
        let mut outcomes = self.run_model(model, vec![input]).await?;
        outcomes.pop().ok_or(RunError::NotLoaded(version))
    }

    /// Runs inputs together; one outcome for each, in order. Batches that would take more memory
    /// than there is are cut.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(&self, version: u64, inputs: Vec<Vec<u32>>) -> Result<Vec<Outcome>, RunError> {
        let _duty = Duty::begin(&self.duties);
        let (model, room) = {
            let mut models = self.models();
            let room = models.bytes_max.saturating_sub(models.weights());
            (models.touch(version).ok_or(RunError::NotLoaded(version))?, room)
        };
        let mut outcomes = Vec::with_capacity(inputs.len());
        let mut batch = Vec::new();
        let mut tokens = 0_u64;
        for input in inputs {
            let more = tokens + input.len() as u64;
            if !batch.is_empty() && model.run_bytes(more) > room {
                let full = std::mem::take(&mut batch);
                outcomes.extend(self.run_model(Arc::clone(&model), full).await?);
                tokens = 0;
            }
            tokens += input.len() as u64;
            batch.push(input);
        }
        if !batch.is_empty() {
            outcomes.extend(self.run_model(model, batch).await?);
        }
        Ok(outcomes)
    }

    async fn run_model(
        &self,
        model: Arc<dyn LoadedModel>,
        inputs: Vec<Vec<u32>>,
    ) -> Result<Vec<Outcome>, RunError> {
        let _turn = self.turn.lock().await;
        let count = inputs.len();
        let start = Instant::now();
        // A thread cannot be stopped: one that takes too long goes on, and its answer is dropped.
        let run = spawn_blocking(move || model.run(&inputs));
        let result = match tokio::time::timeout(self.time_max, run).await {
            Err(_) => Err(RunError::Time(self.time_max)),
            Ok(Err(error)) => Err(panicked(error)),
            Ok(Ok(result)) => result.map_err(RunError::from),
        };
        match &result {
            Ok(outcomes) if outcomes.len() == count => metrics::ran(count, start.elapsed()),
            Ok(_) => {
                let words = "another number of outputs than of inputs".to_owned();
                return Err(BackendError::Device(words).into());
            }
            Err(_) => metrics::run_failed(count),
        }
        result
    }
}

/// Counts as a duty while it lives.
struct Duty(watch::Sender<usize>);

impl Duty {
    fn begin(duties: &watch::Sender<usize>) -> Self {
        duties.send_modify(|duties| *duties += 1);
        Self(duties.clone())
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.0.send_modify(|duties| *duties -= 1);
    }
}

impl Models {
    fn touch(&mut self, version: u64) -> Option<Arc<dyn LoadedModel>> {
        self.uses += 1;
        let loaded = self.loaded.get_mut(&version)?;
        loaded.last_use = self.uses;
        Some(Arc::clone(&loaded.model))
    }

    fn bytes(&self) -> u64 {
        self.loaded.values().map(|loaded| loaded.bytes).sum()
    }

    fn weights(&self) -> u64 {
        self.loaded.values().map(|loaded| loaded.model.weight_bytes()).sum()
    }

    fn keep(&mut self, version: u64, loaded: Loaded) {
        self.loaded.insert(version, loaded);
        metrics::models(self.loaded.len(), self.bytes());
    }

    fn make_room(&mut self, bytes: u64) {
        while self.bytes().saturating_add(bytes) > self.bytes_max {
            let oldest = self.loaded.iter().min_by_key(|(_, loaded)| loaded.last_use);
            let Some((version, _)) = oldest else { break };
            let version = *version;
            tracing::info!(version, "a model goes out of memory for another");
            self.loaded.remove(&version);
        }
    }
}

fn panicked(error: JoinError) -> RunError {
    let words = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|words| (*words).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without words".to_owned()),
        Err(error) => error.to_string(),
    };
    tracing::error!(%words, "a run panicked");
    RunError::Panic(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend whose models are told what to do by the first byte of their artefact.
    #[derive(Debug)]
    struct Scripted;

    #[derive(Debug)]
    struct Script(u8);

    impl Backend for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        fn load(&self, artefact: Bytes) -> Result<Box<dyn LoadedModel>, BackendError> {
            Ok(Box::new(Script(artefact[0])))
        }
    }

    impl LoadedModel for Script {
        fn run(&self, inputs: &[Vec<u32>]) -> Result<Vec<Outcome>, BackendError> {
            // The warming run has the one token 0.
            let warming = inputs == [vec![0]];
            match self.0 {
                b'p' if !warming => panic!("out of cheese"),
                b'r' if inputs.contains(&vec![9]) => {
                    return Err(BackendError::Input("9".to_owned()));
                }
                b's' if !warming => std::thread::sleep(Duration::from_millis(1500)),
                _ => {}
            }
            let outcome = |input: &Vec<u32>| {
                let count = u8::try_from(inputs.len()).unwrap();
                Outcome::Halted(vec![count, u8::try_from(input[0]).unwrap()].into())
            };
            Ok(inputs.iter().map(outcome).collect())
        }

        fn weight_bytes(&self) -> u64 {
            40
        }

        fn run_bytes(&self, tokens: u64) -> u64 {
            10 * tokens
        }

        fn tokens_max(&self) -> u32 {
            1
        }
    }

    fn runner(bytes_max: u64) -> Runner {
        Runner::new(Arc::new(Scripted), bytes_max, Duration::from_mins(1))
    }

    fn halted(batch: u8, token: u8) -> Outcome {
        Outcome::Halted(vec![batch, token].into())
    }

    #[tokio::test]
    async fn a_panic_in_a_run_gives_no_result_and_the_next_run_works() {
        let runner = runner(1000);
        runner.load(1, Bytes::from("panics")).await.unwrap();
        runner.load(2, Bytes::from("works")).await.unwrap();
        let error = runner.run(1, vec![vec![5]]).await.unwrap_err();
        assert!(error.to_string().contains("out of cheese"), "{error}");
        assert_eq!(runner.run(2, vec![vec![5]]).await.unwrap(), [halted(1, 5)]);
    }

    #[tokio::test]
    async fn a_run_that_takes_too_long_gives_no_result_and_holds_up_nobody() {
        let runner = runner(1000);
        runner.load(1, Bytes::from("sleeps")).await.unwrap();
        runner.load(2, Bytes::from("works")).await.unwrap();
        let hasty = Runner { time_max: Duration::from_millis(500), ..runner.clone() };
        assert!(matches!(hasty.run(1, vec![vec![5]]).await, Err(RunError::Time(_))));
        assert_eq!(runner.run(2, vec![vec![6]]).await.unwrap(), [halted(1, 6)]);
    }

    #[tokio::test]
    async fn the_model_that_was_not_used_for_longest_makes_room() {
        let runner = runner(100);
        runner.load(1, Bytes::from("a")).await.unwrap();
        runner.load(2, Bytes::from("b")).await.unwrap();
        runner.run(1, vec![vec![5]]).await.unwrap();
        runner.load(3, Bytes::from("c")).await.unwrap();
        assert_eq!([1, 2, 3].map(|version| runner.is_loaded(version)), [true, false, true]);
        assert!(matches!(runner.run(2, vec![vec![5]]).await, Err(RunError::NotLoaded(2))));
    }

    #[tokio::test]
    async fn an_input_that_is_refused_costs_those_beside_it_nothing() {
        let runner = runner(1000);
        runner.load(1, Bytes::from("refuses")).await.unwrap();
        let outcomes = runner.run_each(1, vec![vec![5], vec![9], vec![6]]).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::ok).collect();
        assert_eq!(outcomes, [Some(halted(1, 5)), None, Some(halted(1, 6))]);
    }

    #[tokio::test]
    async fn what_uses_idle_time_puts_no_model_out_and_goes_first_itself() {
        let runner = runner(100);
        assert!(runner.load_aside(1, Bytes::from("a")).await.unwrap());
        runner.load(2, Bytes::from("b")).await.unwrap();
        assert!(!runner.load_aside(3, Bytes::from("c")).await.unwrap());
        assert_eq!(runner.run_aside(1, vec![5]).await.unwrap(), halted(1, 5));
        runner.load(3, Bytes::from("c")).await.unwrap();
        assert_eq!([1, 2, 3].map(|version| runner.is_loaded(version)), [false, true, true]);
    }

    #[tokio::test]
    async fn what_uses_idle_time_waits_while_a_duty_runs_or_waits() {
        let runner = runner(100);
        runner.load(1, Bytes::from("a")).await.unwrap();
        let duty = Duty::begin(&runner.duties);
        let aside = runner.run_aside(1, vec![5]);
        tokio::pin!(aside);
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, &mut aside).await.is_err());
        drop(duty);
        assert_eq!(aside.await.unwrap(), halted(1, 5));
    }

    #[tokio::test]
    async fn a_model_over_the_memory_limit_is_refused_with_the_figures() {
        let error = runner(49).load(1, Bytes::from("a")).await.unwrap_err();
        assert!(error.to_string().contains("takes 50 bytes, allowed are 49"), "{error}");
    }

    #[tokio::test]
    async fn a_batch_is_cut_where_it_would_take_too_much_memory() {
        let runner = runner(60);
        runner.load(1, Bytes::from("a")).await.unwrap();
        let inputs = (1..=3).map(|token| vec![token]).collect();
        let outcomes = runner.run(1, inputs).await.unwrap();
        assert_eq!(outcomes, [halted(2, 1), halted(2, 2), halted(1, 3)]);
    }
}
