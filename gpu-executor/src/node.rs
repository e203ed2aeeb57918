//! The link to the validator's own node: HTTP over its unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_chain::address;
use lockstep_proto::lockstep::block::v1::VoteExtension;
use lockstep_proto::lockstep::chain::v1::{
    Params, QueryParamsRequest, QueryTipRequest, QueryTotalsRequest, Tip, Totals,
};
use lockstep_proto::lockstep::job::v1::{Job, QueryJobsResponse};
use lockstep_proto::lockstep::job::v1::{QueryDutiesResponse, QueryJobRequest, QueryJobsRequest};
use lockstep_proto::lockstep::member::v1::{Account, QueryAccountRequest};
use lockstep_proto::lockstep::model::v1::{QueryManifestRequest, QueryPossessionRequest};
use lockstep_proto::lockstep::model::v1::{QueryPossessionResponse, QueryVersionRequest, Version};
use lockstep_proto::lockstep::trial::v1::{
    QueryTraceNodesRequest, QueryTraceNodesResponse, QueryTrialRequest, QueryVerifiedRequest,
    QueryVerifiedResponse, Trial,
};
use prost::Message;
use reqwest::{Client, Response};
use serde::Deserialize;

/// How long the node may hold a request for duties, and a little more.
const LONG_POLL: Duration = Duration::from_secs(15);
/// How long any other answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes that a node's answer may have: 256 jobs of each kind with inline inputs and outputs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a request to the node failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It does not answer.
    #[error("the node at {socket} does not answer: {source}; hint: is lockstepd running?")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("the node refused {path} ({status}): {words}")]
    Refused {
        /// What was asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// The node's words.
        words: String,
    },
    /// Its answer makes no sense.
    #[error("the node's answer to {path} is malformed: {words}")]
    Malformed {
        /// What was asked for.
        path: String,
        /// What is wrong.
        words: String,
    },
}

impl NodeError {
    /// Whether the node answered that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// What the node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// The network.
    pub chain_id: String,
    /// bech32 address of the validator's operator; empty before the chain knows one.
    #[serde(default)]
    pub operator: String,
    /// bech32 address of the account that the node expects of its executor; empty where none is
    /// known yet.
    #[serde(default)]
    pub executor: String,
}

/// What became of a broadcast transaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Broadcast {
    /// 0 where the mempool took it.
    pub code: u32,
    /// The refusal in words.
    #[serde(default)]
    pub log: String,
    /// SHA-256 of the transaction in hex.
    #[serde(default)]
    pub hash: String,
}

/// A node behind a unix socket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    client: Client,
    socket: PathBuf,
}

impl Node {
    /// The node behind `socket`. A path that is too long for a socket is recorded by the node in a
    /// file beside it, whose name ends in `.path`.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] where no client can be made for that path.
    pub fn new(socket: &Path) -> Result<Self, NodeError> {
        let mut elsewhere = socket.as_os_str().to_owned();
        elsewhere.push(".path");
        let socket = match std::fs::read_to_string(PathBuf::from(elsewhere)) {
            Ok(path) => PathBuf::from(path.trim_end_matches('\n')),
            Err(_) => socket.to_owned(),
        };
        let client = Client::builder().unix_socket(socket.clone()).build();
        let client = client.map_err(|source| NodeError::Unreachable {
            socket: socket.clone(),
            source: source.into(),
        })?;
        Ok(Self { client, socket })
    }

