//! The audit, by the commands that an auditor runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use lockstep_tests::binary;
use lockstep_tests::network::Network;
use serde::Serialize;
use serde_json::Value;

use super::lies::HONEST;
use crate::report::say;

/// What the audit of the archive said.
#[derive(Debug, Serialize)]
pub(crate) struct Passed {
    pub(crate) exit: i32,
    pub(crate) heights: u64,
    pub(crate) tx_per_s: f64,
    pub(crate) report_hash: String,
}

/// What it said after one bit of the archive was flipped.
#[derive(Debug, Serialize)]
pub(crate) struct Flipped {
    pub(crate) exit: i32,
    pub(crate) height: Option<u64>,
    pub(crate) key: Option<String>,
}

/// Writes the chain so far into plain files.
pub(crate) fn archive(network: &Network, home: &Path) -> anyhow::Result<PathBuf> {
    let folder = home.join("archive");
    let run = Command::new(binary("lockstepd"))
        .args(["archive", "--rpc", &network.nodes[HONEST].rpc, "--out"])
        .arg(&folder)
        .output()
        .context("cannot run `lockstepd archive`")?;
    ensure!(run.status.success(), "archive failed: {}", String::from_utf8_lossy(&run.stderr));
    Ok(folder)
}

/// Executes every block of the archive again, and every job that it decided.
pub(crate) fn replay(
    network: &Network,
    archive: &Path,
    home: &Path,
    artefact: &Path,
) -> anyhow::Result<Passed> {
    let artefacts = artefact.parent().context("the artefact lies in no folder")?;
    let run = audit(network, archive, |command| {
        command.args(["--recompute", "all", "--artefacts"]).arg(artefacts);
        command.arg("--report").arg(home.join("audit"));
    })?;
    let said = json(&run)?;
    let passed = Passed {
        exit: run.status.code().unwrap_or(-1),
        heights: said["facts"]["blocks"].as_u64().context("a report without blocks")?,
        tx_per_s: said["tx_per_s"].as_f64().context("a report without a rate")?,
        report_hash: said["report_hash"].as_str().context("a report without a hash")?.to_owned(),
    };
    say::line(&format!(
        "{} blocks executed again, jobs recomputed ({} transactions a second): exit {}",
        passed.heights, passed.tx_per_s, passed.exit
    ));
    say::line(&format!("report {}", passed.report_hash));
    Ok(passed)
}

/// Flips one bit in the middle of a copy of the archive, and audits that.
pub(crate) fn flip(network: &Network, archive: &Path, home: &Path) -> anyhow::Result<Flipped> {
    let folder = home.join("flipped");
    let mut largest: Option<(u64, PathBuf)> = None;
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(archive)? {
        let entry = entry?;
        let copy = folder.join(entry.file_name());
        let bytes = std::fs::copy(entry.path(), &copy)?;
        if largest.as_ref().is_none_or(|(most, _)| bytes > *most) {
            largest = Some((bytes, copy));
        }
    }
    let (bytes, path) = largest.context("an empty archive")?;
    let mut content = std::fs::read(&path)?;
    let middle = usize::try_from(bytes / 2)?;
    content[middle] ^= 1;
    std::fs::write(&path, content)?;
    let run = audit(network, &folder, |_| ())?;
    let said = json(&run)?;
    let difference = &said["difference"];
    let text = |name: &str| difference[name].as_str().map(str::to_owned);
    let flipped = Flipped {
        exit: run.status.code().unwrap_or(-1),
        height: difference["height"].as_u64(),
        key: text("key").or_else(|| text("what")),
    };
    say::line(&format!(
        "byte {middle} of the archive: exit {}, height {:?}, {}",
        flipped.exit,
        flipped.height.unwrap_or(0),
        flipped.key.as_deref().unwrap_or("nothing named")
    ));
    Ok(flipped)
}

fn audit(
    network: &Network,
    archive: &Path,
    more: impl FnOnce(&mut Command),
) -> anyhow::Result<Output> {
    let genesis = network.nodes[HONEST].home.join("cometbft/config/genesis.json");
    let mut command = Command::new(binary("lockstep"));
    command.args(["--json", "audit", "replay", "--genesis"]).arg(genesis);
    command.arg("--blocks").arg(archive);
    more(&mut command);
    command.output().context("cannot run `lockstep audit replay`")
}

fn json(run: &Output) -> anyhow::Result<Value> {
    serde_json::from_slice(&run.stdout)
        .with_context(|| format!("the audit said: {}", String::from_utf8_lossy(&run.stderr)))
}
