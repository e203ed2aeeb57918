//! The blob service: validators fetch from each other here, and clients upload.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use futures_util::{StreamExt as _, TryStreamExt as _};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blobs::{BlobError, BlobStore, Layout, Reference, Root};
use crate::metrics;
use crate::node::{Node, NodeError};
use crate::outputs::Outputs;
use crate::references::References;

/// How many bytes of an incomplete blob are here already; an answer to HEAD.
const VERIFIED: HeaderName = HeaderName::from_static("lockstep-verified-bytes");
/// Transfers at the same time.
const TRANSFERS_MAX: usize = 64;
/// How long an uploader may pause.
const PAUSE: Duration = Duration::from_secs(30);
/// Bytes of leaf hashes at most, whatever the chain allows: an artefact of 64 GiB.
const LEAVES_BYTES_MAX: usize = 64 << 20;

/// What the handlers share.
#[derive(Clone)]
pub struct Service {
    store: BlobStore,
    references: References,
    node: Node,
    outputs: Outputs,
    metrics: Option<PrometheusHandle>,
    transfers: Arc<Semaphore>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A refusal: a status and words.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        let status = match &error {
            BlobError::Missing { .. } | BlobError::Unknown { .. } => StatusCode::NOT_FOUND,
            BlobError::Corrupt { .. } | BlobError::TooLong { .. } | BlobError::Layout { .. } => {
                StatusCode::BAD_REQUEST
            }
            BlobError::Gap { .. } | BlobError::NoLeaves { .. } | BlobError::Busy { .. } => {
                StatusCode::CONFLICT
            }
            BlobError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            BlobError::Node(_) | BlobError::Unfetched { .. } => StatusCode::SERVICE_UNAVAILABLE,
            BlobError::Damaged { .. } | BlobError::Disk { .. } | BlobError::Store(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        if status.is_server_error() {
            tracing::error!(%error, "blob service");
        }
        Self(status, error.to_string())
    }
}

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        BlobError::from(error).into()
    }
}

impl Service {
    /// A service over a store; what may be uploaded follows from the chain.
    #[must_use]
    pub fn new(
        store: BlobStore,
        references: References,
        node: Node,
        outputs: Outputs,
        metrics: Option<PrometheusHandle>,
    ) -> Self {
        let transfers = Arc::new(Semaphore::new(TRANSFERS_MAX));
        Self { store, references, node, outputs, metrics, transfers }
    }

    /// All paths.
    pub fn router(self) -> Router {
        let leaves = get(leaves).put(put_leaves).layer(DefaultBodyLimit::max(LEAVES_BYTES_MAX));
        Router::new()
            .route("/v1/blobs/{root}", put(put_blob).get(blob))
            .route("/v1/blobs/{root}/leaves", leaves)
            .route("/v1/jobs/{id}/output", get(output))
            .route("/healthz", get(async || "ok\n"))
            .route("/metrics", get(rendered))
            .with_state(self)
    }

    fn begin(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(&self.transfers).try_acquire_owned();
        let words = || format!("{TRANSFERS_MAX} transfers are running; hint: try again later");
        permit.map_err(|_| Refusal(StatusCode::SERVICE_UNAVAILABLE, words()))
    }

    async fn reference(&self, root: &Root) -> Result<Reference, BlobError> {
        let found = self.references.find(root).await?;
        found.ok_or_else(|| BlobError::Unknown { root: hex::encode(root) })
    }
}

fn parse_root(text: &str) -> Result<Root, Refusal> {
    let root = hex::decode(text).ok().and_then(|bytes| Root::try_from(bytes.as_slice()).ok());
    let words = || format!("`{text}` is no root; hint: 64 hex digits");
    root.ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, words()))
}

