//! Validator sets.

use serde::{Deserialize, Serialize};
use tendermint_proto::v0_38::crypto::{PublicKey, public_key};
use tendermint_proto::v0_38::types::SimpleValidator;

use prost::Message as _;

use super::{Hash, merkle_root, sha256};
use lockstep_chain::block::ValidatorUpdate;

/// Somebody who may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// ed25519.
    pub key: [u8; 32],
    /// Voting power.
    pub power: u64,
}

impl Signer {
    /// The first 20 bytes of SHA-256 of the key.
    #[must_use]
    pub fn address(&self) -> [u8; 20] {
        lockstep_chain::address::from_consensus_key(&self.key)
    }
}

/// Who may sign a height: the greatest power first, then by address, as CometBFT numbers them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorSet(Vec<Signer>);

impl ValidatorSet {
    /// The set after some updates; why they cannot be, where they cannot.
    ///
    /// # Errors
    /// Where a key stands twice or a stranger is removed: CometBFT stops there.
    pub fn updated(&self, updates: &[ValidatorUpdate]) -> Result<Self, &'static str> {
        let mut next = self.0.clone();
        for (at, update) in updates.iter().enumerate() {
            if updates.iter().take(at).any(|other| other.key == update.key) {
                return Err("a validator is updated twice");
            }
            let place = next.iter().position(|signer| signer.key == update.key);
            match (place, update.power) {
                (None, 0) => return Err("a stranger is removed"),
                (Some(place), 0) => {
                    next.remove(place);
                }
                (Some(place), power) => next[place].power = power,
                (None, power) => next.push(Signer { key: update.key, power }),
            }
        }
        if next.is_empty() {
            return Err("nobody is left to sign");
        }
        next.sort_by_key(|signer| (std::cmp::Reverse(signer.power), signer.address()));
        Ok(Self(next))
    }

    /// Its members in order.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.0
    }

    /// The sum of powers.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, signer| sum.saturating_add(signer.power))
    }

    /// What `validators_hash` is.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let bytes = |signer: &Signer| {
            let sum = public_key::Sum::Ed25519(signer.key.to_vec());
            SimpleValidator {
                pub_key: Some(PublicKey { sum: Some(sum) }),
                voting_power: i64::try_from(signer.power).unwrap_or(i64::MAX),
            }
            .encode_to_vec()
        };
        let items: Vec<_> = self.0.iter().map(bytes).collect();
        merkle_root(&items)
    }

    /// Whether somebody with this address is in it.
    #[must_use]
    pub fn has(&self, address: &[u8]) -> bool {
        self.0.iter().any(|signer| signer.address() == *address)
    }
}

/// The hash of the parameters that a header binds.
#[must_use]
pub fn consensus_hash(block_max_bytes: i64, block_max_gas: i64) -> Hash {
    let params = tendermint_proto::v0_38::types::HashedParams { block_max_bytes, block_max_gas };
    sha256(&params.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(key: u8, power: u64) -> ValidatorUpdate {
        ValidatorUpdate { key: [key; 32], power }
    }

    #[test]
    fn the_greatest_power_comes_first_whatever_the_order_of_updates() {
        let one = ValidatorSet::default().updated(&[update(1, 5), update(2, 9)]).unwrap();
        let other = ValidatorSet::default().updated(&[update(2, 9), update(1, 5)]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.signers()[0].power, 9);
        let later = one.updated(&[update(2, 0), update(3, 5)]).unwrap();
        assert_eq!(later.total(), 10);
        assert_ne!(later.hash(), one.hash());
    }

    #[test]
    fn updates_that_cometbft_stops_at_are_refused() {
        let set = ValidatorSet::default().updated(&[update(1, 5)]).unwrap();
        assert!(set.updated(&[update(2, 0)]).is_err());
        assert!(set.updated(&[update(2, 1), update(2, 2)]).is_err());
        assert!(set.updated(&[update(1, 0)]).is_err());
    }
}
