//! A network of validators, started by the command that a user runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lockstep_chain::address;
use lockstep_client::query;
use lockstep_client::rpc::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::binary;

/// How long validators may take to make their first blocks.
const START_MAX: Duration = Duration::from_mins(1);
/// How long executors may take to fetch, check and prove.
const HELD_MAX: Duration = Duration::from_secs(90);
const STOP_MAX: Duration = Duration::from_secs(30);

/// What `lockstepd devnet --json` says of a network.
#[derive(Debug, Deserialize)]
struct Described {
    chain_id: String,
    nodes: Vec<Node>,
}

/// One validator.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Its name.
    #[serde(rename = "name")]
    pub moniker: String,
    /// Its folder.
    pub home: PathBuf,
    /// bech32 operator address.
    pub operator: String,
    /// CometBFT's RPC, `http://host:port`.
    pub rpc: String,
    /// The executor's blob service.
    pub blobs: String,
    /// Where other nodes connect.
    pub p2p: String,
}

/// A running network; it stops when dropped.
#[derive(Debug)]
pub struct Network {
    /// Its chain id.
    pub chain_id: String,
    /// Its validators, in order.
    pub nodes: Vec<Node>,
    devnet: Child,
    restarted: Vec<Child>,
}

impl Network {
    /// Starts `lockstepd devnet` in `home` and waits for blocks.
    ///
    /// # Errors
    /// Where it does not make blocks within a minute.
    pub fn start(home: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
        let described = home.join("described.json");
        let _ = std::fs::remove_file(&described);
        let log = File::create(home.join("devnet.log"))?;
        let devnet = Command::new(binary("lockstepd"))
            .args(["devnet", "--home"])
            .arg(home)
            .arg("--json")
            .arg(&described)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run lockstepd; hint: scripts/test and scripts/demo build it")?;
        let mut network =
            Self { chain_id: String::new(), nodes: Vec::new(), devnet, restarted: Vec::new() };
        let start = Instant::now();
        loop {
            if let Some(status) = network.devnet.try_wait()? {
                let said = std::fs::read_to_string(home.join("devnet.log")).unwrap_or_default();
                bail!("lockstepd devnet ended ({status}):\n{said}");
            }
            let parsed = std::fs::read(&described).ok();
            if let Some(found) =
                parsed.and_then(|text| serde_json::from_slice::<Described>(&text).ok())
            {
                network.chain_id = found.chain_id;
                network.nodes = found.nodes;
                break;
            }
            ensure!(
                start.elapsed() < START_MAX,
                "the devnet did not start; see {}",
                home.display()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(network)
    }

    /// A client of one validator.
    ///
    /// # Errors
    /// Where its address is malformed.
    pub fn client(&self, place: usize) -> anyhow::Result<Client> {
        Ok(Client::new(&self.nodes[place].rpc)?)
    }

    /// The most memory that each process of a validator has had, in bytes: node, CometBFT, executor.
    ///
    /// # Errors
    /// Where the validator does not run.
    pub fn memory_peaks(&self, place: usize) -> anyhow::Result<[u64; 3]> {
        let running = Running::read(&self.nodes[place])?;
        let executor = running.executor.context("the validator runs no executor")?;
        let mut peaks = [0; 3];
        for (peak, id) in peaks.iter_mut().zip([running.node, running.cometbft, executor]) {
            let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmHWM")?;
            *peak = kib.trim().parse::<u64>()? * 1024;
        }
        Ok(peaks)
    }

    /// Waits until the first validator has a block.
    ///
    /// # Errors
    /// Where that takes over a minute.
    pub async fn wait_height(&self, height: u64) -> anyhow::Result<()> {
        let client = self.client(0)?;
        let start = Instant::now();
        loop {
            let at = client.status().await.map_or(0, |status| status.height);
            if at >= height {
                return Ok(());
            }
            ensure!(start.elapsed() < START_MAX, "height {at} after {START_MAX:?}, not {height}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All validators as CometBFT's `persistent_peers`.
    ///
    /// # Errors
    /// Where CometBFT does not say a node's id.
    pub fn peers(&self) -> anyhow::Result<String> {
        let mut peers = Vec::new();
        for node in &self.nodes {
            let config = node.home.join("cometbft");
            let cometbft =
                std::env::var_os("LOCKSTEP_COMETBFT").unwrap_or_else(|| "cometbft".into());
            let run =
                Command::new(cometbft).arg("show-node-id").arg("--home").arg(config).output()?;
            let id = String::from_utf8(run.stdout)?;
            peers.push(format!("{}@{}", id.trim(), node.p2p));
        }
        Ok(peers.join(","))
    }

    /// Starts a node that is not the devnet's; it stops when dropped.
    ///
    /// # Errors
    /// Where its program cannot be run.
    pub fn start_other(&self, home: &Path) -> anyhow::Result<Crasher> {
        let mut other = Crasher { nodes: Vec::new(), children: Vec::new() };
        other.start(home)?;
        Ok(other)
    }

    /// What kills and restarts validators while the network is used.
    pub fn crasher(&mut self) -> Crasher {
        Crasher { nodes: self.nodes.clone(), children: Vec::new() }
    }

    /// Keeps a validator that was restarted until the network stops.
    pub fn adopt(&mut self, crasher: Crasher) {
        self.restarted.extend(crasher.into_children());
    }

    /// Stops every process.
    ///
    /// # Errors
    /// Where the devnet does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        for child in &mut self.restarted {
            end(child)?;
        }
        self.restarted.clear();
        end(&mut self.devnet)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the network did not stop: {error:#}");
        }
    }
}

/// Asks a process to stop, and kills it after a while.
fn end(child: &mut Child) -> anyhow::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::TERM)?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > STOP_MAX {
            child.kill()?;
            child.wait()?;
            bail!("process {} did not stop within {STOP_MAX:?}", pid.as_raw_nonzero());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Kills validators with -9 and starts them again.
#[derive(Debug)]
pub struct Crasher {
    nodes: Vec<Node>,
    children: Vec<Child>,
}

/// `run.json` of a node.
#[derive(Debug, Deserialize)]
struct Running {
    node: i32,
    cometbft: i32,
    executor: Option<i32>,
}

impl Running {
    fn read(node: &Node) -> anyhow::Result<Self> {
        let path = node.home.join("run.json");
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

impl Crasher {
    /// Kills all three processes of a validator.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&mut self, place: usize) -> anyhow::Result<()> {
        let running = Running::read(&self.nodes[place])?;
        let ids = [Some(running.node), Some(running.cometbft), running.executor];
        for pid in ids.into_iter().flatten().filter_map(Pid::from_raw) {
            // The children may be gone already, with their parent.
            let _ = kill_process(pid, Signal::KILL);
        }
        let start = Instant::now();
        let alive = |id: i32| Path::new("/proc").join(id.to_string()).join("exe").exists();
        while ids.into_iter().flatten().any(alive) {
            ensure!(start.elapsed() < STOP_MAX, "a killed process still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts a validator again.
    ///
    /// # Errors
    /// Where its program cannot be run.
    pub fn restart(&mut self, place: usize) -> anyhow::Result<()> {
        let home = self.nodes[place].home.clone();
        self.start(&home)
    }

    fn start(&mut self, home: &Path) -> anyhow::Result<()> {
        let log = File::options().append(true).create(true).open(home.join("restarted.log"))?;
        let child = Command::new(binary("lockstepd"))
            .args(["start", "--home"])
            .arg(home)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run lockstepd")?;
        self.children.push(child);
        Ok(())
    }

    /// A client of one validator.
    ///
    /// # Errors
    /// Where its address is malformed.
    pub fn client(&self, place: usize) -> anyhow::Result<Client> {
        Ok(Client::new(&self.nodes[place].rpc)?)
    }

    /// A validator's name.
    #[must_use]
    pub fn moniker(&self, place: usize) -> String {
        self.nodes[place].moniker.clone()
    }

    fn into_children(mut self) -> Vec<Child> {
        std::mem::take(&mut self.children)
    }
}

impl Drop for Crasher {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = end(child);
        }
    }
}

/// Waits until every validator has proved that it holds a version: only those who do are asked to run
/// its jobs.
///
/// # Errors
/// Where that takes over a minute and a half.
pub async fn wait_held(client: &Client, version: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    for validator in query::validators(client).await? {
        let operator = address::operator(&validator.operator.as_slice().try_into()?);
        while !query::possession(client, version, &operator).await?.proved {
            ensure!(start.elapsed() < HELD_MAX, "{operator} does not hold version {version} yet");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
