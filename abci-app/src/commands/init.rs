//! `lockstepd init`: the folder of a node.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use k256::ecdsa::SigningKey;
use lockstep_chain::address;
use lockstep_chain::envelope::public_key_of;
use lockstep_chain::genesis::Genesis;
use serde_json::Value;

use super::accounts;
use crate::cometbft::{self, Config};
use crate::home::{Home, Settings};

/// No window of a trial is shorter, however few the validators.
const WINDOW_BLOCKS_MIN: u64 = 13;

/// Arguments of `lockstepd init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The node's folder; must not be one already.
    #[arg(long)]
    pub home: PathBuf,
    /// The network's id; must be that of the genesis file.
    #[arg(long)]
    pub chain_id: String,
    /// The node's name, for people.
    #[arg(long)]
    pub moniker: String,
    /// The network's genesis file. It can also be put into place later.
    #[arg(long)]
    pub genesis: Option<PathBuf>,
    /// Where other nodes connect.
    #[arg(long, default_value = "0.0.0.0:26656")]
    pub p2p: SocketAddr,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:26657")]
    pub rpc: SocketAddr,
    /// Where health and metrics are served; loopback.
    #[arg(long, default_value = "127.0.0.1:26660")]
    pub http: SocketAddr,
    /// Where the executor serves blobs to other validators.
    #[arg(long, default_value = "127.0.0.1:26690")]
    pub blobs: SocketAddr,
    /// Other validators: `id@host:port`, separated by commas.
    #[arg(long, default_value = "")]
    pub peers: String,
}

/// A folder to make, for `init` and for each node of a devnet.
#[derive(Debug)]
pub struct NewHome<'a> {
    /// Where.
    pub home: &'a Home,
    /// CometBFT's addresses and name.
    pub config: Config,
    /// The node's settings.
    pub settings: Settings,
    /// Where the executor serves blobs.
    pub blobs: SocketAddr,
    /// The executor's key; a new one where there is none.
    pub executor_key: Option<String>,
}

/// Makes a node's folder and says what to do next.
///
/// # Errors
/// Where the folder exists, the genesis is not valid, or CometBFT is missing.
pub fn run(arguments: &Init) -> anyhow::Result<()> {
    let program = cometbft::find()?;
    let home = Home::new(&arguments.home)?;
    let genesis = arguments.genesis.as_deref().map(|path| read_genesis(path, &arguments.chain_id));
    let genesis = genesis.transpose()?;
    let config = Config {
        moniker: arguments.moniker.clone(),
        p2p: arguments.p2p,
        rpc: arguments.rpc,
        peers: arguments.peers.clone(),
        devnet: false,
    };
    let settings = Settings { http_listen: arguments.http, ..Settings::default() };
    let blobs = arguments.blobs;
    let new = NewHome { home: &home, config, settings, blobs, executor_key: None };
    create(&program, &new)?;
    let genesis_path = home.genesis();
    match genesis {
        Some(text) => std::fs::write(&genesis_path, text)?,
        // What `cometbft init` made is a network of its own kind.
        None => std::fs::remove_file(&genesis_path)?,
    }
    let node = cometbft::run(&program, &home, &["show-node-id"])?;
    let key = hex::encode(cometbft::consensus_key(&home)?);
    let executor = executor_address(&home)?;
    println!("home           {}", home.path().display());
    println!(
        "node id        {node}   (others reach this node as {node}@HOST:{})",
        arguments.p2p.port()
    );
    println!("consensus key  {key}");
    println!("executor       {executor}");
    if arguments.genesis.is_none() {
        println!("\nnext: put the network's genesis file at {}", genesis_path.display());
    }
    println!("\nstart: lockstepd start --home {}", home.path().display());
    Ok(())
}

