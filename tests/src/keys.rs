//! Keys that follow from names, so that every run signs the same bytes.

use k256::ecdsa::SigningKey;
use lockstep_chain::address::{self, Address};
use lockstep_chain::envelope;

/// An account with its key.
#[derive(Debug, Clone)]
pub struct Account {
    /// What the tests call it.
    pub name: String,
    /// secp256k1.
    pub key: SigningKey,
    /// Compressed.
    pub public_key: [u8; 33],
    /// Of the key.
    pub address: Address,
}

impl Account {
    /// The account of a name.
    ///
    /// # Panics
    /// Where the name's hash is no key, which no name does.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let secret = lockstep_vm::hash::hash("lockstep/test-account", &[name.as_bytes()]);
        let key = SigningKey::from_slice(&secret).unwrap();
        let public_key = envelope::public_key_of(&key);
        let address = address::from_public_key(&public_key);
        Self { name: name.to_owned(), key, public_key, address }
    }

    /// `lockstep1…`.
    #[must_use]
    pub fn text(&self) -> String {
        address::account(&self.address)
    }

    /// `lockstepvaloper1…`.
    #[must_use]
    pub fn operator_text(&self) -> String {
        address::operator(&self.address)
    }
}

/// A validator's three keys.
#[derive(Debug, Clone)]
pub struct Validator {
    /// Whose account it is.
    pub operator: Account,
    /// Its worker.
    pub executor: Account,
    /// Signs votes.
    pub consensus: ed25519_consensus::SigningKey,
}

impl Validator {
    /// The validator of a number: operator `val<n>`, executor `exec<n>`.
    #[must_use]
    pub fn numbered(number: usize) -> Self {
        let secret = lockstep_vm::hash::hash("lockstep/test-consensus", &[&number.to_le_bytes()]);
        Self {
            operator: Account::named(&format!("val{number}")),
            executor: Account::named(&format!("exec{number}")),
            consensus: secret.into(),
        }
    }

    /// ed25519.
    #[must_use]
    pub fn consensus_key(&self) -> [u8; 32] {
        self.consensus.verification_key().to_bytes()
    }

    /// By which CometBFT names it.
    #[must_use]
    pub fn consensus_address(&self) -> Address {
        address::from_consensus_key(&self.consensus_key())
    }
}
