//! `/healthz`, `/readyz`, `/metrics` and `/version`, on a loopback port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use crate::app::App;
use crate::metrics as names;
use crate::rpc::{Rpc, number};

/// A node without a block for so long is not ready.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// Which child processes run.
#[derive(Debug, Default)]
pub struct Components {
    /// CometBFT.
    pub cometbft: AtomicBool,
    /// The executor.
    pub executor: AtomicBool,
}

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct Health {
    /// The application.
    pub app: App,
    /// Its CometBFT.
    pub rpc: Rpc,
    /// What runs.
    pub components: Arc<Components>,
    /// Whether an executor should run.
    pub executor: bool,
    /// The network.
    pub chain_id: String,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// When the node started.
    pub started: Instant,
}

/// The routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .route("/version", get(version))
        .with_state(health)
}

/// The process lives and its children too.
async fn healthz(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let cometbft = health.components.cometbft.load(Ordering::Relaxed);
    let executor = match (health.executor, health.components.executor.load(Ordering::Relaxed)) {
        (false, _) => "not configured",
        (true, true) => "running",
        (true, false) => "down, will be restarted",
    };
    let status = if cometbft { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "cometbft": if cometbft { "running" } else { "down" },
        "executor": executor,
        "height": health.app.info().height,
        "uptime_seconds": health.started.elapsed().as_secs(),
    });
    (status, Json(body))
}

/// The node follows the chain.
async fn readyz(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let not = |reason: String| {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "reason": reason})))
    };
    let status = match health.rpc.call("status", json!({})).await {
        Ok(status) => status,
        Err(error) => return not(format!("{error:#}")),
    };
    let sync = &status["sync_info"];
    if sync["catching_up"].as_bool() == Some(true) {
        let height = number(sync, "latest_block_height");
        return not(format!("catching up, at height {height}"));
    }
    let mut committed = health.app.committed();
    committed.mark_unchanged();
    if tokio::time::timeout(SILENT_MAX, committed.changed()).await.is_err() {
        return not(format!("no block in 5 s, at height {}", health.app.info().height));
    }
    (StatusCode::OK, Json(json!({"ready": true, "height": health.app.info().height})))
}

async fn render(State(health): State<Health>) -> Result<String, (StatusCode, String)> {
    let app = health.app.clone();
    let sizes = tokio::task::spawn_blocking(move || app.store().sizes()).await;
    let sizes = sizes.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let sizes = sizes.map_err(|fault| (StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()))?;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    metrics::gauge!(names::STATE_KEYS).set(names::approximate(count(sizes.keys)));
    metrics::gauge!(names::TREE_BYTES).set(names::approximate(count(sizes.tree_bytes)));
    for (family, bytes) in [
        ("state", sizes.state_file_bytes),
        ("history", sizes.history_file_bytes),
        ("changesets", sizes.changeset_file_bytes),
    ] {
        metrics::gauge!(names::STORE_BYTES, "family" => family).set(names::approximate(bytes));
    }
    let up = |flag: &AtomicBool| f64::from(u8::from(flag.load(Ordering::Relaxed)));
    metrics::gauge!(names::COMETBFT_UP).set(up(&health.components.cometbft));
    metrics::gauge!(names::EXECUTOR_UP).set(up(&health.components.executor));
    metrics::gauge!(names::HEIGHT).set(names::approximate(health.app.info().height));
    Ok(health.metrics.render())
}

async fn version(State(health): State<Health>) -> Json<Value> {
    Json(json!({
        "lockstepd": env!("CARGO_PKG_VERSION"),
        "cometbft": crate::cometbft::VERSION,
        "app_version": lockstep_audit::abci::APP_VERSION,
        "chain_id": health.chain_id,
    }))
}
