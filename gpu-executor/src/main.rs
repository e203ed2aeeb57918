//! `lockstep-executor`: runs models for a validator.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use lockstep_executor::backend;
use lockstep_executor::config::{Config, LogFormat};
use lockstep_executor::executor::Executor;
use lockstep_executor::metrics;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Runs models for a validator. `lockstepd start` starts it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder with executor.toml, executor.key and the blobs.
    #[arg(long)]
    home: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tests the device that executor.toml names, and nothing else.
    SelfTest,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let config = Config::read(&arguments.home)?;
    log(config.log_format);
    match arguments.command {
        Some(Command::SelfTest) => {
            let backend = backend::open(&config)?;
            let test = backend::self_test(backend.as_ref())?;
            println!("{}: {} programs give the specified bytes", backend.name(), test.programs);
            Ok(())
        }
        None => {
            let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
            runtime.block_on(run(arguments.home, config))
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

async fn run(home: PathBuf, config: Config) -> anyhow::Result<()> {
    let metrics = metrics::install().context("cannot count")?;
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        // Nobody listens where the start failed.
        let _ = stop.send(true);
    });
    let executor = tokio::task::spawn_blocking(move || Executor::open(&home, config));
    executor.await.context("the start panicked")??.run(Some(metrics), stopped).await?;
    Ok(())
}
