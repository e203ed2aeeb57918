//! `lockstepd devnet`: a whole network on this machine in one command.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use lockstep_chain::address;
use lockstep_chain::genesis::{Genesis, GenesisAccount, GenesisValidator};
use lockstep_proto::lockstep::chain::v1::Params;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::{self, MNEMONIC};
use super::init::{self, NewHome};
use crate::child::Child;
use crate::cometbft::{self, Config};
use crate::home::{Home, LogFormat, Settings};

/// Ports of one node: p2p, RPC, health and metrics, blobs.
const PORTS_PER_NODE: u16 = 10;
/// What each validator stakes, in ulock.
const STAKE: u64 = 100_000_000_000;
const NODE_STOP_MAX: Duration = Duration::from_secs(20);
const PARAMS: &str = include_str!("../../../genesis/devnet-params.json");

/// Arguments of `lockstepd devnet`.
#[derive(Debug, Args)]
pub struct Devnet {
    /// How many validators.
    #[arg(long, default_value_t = 4)]
    pub validators: usize,
    /// Where everything lies; a folder that is there is continued.
    #[arg(long)]
    pub home: PathBuf,
    /// Node i uses ten ports from here plus 10 i.
    #[arg(long, default_value_t = 26600)]
    pub base_port: u16,
    /// The network's id.
    #[arg(long, default_value = "lockstep-devnet")]
    pub chain_id: String,
    /// NODE:KIND:JOB: node NODE (from 0) misbehaves for job JOB, or with `nth:N` for the Nth job
    /// that it is asked to run. KIND: wrong-output, wrong-silent, hardware-fault, bogus-trace,
    /// false-challenge, no-show, copy, late-reveal or silent.
    #[arg(long)]
    pub fault: Vec<FaultArgument>,
    /// Writes endpoints, accounts and process ids to a file, for scripts.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Run without executors.
    #[arg(long)]
    pub no_executor: bool,
    /// Make the folders and start nothing.
    #[arg(long)]
    pub init_only: bool,
}

/// The kinds of misbehaviour that an executor knows.
const FAULTS: [&str; 9] = [
    "wrong-output",
    "wrong-silent",
    "hardware-fault",
    "bogus-trace",
    "false-challenge",
    "no-show",
    "copy",
    "late-reveal",
    "silent",
];

/// One planned misbehaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultArgument {
    node: usize,
    kind: String,
    /// `job` or `nth`.
    by: &'static str,
    number: u64,
}

impl FromStr for FaultArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(':').collect();
        let (node, kind, by, number) = match parts.as_slice() {
            [node, kind, job] => (node, kind, "job", job),
            [node, kind, "nth", number] => (node, kind, "nth", number),
            _ => return Err("hint: NODE:KIND:JOB or NODE:KIND:nth:N".to_owned()),
        };
        if !FAULTS.contains(kind) {
            let known = FAULTS.join(", ");
            return Err(format!("`{kind}` is no misbehaviour; hint: one of {known}"));
        }
        Ok(Self {
            node: node.parse().map_err(|_| format!("`{node}` is no node number"))?,
            kind: (*kind).to_owned(),
            by,
            number: number.parse().map_err(|_| format!("`{number}` is no number"))?,
        })
    }
}

/// What a devnet's folder remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: u32,
    chain_id: String,
    validators: usize,
    base_port: u16,
}