async fn blob(
    State(service): State<Service>,
    Path(root): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let root = parse_root(&root)?;
    let layout = match service.store.layout(&root).await {
        Ok(layout) => layout,
        Err(BlobError::Missing { .. }) if method == Method::HEAD => {
            let verified = service.store.verified(&root).await?;
            let headers = [(VERIFIED, verified.to_string())];
            return Ok((StatusCode::NOT_FOUND, headers).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let total = layout.bytes();
    let (start, end) = match headers.get(RANGE) {
        None => (0, total),
        Some(range) => {
            range.to_str().ok().and_then(|text| parse_range(text, total)).ok_or_else(|| {
                Refusal(StatusCode::RANGE_NOT_SATISFIABLE, format!("the blob has {total} bytes"))
            })?
        }
    };
    let permit = service.begin()?;
    let stream = service.store.read(layout, start, end).map(move |bytes| {
        // Until the last byte is out, the transfer counts.
        let _counted = &permit;
        bytes.inspect(|bytes| metrics::served(bytes.len()))
    });
    let mut response = Response::new(match method {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(stream),
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, (end - start).into());
    headers.insert(CONTENT_TYPE, "application/octet-stream".parse().map_err(internal)?);
    headers.insert(ACCEPT_RANGES, "bytes".parse().map_err(internal)?);
    if end - start < total {
        let range = format!("bytes {start}-{}/{total}", end.saturating_sub(1));
        headers.insert(CONTENT_RANGE, range.parse().map_err(internal)?);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// `bytes=N-` or `bytes=N-M`, as start and end.
fn parse_range(text: &str, total: u64) -> Option<(u64, u64)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = if last.is_empty() { total } else { last.parse::<u64>().ok()?.checked_add(1)? };
    (start < end.min(total)).then_some((start, end.min(total)))
}

/// The N of `bytes N-M/TOTAL`.
fn parse_content_range(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

async fn leaves(
    State(service): State<Service>,
    Path(root): Path<String>,
) -> Result<Vec<u8>, Refusal> {
    let layout = service.store.layout(&parse_root(&root)?).await?;
    Ok(layout.hashes().concat())
}

async fn put_leaves(
    State(service): State<Service>,
    Path(root): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let root = parse_root(&root)?;
    if service.store.has(&root).await? {
        return Ok(StatusCode::OK);
    }
    let reference = service.reference(&root).await?;
    service.store.expect(&root, reference, &body).await?;
    Ok(StatusCode::CREATED)
}

async fn put_blob(
    State(service): State<Service>,
    Path(root): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let root = parse_root(&root)?;
    if service.store.has(&root).await? {
        return Ok(StatusCode::OK);
    }
    let _permit = service.begin()?;
    let reference = service.reference(&root).await?;
    let start = match headers.get(CONTENT_RANGE) {
        None => 0,
        Some(range) => range.to_str().ok().and_then(parse_content_range).ok_or_else(|| {
            let words = "Content-Range is malformed; hint: bytes N-M/TOTAL".to_owned();
            Refusal(StatusCode::BAD_REQUEST, words)
        })?,
    };
    let layout = match service.store.expected(&root).await {
        Ok(layout) => layout,
        // A small blob needs no list of leaves before it: it is verified as a whole.
        Err(BlobError::NoLeaves { .. }) if matches!(reference, Reference::Input { .. }) => {
            return whole_input(&service, &root, reference, body).await;
        }
        Err(error) => return Err(error.into()),
    };
    refuse_length(&headers, &layout, start)?;
    let stored = stream_in(&service, layout, start, body).await?;
    Ok(if stored { StatusCode::CREATED } else { StatusCode::ACCEPTED })
}

fn refuse_length(headers: &HeaderMap, layout: &Layout, start: u64) -> Result<(), Refusal> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) if start.saturating_add(length) > layout.bytes() => {
            let root = hex::encode(layout.root());
            Err(BlobError::TooLong { root, bytes: layout.bytes() }.into())
        }
        _ => Ok(()),
    }
}

async fn stream_in(
    service: &Service,
    layout: Arc<Layout>,
    start: u64,
    body: Body,
) -> Result<bool, Refusal> {
    let root = hex::encode(layout.root());
    let mut intake = service.store.intake(layout).await?;
    let verified = intake.verified();
    if start > verified {
        return Err(BlobError::Gap { root, verified, start }.into());
    }
    // What is here already is not taken twice.
    let mut skip = verified - start;
    let mut body = body.into_data_stream();
    let mut failed = None;
    loop {
        let bytes: Bytes = match tokio::time::timeout(PAUSE, body.next()).await {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                failed = Some(Refusal(StatusCode::BAD_REQUEST, error.to_string()));
                break;
            }
            Err(_) => {
                let words = format!("nothing came for {} seconds", PAUSE.as_secs());
                failed = Some(Refusal(StatusCode::REQUEST_TIMEOUT, words));
                break;
            }
        };
        let skipped = skip.min(bytes.len() as u64);
        skip -= skipped;
        let fresh = &bytes[usize::try_from(skipped).unwrap_or(bytes.len())..];
        if let Err(error) = intake.push(fresh).await {
            failed = Some(error.into());
            break;
        }
    }
    // Also after a failure: what was verified is kept.
    let complete = service.store.finish(intake).await?;
    failed.map_or(Ok(complete), Err)
}

async fn whole_input(
    service: &Service,
    root: &Root,
    reference: Reference,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let Reference::Input { bytes: length, .. } = reference else {
        return Err(BlobError::NoLeaves { root: hex::encode(root) }.into());
    };
    let too_long = || BlobError::TooLong { root: hex::encode(root), bytes: length };
    let mut body = body
        .into_data_stream()
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()));
    let mut input = Vec::new();
    while let Some(bytes) = tokio::time::timeout(PAUSE, body.try_next())
        .await
        .map_err(|_| Refusal(StatusCode::REQUEST_TIMEOUT, "the upload stopped".to_owned()))??
    {
        input.extend_from_slice(&bytes);
        if input.len() as u64 > length {
            return Err(too_long().into());
        }
    }
    service.store.put_input(root, reference, &input).await?;
    Ok(StatusCode::CREATED)
}

async fn output(State(service): State<Service>, Path(id): Path<u64>) -> Result<Response, Refusal> {
    if let Some(output) = service.outputs.get(id) {
        return Ok(raw(output));
    }
    let job = match service.node.job(id).await {
        Ok(job) => job,
        Err(error) if error.is_not_found() => {
            return Err(Refusal(StatusCode::NOT_FOUND, format!("no job {id}")));
        }
        Err(error) => return Err(error.into()),
    };
    if job.delivered_height == 0 {
        let words = format!("the output of job {id} is not here and not on the chain yet");
        return Err(Refusal(StatusCode::NOT_FOUND, words));
    }
    Ok(raw(job.output.into()))
}

fn raw(output: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream")], output).into_response()
}

async fn rendered(State(service): State<Service>) -> String {
    service.metrics.map(|metrics| metrics.render()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_start_anywhere_within_the_blob_and_end_within_it() {
        assert_eq!(parse_range("bytes=0-", 10), Some((0, 10)));
        assert_eq!(parse_range("bytes=3-4", 10), Some((3, 5)));
        assert_eq!(parse_range("bytes=3-400", 10), Some((3, 10)));
        for bad in ["bytes=10-", "bytes=5-4", "bytes=-5", "bytes=a-", "lines=0-", "bytes=0"] {
            assert_eq!(parse_range(bad, 10), None, "{bad}");
        }
        assert_eq!(parse_range("bytes=3-18446744073709551615", 10), None);
        assert_eq!(parse_content_range("bytes 5-9/10"), Some(5));
        assert_eq!(parse_content_range("bytes */10"), None);
    }
}
