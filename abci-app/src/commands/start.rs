//! `lockstepd start`: runs a node until a signal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use lockstep_chain::address;
use lockstep_chain::error::Fault;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;

use crate::app::{App, AppOptions};
use crate::executor_api::{self, Api};
use crate::home::{Home, LogFormat, Settings};
use crate::http::{self, Components, Health};
use crate::rpc::Rpc;
use crate::store::{Store, StoreOptions};
use crate::supervisor::{self, Plan};
use crate::transport::{self, Server, TransportError};
use crate::{cometbft, exit, metrics};

/// Heights that are forgotten after a block, at most.
const PRUNED_PER_BLOCK_MAX: u64 = 16;

/// Arguments of `lockstepd start`.
#[derive(Debug, Args)]
pub struct Start {
    /// The node's folder.
    #[arg(long)]
    pub home: PathBuf,
    /// Run without the executor: the node votes, and its validator misses its jobs.
    #[arg(long)]
    pub no_executor: bool,
}

/// Runs a node. Returns the exit code.
///
/// # Errors
/// Where it cannot start.
pub fn run(arguments: &Start) -> anyhow::Result<i32> {
    let home = Home::new(&arguments.home)?;
    let settings = Settings::read(&home)?;
    log_to_stderr(settings.log_format);
    stop_at_panics();
    let program = cometbft::find()?;
    let chain_id = cometbft::chain_id(&home)?;
    let store = open_store(&home, &settings, &chain_id)?;
    let addresses = check_ports(&home, &settings)?;
    let key = cometbft::consensus_key(&home)?;
    let options = AppOptions {
        blocks_retained: settings.blocks_retained,
        consensus_address: Some(address::from_consensus_key(&key)),
    };
    let prometheus = metrics::install().context("metrics")?;
    let app = App::new(store, options);

    let stop = Arc::new(AtomicBool::new(false));
    let abci_ended = Arc::new(AtomicBool::new(false));
    let abci_socket = home.socket("abci.sock")?;
    serve_abci(&abci_socket, &app, &abci_ended)?;

    let executor = executor(arguments, &settings)?;
    let components = Arc::new(Components::default());
    let rpc = Rpc::new(addresses.rpc)?;
    let health = Health {
        app: app.clone(),
        rpc: rpc.clone(),
        components: Arc::clone(&components),
        executor: executor.is_some(),
        chain_id: chain_id.clone(),
        metrics: prometheus,
        started: Instant::now(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("threads")?;
    serve(&runtime, &home, &settings, Api { app: app.clone(), rpc, chain_id }, health)?;
    watch_signals(&runtime, &stop)?;
    if settings.heights_retained > 0 {
        runtime.spawn(prune(app));
    }
    let plan =
        Plan { home, cometbft: program, executor, abci_socket, stop, abci_ended, components };
    supervisor::run(&plan)
}

/// Messages go to the standard error; `RUST_LOG` chooses them.
pub fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A panic anywhere ends the process before it unwinds: nobody goes on with half of a call done.
fn stop_at_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        exit::with(exit::FAULT, &format!("{info}\nhint: this is a bug; report it"));
    }));
}

fn open_store(home: &Home, settings: &Settings, chain_id: &str) -> anyhow::Result<Store> {
    let options = StoreOptions {
        retained_heights: settings.heights_retained,
        cache_bytes_max: settings.cache_bytes_max,
        ..StoreOptions::default()
    };
    let mut said = Instant::now();
    let mut progress = |done: crate::store::Progress| {
        if said.elapsed() > Duration::from_secs(2) {
            said = Instant::now();
            tracing::info!("rebuilding the tree: {} of about {} keys", done.keys, done.keys_about);
        }
    };
    let store = Store::open(&home.data(), &options, &mut progress).map_err(unusable)?;
    store.bind_chain(chain_id).map_err(unusable)?;
    tracing::info!(height = store.height().unwrap_or(0), chain_id, "the state is open");
    Ok(store)
}

fn unusable(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Storage(words) => anyhow::anyhow!(words),
        other => other.into(),
    }
}

fn check_ports(home: &Home, settings: &Settings) -> anyhow::Result<cometbft::Addresses> {
    let addresses = cometbft::addresses(home)?;
    let config = home.cometbft_config();
    let named = |section: &str| format!("{section}.laddr in {}", config.display());
    cometbft::check_free(addresses.p2p, "p2p", &named("p2p"))?;
    cometbft::check_free(addresses.rpc, "RPC", &named("rpc"))?;
    let setting = format!("http_listen in {}", home.settings().display());
    cometbft::check_free(settings.http_listen, "health and metrics", &setting)?;
    Ok(addresses)
}

fn serve_abci(socket: &std::path::Path, app: &App, ended: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let server = Server::bind_unix(socket, app.clone())
        .with_context(|| format!("cannot bind {}", socket.display()))?;
    let ended = Arc::clone(ended);
    std::thread::Builder::new().name("abci-accept".to_owned()).spawn(move || {
        let Err(error) = server.serve(move |end| match end {
            TransportError::Closed | TransportError::Io(_) => ended.store(true, Ordering::Relaxed),
            other => exit::with(exit::FAULT, &other.to_string()),
        });
        exit::with(exit::FAULT, &format!("the ABCI socket failed: {error}"));
    })?;
    Ok(())
}

/// The executor beside this program, if this node has one.
fn executor(arguments: &Start, settings: &Settings) -> anyhow::Result<Option<PathBuf>> {
    if arguments.no_executor || !settings.executor {
        return Ok(None);
    }
    let own = std::env::current_exe().context("where is lockstepd itself?")?;
    let path = own.with_file_name("lockstep-executor");
    if !path.is_file() {
        anyhow::bail!(
            "{} is missing\n\
             hint: build it with `cargo build --release -p lockstep-executor`, or start with \
             --no-executor",
            path.display()
        );
    }
    Ok(Some(path))
}

fn serve(
    runtime: &Runtime,
    home: &Home,
    settings: &Settings,
    api: Api,
    health: Health,
) -> anyhow::Result<()> {
    let socket = home.socket("executor.sock")?;
    let unix = transport::bind_private(&socket)
        .with_context(|| format!("cannot bind {}", socket.display()))?;
    unix.set_nonblocking(true)?;
    let _inside = runtime.enter();
    let unix = UnixListener::from_std(unix)?;
    let listen = settings.http_listen;
    let tcp = runtime.block_on(TcpListener::bind(listen));
    let tcp = tcp.with_context(|| format!("cannot bind {listen} (http_listen)"))?;
    runtime.spawn(async move {
        let done = axum::serve(unix, executor_api::router(api)).await;
        exit::with(exit::FAULT, &format!("the executor's socket ended: {done:?}"));
    });
    runtime.spawn(async move {
        let done = axum::serve(tcp, http::router(health)).await;
        exit::with(exit::FAULT, &format!("the health port ended: {done:?}"));
    });
    Ok(())
}

/// Sets `stop` at SIGINT or SIGTERM.
///
/// # Errors
/// Where the system refuses to tell of them.
pub fn watch_signals(runtime: &Runtime, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _inside = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind)?;
        let stop = Arc::clone(stop);
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
        });
    }
    Ok(())
}

/// Forgets old heights behind the blocks.
async fn prune(app: App) {
    let mut committed = app.committed();
    while committed.changed().await.is_ok() {
        let app = app.clone();
        let pruned =
            tokio::task::spawn_blocking(move || app.store().prune(PRUNED_PER_BLOCK_MAX)).await;
        if let Ok(Err(fault)) = pruned {
            exit::fault(&fault);
        }
    }
}
