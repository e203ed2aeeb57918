//! The few calls that the node makes to a CometBFT's RPC.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A CometBFT.
#[derive(Debug, Clone)]
pub struct Rpc {
    client: reqwest::Client,
    url: String,
}

/// What became of a broadcast transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// 0 where the mempool took it.
    pub code: u32,
    /// The refusal in words.
    pub log: String,
    /// SHA-256 of the transaction, in hex.
    pub hash: String,
}

/// The answer of `abci_query`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queried {
    /// 0 where there is a value.
    pub code: u32,
    /// The refusal in words.
    pub log: String,
    /// The value.
    pub value: Vec<u8>,
    /// The height that it is of.
    pub height: u64,
}

impl Rpc {
    /// The RPC at `address`.
    ///
    /// # Errors
    /// Where no HTTP client can be made.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        // CometBFT closes what was idle for 10 s, perhaps just when the next question comes.
        let client = builder.pool_idle_timeout(Duration::from_secs(5)).build()?;
        Ok(Self { client, url: format!("http://{address}/") })
    }

    /// Calls `method`; the `result` of the answer.
    ///
    /// # Errors
    /// Where it cannot be reached or answers with an error.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let ask = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.client.post(&self.url).header("content-type", "application/json");
        let sent = request.body(serde_json::to_vec(&ask)?).send().await;
        let answer = sent.with_context(|| {
            format!("CometBFT does not answer at {}; hint: is the node running?", self.url)
        })?;
        let bytes = answer.bytes().await.context("the answer of CometBFT broke off")?;
        let mut answer: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("{method}: CometBFT's answer is no JSON"))?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {} {}", text(error, "message"), text(error, "data"));
        }
        Ok(answer["result"].take())
    }

    /// Gives a transaction to the mempool.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn broadcast(&self, tx: &[u8]) -> anyhow::Result<Sent> {
        let params = json!({"tx": STANDARD.encode(tx)});
        match self.call("broadcast_tx_sync", params).await {
            Ok(result) => Ok(serde_json::from_value(result)?),
            // Sent before and still known: that is what the caller wants.
            Err(error) if error.to_string().contains("tx already exists in cache") => {
                let hash = hex::encode_upper(lockstep_chain::envelope::tx_hash(tx));
                Ok(Sent { code: 0, log: "known already".to_owned(), hash })
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the application.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub async fn query(&self, path: &str, data: &[u8]) -> anyhow::Result<Queried> {
        let params = json!({"path": path, "data": hex::encode(data), "prove": false});
        let result = self.call("abci_query", params).await?;
        let answer = &result["response"];
        let value = answer["value"].as_str().unwrap_or_default();
        Ok(Queried {
            code: u32::try_from(answer["code"].as_u64().unwrap_or(0))?,
            log: text(answer, "log"),
            value: STANDARD.decode(value).context("abci_query: the value is no base64")?,
            height: number(answer, "height"),
        })
    }
}

/// A field that is a string; empty where it is missing.
#[must_use]
pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// A field that is a number in a string, as CometBFT writes 64-bit numbers; 0 where it is missing.
#[must_use]
pub fn number(value: &Value, field: &str) -> u64 {
    value[field].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}
