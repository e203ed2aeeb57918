//! Blocks from a CometBFT's RPC: a node's, or `cometbft inspect`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_proto::lockstep::audit::v1::TxResult;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tendermint_proto::v0_38::types::{Block, Commit};
use tokio::task::JoinSet;

use super::http::{body, client, send};
use super::{Entry, Heights, Source, wait};
use crate::{Result, Stop, go_json};

/// Bytes of an answer that are read at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of a genesis file that are read at most.
const GENESIS_BYTES_MAX: usize = 256 << 20;
/// Heights that are asked for at the same time.
const CONCURRENT_MAX: usize = 8;
const HINT: &str = "is it the address of a CometBFT RPC, such as http://127.0.0.1:26657?";

/// A CometBFT's RPC.
#[derive(Debug, Clone)]
pub struct Rpc {
    http: reqwest::Client,
    url: String,
}

impl Rpc {
    /// The RPC at `http://HOST:PORT`.
    ///
    /// # Errors
    /// Where the address is malformed.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { http: client(url)?, url: url.trim_end_matches('/').to_owned() })
    }

    /// Calls `method`; the `result` of the answer.
    ///
    /// # Errors
    /// Where there is no answer, or it is an error.
    pub fn call(&self, method: &str, params: Value) -> Result<Value> {
        wait(self.ask(method, params))?
    }

    /// Asks the application; the value of its answer.
    ///
    /// # Errors
    /// As [`Rpc::call`], and where the application refuses.
    pub fn query(&self, path: &str, data: &[u8], height: Option<u64>) -> Result<Vec<u8>> {
        #[derive(Deserialize)]
        struct Answer {
            response: Response,
        }
        #[derive(Deserialize)]
        struct Response {
            #[serde(default)]
            code: u32,
            #[serde(default)]
            log: String,
            #[serde(default, deserialize_with = "go_json::bytes")]
            value: Vec<u8>,
        }
        let params = json!({
            "path": path,
            "data": hex::encode(data),
            "height": height.unwrap_or(0).to_string(),
            "prove": false,
        });
        let answer = self.call("abci_query", params)?;
        let Answer { response } = self.parse("abci_query", answer)?;
        if response.code != 0 {
            return Err(self.lacks(path, format!("{} (code {})", response.log, response.code)));
        }
        Ok(response.value)
    }

    /// One height.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub fn entry(&self, height: u64) -> Result<Entry> {
        wait(self.ask_entry(height))?
    }

    /// The genesis file, as CometBFT gives it.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub fn genesis(&self) -> Result<Vec<u8>> {
        // In pieces of 16 MiB: `genesis` refuses a larger one.
        let mut bytes = Vec::new();
        for chunk in 0_u64.. {
            #[derive(Deserialize)]
            struct Chunk {
                #[serde(deserialize_with = "go_json::number")]
                total: u64,
                #[serde(deserialize_with = "go_json::bytes")]
                data: Vec<u8>,
            }
            let answer = self.call("genesis_chunked", json!({ "chunk": chunk.to_string() }))?;
            let Chunk { total, data } = self.parse("genesis_chunked", answer)?;
            let none = data.is_empty();
            bytes.extend(data);
            if bytes.len() > GENESIS_BYTES_MAX {
                let cause = format!("over {GENESIS_BYTES_MAX} bytes");
                return Err(self.lacks("genesis_chunked", cause));
            }
            if none || chunk + 1 >= total {
                break;
            }
        }
        Ok(bytes)
    }
}

impl Source for Rpc {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn node(&self) -> Option<String> {
        Some(self.url.clone())
    }

    fn heights(&mut self) -> Result<Heights> {
        #[derive(Deserialize)]
        struct Blockchain {
            #[serde(deserialize_with = "go_json::number")]
            last_height: u64,
        }
        // `cometbft inspect` has no `status`; this, both have.
        let answer = self.call("blockchain", json!({}))?;
        let Blockchain { last_height: last } = self.parse("blockchain", answer)?;
        let first = match self.call("block", json!({ "height": "1" })) {
            Ok(_) => 1,
            Err(Stop::Incomplete { what, hint }) => {
                lowest(&what).ok_or(Stop::Incomplete { what, hint })?
            }
            Err(other) => return Err(other),
        };
        Ok(Heights { first, last })
    }

    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>> {
        let count = max.clamp(1, CONCURRENT_MAX);
        let fetched = wait(async {
            let mut tasks = JoinSet::new();
            for height in (from..).take(count) {
                let rpc = self.clone();
                tasks.spawn(async move { (height, rpc.ask_entry(height).await) });
            }
            let mut fetched = tasks.join_all().await;
            fetched.sort_by_key(|(height, _)| *height);
            fetched
        })?;
        let mut entries = Vec::with_capacity(fetched.len());
        for (_, entry) in fetched {
            match entry {
                Ok(entry) => entries.push(entry),
                // Those before it are good.
                Err(_) if !entries.is_empty() => break,
                Err(stop) => return Err(stop),
            }
        }
        Ok(entries)
    }
}

