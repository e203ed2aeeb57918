//! What the node does for its executor: HTTP on a unix socket that only this user can open.
//!
//! Nothing here can hold up consensus: offers are replaced in memory, and everything else reads.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use lockstep_chain::error::{NO_SUCH_JOB, NO_SUCH_MEMBER, NO_SUCH_MODEL, NO_SUCH_VALIDATOR};
use lockstep_chain::limits::TX_BYTES_MAX;
use lockstep_chain::state::tables::VALIDATORS;
use lockstep_chain::trial::NOT_ON_TRIAL;
use lockstep_chain::{address, query as chain_query};
use lockstep_proto::lockstep::block::v1::VoteExtension;
use prost::Message as _;
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::exit;
use crate::query::{self, NoAnswer};
use crate::rpc::Rpc;
use crate::store::HeightError;

/// A question for duties is answered after so long even where no block came.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Offers of some thousand jobs.
const BODY_BYTES_MAX: usize = TX_BYTES_MAX + (1 << 20);

/// Codes of answers that there is no such object.
const MISSING: [u32; 5] = [
    NO_SUCH_MEMBER.code,
    NO_SUCH_VALIDATOR.code,
    NO_SUCH_MODEL.code,
    NO_SUCH_JOB.code,
    NOT_ON_TRIAL.code,
];

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    /// The application.
    pub app: App,
    /// The node's own CometBFT.
    pub rpc: Rpc,
    /// The network.
    pub chain_id: String,
}

/// The routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/self", get(identity))
        .route("/v1/duties", get(duties))
        .route("/v1/offers", post(offers))
        .route("/v1/txs", post(txs))
        .route("/v1/query", get(ask))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

fn words(status: StatusCode, words: impl Into<String>) -> Response {
    (status, words.into()).into_response()
}

/// Reads the disk off the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => exit::with(exit::FAULT, &format!("a task of the node died: {error}")),
    }
}

async fn identity(State(api): State<Api>) -> Response {
    blocking(move || {
        let operator = api.app.operator().unwrap_or_else(|fault| exit::fault(&fault));
        let executor = operator.and_then(|operator| {
            let at = api.app.store().at(None).ok()?;
            let found = VALIDATORS.get(&at, &operator).unwrap_or_else(|fault| exit::fault(&fault));
            found?.executor.as_slice().try_into().ok()
        });
        let operator = operator.map(|operator| address::operator(&operator));
        let executor = executor.map(|executor| address::account(&executor));
        Json(json!({
            "chain_id": api.chain_id,
            "operator": operator.unwrap_or_default(),
            "executor": executor.unwrap_or_default(),
        }))
        .into_response()
    })
    .await
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn duties(State(api): State<Api>, Query(After { after }): Query<After>) -> Response {
    let mut committed = api.app.committed();
    let _ = tokio::time::timeout(WAIT_MAX, committed.wait_for(|height| *height > after)).await;
    blocking(move || {
        let operator = api.app.operator().unwrap_or_else(|fault| exit::fault(&fault));
        let Some(operator) = operator else {
            return words(
                StatusCode::NOT_FOUND,
                "no validator of the chain has this node's consensus key\n\
                 hint: send MsgCreateValidator, or wait until the chain has started",
            );
        };
        let at = match api.app.store().at(None) {
            Ok(at) => at,
            Err(HeightError::Fault(fault)) => exit::fault(&fault),
            Err(other) => return words(StatusCode::NOT_FOUND, other.to_string()),
        };
        match chain_query::duties(&at, &operator) {
            Ok(duties) => duties.encode_to_vec().into_response(),
            Err(fault) => exit::fault(&fault),
        }
    })
    .await
}

async fn offers(State(api): State<Api>, body: Bytes) -> Response {
    match VoteExtension::decode(body) {
        Ok(offers) => {
            api.app.offer(offers);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => words(
            StatusCode::BAD_REQUEST,
            format!("the body is no lockstep.block.v1.VoteExtension: {error}"),
        ),
    }
}

async fn txs(State(api): State<Api>, body: Bytes) -> Response {
    match api.rpc.broadcast(&body).await {
        Ok(sent) => Json(sent).into_response(),
        Err(error) => words(StatusCode::BAD_GATEWAY, format!("{error:#}")),
    }
}

#[derive(Debug, Deserialize)]
struct Ask {
    path: String,
    #[serde(default)]
    data: String,
}

async fn ask(State(api): State<Api>, Query(ask): Query<Ask>) -> Response {
    let Ok(data) = hex::decode(&ask.data) else {
        return words(StatusCode::BAD_REQUEST, "`data` is not hex");
    };
    blocking(move || match query::answer(api.app.store(), &ask.path, &data, None, false) {
        Ok(answer) => answer.value.into_response(),
        Err(NoAnswer::Refused { code, log }) => {
            let status = if MISSING.contains(&code) {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::BAD_REQUEST
            };
            words(status, format!("{log} (code {code})"))
        }
        Err(NoAnswer::Fault(fault)) => exit::fault(&fault),
    })
    .await
}
