//! A header with its signatures, as a light client needs it: no block, no state.

use lockstep_chain::block::ValidatorUpdate;
use serde::{Deserialize, Serialize};
use tendermint_proto::v0_38::types::{Header, SignedHeader};

use crate::comet::{self, GenesisFile, Hash, ValidatorSet, Zip215};
use crate::report::Difference;
use crate::{Compared, Result, Stop};

/// A header, the votes for it, and who may vote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightBlock {
    /// Header and commit, as CometBFT writes them.
    pub signed_header: SignedHeader,
    /// The validators of that header, in its order.
    pub validators: Vec<Validator>,
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

/// A header whose signatures are right.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// The header.
    pub header: Header,
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
    /// The root of the state that the block before it left behind.
    pub app_hash: Hash,
    /// The power that signed it.
    pub power: u64,
    /// The power of all its validators.
    pub total: u64,
}

impl LightBlock {
    /// The validators, as headers name them.
    fn set(&self) -> Option<ValidatorSet> {
        let update = |it: &Validator| ValidatorUpdate { key: it.public_key, power: it.power };
        let updates: Vec<_> = self.validators.iter().map(update).collect();
        let set = ValidatorSet::default().updated(&updates).ok()?;
        let same = |(one, other): (&comet::Signer, &Validator)| one.key == other.public_key;
        set.signers().iter().zip(&self.validators).all(same).then_some(set)
    }

    /// Checks that the validators are those that the header names, that the commit is for it, that
    /// every signature of the commit is right by the rules of ZIP-215, and that those for the block
    /// have more than two thirds of the power.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn verify(&self) -> Compared<Signed> {
        let missing = |what: &str| Box::new(Difference::new(what, "there", "not there"));
        let header = self.signed_header.header.as_ref().ok_or_else(|| missing("the header"))?;
        let commit = self.signed_header.commit.as_ref().ok_or_else(|| missing("the commit"))?;
        let height = u64::try_from(header.height).unwrap_or(0);
        if height == 0 {
            let found = Difference::new("the header's height", "1 or more", header.height);
            return Err(found.into());
        }
        let set = self.set().ok_or_else(|| {
            Difference::new("the validators", "each once, in order of power", "others").at(height)
        })?;
        if header.validators_hash != set.hash() {
            let (must, is) = (hex::encode(&header.validators_hash), hex::encode(set.hash()));
            return Err(Difference::new("the validators' hash", must, is).at(height).into());
        }
        if commit.height != header.height {
            let what = "the commit's height";
            return Err(Difference::new(what, height, commit.height).at(height).into());
        }
        let hash = comet::header_hash(header);
        let voted = comet::block_id(commit.block_id.as_ref()).hash;
        if voted != hash {
            let what = "the hash of the block that was signed";
            let (must, is) = (hex::encode(hash), hex::encode(voted));
            return Err(Difference::new(what, must, is).at(height).into());
        }
        let power = comet::verify_commit("commit", &header.chain_id, commit, &set, &Zip215)
            .map_err(|found| Box::new(found.at(height)))?;
        let app_hash = header.app_hash.as_slice().try_into().map_err(|_| {
            Difference::new("the app hash", "32 bytes", header.app_hash.len()).at(height)
        })?;
        let total = set.total();
        Ok(Signed { header: header.clone(), height, hash, app_hash, power, total })
    }
}

/// What makes the validators of a header those of the network. Signatures alone do not: anyone can
/// make keys and sign with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The network, where it is known.
    pub chain_id: Option<String>,
    /// Hashes of validator sets that are trusted: that of the genesis file, or one that an audit or
    /// a validator told. They count where the network is known: one set may sign several.
    pub validators: Vec<Hash>,
    /// Hashes of headers that are trusted.
    pub headers: Vec<Hash>,
}

impl Anchor {
    /// Trusts the validators that a genesis file names.
    ///
    /// # Errors
    /// Where the file is not that of a Lockstep chain.
    pub fn genesis(&mut self, file: &GenesisFile) -> Result<()> {
        let time = crate::abci::milliseconds(Some(&file.time));
        let wrong = |cause: String| Stop::usage(cause, "is it the genesis file of the network?");
        let start =
            lockstep_chain::block::init_chain(&file.app, &file.chain_id, file.initial_height, time);
        let (_, updates) = start.map_err(|cause| wrong(cause.to_string()))?;
        let set = ValidatorSet::default().updated(&updates).map_err(|it| wrong(it.to_owned()))?;
        self.chain_id = Some(file.chain_id.clone());
        self.validators.push(set.hash());
        Ok(())
    }

    /// Whether it reaches this header.
    #[must_use]
    pub fn holds(&self, signed: &Signed) -> bool {
        let named = self.validators.iter().any(|hash| signed.header.validators_hash == hash);
        (named && self.chain_id.is_some()) || self.headers.contains(&signed.hash)
    }

    /// Refuses a header of another network.
    ///
    /// # Errors
    /// Where it is one.
    pub fn same_network(&self, signed: &Signed) -> Compared {
        let found = signed.header.chain_id.as_str();
        match &self.chain_id {
            Some(chain_id) if chain_id != found => {
                Err(Difference::new("the network", chain_id.as_str(), found).into())
            }
            _ => Ok(()),
        }
    }
}
