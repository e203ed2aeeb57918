//! Fetching blobs from other validators. Nobody is trusted: every block is verified as it comes.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::RANGE;
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;

use super::error::BlobError;
use super::intake::Intake;
use super::layout::{Layout, LayoutError, Reference, Root};
use super::store::BlobStore;
use crate::metrics;

/// How long a peer may take to accept a connection, and to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a peer may take for a block of 32 KiB: slower ones are left for others.
const BLOCK: Duration = Duration::from_secs(20);

/// Blob services of other validators.
#[derive(Debug, Clone)]
pub struct Peers {
    client: Client,
    urls: Arc<[String]>,
    backoff: ExponentialBuilder,
}

/// Why one peer did not help.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it is too slow")]
    Slow,
    #[error("{0}")]
    Layout(#[from] LayoutError),
    #[error("its list of leaf hashes is too long")]
    LongLayout,
    #[error("the stream ended early")]
    Cut,
    #[error("{0}")]
    Blob(BlobError),
}

impl Peers {
    /// The blob services at these addresses (`http://host:port`), tried in this order, and again
    /// after growing pauses.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(urls: &[String]) -> Result<Self, reqwest::Error> {
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        // A redirect could lead a validator's executor to any address in its network.
        let redirects = reqwest::redirect::Policy::none();
        let client = Client::builder().connect_timeout(ANSWER).redirect(redirects).build()?;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(4)
            .with_jitter();
        Ok(Self { client, urls, backoff })
    }

    /// The same peers with other pauses between rounds.
    #[must_use]
    pub fn with_backoff(self, backoff: ExponentialBuilder) -> Self {
        Self { backoff, ..self }
    }

    /// Brings a blob into the store; nothing where it is there. What was verified before a cut or a
    /// crash is not fetched again.
    ///
    /// # Errors
    /// [`BlobError::Unfetched`] where no peer gave it; [`BlobError::Busy`] where it is on its way
    /// otherwise; or this machine's disk or store failed.
    pub async fn fetch(
        &self,
        store: &BlobStore,
        root: &Root,
        reference: &Reference,
    ) -> Result<(), BlobError> {
        let mut pauses = self.backoff.build();
        loop {
            let mut words = Vec::new();
            // A client may have uploaded it meanwhile.
            if store.has(root).await? {
                return Ok(());
            }
            for url in self.urls.iter() {
                match self.fetch_from(url, store, root, reference).await {
                    Ok(()) => return Ok(()),
                    Err(PeerError::Blob(error)) if !blames_peer(&error) => return Err(error),
                    Err(error) => {
                        metrics::peer_failed();
                        let root = hex::encode(root);
                        tracing::warn!(peer = %url, root, %error, "a peer did not give a blob");
                        words.push(format!("{url}: {error}"));
                    }
                }
            }
            let pause = pauses.next().filter(|_| !self.urls.is_empty());
            let Some(pause) = pause else {
                let hint = "none is configured; hint: `peers` in executor.toml".to_owned();
                let words = if words.is_empty() { hint } else { words.join("; ") };
                return Err(BlobError::Unfetched { root: hex::encode(root), words });
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetch_from(
        &self,
        url: &str,
        store: &BlobStore,
        root: &Root,
        reference: &Reference,
    ) -> Result<(), PeerError> {
        let layout = match store.expected(root).await {
            Ok(layout) => layout,
            Err(BlobError::NoLeaves { .. }) => {
                let leaves = self.leaves(url, root, reference).await?;
                let kept = store.expect(root, reference.clone(), &leaves).await;
                kept.map_err(PeerError::Blob)?
            }
            Err(error) => return Err(PeerError::Blob(error)),
        };
        let mut intake = store.intake(Arc::clone(&layout)).await.map_err(PeerError::Blob)?;
        let streamed = self.stream(url, &layout, &mut intake).await;
        // Also after a cut: what came is kept.
        let complete = store.finish(intake).await.map_err(PeerError::Blob)?;
        streamed?;
        if complete { Ok(()) } else { Err(PeerError::Cut) }
    }

    async fn leaves(
        &self,
        url: &str,
        root: &Root,
        reference: &Reference,
    ) -> Result<Vec<u8>, PeerError> {
        let expected = Layout::leaf_count(root, reference)?.saturating_mul(32);
        let url = format!("{url}/v1/blobs/{}/leaves", hex::encode(root));
        let mut response = self.answer(self.client.get(url), StatusCode::OK).await?;
        let mut leaves = Vec::new();
        while let Some(chunk) =
            timeout(BLOCK, response.chunk()).await.map_err(|_| PeerError::Slow)??
        {
            leaves.extend_from_slice(&chunk);
            if leaves.len() as u64 > expected {
                return Err(PeerError::LongLayout);
            }
        }
        Ok(leaves)
    }

    async fn stream(
        &self,
        url: &str,
        layout: &Layout,
        intake: &mut Intake,
    ) -> Result<(), PeerError> {
        if intake.is_complete() {
            return Ok(());
        }
        let start = intake.verified();
        let request = self.client.get(format!("{url}/v1/blobs/{}", hex::encode(layout.root())));
        let (request, status) = match start {
            0 => (request, StatusCode::OK),
            _ => (request.header(RANGE, format!("bytes={start}-")), StatusCode::PARTIAL_CONTENT),
        };
        let mut response = self.answer(request, status).await?;
        while !intake.is_complete() {
            let before = intake.verified();
            let block = async {
                while intake.verified() == before {
                    let Some(chunk) = response.chunk().await? else { return Err(PeerError::Cut) };
                    metrics::fetched(chunk.len());
                    intake.push(&chunk).await.map_err(PeerError::Blob)?;
                }
                Ok(())
            };
            timeout(BLOCK, block).await.map_err(|_| PeerError::Slow)??;
        }
        Ok(())
    }

    async fn answer(
        &self,
        request: reqwest::RequestBuilder,
        wanted: StatusCode,
    ) -> Result<Response, PeerError> {
        let response = timeout(ANSWER, request.send()).await.map_err(|_| PeerError::Slow)??;
        if response.status() == wanted {
            Ok(response)
        } else {
            Err(PeerError::Status(response.status()))
        }
    }
}

/// Whether another peer could do better.
fn blames_peer(error: &BlobError) -> bool {
    matches!(
        error,
        BlobError::Corrupt { .. } | BlobError::TooLong { .. } | BlobError::Layout { .. }
    )
}
