//! Puts the parts together and runs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_chain::address;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::backend::{self, Backend, BackendError};
use crate::blobs::{BlobError, BlobStore, Collector, Peers};
use crate::config::{Config, ConfigError};
use crate::fault::{FaultError, Faults};
use crate::key::{Key, KeyError};
use crate::node::{Identity, Node, NodeError};
use crate::outputs::Outputs;
use crate::plan::Me;
use crate::references::References;
use crate::runner::Runner;
use crate::service::Service;
use crate::steps::Tools;
use crate::table::Settings;
use crate::worker;

/// How often garbage is looked for, at most.
const COLLECT: Duration = Duration::from_mins(1);
/// How long to wait for a node that is not up yet.
const NODE_PAUSE: Duration = Duration::from_millis(500);

/// Why an executor does not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// `executor.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `executor.key`.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The device.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The blob store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The node's socket.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Fault injection.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The peers' addresses.
    #[error("no HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The blob service's port.
    #[error(
        "the blob service cannot listen on {address}: {source}; hint: `listen` in executor.toml"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The chain knows another executor for this validator.
    #[error(
        "the validator {operator} has the executor {expected}, the key here is {found}; hint: put \
         the right executor.key into the home folder, or have a council member grant the role"
    )]
    WrongKey {
        /// The validator.
        operator: String,
        /// The account that the chain knows.
        expected: String,
        /// The account of the key.
        found: String,
    },
    /// The node gave an address that is none.
    #[error("the node says that its operator is `{0}`, which is no operator address")]
    Operator(String),
}

/// Everything that an executor is made of, read and checked but not running.
#[derive(Debug)]
pub struct Executor {
    home: PathBuf,
    config: Config,
    key: Key,
    backend: Arc<dyn Backend>,
    node: Node,
    store: BlobStore,
}

impl Executor {
    /// Reads the home folder, opens the device and tests it.
    ///
    /// # Errors
    /// [`ExecutorError`].
    pub fn open(home: &Path, config: Config) -> Result<Self, ExecutorError> {
        let key = Key::read(&home.join("executor.key"))?;
        let backend: Arc<dyn Backend> = backend::open(&config)?.into();
        let test = backend::self_test(backend.as_ref())?;
        tracing::info!(backend = backend.name(), programs = test.programs, "self-test passed");
        let node = Node::new(&home.join(&config.node_socket))?;
        let store = BlobStore::open(home, &config.blobs)?;
        Ok(Self { home: home.to_owned(), config, key, backend, node, store })
    }

    /// Runs until `stop` says so.
    ///
    /// # Errors
    /// [`ExecutorError`], where it cannot begin.
    pub async fn run(
        self,
        metrics: Option<PrometheusHandle>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), ExecutorError> {
        let address = self.config.listen;
        let failed = |source| ExecutorError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let references = References::new(self.node.clone());
        let outputs = Outputs::default();
        let service = Service::new(
            self.store.clone(),
            references.clone(),
            self.node.clone(),
            outputs.clone(),
            metrics,
        );
        tracing::info!(%address, "blob service listens");
        let mut ended = stop.clone();
        let serving = tokio::spawn(async move {
            let end = async move { drop(ended.wait_for(|stop| *stop).await) };
            axum::serve(listener, service.router()).with_graceful_shutdown(end).await
        });
        let Some(identity) = wait_for(&self.node, &mut stop).await else { return Ok(()) };
        let me = self.me(&identity)?;
        let faults = Faults::new(self.config.fault.clone(), &identity.chain_id, &self.home)?;
        let collecting = tokio::spawn(collect(self.collector(&references)));
        let tools = self.tools(references, outputs, me)?;
        let settings = Settings {
            watch_percent: self.config.watch_percent,
            threads: self.config.threads,
            batch_jobs_max: self.config.batch_jobs_max,
        };
        let worked = worker::work(tools, faults, settings, stop).await;
        collecting.abort();
        serving.abort();
        Ok(worked?)
    }

    fn me(&self, identity: &Identity) -> Result<Me, ExecutorError> {
        let operator = address::parse_operator(&identity.operator)
            .map_err(|_| ExecutorError::Operator(identity.operator.clone()))?;
        let found = address::account(&self.key.address());
        if !identity.executor.is_empty() && identity.executor != found {
            return Err(ExecutorError::WrongKey {
                operator: identity.operator.clone(),
                expected: identity.executor.clone(),
                found,
            });
        }
        tracing::info!(
            chain_id = identity.chain_id,
            operator = identity.operator,
            executor = found,
            "working"
        );
        Ok(Me { key: self.key.clone(), chain_id: identity.chain_id.clone(), operator })
    }

    fn tools(
        &self,
        references: References,
        outputs: Outputs,
        me: Me,
    ) -> Result<Tools, ExecutorError> {
        let time_max = Duration::from_secs(self.config.run_seconds_max);
        let bytes_max = self.config.memory_bytes_max;
        Ok(Tools {
            node: self.node.clone(),
            store: self.store.clone(),
            peers: Peers::new(&self.config.peers)?,
            references,
            runner: Runner::new(Arc::clone(&self.backend), bytes_max, time_max),
            outputs,
            me,
        })
    }

    fn collector(&self, references: &References) -> Collector {
        let grace = Duration::from_secs(self.config.gc_grace_seconds);
        Collector::new(self.store.clone(), references.clone(), grace)
    }
}

/// Asks the node who it is until it answers; none where the process is to end before.
async fn wait_for(node: &Node, stop: &mut watch::Receiver<bool>) -> Option<Identity> {
    let mut failures = 0_u32;
    loop {
        let identity = tokio::select! {
            identity = node.identity() => identity,
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        match identity {
            Ok(identity) if !identity.operator.is_empty() => return Some(identity),
            Ok(_) if failures.is_multiple_of(20) => {
                tracing::warn!("waiting: the chain has no validator with this node's key yet");
            }
            Err(error) if failures.is_multiple_of(20) => {
                tracing::warn!(%error, "waiting for the node");
            }
            _ => {}
        }
        failures = failures.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(NODE_PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => return None,
        }
    }
}

async fn collect(mut collector: Collector) {
    loop {
        tokio::time::sleep(COLLECT).await;
        if let Err(error) = collector.collect().await {
            tracing::warn!(%error, "garbage was not collected");
        }
    }
}
