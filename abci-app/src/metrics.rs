//! Every metric of the node, in one table: exported, described and documented from here.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name; the unit is last.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// One sentence for the reference.
    pub help: &'static str,
}

/// Last committed height.
pub const HEIGHT: &str = "lockstep_height";
/// Transactions that `CheckTx` looked at.
pub const CHECKED: &str = "lockstep_checked_txs_total";
/// Transactions of decided blocks.
pub const TXS: &str = "lockstep_block_txs_total";
/// Signatures asked for.
pub const SIGNATURES: &str = "lockstep_signatures_total";
/// Proposals that this node did not vote for.
pub const PROPOSALS_REFUSED: &str = "lockstep_proposals_refused_total";
/// Time of `FinalizeBlock`.
pub const FINALIZE_SECONDS: &str = "lockstep_finalize_seconds";
/// Time of Commit.
pub const COMMIT_SECONDS: &str = "lockstep_commit_seconds";
/// Size of own vote extensions.
pub const EXTENSION_BYTES: &str = "lockstep_vote_extension_bytes";
/// Keys of the state.
pub const STATE_KEYS: &str = "lockstep_state_keys";
/// Memory of the tree.
pub const TREE_BYTES: &str = "lockstep_tree_bytes";
/// Size of the data folder's tables.
pub const STORE_BYTES: &str = "lockstep_store_bytes";
/// Whether CometBFT runs.
pub const COMETBFT_UP: &str = "lockstep_cometbft_up";
/// Whether the executor runs.
pub const EXECUTOR_UP: &str = "lockstep_executor_up";
/// Starts of the executor.
pub const EXECUTOR_STARTS: &str = "lockstep_executor_starts_total";

const fn row(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

/// The table.
pub const METRICS: &[Metric] = &[
    row(HEIGHT, Kind::Gauge, "Last committed height."),
    row(CHECKED, Kind::Counter, "Transactions that CheckTx took or refused, by `result`."),
    row(TXS, Kind::Counter, "Transactions of decided blocks, by `result`."),
    row(SIGNATURES, Kind::Counter, "Signatures asked for, by whether memory knew them (`from`)."),
    row(PROPOSALS_REFUSED, Kind::Counter, "Proposed blocks that this node did not vote for."),
    row(FINALIZE_SECONDS, Kind::Histogram, "Time of FinalizeBlock."),
    row(COMMIT_SECONDS, Kind::Histogram, "Time of Commit, until the block is on the disk."),
    row(EXTENSION_BYTES, Kind::Histogram, "Size of this validator's vote extensions."),
    row(STATE_KEYS, Kind::Gauge, "Keys of the state."),
    row(TREE_BYTES, Kind::Gauge, "Memory of the state's tree."),
    row(STORE_BYTES, Kind::Gauge, "Files of the data folder, by `family`."),
    row(COMETBFT_UP, Kind::Gauge, "1 while CometBFT runs."),
    row(EXECUTOR_UP, Kind::Gauge, "1 while the executor runs."),
    row(EXECUTOR_STARTS, Kind::Counter, "How often the executor was started."),
];

/// A number as metrics have them: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are approximate")]
#[must_use]
pub fn approximate(value: u64) -> f64 {
    value as f64
}

const SECONDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
const BYTES: &[f64] = &[0.0, 64.0, 128.0, 256.0, 512.0, 768.0, 1024.0];

/// Starts recording and describes every metric. Once in a process.
///
/// # Errors
/// Where a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full(EXTENSION_BYTES.to_owned()), BYTES)?;
    let handle = builder.install_recorder()?;
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_lists_every_metric_with_its_help() {
        let reference = include_str!("../../docs/node.md");
        for metric in METRICS {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let line = format!("| `{}` | {kind} | {} |", metric.name, metric.help);
            assert!(reference.contains(&line), "docs/node.md lacks the line\n{line}");
        }
        let listed = reference.lines().filter(|line| line.starts_with("| `lockstep_")).count();
        assert_eq!(listed, METRICS.len(), "docs/node.md lists metrics that do not exist");
    }
}
