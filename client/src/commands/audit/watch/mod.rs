//! `lockstep audit watch`.

mod bench;
mod live;
mod says;
mod watcher;

use std::path::PathBuf;

use clap::Args;
use lockstep_audit::play::Sample;
use lockstep_audit::recompute::Holdings;
use lockstep_client::{Error, Result};

use self::live::Live;
use self::says::Says;
use self::watcher::Watcher;
use super::unable;
use crate::cli::{Globals, PassphraseFrom};
use crate::commands::{client, submit};
use crate::console::note;

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
    let account = wallet.address_text();
    let mut holdings = Holdings::new(&globals.blobs, arguments.threads).map_err(unable)?;
    if let Some(folder) = &arguments.artefacts {
        holdings.add_folder(folder).map_err(unable)?;
    }
    let chain_id = arguments.chain_id.as_deref();
    let bench = Live::open(client(globals)?, wallet, chain_id, holdings).await?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|cause| Error::usage(format!("no random bytes: {cause}"), "try again"))?;
    note(&format!("watching {} as {account}, ctrl-c ends", bench.chain_id));
    let sample = Sample::new(secret, arguments.percent);
    let says = Says::new(globals.json, Box::new(std::io::stdout()));
    let mut watcher = Watcher::new(bench, sample, says);
    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            () = watcher.step() => if arguments.once && watcher.is_done() { break },
            _ = &mut stop => break,
        }
    }
    Ok(watcher.says.end())
}
