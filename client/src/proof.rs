//! Reads the state with a proof under the app hash of a header that validators signed.

use std::time::{Duration, Instant};

use lockstep_audit::light::{Anchor, LightBlock, Signed};
use lockstep_chain::tree::verify_ics23;
use serde::Serialize;

use crate::rpc::{Answer, Client};
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
    /// The header's hash, in hex.
    pub header_hash: String,
    /// The voting power whose signatures on the header were checked.
    pub signed_power: u64,
    /// The power of all validators that the header names.
    pub total_power: u64,
    /// Those validators are the network's, as far as the anchor says.
    pub anchored: bool,
}

/// Reads `path` and proves the answer. `headers` is asked for the header; it may be another node
/// than `client`. `expected_key` says where such a value must stand, so that a node cannot prove
/// another object in its place.
///
/// # Errors
/// Where the node gives no proof, or one that does not hold, or a header that was not signed.
pub async fn read(
    client: &Client,
    headers: &Client,
    anchor: &Anchor,
    (path, request): (&str, &[u8]),
    expected_key: impl Fn(&[u8]) -> Result<Vec<u8>>,
) -> Result<Proven> {
    let answer = client.query(path, request, None, true).await?;
    let expected_key = expected_key(&answer.value)?;
    let signed = signed(headers, answer.height + 1).await?;
    anchor
        .same_network(&signed)
        .map_err(|found| Error::protocol(headers.url(), found.to_string()))?;
    check(client, &answer, &expected_key, &signed)?;
    let by = Basis {
        height: answer.height,
        app_hash: hex::encode(signed.app_hash),
        key: hex::encode(expected_key),
        chain_id: signed.header.chain_id.clone(),
        header_hash: hex::encode(signed.hash),
        signed_power: signed.power,
        total_power: signed.total,
        anchored: anchor.holds(&signed),
    };
    Ok(Proven { value: answer.value, by })
}

fn check(client: &Client, answer: &Answer, key: &[u8], signed: &Signed) -> Result<()> {
    if answer.key != key {
        return Err(Error::protocol(client.url(), "a proof for another key than asked for"));
    }
    verify_ics23(&answer.proof, &signed.app_hash, key, Some(&answer.value))
        .map_err(|cause| Error::protocol(client.url(), cause.to_string()))
}

async fn signed(client: &Client, height: u64) -> Result<Signed> {
    let block = light_block(client, height).await?;
    block.verify().map_err(|found| Error::protocol(client.url(), found.to_string()))
}

/// The header of a block with its signatures, once there is one.
///
/// # Errors
/// [`Error::Unknown`] where there is none within half a minute.
pub async fn light_block(client: &Client, height: u64) -> Result<LightBlock> {
    let start = Instant::now();
    loop {
        if let Some(block) = client.light_block(height).await? {
            return Ok(block);
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