impl State {
    fn address(&self, node: usize, offset: u16) -> anyhow::Result<SocketAddr> {
        let above = u16::try_from(node).ok().and_then(|node| node.checked_mul(PORTS_PER_NODE));
        let port = above
            .and_then(|above| self.base_port.checked_add(above)?.checked_add(offset))
            .context("the ports go beyond 65535; hint: a lower --base-port")?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn p2p(&self, node: usize) -> anyhow::Result<SocketAddr> {
        self.address(node, 0)
    }

    fn rpc(&self, node: usize) -> anyhow::Result<SocketAddr> {
        self.address(node, 1)
    }

    fn http(&self, node: usize) -> anyhow::Result<SocketAddr> {
        self.address(node, 2)
    }

    fn blobs(&self, node: usize) -> anyhow::Result<SocketAddr> {
        self.address(node, 3)
    }
}

/// Runs a network until a signal. Returns the exit code.
///
/// # Errors
/// Where it cannot be made or started.
pub fn run(arguments: &Devnet) -> anyhow::Result<i32> {
    super::start::log_to_stderr(LogFormat::Text);
    let program = cometbft::find()?;
    let folder = std::path::absolute(&arguments.home)?;
    let state_file = folder.join("devnet.json");
    let state = if state_file.exists() {
        continued(&state_file, arguments)?
    } else {
        let state = asked(arguments)?;
        create(&program, &folder, &state)?;
        std::fs::write(&state_file, serde_json::to_string_pretty(&state)?)?;
        state
    };
    plan_faults(&folder, &state, &arguments.fault)?;
    if arguments.init_only {
        return Ok(0);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    super::start::watch_signals(&runtime, &stop)?;
    let mut nodes = start_nodes(&folder, &state, arguments.no_executor)?;
    let report = report(&folder, &state, &nodes)?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    banner(&folder, &state)?;
    let code = watch(&mut nodes, &stop)?;
    stop_all(nodes);
    Ok(code)
}

fn asked(arguments: &Devnet) -> anyhow::Result<State> {
    if !(1..=accounts::VALIDATORS_MAX).contains(&arguments.validators) {
        bail!("--validators {} is not in 1..={}", arguments.validators, accounts::VALIDATORS_MAX);
    }
    if !arguments.chain_id.starts_with(accounts::CHAIN_ID_PREFIX) {
        bail!(
            "--chain-id {} does not begin with {}\n\
             hint: the keys of a devnet are known to everybody, so no other network may have them",
            arguments.chain_id,
            accounts::CHAIN_ID_PREFIX
        );
    }
    Ok(State {
        format: 1,
        chain_id: arguments.chain_id.clone(),
        validators: arguments.validators,
        base_port: arguments.base_port,
    })
}

fn continued(file: &Path, arguments: &Devnet) -> anyhow::Result<State> {
    let text = std::fs::read_to_string(file)?;
    let state: State =
        serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let same = state.validators == arguments.validators
        && state.base_port == arguments.base_port
        && state.chain_id == arguments.chain_id
        && state.format == 1;
    if !same {
        bail!(
            "{} is the folder of a devnet with --validators {} --base-port {} --chain-id {}\n\
             hint: give the same, or name another folder; nothing was changed",
            arguments.home.display(),
            state.validators,
            state.base_port,
            state.chain_id
        );
    }
    Ok(state)
}

fn node_home(folder: &Path, node: usize) -> anyhow::Result<Home> {
    Ok(Home::new(&folder.join(format!("node{node}")))?)
}

fn create(program: &Path, folder: &Path, state: &State) -> anyhow::Result<()> {
    let mut ids = Vec::new();
    for node in 0..state.validators {
        let home = node_home(folder, node)?;
        if home.path().exists() {
            bail!(
                "{} is there, and {} is not: an earlier start was cut short\n\
                 hint: remove {}",
                home.path().display(),
                folder.join("devnet.json").display(),
                folder.display()
            );
        }
        let config = Config {
            moniker: format!("node{node}"),
            p2p: state.p2p(node)?,
            rpc: state.rpc(node)?,
            peers: String::new(),
            devnet: true,
        };
        let settings = Settings { http_listen: state.http(node)?, ..Settings::default() };
        let blobs = state.blobs(node)?;
        let executor_key = Some(accounts::executor(node)?.private_key);
        let new = NewHome { home: &home, config, settings, blobs, executor_key };
        init::create(program, &new)?;
        ids.push(cometbft::run(program, &home, &["show-node-id"])?);
    }
    let genesis = serde_json::to_string_pretty(&genesis(folder, state)?)?;
    init::check_genesis(&genesis, &state.chain_id)?;
    for node in 0..state.validators {
        let home = node_home(folder, node)?;
        std::fs::write(home.genesis(), &genesis)?;
        let others = ids.iter().enumerate().filter(|(other, _)| *other != node);
        let peers: anyhow::Result<Vec<_>> =
            others.map(|(other, id)| Ok(format!("{id}@{}", state.p2p(other)?))).collect();
        let config = Config {
            moniker: format!("node{node}"),
            p2p: state.p2p(node)?,
            rpc: state.rpc(node)?,
            peers: peers?.join(","),
            devnet: true,
        };
        cometbft::configure(&home.cometbft_config(), &config)?;
    }
    Ok(())
}

/// What a devnet begins with, for validators with these consensus keys.
///
/// # Errors
/// Where the built-in parameters do not parse, which a test excludes.
pub fn app_state(consensus_keys: &[[u8; 32]]) -> anyhow::Result<Genesis> {
    let mut params: Params = serde_json::from_str(PARAMS).context("genesis/devnet-params.json")?;
    let mut people = accounts::people()?;
    let council = people.iter().find(|named| named.role == "council").context("a council")?;
    params.treasury = council.bytes.to_vec();
    let mut validators = Vec::new();
    for (node, key) in consensus_keys.iter().enumerate() {
        let operator = accounts::operator(node)?;
        let executor = accounts::executor(node)?;
        validators.push(GenesisValidator {
            operator: address::operator(&operator.bytes),
            consensus_key: hex::encode(key),
            moniker: format!("node{node}"),
            stake: STAKE,
            executor: executor.address.clone(),
        });
        people.extend([operator, executor]);
    }
    let accounts = people
        .iter()
        .map(|named| GenesisAccount {
            address: named.address.clone(),
            balance: named.balance,
            roles: vec![named.role.to_owned()],
        })
        .collect();
    Ok(Genesis { params, accounts, validators })
}

/// CometBFT's genesis file with ours inside.
fn genesis(folder: &Path, state: &State) -> anyhow::Result<Value> {
    let keys: anyhow::Result<Vec<_>> = (0..state.validators)
        .map(|node| cometbft::consensus_key(&node_home(folder, node)?))
        .collect();
    let app_state = app_state(&keys?)?;
    let params = &app_state.params;
    let first = std::fs::read_to_string(node_home(folder, 0)?.genesis())?;
    let first: Value = serde_json::from_str(&first)?;
    Ok(json!({
        "genesis_time": first["genesis_time"],
        "chain_id": state.chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": "-1", "max_gas": "-1"},
            "evidence": {
                "max_age_num_blocks": params.unbonding_blocks.to_string(),
                "max_age_duration": (u128::from(params.unbonding_ms) * 1_000_000).to_string(),
                "max_bytes": "1048576"
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": lockstep_audit::abci::APP_VERSION.to_string()},
            "abci": {"vote_extensions_enable_height": "1"}
        },
        "validators": [],
        "app_hash": "",
        "app_state": app_state,
    }))
}

/// What a devnet sets in `executor.toml`.
#[derive(Serialize)]
struct Executor {
    node_socket: &'static str,
    listen: String,
    peers: Vec<String>,
    threads: usize,
    /// Who misbehaves does not look after others.
    watch_percent: u8,
    fault: Vec<toml::Table>,
}

/// Writes `executor.toml` of every node: its port, its peers, its planned misbehaviour.
fn plan_faults(folder: &Path, state: &State, faults: &[FaultArgument]) -> anyhow::Result<()> {
    if let Some(fault) = faults.iter().find(|fault| fault.node >= state.validators) {
        bail!("--fault: node {} is not in 0..{}", fault.node, state.validators);
    }
    for node in 0..state.validators {
        let others = (0..state.validators).filter(|other| *other != node);
        let peers: anyhow::Result<Vec<_>> =
            others.map(|other| Ok(format!("http://{}", state.blobs(other)?))).collect();
        let own = faults.iter().filter(|fault| fault.node == node);
        let fault: Vec<_> = own
            .map(|fault| {
                let (by, number) = (fault.by, fault.number);
                toml::Table::from_iter([
                    (
                        by.to_owned(),
                        toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
                    ),
                    ("kind".to_owned(), toml::Value::String(fault.kind.clone())),
                ])
            })
            .collect();
        let executor = Executor {
            node_socket: "../executor.sock",
            listen: state.blobs(node)?.to_string(),
            peers: peers?,
            threads: 1,
            watch_percent: if fault.is_empty() { 100 } else { 0 },
            fault,
        };
        let path = node_home(folder, node)?.executor().join("executor.toml");
        std::fs::write(&path, toml::to_string(&executor)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn start_nodes(
    folder: &Path,
    state: &State,
    no_executor: bool,
) -> anyhow::Result<Vec<Option<Child>>> {
    let own = std::env::current_exe()?;
    let mut nodes = Vec::new();
    for node in 0..state.validators {
        let home = node_home(folder, node)?;
        let mut arguments =
            vec!["start".to_owned(), "--home".to_owned(), home.path().display().to_string()];
        if no_executor {
            arguments.push("--no-executor".to_owned());
        }
        let log = home.logs().join("lockstepd.log");
        nodes.push(Some(Child::spawn("a node", &own, &arguments, &log)?));
    }
    Ok(nodes)
}

/// Waits for a signal. A node that ends is reported and not started again: whoever killed it may
/// start it by hand.
fn watch(nodes: &mut [Option<Child>], stop: &AtomicBool) -> anyhow::Result<i32> {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        for (index, slot) in nodes.iter_mut().enumerate() {
            let Some(node) = slot else { continue };
            let Some(status) = node.ended()? else { continue };
            let words = node.last_words();
            eprintln!("node{index} ended ({status}); its last words:\n{words}");
            *slot = None;
        }
        if nodes.iter().all(Option::is_none) {
            bail!("every node has ended");
        }
    }
    Ok(0)
}

/// All at once: a network that loses its quorum first would wait for it.
fn stop_all(nodes: Vec<Option<Child>>) {
    std::thread::scope(|scope| {
        for mut node in nodes.into_iter().flatten() {
            scope.spawn(move || node.stop(NODE_STOP_MAX));
        }
    });
}

fn report(folder: &Path, state: &State, nodes: &[Option<Child>]) -> anyhow::Result<Value> {
    let mut listed = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let operator = accounts::operator(index)?;
        listed.push(json!({
            "name": format!("node{index}"),
            "home": node_home(folder, index)?.path(),
            "pid": node.as_ref().map(Child::id),
            "run_file": node_home(folder, index)?.run_file(),
            "rpc": format!("http://{}", state.rpc(index)?),
            "blobs": format!("http://{}", state.blobs(index)?),
            "http": format!("http://{}", state.http(index)?),
            "p2p": state.p2p(index)?,
            "operator": address::operator(&operator.bytes),
            "operator_account": operator,
            "executor_account": accounts::executor(index)?,
        }));
    }
    Ok(json!({
        "chain_id": state.chain_id,
        "mnemonic": MNEMONIC,
        "home": folder,
        "nodes": listed,
        "accounts": accounts::people()?,
    }))
}

fn banner(folder: &Path, state: &State) -> anyhow::Result<()> {
    println!("\nLockstep devnet `{}`: {} validators", state.chain_id, state.validators);
    println!("\nAccounts (keys known to everybody; never use them elsewhere)");
    for named in accounts::people()? {
        println!(
            "  {:8} {:10} {}  {:>9} LOCK  {}",
            named.name,
            named.role,
            named.address,
            named.balance / 1_000_000,
            named.private_key
        );
    }
    println!("\nMnemonic  {MNEMONIC}\nPath      m/44'/118'/0'/0/i, i = 0 for dev0 and so on");
    println!("\nEndpoints");
    for node in 0..state.validators {
        println!(
            "  node{node}  rpc http://{}  blobs http://{}  metrics http://{}/metrics",
            state.rpc(node)?,
            state.blobs(node)?,
            state.http(node)?
        );
    }
    println!("\nFolder    {}   (ctrl-c stops; the same command continues)", folder.display());
    println!("A node that was killed: lockstepd start --home {}/node0", folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_by_job_or_by_count_and_nothing_else() {
        let by_job: FaultArgument = "3:wrong-output:5".parse().unwrap();
        assert_eq!((by_job.node, by_job.by, by_job.number), (3, "job", 5));
        let by_count: FaultArgument = "0:late-reveal:nth:2".parse().unwrap();
        assert_eq!((by_count.node, by_count.by, by_count.number), (0, "nth", 2));
        for wrong in ["", "1:lie:5", "x:copy:5", "1:copy", "1:copy:y", "1:copy:nth:"] {
            assert!(wrong.parse::<FaultArgument>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_devnet_of_any_size_begins_with_a_valid_genesis() {
        for validators in [1, 4, accounts::VALIDATORS_MAX] {
            let keys: Vec<_> = (0..validators).map(|i| [u8::try_from(i).unwrap(); 32]).collect();
            let genesis = app_state(&keys).unwrap();
            genesis.check().unwrap();
            assert!(genesis.params.commit_window_ms >= 30_000, "time for a restart");
        }
    }
}
