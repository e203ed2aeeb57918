//! CometBFT's JSON-RPC, as far as a wallet needs it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lockstep_audit::go_json;
use lockstep_chain::envelope::tx_hash;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::codes::Refusal;
use crate::{Error, Result};

/// Bytes of an answer that are read at most: a block and its results stay well below.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection to one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
}

/// How a node is doing.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The network's name.
    pub chain_id: String,
    /// The last committed block.
    pub height: u64,
    /// Its time as CometBFT writes it.
    pub time: String,
    /// The state that it left behind is in the next header; this one is the state before it, in hex.
    pub app_hash: String,
    /// Whether the node is still fetching old blocks.
    pub catching_up: bool,
    /// The node's own name.
    pub moniker: String,
    /// CometBFT's version.
    pub cometbft: String,
}

/// A value of the state, and its proof where one was asked for.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The state's height.
    pub height: u64,
    /// Where the value stands; empty where it is made up of several.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// An ICS 23 `CommitmentProof`; empty where none was asked for.
    pub proof: Vec<u8>,
}

/// A transaction in a block.
#[derive(Debug, Clone, Serialize)]
pub struct Included {
    /// In hex.
    pub hash: String,
    /// The block.
    pub height: u64,
    /// 0 where it succeeded.
    pub code: u32,
    /// Words to the code.
    pub log: String,
    /// `TxMsgData`.
    #[serde(skip)]
    pub data: Vec<u8>,
    /// Gas that was paid for.
    pub gas_wanted: u64,
    /// Gas that was used.
    pub gas_used: u64,
    /// What it did.
    pub events: Vec<Event>,
}

/// One thing that a transaction did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// What.
    #[serde(rename = "type")]
    pub kind: String,
    /// With what.
    pub attributes: Vec<Attribute>,
}

/// A part of an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

