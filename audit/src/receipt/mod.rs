//! Receipts: a file from which anyone can check, offline, what a job gave and who was paid.
//!
//! A receipt is the job as it stands in the state, with what its amounts follow from, proved under
//! the app hash of a header, with the signatures on that header. What it claims that is not signed
//! follows from what is; and there is one encoding of it, so that no byte of a receipt is free.

mod check;

use lockstep_chain::state::tables::{JOBS, PARAMS, VERSIONS};
use lockstep_proto::lockstep::job::v1::Job;
use serde::{Deserialize, Serialize};
use tendermint::block::signed_header::SignedHeader;
use tendermint::{PublicKey, validator, vote};

pub use check::{Anchor, Checked, check};

/// The form of the file.
pub const FORMAT: &str = "lockstep-receipt/1";
/// A longer file is no receipt: the largest job is below 3 MiB in hex.
pub const BYTES_MAX: usize = 16 << 20;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: String,
    /// The job's number.
    pub job: u64,
    /// The header whose app hash is the state's root, and the votes for it, as CometBFT writes them.
    pub signed_header: SignedHeader,
    /// The validators of that header, in its order.
    pub validators: Vec<Validator>,
    /// Job, version and parameters, in this order.
    pub state: Vec<Proved>,
}

/// A validator as far as headers bind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// ed25519.
    #[serde(with = "hex")]
    pub public_key: [u8; 32],
    /// Its voting power.
    pub power: u64,
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
    ///
    /// # Errors
    /// Where a validator's key is no ed25519 key.
    pub fn new(
        job: u64,
        signed_header: SignedHeader,
        validators: &validator::Set,
        state: Vec<Proved>,
    ) -> crate::Result<Self> {
        let validators = validators.validators().iter().map(Validator::of).collect::<Option<_>>();
        let validators = validators.ok_or_else(|| {
            crate::Stop::incomplete("a validator without an ed25519 key", "ask another node")
        })?;
        Ok(Self { format: FORMAT.to_owned(), job, signed_header, validators, state })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> String {
        // Cannot fail for these types.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The validators, with the hash that headers name them by.
    fn validator_set(&self) -> Option<validator::Set> {
        let infos = self.validators.iter().map(Validator::info).collect::<Option<Vec<_>>>()?;
        // `Set` refuses by a panic what no network can have.
        let total = infos.iter().try_fold(0_u64, |sum, info| sum.checked_add(info.power()))?;
        (total <= validator::Set::MAX_TOTAL_VOTING_POWER)
            .then(|| validator::Set::without_proposer(infos))
    }

    fn value<M: prost::Message + Default>(&self, place: usize) -> Option<M> {
        M::decode(self.state.get(place)?.value.as_slice()).ok()
    }
}

impl Validator {
    fn of(info: &validator::Info) -> Option<Self> {
        let key = info.pub_key.ed25519()?;
        let public_key = key.as_bytes().try_into().ok()?;
        Some(Self { public_key, power: info.power() })
    }

    fn info(&self) -> Option<validator::Info> {
        let key = PublicKey::from_raw_ed25519(&self.public_key)?;
        Some(validator::Info::new(key, vote::Power::try_from(self.power).ok()?))
    }
}

#[cfg(test)]
mod tests;
