//! Reads the state with a proof under the app hash of a header.
//!
//! The signatures on that header are not checked yet: the proof binds a value to what the node says
//! is the app hash, so ask a second node for the header where the first is not trusted.

use std::time::{Duration, Instant};

use lockstep_chain::tree::{Hash, verify_ics23};
use serde::Serialize;

use crate::rpc::Client;
use crate::{Error, Result};

/// How long to wait for the block whose header carries the state's root.
const NEXT_BLOCK_MAX: Duration = Duration::from_secs(30);

/// A value that was proved.
#[derive(Debug, Clone)]
pub struct Proven {
    /// The value.
    pub value: Vec<u8>,
    /// Under what.
    pub by: Basis,
}

/// What a proof stands on.
#[derive(Debug, Clone, Serialize)]
pub struct Basis {
    /// The state's height; its root stands in the next header.
    pub height: u64,
    /// That root, in hex.
    pub app_hash: String,
    /// Where the value stands in the state, in hex.
    pub key: String,
    /// The network of the header.
    pub chain_id: String,
    /// Whether the signatures on the header were checked: not yet by this version.
    pub signatures_checked: bool,
}

/// Reads `path` and proves the answer. `headers` is asked for the header; it may be another node
/// than `client`. `expected_key` says where such a value must stand, so that a node cannot prove
/// another object in its place.
///
/// # Errors
/// Where the node gives no proof, or one that does not hold.
pub async fn read(
    client: &Client,
    headers: &Client,
    path: &str,
    request: &[u8],
    expected_key: impl Fn(&[u8]) -> Result<Vec<u8>>,
) -> Result<Proven> {
    let answer = client.query(path, request, None, true).await?;
    let expected_key = expected_key(&answer.value)?;
    if answer.key != expected_key {
        return Err(Error::protocol(client.url(), "a proof for another key than asked for"));
    }
    let header = header(headers, answer.height + 1).await?;
    let root: Hash = header
        .app_hash
        .as_slice()
        .try_into()
        .map_err(|_| Error::protocol(headers.url(), "an app hash of other than 32 bytes"))?;
    verify_ics23(&answer.proof, &root, &expected_key, Some(&answer.value))
        .map_err(|cause| Error::protocol(client.url(), cause.to_string()))?;
    let by = Basis {
        height: answer.height,
        app_hash: hex::encode(root),
        key: hex::encode(expected_key),
        chain_id: header.chain_id,
        signatures_checked: false,
    };
    Ok(Proven { value: answer.value, by })
}

async fn header(client: &Client, height: u64) -> Result<crate::rpc::Header> {
    let start = Instant::now();
    loop {
        if let Some(header) = client.header(height).await? {
            return Ok(header);
        }
        if start.elapsed() > NEXT_BLOCK_MAX {
            return Err(Error::Unknown {
                what: format!("block {height}, whose header the proof needs,"),
                seconds: NEXT_BLOCK_MAX.as_secs(),
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
