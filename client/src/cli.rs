//! What the command line understands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use lockstep_client::amount::Amount;

use crate::commands::Command;

/// The command line of Lockstep: keys, models, jobs, stake.
///
/// Ends with 0 when all went well, 1 when it was asked something impossible or reached no node,
/// 2 when the chain refused and nothing changed, 3 when a transaction stands in a block and failed
/// there, 4 when it is not known after the timeout, 10 when an audit found a difference, 11 when an
/// audit could not be carried through. `docs/errors.md` lists the chain's codes.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, arg_required_else_help = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Globals {
    /// The node's RPC address.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_NODE",
        hide_env_values = true,
        default_value = "http://127.0.0.1:26657"
    )]
    pub(crate) node: String,
    /// The blob service of an executor, for artefacts, large inputs and tokenizers.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_BLOBS",
        hide_env_values = true,
        default_value = "http://127.0.0.1:26690"
    )]
    pub(crate) blobs: String,
    /// Folder of keys and caches; `~/.lockstep` unless told.
    #[arg(long, global = true, env = "LOCKSTEP_HOME", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// Prints one JSON object instead of words, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Globals {
    pub(crate) fn home(&self) -> PathBuf {
        let user = || std::env::home_dir().unwrap_or_default().join(".lockstep");
        self.home.clone().unwrap_or_else(user)
    }
}

/// What every transaction takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Signing {
    /// The key that signs: a name from `lockstep keys list`, or a devnet's account such as `dev0`.
    #[arg(long, env = "LOCKSTEP_FROM", hide_env_values = true)]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseFrom,
    /// Signs without asking.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Ends once the node has taken the transaction, before it is in a block.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Seconds to wait, for the block and for what the command waits for after it.
    #[arg(long, default_value_t = 120)]
    pub(crate) timeout: u64,
    /// Refuses any other network.
    #[arg(long)]
    pub(crate) chain_id: Option<String>,
    /// Fee to sign, such as `0.01lock`; gas times price unless told.
    #[arg(long)]
    pub(crate) fee: Option<Amount>,
    /// Gas to sign; simulated unless told.
    #[arg(long)]
    pub(crate) gas: Option<u64>,
    /// A public note, at most 256 bytes.
    #[arg(long, default_value = "")]
    pub(crate) memo: String,
}

impl Signing {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Where a passphrase comes from. There is no flag for the passphrase itself: other users of the
/// machine see flags.
#[derive(Debug, Clone, Args)]
pub(crate) struct PassphraseFrom {
    /// Reads the key's passphrase from a file that only its owner can read; asks unless told.
    #[arg(long, env = "LOCKSTEP_PASSPHRASE_FILE", hide_env_values = true)]
    pub(crate) passphrase_file: Option<PathBuf>,
}
