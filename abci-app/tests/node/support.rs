//! Runs real nodes: `lockstepd` as built, CometBFT as installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use lockstep_node::rpc::{Rpc, number, text};
use serde_json::{Value, json};

/// Blocks come about three times a second; a busy machine is slower.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The program under test.
pub(crate) fn lockstepd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lockstepd"))
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    lockstepd().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Both streams of a command, for messages.
pub(crate) fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The first of ten ports that nobody uses.
pub(crate) fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 200).unwrap() * 100;
    loop {
        let base = 30_000 + (own + NEXT.fetch_add(10, Ordering::Relaxed)) % 20_000;
        let free = |offset: u16| TcpListener::bind(("127.0.0.1", base + offset)).is_ok();
        if (0..4).all(free) {
            return base;
        }
    }
}

/// A network of one validator in a folder.
pub(crate) struct Network {
    pub(crate) home: PathBuf,
    pub(crate) base_port: u16,
    runtime: tokio::runtime::Runtime,
    rpc: Rpc,
}

impl Network {
    /// Makes the folder; starts nothing.
    pub(crate) fn new(folder: &Path) -> Self {
        let base_port = free_ports();
        let port = base_port.to_string();
        let arguments =
            ["devnet", "--validators", "1", "--init-only", "--no-executor", "--base-port", &port];
        let output = lockstepd().args(arguments).arg("--home").arg(folder).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        let rpc = Rpc::new(([127, 0, 0, 1], base_port + 1).into()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { home: folder.join("node0"), base_port, runtime, rpc }
    }

    /// Starts the node.
    pub(crate) fn start(&self) -> Node {
        let log = std::fs::File::create(self.home.join("test.log")).unwrap();
        let process = lockstepd()
            .args(["start", "--no-executor", "--home"])
            .arg(&self.home)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Node { process, log: self.home.join("test.log") }
    }

    /// A call of CometBFT's RPC.
    pub(crate) fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.runtime.block_on(self.rpc.call(method, params))
    }

    /// Asks the application.
    pub(crate) fn query(&self, path: &str, data: &[u8]) -> Vec<u8> {
        let answer = self.runtime.block_on(self.rpc.query(path, data)).unwrap();
        assert_eq!(answer.code, 0, "{path}: {}", answer.log);
        answer.value
    }

    /// Gives a transaction to the mempool.
    pub(crate) fn broadcast(&self, tx: &[u8]) -> lockstep_node::rpc::Sent {
        self.runtime.block_on(self.rpc.broadcast(tx)).unwrap()
    }

    /// The last height; 0 while nobody answers.
    pub(crate) fn height(&self) -> u64 {
        let status = self.call("status", json!({}));
        status.map_or(0, |status| number(&status["sync_info"], "latest_block_height"))
    }

    /// Waits for a height.
    pub(crate) fn wait_for(&self, node: &mut Node, height: u64) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.height();
            if now >= height {
                return now;
            }
            let ended = node.process.try_wait().unwrap();
            assert!(ended.is_none(), "the node ended ({ended:?}):\n{}", node.log());
            assert!(Instant::now() < deadline, "height {now} after {PATIENCE:?}:\n{}", node.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The app hash in the header of a height, which is that after the height before.
    pub(crate) fn app_hash_in_header(&self, height: u64) -> String {
        let block = self.call("block", json!({"height": height.to_string()})).unwrap();
        text(&block["block"]["header"], "app_hash")
    }

    /// Process ids of the running node.
    pub(crate) fn ids(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.home.join("run.json")).unwrap()).unwrap()
    }
}

/// A running node; killed when it is dropped.
pub(crate) struct Node {
    pub(crate) process: Child,
    log: PathBuf,
}

impl Node {
    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// As ctrl-c; the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        signal(self.process.id(), rustix::process::Signal::INT);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal.
pub(crate) fn signal(process: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a process runs, zombies aside.
pub(crate) fn runs(process: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