/// CometBFT says which height is the lowest where one below it is asked for.
fn lowest(words: &str) -> Option<u64> {
    let (_, rest) = words.split_once("lowest height is ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Rpc {
    fn lacks(&self, method: &str, cause: impl std::fmt::Display) -> Stop {
        // Where it was is no part of a report, which is the same for everybody.
        Stop::incomplete(format!("{method}: {cause}"), format!("{HINT} (asked {})", self.url))
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, method: &str, value: Value) -> Result<T> {
        serde_json::from_value(value).map_err(|cause| self.lacks(method, cause))
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value> {
        let ask = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self.http.post(&self.url).header("content-type", "application/json");
        let answer = send(request.body(ask.to_string())).await;
        let answer = answer.map_err(|cause| self.lacks(method, cause))?;
        let bytes = body(answer, ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|cause| self.lacks(method, cause))?;
        let mut answer: Value =
            serde_json::from_slice(&bytes).map_err(|cause| self.lacks(method, cause))?;
        if let Some(error) = answer.get("error") {
            return Err(self.lacks(method, format!("{} {}", error["message"], error["data"])));
        }
        Ok(answer["result"].take())
    }

    async fn ask_entry(&self, height: u64) -> Result<Entry> {
        let at = json!({ "height": height.to_string() });
        let mut block = self.ask("block", at.clone()).await?["block"].take();
        numbers_of_extensions(&mut block["evidence"]);
        let block: Block = self.parse("block", block)?;
        let commit = self.ask("commit", at.clone()).await?["signed_header"]["commit"].take();
        let commit: Commit = self.parse("commit", commit)?;
        let results = self.ask("block_results", at).await?;
        let results: Results = self.parse("block_results", results)?;
        let txs = block.data.as_ref().map(|data| data.txs.as_slice()).unwrap_or_default();
        let result = |(tx, result): (&Vec<u8>, RawResult)| TxResult {
            tx_hash: Sha256::digest(tx).to_vec(),
            code: result.code,
            data: result.data,
            gas_wanted: result.gas_wanted,
            gas_used: result.gas_used,
        };
        let of = results.txs_results.unwrap_or_default();
        if of.len() != txs.len() {
            return Err(self.lacks("block_results", "more or fewer results than transactions"));
        }
        let results_of_txs = txs.iter().zip(of).map(result).collect();
        Ok(Entry {
            block,
            commit,
            results: results_of_txs,
            app_hash: results.app_hash,
            damage: None,
        })
    }
}

#[derive(Deserialize)]
struct Results {
    txs_results: Option<Vec<RawResult>>,
    #[serde(default, deserialize_with = "go_json::bytes")]
    app_hash: Vec<u8>,
}

#[derive(Deserialize)]
struct RawResult {
    #[serde(default)]
    code: u32,
    #[serde(default, deserialize_with = "go_json::bytes")]
    data: Vec<u8>,
    #[serde(default, deserialize_with = "go_json::number")]
    gas_wanted: u64,
    #[serde(default, deserialize_with = "go_json::number")]
    gas_used: u64,
}

/// CometBFT writes vote extensions in Base64, where `tendermint-proto` reads lists of numbers.
fn numbers_of_extensions(evidence: &mut Value) {
    match evidence {
        Value::Object(fields) => {
            for (name, value) in fields {
                let text = value.as_str().filter(|_| name.starts_with("extension"));
                match text.and_then(|text| STANDARD.decode(text).ok()) {
                    Some(bytes) => *value = bytes.into(),
                    None => numbers_of_extensions(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(numbers_of_extensions),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_genesis_file_in_pieces_without_an_end_is_not_collected_for_ever() {
        let url = crate::testing::rpc(|_, params| {
            let data = if params["chunk"] == "0" { "e30=" } else { "" };
            json!({ "total": u64::MAX.to_string(), "data": data })
        });
        assert_eq!(Rpc::new(&url).unwrap().genesis().unwrap(), b"{}");
    }

    #[test]
    fn the_lowest_height_is_read_from_what_cometbft_says() {
        let said = "\"Internal error\" \"height 1 is not available, lowest height is 42\"";
        assert_eq!(lowest(said), Some(42));
        assert_eq!(lowest("no block"), None);
    }

    #[test]
    fn extensions_of_votes_in_evidence_are_read() {
        let mut evidence =
            json!({ "evidence": [{ "value": { "vote_a": { "extension": "AQI=" } } }] });
        numbers_of_extensions(&mut evidence);
        assert_eq!(evidence["evidence"][0]["value"]["vote_a"]["extension"], json!([1, 2]));
    }

    #[test]
    fn a_node_that_is_not_there_makes_the_audit_incomplete() {
        // Port 9 of loopback: nobody serves `discard`.
        let stop = Rpc::new("http://127.0.0.1:9").unwrap().heights().unwrap_err();
        assert!(matches!(&stop, Stop::Incomplete { hint, .. } if hint.contains(":9")), "{stop}");
        assert_eq!(Rpc::new("ftp://x").unwrap_err().exit_code(), 1);
    }
}