/// Makes a node's folder with keys and configuration; the genesis is CometBFT's own until replaced.
///
/// # Errors
/// Where it exists already or cannot be written.
pub fn create(program: &Path, new: &NewHome<'_>) -> anyhow::Result<()> {
    let home = new.home;
    if home.settings().exists() || home.cometbft().exists() {
        bail!(
            "{} is the folder of a node already\n\
             hint: name another folder; nothing was changed",
            home.path().display()
        );
    }
    for folder in [home.path().to_owned(), home.data(), home.executor(), home.logs()] {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    cometbft::run(program, home, &["init"])?;
    cometbft::configure(&home.cometbft_config(), &new.config)?;
    let key = match &new.executor_key {
        Some(key) => key.clone(),
        None => new_key()?,
    };
    write_private(&home.executor().join("executor.key"), &key)?;
    let text = format!(
        "# Settings of the executor; docs/executor.md explains each.\n\
         node_socket = \"../executor.sock\"\nlisten = \"{}\"\npeers = []\n",
        new.blobs
    );
    std::fs::write(home.executor().join("executor.toml"), text)?;
    // Last: its presence says that the folder is whole.
    new.settings.write(home)
}

fn new_key() -> anyhow::Result<String> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        if SigningKey::from_slice(&bytes).is_ok() {
            return Ok(hex::encode(bytes));
        }
    }
}

/// Writes a file that only this user can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot create {}", path.display()))?;
    writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))
}

/// The account of the executor in a node's folder.
///
/// # Errors
/// Where its key cannot be read.
pub fn executor_address(home: &Home) -> anyhow::Result<String> {
    let path = home.executor().join("executor.key");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let bytes =
        hex::decode(text.trim()).with_context(|| format!("{} is no hex", path.display()))?;
    let key = SigningKey::from_slice(&bytes)
        .with_context(|| format!("{} holds no secp256k1 key", path.display()))?;
    Ok(address::account(&address::from_public_key(&public_key_of(&key))))
}

/// Reads a genesis file and checks everything that can be wrong with it.
fn read_genesis(path: &Path, chain_id: &str) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    check_genesis(&text, chain_id).with_context(|| format!("in {}", path.display()))?;
    Ok(text)
}

/// Checks a genesis file for the network `chain_id`.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_genesis(text: &str, chain_id: &str) -> anyhow::Result<()> {
    let file: Value = serde_json::from_str(text).context("the genesis file is no JSON")?;
    let found = file["chain_id"].as_str().unwrap_or_default();
    if found != chain_id {
        bail!("chain_id is `{found}`, and this node is for `{chain_id}`\nhint: wrong file?");
    }
    let enabled = &file["consensus_params"]["abci"]["vote_extensions_enable_height"];
    let initial = file["initial_height"].as_str().unwrap_or("1");
    if enabled.as_str() != Some(if initial == "0" { "1" } else { initial }) {
        bail!(
            "consensus_params.abci.vote_extensions_enable_height is {enabled}\n\
             hint: it must be the initial height (\"{initial}\"): commitments ride on votes"
        );
    }
    let genesis: Genesis =
        serde_json::from_value(file["app_state"].clone()).context("app_state")?;
    genesis.check()?;
    if !chain_id.starts_with(accounts::CHAIN_ID_PREFIX) {
        check_windows(&genesis)?;
        let mut known = accounts::people()?;
        for index in 0..accounts::VALIDATORS_MAX {
            known.push(accounts::operator(index)?);
            known.push(accounts::executor(index)?);
        }
        let open = |address: &str| known.iter().find(|named| named.address == address);
        if let Some(named) = genesis.accounts.iter().find_map(|account| open(&account.address)) {
            bail!(
                "the key of account {} ({}) is known to everybody\n\
                 hint: accounts of the words `test test … junk` are for devnets only",
                named.address,
                named.name
            );
        }
    }
    Ok(())
}

/// Colluding proposers, up to a third in a row where powers are equal, must not outlast a window.
fn check_windows(genesis: &Genesis) -> anyhow::Result<()> {
    let params = &genesis.params;
    let least = (genesis.validators.len() as u64).saturating_mul(2).max(WINDOW_BLOCKS_MIN);
    let windows = [
        ("trial_defend_blocks", params.trial_defend_blocks),
        ("trial_call_blocks", params.trial_call_blocks),
        ("trial_move_blocks", params.trial_move_blocks),
        ("challenge_window_blocks", params.challenge_window_blocks),
    ];
    if let Some((name, blocks)) = windows.into_iter().find(|(_, blocks)| *blocks < least) {
        bail!(
            "{name} is {blocks}: proposers in a row could keep an honest party's moves out of it\n\
             hint: at least {least}, twice the number of validators and no less than \
             {WINDOW_BLOCKS_MIN}"
        );
    }
    Ok(())
}
