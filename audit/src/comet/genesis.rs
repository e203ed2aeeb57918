//! CometBFT's genesis file.

use lockstep_chain::genesis::Genesis;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tendermint_proto::google::protobuf::Timestamp;

use super::{Hash, consensus_hash};
use crate::{Result, Stop, go_json};

/// What an audit needs of a genesis file.
#[derive(Debug, Clone)]
pub struct GenesisFile {
    /// The network.
    pub chain_id: String,
    /// The time of the first block.
    pub time: Timestamp,
    /// The first height.
    pub initial_height: u64,
    /// What headers say of the consensus parameters, which this chain never changes.
    pub consensus_hash: Hash,
    /// How old evidence may be.
    pub evidence_age: EvidenceAge,
    /// The first state.
    pub app: Genesis,
    /// BLAKE3 of the file, by which a saved state knows what it belongs to.
    pub id: [u8; 32],
}

/// How old evidence may be: it expires once both have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceAge {
    /// In blocks.
    #[serde(rename = "max_age_num_blocks", deserialize_with = "go_json::number")]
    pub blocks: u64,
    /// In nanoseconds.
    #[serde(rename = "max_age_duration", deserialize_with = "go_json::number")]
    pub nanos: u64,
}

impl Default for EvidenceAge {
    /// CometBFT's: 100,000 blocks, 48 hours.
    fn default() -> Self {
        Self { blocks: 100_000, nanos: 48 * 3_600 * 1_000_000_000 }
    }
}

#[derive(Deserialize)]
struct Raw {
    genesis_time: Timestamp,
    chain_id: String,
    #[serde(default, deserialize_with = "go_json::number")]
    initial_height: i64,
    consensus_params: Params,
    app_state: Value,
}

#[derive(Deserialize)]
struct Params {
    block: BlockParams,
    #[serde(default)]
    evidence: EvidenceAge,
}

#[derive(Deserialize)]
struct BlockParams {
    #[serde(deserialize_with = "go_json::number")]
    max_bytes: i64,
    #[serde(deserialize_with = "go_json::number")]
    max_gas: i64,
}

impl GenesisFile {
    /// Reads it.
    ///
    /// # Errors
    /// Where it is not the genesis file of a Lockstep chain.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |cause: serde_json::Error| {
            let hint = "it is cometbft/config/genesis.json of every node's folder";
            Stop::usage(format!("the genesis file does not parse: {cause}"), hint)
        };
        let raw: Raw = serde_json::from_slice(bytes).map_err(wrong)?;
        let app: Genesis = serde_json::from_value(raw.app_state).map_err(wrong)?;
        let block = raw.consensus_params.block;
        // Over the value, not the bytes: CometBFT serves the file in another layout.
        let value: Value = serde_json::from_slice(bytes).map_err(wrong)?;
        Ok(Self {
            chain_id: raw.chain_id,
            time: raw.genesis_time,
            initial_height: u64::try_from(raw.initial_height).unwrap_or(0).max(1),
            consensus_hash: consensus_hash(block.max_bytes, block.max_gas),
            evidence_age: raw.consensus_params.evidence,
            app,
            id: *blake3::hash(value.to_string().as_bytes()).as_bytes(),
        })
    }
}
