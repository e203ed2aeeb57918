//! Blocks from the folder of a stopped node, which `cometbft inspect` serves.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Entry, Heights, Rpc, Source};
use crate::{Result, Stop};

/// How long `cometbft inspect` may take to open its databases.
const START_MAX: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);

/// The folder of a stopped node.
#[derive(Debug)]
pub struct Inspected {
    folder: PathBuf,
    rpc: Rpc,
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Inspected {
    /// Starts `cometbft inspect`, which `LOCKSTEP_COMETBFT` or the search path names, on a port of
    /// its own; it ends when this is dropped.
    ///
    /// # Errors
    /// Where it does not serve the folder: a running node has it open.
    pub fn start(folder: &Path) -> Result<Self> {
        let named = std::env::var_os("LOCKSTEP_COMETBFT").unwrap_or_else(|| "cometbft".into());
        Self::start_with(folder, Path::new(&named))
    }

    /// As [`Inspected::start`], with this CometBFT.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(folder: &Path, cometbft: &Path) -> Result<Self> {
        let lacks = |cause: String| {
            let hint = "CometBFT 0.38 reads a node's blocks; LOCKSTEP_COMETBFT names it";
            let hint = format!("{hint} (tried {})", cometbft.display());
            Stop::incomplete(format!("cannot run CometBFT: {cause}"), hint)
        };
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let address = port.map_err(|cause| lacks(cause.to_string()))?;
        let log = tempfile::NamedTempFile::new().map_err(|cause| lacks(cause.to_string()))?;
        let output = || log.reopen().map_err(|cause| lacks(cause.to_string()));
        let process = Command::new(cometbft)
            .args(["inspect", "--home"])
            .arg(folder.join("cometbft"))
            .arg("--rpc.laddr")
            .arg(format!("tcp://{address}"))
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .spawn()
            .map_err(|cause| lacks(cause.to_string()))?;
        let rpc = Rpc::new(&format!("http://{address}"))?;
        let mut inspected = Self { folder: folder.to_owned(), rpc, process, log };
        inspected.wait()?;
        Ok(inspected)
    }

    /// The RPC that serves the folder's blocks.
    #[must_use]
    pub const fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    fn wait(&mut self) -> Result<()> {
        let start = Instant::now();
        let hint = "stop the node first, or give its RPC address instead of its folder";
        while self.rpc.call("blockchain", json!({})).is_err() {
            let ended = self.process.try_wait().ok().flatten();
            if ended.is_some() || start.elapsed() > START_MAX {
                let said = std::io::read_to_string(
                    File::open(self.log.path())
                        .map_err(|cause| Stop::file("read", self.log.path(), cause))?,
                );
                let said = said.unwrap_or_default();
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                let last = last.unwrap_or("no word");
                let hint = format!("{hint} ({}: {last})", self.folder.display());
                return Err(Stop::incomplete("CometBFT does not serve the folder's blocks", hint));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        // It only reads, so there is nothing to finish.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Source for Inspected {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn heights(&mut self) -> Result<Heights> {
        self.rpc.heights()
    }

    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>> {
        self.rpc.entries(from, max)
    }
}