impl Client {
    /// A client of the node at `http://HOST:PORT`.
    ///
    /// # Errors
    /// Where the address is malformed, or is https in a build without the feature `tls`.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { http: http(url)?, url: url.trim_end_matches('/').to_owned() })
    }

    /// The node's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the node is doing.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn status(&self) -> Result<Status> {
        #[derive(Deserialize)]
        struct Raw {
            node_info: NodeInfo,
            sync_info: SyncInfo,
        }
        #[derive(Deserialize)]
        struct NodeInfo {
            network: String,
            moniker: String,
            version: String,
        }
        #[derive(Deserialize)]
        struct SyncInfo {
            #[serde(deserialize_with = "go_json::number")]
            latest_block_height: u64,
            latest_block_time: String,
            latest_app_hash: String,
            catching_up: bool,
        }
        let raw: Raw = self.call("status", json!({})).await?;
        Ok(Status {
            chain_id: raw.node_info.network,
            height: raw.sync_info.latest_block_height,
            time: raw.sync_info.latest_block_time,
            app_hash: raw.sync_info.latest_app_hash.to_lowercase(),
            catching_up: raw.sync_info.catching_up,
            moniker: raw.node_info.moniker,
            cometbft: raw.node_info.version,
        })
    }

    /// Hands in a transaction and waits until the node's mempool has checked it.
    ///
    /// # Errors
    /// [`Error::Rejected`] where it was refused.
    pub async fn broadcast(&self, tx: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Raw {
            code: u32,
            log: String,
        }
        let params = json!({ "tx": BASE64.encode(tx) });
        let raw: Raw = match self.call("broadcast_tx_sync", params).await {
            Ok(raw) => raw,
            // Sent before: as good as sent now.
            Err(Error::Protocol { what, .. }) if what.contains("tx already exists in cache") => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if raw.code == 0 {
            return Ok(());
        }
        Err(Error::Rejected(Refusal { code: raw.code, log: raw.log }))
    }

    /// The transaction with this hash; none where it stands in no block yet.
    ///
    /// # Errors
    /// Where the node does not answer, or keeps no index of transactions.
    pub async fn tx(&self, hash: &[u8; 32]) -> Result<Option<Included>> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(deserialize_with = "go_json::number")]
            height: u64,
            tx_result: TxResult,
        }
        let params = json!({ "hash": BASE64.encode(hash), "prove": false });
        match self.call::<Raw>("tx", params).await {
            Ok(raw) => Ok(Some(raw.tx_result.included(hash, raw.height))),
            Err(Error::Protocol { what, .. }) if what.contains("not found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The transaction with this hash if block `height` holds it; needs no index.
    ///
    /// # Errors
    /// Where the node does not answer or lacks the block.
    pub async fn tx_in_block(&self, hash: &[u8; 32], height: u64) -> Result<Option<Included>> {
        let txs = self.block_txs(height).await?;
        let found = txs.into_iter().find(|(bytes, _)| tx_hash(bytes) == *hash);
        Ok(found.map(|(_, included)| included))
    }

    /// Every transaction of a block, and what became of it.
    ///
    /// # Errors
    /// Where the node does not answer or lacks the block.
    pub async fn block_txs(&self, height: u64) -> Result<Vec<(Vec<u8>, Included)>> {
        #[derive(Deserialize)]
        struct RawBlock {
            block: Block,
        }
        #[derive(Deserialize)]
        struct Block {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            #[serde(default)]
            txs: Option<Vec<String>>,
        }
        #[derive(Deserialize)]
        struct Results {
            txs_results: Option<Vec<TxResult>>,
        }
        let at = json!({ "height": height.to_string() });
        let raw: RawBlock = self.call("block", at.clone()).await?;
        let txs = raw.block.data.txs.unwrap_or_default();
        if txs.is_empty() {
            return Ok(Vec::new());
        }
        let results: Results = self.call("block_results", at).await?;
        let results = results.txs_results.unwrap_or_default();
        if results.len() != txs.len() {
            return Err(self.wrong("a block with another number of transactions than results"));
        }
        let pair = |(tx, result): (String, TxResult)| {
            let bytes = BASE64.decode(tx).map_err(|_| self.wrong("a block that is not base64"))?;
            let included = result.included(&tx_hash(&bytes), height);
            Ok((bytes, included))
        };
        txs.into_iter().zip(results).map(pair).collect()
    }

    /// Reads the state at `height`, or at the last one.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the chain's code where there is nothing of the kind.
    pub async fn query(
        &self,
        path: &str,
        data: &[u8],
        height: Option<u64>,
        prove: bool,
    ) -> Result<Answer> {
        #[derive(Deserialize)]
        struct Raw {
            response: Response,
        }
        #[derive(Deserialize)]
        struct Response {
            #[serde(default)]
            code: u32,
            #[serde(default)]
            log: String,
            #[serde(default, deserialize_with = "go_json::bytes")]
            key: Vec<u8>,
            #[serde(default, deserialize_with = "go_json::bytes")]
            value: Vec<u8>,
            #[serde(default, deserialize_with = "go_json::number")]
            height: u64,
            #[serde(default, rename = "proofOps")]
            proof_ops: Option<ProofOps>,
        }
        #[derive(Deserialize)]
        struct ProofOps {
            #[serde(default)]
            ops: Vec<ProofOp>,
        }
        #[derive(Deserialize)]
        struct ProofOp {
            #[serde(deserialize_with = "go_json::bytes")]
            data: Vec<u8>,
        }
        let params = json!({
            "path": path,
            "data": hex::encode(data),
            "height": height.unwrap_or(0).to_string(),
            "prove": prove,
        });
        let raw: Raw = self.call("abci_query", params).await?;
        let response = raw.response;
        if response.code != 0 {
            return Err(Error::Rejected(Refusal { code: response.code, log: response.log }));
        }
        let proof = response.proof_ops.and_then(|ops| ops.ops.into_iter().next());
        Ok(Answer {
            height: response.height,
            key: response.key,
            value: response.value,
            proof: proof.map(|op| op.data).unwrap_or_default(),
        })
    }

    pub(crate) fn wrong(&self, what: &str) -> Error {
        Error::protocol(&self.url, what)
    }

    pub(crate) async fn call<T: for<'a> Deserialize<'a>>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T> {
        #[derive(Deserialize)]
        struct Reply<T> {
            result: Option<T>,
            error: Option<RpcError>,
        }
        #[derive(Deserialize)]
        struct RpcError {
            message: String,
            #[serde(default)]
            data: Value,
        }
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let reply = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .body(request.to_string())
            .send()
            .await
            .map_err(|cause| unreachable(&self.url, &cause))?;
        let body = read(reply, &self.url, ANSWER_BYTES_MAX).await?;
        let reply: Reply<T> = serde_json::from_slice(&body)
            .map_err(|cause| self.wrong(&format!("{method}: {cause}")))?;
        match (reply.result, reply.error) {
            (Some(result), None) => Ok(result),
            (_, Some(error)) => {
                let data = error.data.as_str().unwrap_or_default();
                Err(self.wrong(&format!("{method}: {} {data}", error.message)))
            }
            (None, None) => Err(self.wrong(&format!("{method}: neither result nor error"))),
        }
    }
}

#[derive(Deserialize)]
struct TxResult {
    #[serde(default)]
    code: u32,
    #[serde(default, deserialize_with = "go_json::bytes")]
    data: Vec<u8>,
    #[serde(default)]
    log: String,
    #[serde(default, deserialize_with = "go_json::number")]
    gas_wanted: u64,
    #[serde(default, deserialize_with = "go_json::number")]
    gas_used: u64,
    #[serde(default)]
    events: Option<Vec<Event>>,
}

impl TxResult {
    fn included(self, hash: &[u8; 32], height: u64) -> Included {
        Included {
            hash: hex::encode(hash),
            height,
            code: self.code,
            log: self.log,
            data: self.data,
            gas_wanted: self.gas_wanted,
            gas_used: self.gas_used,
            events: self.events.unwrap_or_default(),
        }
    }
}

/// An HTTP client for `url`.
pub(crate) fn http(url: &str) -> Result<reqwest::Client> {
    let parsed = reqwest::Url::parse(url);
    let wrong = |what: &str| {
        Error::usage(format!("`{url}` {what}"), "an address like http://127.0.0.1:26657")
    };
    let parsed = parsed.map_err(|_| wrong("is no address"))?;
    match parsed.scheme() {
        "http" => {}
        "https" if cfg!(feature = "tls") => {}
        "https" => return Err(wrong("needs https, which this build lacks (feature `tls`)")),
        _ => return Err(wrong("is no http address")),
    }
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        // CometBFT closes what was idle for 10 s, perhaps just when the next question comes.
        .pool_idle_timeout(Duration::from_secs(5))
        // Who is asked answers: a redirect would lead to addresses that only this machine reaches.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|cause| unreachable(url, &cause))
}

/// Reads a body of bounded length.
pub(crate) async fn read(
    mut reply: reqwest::Response,
    url: &str,
    bytes_max: usize,
) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(|cause| unreachable(url, &cause))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Error::protocol(url, format!("an answer over {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(crate) fn unreachable(url: &str, cause: &reqwest::Error) -> Error {
    let mut words = cause.to_string();
    // The outermost error only says that sending failed; the innermost says why.
    let mut inner: Option<&dyn std::error::Error> = std::error::Error::source(cause);
    while let Some(error) = inner {
        words = error.to_string();
        inner = error.source();
    }
    Error::Unreachable { url: url.into(), cause: words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_cometbft_is_read_with_its_numbers_as_text_and_its_nulls() {
        let text = r#"{"code":0,"data":null,"log":"","gas_wanted":"81000","gas_used":"61234",
            "events":[{"type":"transfer","attributes":[{"key":"amount","value":"5ulock","index":true}]}],
            "codespace":""}"#;
        let result: TxResult = serde_json::from_str(text).unwrap();
        let included = result.included(&[0xab; 32], 7);
        assert_eq!((included.gas_wanted, included.gas_used, included.height), (81_000, 61_234, 7));
        assert!(included.data.is_empty());
        assert_eq!(included.events[0].attributes[0].value, "5ulock");
    }

    #[test]
    fn an_address_must_be_http() {
        assert!(Client::new("http://127.0.0.1:26657").is_ok());
        for bad in ["127.0.0.1:26657", "ftp://x", "unix:/tmp/x", ""] {
            assert!(matches!(Client::new(bad), Err(Error::Usage { .. })), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_named() {
        // Port 9 of loopback: nobody serves `discard`.
        let client = Client::new("http://127.0.0.1:9").unwrap();
        let error = client.status().await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable { url, .. } if url.contains(":9")), "{error}");
    }
}
