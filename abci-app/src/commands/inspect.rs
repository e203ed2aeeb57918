//! `lockstepd inspect`: serves the state and the blocks of a stopped node, and changes nothing.
//!
//! Answers CometBFT's RPC: what concerns the application itself, and everything about blocks by
//! `cometbft inspect`, to which it passes those calls on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use lockstep_audit::source::Inspected;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::home::{Home, Settings};
use crate::query::{self, NoAnswer, PROOF_TYPE};
use crate::store::{Store, StoreOptions};
use crate::{cometbft, exit};

/// Arguments of `lockstepd inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The node's folder.
    #[arg(long)]
    pub home: PathBuf,
    /// Where to answer; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:26657")]
    pub listen: SocketAddr,
}

/// What the handlers share.
struct Served {
    store: Store,
    blocks: Inspected,
    chain_id: String,
    moniker: String,
}

/// Serves until ctrl-c. Returns the exit code.
///
/// # Errors
/// Where the node runs, or its folder cannot be read.
pub fn run(arguments: &Inspect) -> anyhow::Result<i32> {
    let home = Home::new(&arguments.home)?;
    let settings = Settings::read(&home)?;
    let program = cometbft::find()?;
    let options = StoreOptions {
        retained_heights: settings.heights_retained,
        cache_bytes_max: settings.cache_bytes_max,
        read_only: true,
        ..StoreOptions::default()
    };
    let store = match Store::open(&home.data(), &options, &mut |_| {}) {
        Ok(store) => store,
        Err(fault) => bail!("{fault}"),
    };
    if store.root()? != store.app_hash() {
        eprintln!(
            "lockstepd: the state's files were changed: its root is {}, and the app hash of height {} \
             is {}",
            hex::encode(store.root()?),
            store.height().unwrap_or(0),
            hex::encode(store.app_hash())
        );
    }
    let blocks = Inspected::start_with(home.path(), &program)?;
    let chain_id = cometbft::chain_id(&home)?;
    let moniker = home.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let served = Arc::new(Served { store, blocks, chain_id, moniker });

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("threads")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen).await;
        let listener = listener.with_context(|| format!("cannot bind {}", arguments.listen))?;
        println!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/", post(call)).with_state(Arc::clone(&served));
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        // Ends by returning, so that CometBFT ends too.
        let stop = async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
        };
        axum::serve(listener, router).with_graceful_shutdown(stop).await.context("the server ended")
    })?;
    Ok(0)
}

/// One call of JSON-RPC.
async fn call(State(served): State<Arc<Served>>, body: Bytes) -> (StatusCode, Json<Value>) {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        let error = json!({"code": -32700, "message": "Parse error", "data": "not JSON"});
        return (StatusCode::OK, Json(json!({"jsonrpc": "2.0", "id": null, "error": error})));
    };
    let id = request["id"].clone();
    // Reading waits, for the disk and for the other server.
    let done = tokio::task::spawn_blocking(move || served.answer(&request)).await;
    let answer = match done.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(data) => {
            let error = json!({"code": -32603, "message": "Internal error", "data": data});
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }
    };
    (StatusCode::OK, Json(answer))
}

impl Served {
    fn answer(&self, request: &Value) -> Result<Value, String> {
        let params = &request["params"];
        match request["method"].as_str().unwrap_or_default() {
            "abci_query" => self.query(params),
            "abci_info" => Ok(json!({"response": self.info()})),
            "status" => self.status(),
            method => self.blocks(method, params.clone()),
        }
    }

    fn blocks(&self, method: &str, params: Value) -> Result<Value, String> {
        self.blocks.rpc().call(method, params).map_err(|stop| stop.to_string())
    }

    fn info(&self) -> Value {
        json!({
            "data": "lockstep",
            "version": env!("CARGO_PKG_VERSION"),
            "app_version": lockstep_audit::abci::APP_VERSION.to_string(),
            "last_block_height": self.store.height().unwrap_or(0).to_string(),
            "last_block_app_hash": STANDARD.encode(self.store.app_hash()),
        })
    }

    fn status(&self) -> Result<Value, String> {
        let last = self.blocks("commit", json!({}))?;
        let header = &last["signed_header"]["header"];
        Ok(json!({
            "node_info": {
                "network": self.chain_id,
                "moniker": self.moniker,
                "version": cometbft::VERSION,
            },
            "sync_info": {
                "latest_block_height": header["height"],
                "latest_block_time": header["time"],
                "latest_block_hash": last["signed_header"]["commit"]["block_id"]["hash"],
                "latest_app_hash": header["app_hash"],
                "catching_up": false,
            },
        }))
    }

    fn query(&self, params: &Value) -> Result<Value, String> {
        let path = params["path"].as_str().unwrap_or_default();
        let data = hex::decode(params["data"].as_str().unwrap_or_default());
        let data = data.map_err(|cause| format!("data: {cause}"))?;
        let height = match &params["height"] {
            Value::String(text) => text.parse().map_err(|cause| format!("height: {cause}"))?,
            other => other.as_u64().unwrap_or(0),
        };
        let prove = params["prove"].as_bool().unwrap_or(false);
        let height = (height > 0).then_some(height);
        let response = match query::answer(&self.store, path, &data, height, prove) {
            Ok(answer) => {
                let op = |data| {
                    let (key, data) = (STANDARD.encode(&answer.key), STANDARD.encode(data));
                    json!({"ops": [{"type": PROOF_TYPE, "key": key, "data": data}]})
                };
                json!({
                    "code": 0,
                    "log": "",
                    "info": "",
                    "index": "0",
                    "key": STANDARD.encode(&answer.key),
                    "value": STANDARD.encode(&answer.value),
                    "proofOps": answer.proof.as_ref().map(op),
                    "height": answer.height.to_string(),
                    "codespace": "",
                })
            }
            Err(NoAnswer::Refused { code, log }) => json!({
                "code": code,
                "log": log,
                "info": "",
                "index": "0",
                "key": null,
                "value": null,
                "proofOps": null,
                "height": "0",
                "codespace": lockstep_audit::abci::codespace(code),
            }),
            Err(NoAnswer::Fault(fault)) => exit::fault(&fault),
        };
        Ok(json!({ "response": response }))
    }
}
