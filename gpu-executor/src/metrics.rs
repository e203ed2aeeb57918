//! Every metric, in one table.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

const RUNS: &str = "lockstep_executor_runs_total";
const RUN_SECONDS: &str = "lockstep_executor_run_seconds";
const RUN_FAILURES: &str = "lockstep_executor_run_failures_total";
const WATCHED: &str = "lockstep_executor_watched_total";
const HEIGHT: &str = "lockstep_executor_height";
const DUTIES: &str = "lockstep_executor_duties";
const NODE_FAILURES: &str = "lockstep_executor_node_failures_total";
const TXS: &str = "lockstep_executor_txs_total";
const TX_REFUSALS: &str = "lockstep_executor_tx_refusals_total";
const MODELS: &str = "lockstep_executor_models_loaded";
const MODEL_BYTES: &str = "lockstep_executor_model_bytes";
const FETCHED: &str = "lockstep_executor_blob_fetched_bytes_total";
const SERVED: &str = "lockstep_executor_blob_served_bytes_total";
const PEER_FAILURES: &str = "lockstep_executor_peer_failures_total";
const COLLECTED: &str = "lockstep_executor_blobs_collected_total";

/// Seconds by which runs are counted.
const SECONDS: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

/// Makes this process count; what renders the counts for Prometheus.
///
/// # Errors
/// Where another recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Full(RUN_SECONDS.to_owned()), SECONDS)?;
    let handle = builder.install_recorder()?;
    describe_counter!(RUNS, "Jobs that were run to an answer");
    describe_histogram!(RUN_SECONDS, "Seconds of one batch of jobs");
    describe_counter!(RUN_FAILURES, "Jobs that gave no answer");
    describe_counter!(WATCHED, "Jobs of others that were run again");
    describe_gauge!(HEIGHT, "Height of the last duties");
    describe_gauge!(DUTIES, "Duties by kind");
    describe_counter!(NODE_FAILURES, "Requests to the node that failed");
    describe_counter!(TXS, "Transactions that the mempool took");
    describe_counter!(TX_REFUSALS, "Transactions that the mempool refused");
    describe_gauge!(MODELS, "Models in memory");
    describe_gauge!(MODEL_BYTES, "Bytes that models in memory take");
    describe_counter!(FETCHED, "Bytes fetched from peers, wrong ones included");
    describe_counter!(SERVED, "Bytes of blobs served");
    describe_counter!(PEER_FAILURES, "Transfers that a peer failed");
    describe_counter!(COLLECTED, "Blobs removed that nothing references");
    Ok(handle)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge shows 53 bits")]
fn float(value: u64) -> f64 {
    value as f64
}

pub(crate) fn ran(jobs: usize, took: Duration) {
    counter!(RUNS).increment(jobs as u64);
    histogram!(RUN_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn run_failed(jobs: usize) {
    counter!(RUN_FAILURES).increment(jobs as u64);
}

pub(crate) fn watched() {
    counter!(WATCHED).increment(1);
}

pub(crate) fn duties(height: u64, by_kind: &[(&'static str, usize)]) {
    gauge!(HEIGHT).set(float(height));
    for (kind, count) in by_kind {
        gauge!(DUTIES, "kind" => *kind).set(float(*count as u64));
    }
}

pub(crate) fn node_failed() {
    counter!(NODE_FAILURES).increment(1);
}

pub(crate) fn tx_sent(accepted: bool) {
    counter!(if accepted { TXS } else { TX_REFUSALS }).increment(1);
}

pub(crate) fn models(count: usize, bytes: u64) {
    gauge!(MODELS).set(float(count as u64));
    gauge!(MODEL_BYTES).set(float(bytes));
}

pub(crate) fn fetched(bytes: usize) {
    counter!(FETCHED).increment(bytes as u64);
}

pub(crate) fn served(bytes: usize) {
    counter!(SERVED).increment(bytes as u64);
}

pub(crate) fn peer_failed() {
    counter!(PEER_FAILURES).increment(1);
}

pub(crate) fn collected() {
    counter!(COLLECTED).increment(1);
}
