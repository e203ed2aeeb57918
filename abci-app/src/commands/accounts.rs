//! The accounts of a devnet, from words that everybody knows.

use anyhow::Context as _;
use bip32::{DerivationPath, XPrv};
use k256::ecdsa::SigningKey;
use lockstep_chain::address::{self, Address};
use lockstep_chain::envelope::public_key_of;
use serde::Serialize;

/// The words of every devnet. Everybody knows them: no other chain may have these accounts.
pub const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// Beginning of the chain ids of devnets.
pub const CHAIN_ID_PREFIX: &str = "lockstep-devnet";

/// First index of the validators' operators, then of their executors.
const OPERATORS_FROM: usize = 100;
const EXECUTORS_FROM: usize = 300;
/// Validators of a devnet at most.
pub const VALIDATORS_MAX: usize = 50;

/// Name, role and balance in ulock of the accounts from index 0 on.
const PEOPLE: [(&str, &str, u64); 8] = [
    ("dev0", "developer", 1_000_000_000_000),
    ("dev1", "developer", 1_000_000_000_000),
    ("dev2", "developer", 1_000_000_000_000),
    ("dev3", "developer", 1_000_000_000_000),
    ("author0", "publisher", 100_000_000_000),
    ("author1", "publisher", 100_000_000_000),
    ("council", "council", 100_000_000_000),
    ("auditor", "auditor", 100_000_000_000),
];

/// An account whose key is known.
#[derive(Debug, Clone, Serialize)]
pub struct Named {
    /// For people.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// bech32.
    pub address: String,
    /// The BIP-44 path under the mnemonic.
    pub path: String,
    /// secp256k1, in hex.
    pub private_key: String,
    /// At genesis, in ulock.
    pub balance: u64,
    /// The 20 bytes.
    #[serde(skip)]
    pub bytes: Address,
}

/// The account at `m/44'/118'/0'/0/index`.
///
/// # Errors
/// Never for the indices used here; the libraries say otherwise.
fn derive(index: usize, name: String, role: &'static str, balance: u64) -> anyhow::Result<Named> {
    let words = bip39::Mnemonic::parse_in_normalized(bip39::Language::English, MNEMONIC)
        .map_err(|error| anyhow::anyhow!("the devnet's mnemonic: {error}"))?;
    let path = format!("m/44'/118'/0'/0/{index}");
    let parsed: DerivationPath =
        path.parse().map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    let key = XPrv::derive_from_path(&words.to_seed_normalized(""), &parsed)
        .map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    let key = SigningKey::from_slice(&key.to_bytes()).context("a derived key")?;
    let bytes = address::from_public_key(&public_key_of(&key));
    Ok(Named {
        name,
        role,
        address: address::account(&bytes),
        path,
        private_key: hex::encode(key.to_bytes()),
        balance,
        bytes,
    })
}

/// Developers, authors, council and auditor.
///
/// # Errors
/// As [`operator`].
pub fn people() -> anyhow::Result<Vec<Named>> {
    let each = PEOPLE.iter().enumerate();
    each.map(|(index, (name, role, balance))| derive(index, (*name).to_owned(), role, *balance))
        .collect()
}

/// The operator of validator `index`.
///
/// # Errors
/// Where the libraries refuse the words, which a test excludes.
pub fn operator(index: usize) -> anyhow::Result<Named> {
    derive(OPERATORS_FROM + index, format!("operator{index}"), "validator", 10_000_000_000)
}

/// The executor of validator `index`.
///
/// # Errors
/// As [`operator`].
pub fn executor(index: usize) -> anyhow::Result<Named> {
    derive(EXECUTORS_FROM + index, format!("executor{index}"), "executor", 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_are_those_that_wallets_derive_from_the_words() {
        let people = people().unwrap();
        // Cosmos wallets know these words as cosmos15yk64u7zc9g9k2yr2wmzeva5qgwxps6yxj00e7; the
        // last six characters are a checksum that depends on the prefix.
        assert!(people[0].address.starts_with("lockstep15yk64u7zc9g9k2yr2wmzeva5qgwxps6y"));
        let mut all: Vec<_> = people.iter().map(|named| named.bytes).collect();
        for index in 0..VALIDATORS_MAX {
            all.push(operator(index).unwrap().bytes);
            all.push(executor(index).unwrap().bytes);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "every account is its own");
    }
}