    /// Who the node is.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn identity(&self) -> Result<Identity, NodeError> {
        let bytes = self.get("/v1/self", &[], ANSWER).await?;
        json("/v1/self", &bytes)
    }

    /// Waits until a height above `after` is committed, for at most ten seconds; what is then to be
    /// done.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn duties(&self, after: u64) -> Result<QueryDutiesResponse, NodeError> {
        let path = "/v1/duties";
        let bytes = self.get(path, &[("after", after.to_string())], LONG_POLL).await?;
        decode(path, &bytes)
    }

    /// Replaces what is on offer for vote extensions.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn offer(&self, offers: &VoteExtension) -> Result<(), NodeError> {
        self.post("/v1/offers", offers.encode_to_vec()).await.map(drop)
    }

    /// Sends a transaction to the mempool.
    ///
    /// # Errors
    /// [`NodeError`]; a refusal by the mempool is a [`Broadcast`] with a code.
    pub async fn broadcast(&self, tx: Vec<u8>) -> Result<Broadcast, NodeError> {
        let bytes = self.post("/v1/txs", tx).await?;
        json("/v1/txs", &bytes)
    }

    /// Counters of the chain.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn totals(&self) -> Result<Totals, NodeError> {
        self.query("/lockstep.chain.v1.Query/Totals", &QueryTotalsRequest {}).await
    }

    /// The rules of the chain.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn params(&self) -> Result<Params, NodeError> {
        self.query("/lockstep.chain.v1.Query/Params", &QueryParamsRequest {}).await
    }

    /// What the last block left behind.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn tip(&self) -> Result<Tip, NodeError> {
        self.query("/lockstep.chain.v1.Query/Tip", &QueryTipRequest {}).await
    }

    /// An account of the chain.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn account(&self, address: &address::Address) -> Result<Account, NodeError> {
        let request = QueryAccountRequest { address: address::account(address) };
        self.query("/lockstep.member.v1.Query/Account", &request).await
    }

    /// A version by its id.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn version(&self, id: u64) -> Result<Version, NodeError> {
        let request = QueryVersionRequest { id, ..QueryVersionRequest::default() };
        self.query("/lockstep.model.v1.Query/Version", &request).await
    }

    /// The first version with this artefact; `None` where there is none.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn version_of(&self, root: &[u8; 32]) -> Result<Option<Version>, NodeError> {
        let artefact_root = root.to_vec();
        let request = QueryVersionRequest { artefact_root, ..QueryVersionRequest::default() };
        match self.query("/lockstep.model.v1.Query/Version", &request).await {
            Ok(version) => Ok(Some(version)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifest of a version's artefact.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn manifest(&self, version: u64) -> Result<Vec<u8>, NodeError> {
        let request = QueryManifestRequest { version };
        // As it stands in the state: in protobuf's wrapper of bytes, which `Vec<u8>` decodes.
        self.query("/lockstep.model.v1.Query/Manifest", &request).await
    }

    /// The leaves that `operator` has to show to prove that it holds a version.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn possession(
        &self,
        version: u64,
        operator: &str,
    ) -> Result<QueryPossessionResponse, NodeError> {
        let request = QueryPossessionRequest { version, validator: operator.to_owned() };
        self.query("/lockstep.model.v1.Query/Possession", &request).await
    }

    /// A job by its id.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn job(&self, id: u64) -> Result<Job, NodeError> {
        self.query("/lockstep.job.v1.Query/Job", &QueryJobRequest { id }).await
    }

    /// At most 100 jobs in order of id.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn jobs(&self, from: u64) -> Result<Vec<Job>, NodeError> {
        let request = QueryJobsRequest { from, limit: 100 };
        let answer: QueryJobsResponse = self.query("/lockstep.job.v1.Query/Jobs", &request).await?;
        Ok(answer.jobs)
    }

    /// A job's trial; `None` where it is not on trial.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn trial(&self, job: u64) -> Result<Option<Trial>, NodeError> {
        match self.query("/lockstep.trial.v1.Query/Trial", &QueryTrialRequest { job }).await {
            Ok(trial) => Ok(Some(trial)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was opened below a node of a trace, 32 bytes each; nothing where it was not opened.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn trace_nodes(&self, of: &QueryTraceNodesRequest) -> Result<Vec<u8>, NodeError> {
        let path = "/lockstep.trial.v1.Query/TraceNodes";
        let answer: QueryTraceNodesResponse = self.query(path, of).await?;
        Ok(answer.nodes)
    }

    /// The jobs whose answer can still be challenged.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn verified(&self) -> Result<Vec<Job>, NodeError> {
        let path = "/lockstep.trial.v1.Query/Verified";
        let (mut from, mut jobs) = (1, Vec::new());
        loop {
            let request = QueryVerifiedRequest { from };
            let page: QueryVerifiedResponse = self.query(path, &request).await?;
            let Some(last) = page.jobs.last() else { return Ok(jobs) };
            from = last.id.saturating_add(1);
            jobs.extend(page.jobs);
        }
    }

    async fn query<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, NodeError> {
        decode(path, &self.raw_query(path, request).await?)
    }

    async fn raw_query(&self, path: &str, request: &impl Message) -> Result<Vec<u8>, NodeError> {
        let data = hex::encode(request.encode_to_vec());
        self.get("/v1/query", &[("path", path.to_owned()), ("data", data)], ANSWER).await
    }

    async fn get(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        wait: Duration,
    ) -> Result<Vec<u8>, NodeError> {
        // Neither paths nor hex digits need escaping.
        let pairs = parameters.iter().map(|(key, value)| format!("{key}={value}"));
        let query = pairs.collect::<Vec<_>>().join("&");
        let request = self.client.get(format!("http://node{path}?{query}")).timeout(wait);
        self.answer(path, request.send().await).await
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, NodeError> {
        let request = self.client.post(format!("http://node{path}")).timeout(ANSWER).body(body);
        self.answer(path, request.send().await).await
    }

    async fn answer(
        &self,
        path: &str,
        response: reqwest::Result<Response>,
    ) -> Result<Vec<u8>, NodeError> {
        let unreachable = |source: reqwest::Error| NodeError::Unreachable {
            socket: self.socket.clone(),
            source: source.into(),
        };
        let mut response = response.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                let words = format!("longer than {ANSWER_BYTES_MAX} bytes");
                return Err(NodeError::Malformed { path: path.to_owned(), words });
            }
        }
        if status.is_success() {
            return Ok(body);
        }
        let words = String::from_utf8_lossy(&body).into_owned();
        Err(NodeError::Refused { path: path.to_owned(), status: status.as_u16(), words })
    }
}

fn decode<A: Message + Default>(path: &str, bytes: &[u8]) -> Result<A, NodeError> {
    A::decode(bytes)
        .map_err(|error| NodeError::Malformed { path: path.to_owned(), words: error.to_string() })
}

fn json<A: for<'a> Deserialize<'a>>(path: &str, bytes: &[u8]) -> Result<A, NodeError> {
    serde_json::from_slice(bytes)
        .map_err(|error| NodeError::Malformed { path: path.to_owned(), words: error.to_string() })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn only_a_404_means_that_a_job_is_not_on_trial() {
        for (status, none) in [(StatusCode::NOT_FOUND, true), (StatusCode::BAD_REQUEST, false)] {
            let home = tempfile::tempdir().unwrap();
            let socket = home.path().join("node.sock");
            let listener = tokio::net::UnixListener::bind(&socket).unwrap();
            let router = Router::new().fallback(move || async move { status });
            tokio::spawn(async move { axum::serve(listener, router).await });
            let trial = Node::new(&socket).unwrap().trial(7).await;
            assert_eq!(matches!(trial, Ok(None)), none, "{trial:?}");
        }
    }
}
