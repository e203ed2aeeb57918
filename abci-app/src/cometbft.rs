//! CometBFT as a program: where it is, which version, how it is configured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use toml_edit::{DocumentMut, Item, value};

use crate::home::Home;
use crate::waiting::{MEMPOOL_BYTES_MAX, MEMPOOL_TXS_MAX};

/// The one version that this node runs with. Below it block time can be moved by a proposer, forged
/// evidence slashes the innocent, and the check against double signing checks nothing.
pub const VERSION: &str = "0.38.25";

const INSTALL: &str = "hint: `go install github.com/cometbft/cometbft/cmd/cometbft@v0.38.25`, or \
                       run scripts/setup; LOCKSTEP_COMETBFT names another place";

/// The program, by `LOCKSTEP_COMETBFT`, the search path, or where `go install` puts it.
///
/// # Errors
/// Where it is missing or of another version.
pub fn find() -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os("LOCKSTEP_COMETBFT") {
        Some(named) => PathBuf::from(named),
        None => in_search_path()
            .with_context(|| format!("CometBFT {VERSION} is not installed\n{INSTALL}"))?,
    };
    let output = Command::new(&path).arg("version").output().with_context(|| {
        format!("CometBFT {VERSION} is needed, and {} does not run\n{INSTALL}", path.display())
    })?;
    let found = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_owned();
    if found.split('+').next() != Some(VERSION) {
        bail!(
            "{} is version `{found}`, and CometBFT {VERSION} is needed\n{INSTALL}",
            path.display()
        );
    }
    Ok(path)
}

fn in_search_path() -> Option<PathBuf> {
    let listed = std::env::var_os("PATH").unwrap_or_default();
    let go = std::env::var_os("HOME").map(|home| Path::new(&home).join("go/bin"));
    let go_bin = std::env::var_os("GOBIN").map(PathBuf::from);
    std::env::split_paths(&listed)
        .chain(go_bin)
        .chain(go)
        .map(|folder| folder.join("cometbft"))
        .find(|path| path.is_file())
}

/// Runs `cometbft` to its end; what it printed.
///
/// # Errors
/// Where it fails.
pub fn run(program: &Path, home: &Home, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .arg("--home")
        .arg(home.cometbft())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("`cometbft {}` failed: {}", arguments.join(" "), words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What differs between networks and nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The node's name.
    pub moniker: String,
    /// Where other nodes connect.
    pub p2p: SocketAddr,
    /// Where clients connect.
    pub rpc: SocketAddr,
    /// `id@host:port`, separated by commas.
    pub peers: String,
    /// Several nodes on one machine, wallets in a browser, everything indexed.
    pub devnet: bool,
}

/// Writes our settings over what `cometbft init` made, and leaves the rest.
///
/// # Errors
/// Where the file cannot be read or written, or lacks a setting: another version made it.
pub fn configure(path: &Path, config: &Config) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut document: DocumentMut =
        text.parse().with_context(|| format!("in {}", path.display()))?;
    for (section, key, setting, why) in settings(config) {
        let table = match section {
            "" => document.as_table_mut(),
            name => document[name].as_table_mut().with_context(|| {
                format!("{} has no section [{name}]: made by another CometBFT?", path.display())
            })?,
        };
        let Some(found) = table.get_mut(key) else {
            bail!("{} has no setting {section}.{key}: made by another CometBFT?", path.display());
        };
        *found = setting;
        if !why.is_empty()
            && let Some(mut key) = table.key_mut(key)
        {
            key.leaf_decor_mut().set_prefix(format!("# Lockstep: {why}\n"));
        }
    }
    std::fs::write(path, document.to_string())
        .with_context(|| format!("cannot write {}", path.display()))
}

