//! Receipts: a file from which anyone can check, offline, what a job gave and who was paid.
//!
//! A receipt is the job as it stands in the state, with what its amounts follow from, proved under
//! the app hash of a header, with the signatures on that header. What it claims that is not signed
//! follows from what is; and there is one encoding of it, so that no byte of a receipt is free.

mod check;

use lockstep_chain::state::tables::{JOBS, PARAMS, VERSIONS};
use lockstep_proto::lockstep::job::v1::Job;
use serde::{Deserialize, Serialize};

pub use check::{Checked, check};

use crate::light::LightBlock;

/// The form of the file.
pub const FORMAT: &str = "lockstep-receipt/1";
/// A longer file is no receipt: the largest job is below 3 MiB in hex.
pub const BYTES_MAX: usize = 16 << 20;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: String,
    /// The job's number.
    pub job: u64,
    /// The header whose app hash is the state's root, with its signatures.
    pub block: LightBlock,
    /// Job, version and parameters, in this order.
    pub state: Vec<Proved>,
}

/// A value of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proved {
    /// Where it stands: the table's prefix and the key in it.
    #[serde(with = "hex")]
    pub key: Vec<u8>,
    /// A protobuf message.
    #[serde(with = "hex")]
    pub value: Vec<u8>,
    /// `cosmos.ics23.v1.CommitmentProof`.
    #[serde(with = "hex")]
    pub proof: Vec<u8>,
}

/// The keys of what a receipt proves, in order.
#[must_use]
pub fn keys(job: &Job) -> [Vec<u8>; 3] {
    [JOBS.key(&job.id), VERSIONS.key(&job.version), PARAMS.key(&())]
}

impl Receipt {
    /// Puts a receipt together; nothing is checked.
    #[must_use]
    pub fn new(job: u64, block: LightBlock, state: Vec<Proved>) -> Self {
        Self { format: FORMAT.to_owned(), job, block, state }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> String {
        // Cannot fail for these types.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn value<M: prost::Message + Default>(&self, place: usize) -> Option<M> {
        M::decode(self.state.get(place)?.value.as_slice()).ok()
    }
}

#[cfg(test)]
mod tests;