type Setting = (&'static str, &'static str, Item, &'static str);

/// Every setting that matters, with its reason; none where the name says it.
fn settings(config: &Config) -> Vec<Setting> {
    let origins: toml_edit::Array =
        if config.devnet { ["*"].into_iter().collect() } else { toml_edit::Array::new() };
    let dev = config.devnet;
    let mempool_txs = i64::try_from(MEMPOOL_TXS_MAX).unwrap_or(i64::MAX);
    let mempool_bytes = i64::try_from(MEMPOOL_BYTES_MAX).unwrap_or(i64::MAX);
    let mut all = vec![
        ("", "moniker", value(&config.moniker), ""),
        ("", "log_level", value("main:info,blocksync:info,*:error"), "info is 250 MB a day"),
        ("", "abci", value("socket"), ""),
        ("rpc", "laddr", value(format!("tcp://{}", config.rpc)), ""),
        ("rpc", "cors_allowed_origins", value(origins), "wallets in a browser, on devnets only"),
        ("rpc", "unsafe", value(false), ""),
        ("rpc", "pprof_laddr", value(""), ""),
        ("rpc", "max_body_bytes", value(2_000_000), "a transaction of 384 KiB in base64 or hex"),
        ("rpc", "max_open_connections", value(900), ""),
        ("rpc", "max_subscription_clients", value(100), ""),
        ("rpc", "max_subscriptions_per_client", value(10), ""),
        ("rpc", "max_request_batch_size", value(10), ""),
        ("p2p", "laddr", value(format!("tcp://{}", config.p2p)), ""),
        ("p2p", "persistent_peers", value(&config.peers), ""),
        ("p2p", "addr_book_strict", value(!dev), "addresses of one machine count on devnets"),
        ("p2p", "allow_duplicate_ip", value(dev), "all nodes of a devnet have one address"),
        ("p2p", "pex", value(!dev), "the peers of a devnet are known"),
        ("p2p", "flush_throttle_timeout", value("10ms"), "100ms adds 0.25 s to every block"),
        ("p2p", "send_rate", value(51_200_000), "bytes/s; a block of 4 MiB in under 0.1 s"),
        ("p2p", "recv_rate", value(51_200_000), "bytes/s"),
        ("mempool", "type", value("flood"), ""),
        (
            "mempool",
            "recheck",
            value(false),
            "FinalizeBlock checks again; recheck doubles the work",
        ),
        ("mempool", "size", value(mempool_txs), "transactions"),
        ("mempool", "max_txs_bytes", value(mempool_bytes), "a proposer is sent all of them"),
        ("mempool", "cache_size", value(2 * mempool_txs), "twice the mempool"),
        ("mempool", "max_tx_bytes", value(393_216), "limits.rs: TX_BYTES_MAX"),
        ("statesync", "enable", value(false), "snapshots are not made yet"),
        ("storage", "discard_abci_responses", value(false), "recovery and audits read them"),
        ("tx_index", "indexer", value("kv"), "wallets ask /tx; doubles the work per transaction"),
        ("instrumentation", "prometheus", value(false), ""),
    ];
    all.extend(consensus(config));
    all
}

fn consensus(config: &Config) -> Vec<Setting> {
    let section = "consensus";
    let propose = if config.devnet { "1500ms" } else { "3s" };
    let double_sign = if config.devnet { 0 } else { 2 };
    vec![
        (
            section,
            "timeout_propose",
            value(propose),
            "a validator that is down costs this at its turn",
        ),
        (section, "timeout_prevote", value("1s"), ""),
        (section, "timeout_precommit", value("1s"), ""),
        (section, "timeout_commit", value("200ms"), "blocks about every 0.3 s"),
        (section, "skip_timeout_commit", value(false), "time for late votes and extensions"),
        (section, "create_empty_blocks", value(true), "windows and extensions need blocks"),
        (section, "peer_gossip_sleep_duration", value("20ms"), "100ms adds to every block"),
        (
            section,
            "double_sign_check_height",
            value(double_sign),
            "0 on devnets, where a validator that was killed starts again at once",
        ),
    ]
}

/// What `start` needs to know of a configuration that the validator may have edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Where other nodes connect.
    pub p2p: SocketAddr,
    /// Where clients connect.
    pub rpc: SocketAddr,
}

/// Reads the addresses.
///
/// # Errors
/// Where the file is missing or they are no addresses.
pub fn addresses(home: &Home) -> anyhow::Result<Addresses> {
    let path = home.cometbft_config();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let document: DocumentMut = text.parse().with_context(|| format!("in {}", path.display()))?;
    let address = |section: &str| -> anyhow::Result<SocketAddr> {
        let text = document[section]["laddr"].as_str().unwrap_or_default();
        text.trim_start_matches("tcp://").parse().with_context(|| {
            format!(
                "{}: {section}.laddr = \"{text}\" is no address\nhint: tcp://127.0.0.1:26657",
                path.display()
            )
        })
    };
    Ok(Addresses { p2p: address("p2p")?, rpc: address("rpc")? })
}

/// The ed25519 key that this node votes with.
///
/// # Errors
/// Where `priv_validator_key.json` is missing or holds no such key.
pub fn consensus_key(home: &Home) -> anyhow::Result<[u8; 32]> {
    use base64::Engine as _;
    let path = home.cometbft().join("config/priv_validator_key.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let file: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let key = file["pub_key"]["value"].as_str().unwrap_or_default();
    let key = base64::engine::general_purpose::STANDARD.decode(key).ok();
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.with_context(|| format!("{} holds no ed25519 key", path.display()))
}

/// The chain id of the genesis file.
///
/// # Errors
/// Where there is no genesis file.
pub fn chain_id(home: &Home) -> anyhow::Result<String> {
    let path = home.genesis();
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read the genesis file {}\n\
             hint: `lockstepd init --genesis FILE` puts it there; the network hands it out",
            path.display()
        )
    })?;
    let file: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let id = file["chain_id"].as_str().filter(|id| !id.is_empty());
    id.map(str::to_owned).with_context(|| format!("{} has no chain_id", path.display()))
}

/// Refuses a port that somebody listens on, by name.
///
/// # Errors
/// Where it cannot be bound.
pub fn check_free(address: SocketAddr, whose: &str, setting: &str) -> anyhow::Result<()> {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "the {whose} port {} ({address}) cannot be used: {error}\n\
             hint: stop what listens there (`ss -ltnp 'sport = :{}'`), or set {setting}",
            address.port(),
            address.port()
        ),
    }
}
