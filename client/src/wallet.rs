//! Keys from words: BIP-39 mnemonics, BIP-32 derivation, BIP-44 paths, secp256k1.

use std::fmt;

use bip32::{DerivationPath, XPrv};
use k256::ecdsa::SigningKey;
use lockstep_chain::address::{self, Address};
use lockstep_chain::envelope::public_key_of;
use zeroize::Zeroizing;

use crate::{Error, Result};

/// The mnemonic of every devnet. Everybody knows it.
pub const DEVNET_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// The named accounts of a devnet and their index in the path, besides [`VALIDATOR_BASE`] and
/// [`EXECUTOR_BASE`].
pub const TEST_ACCOUNTS: &[(&str, u32)] = &[
    ("dev0", 0),
    ("dev1", 1),
    ("dev2", 2),
    ("dev3", 3),
    ("author0", 4),
    ("author1", 5),
    ("council", 6),
    ("auditor", 7),
];
/// The operator of a devnet's validator k has index `VALIDATOR_BASE + k` and the name `validatork`.
pub const VALIDATOR_BASE: u32 = 100;
/// The executor of a devnet's validator k has index `EXECUTOR_BASE + k` and the name `executork`.
pub const EXECUTOR_BASE: u32 = 300;

/// Whether a chain is one on which the test accounts may act.
#[must_use]
pub fn is_test_chain(chain_id: &str) -> bool {
    chain_id.starts_with("lockstep-devnet") || chain_id.contains("-test")
}

/// The words that keys are derived from.
#[derive(Clone)]
pub struct Mnemonic(bip39::Mnemonic);

impl Mnemonic {
    /// 24 new words.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn generate() -> Result<Self> {
        let mut entropy = Zeroizing::new([0; 32]);
        let broken = |cause: String| Error::usage(format!("no random bytes: {cause}"), "try again");
        getrandom::fill(entropy.as_mut()).map_err(|cause| broken(cause.to_string()))?;
        let words = bip39::Mnemonic::from_entropy(entropy.as_ref());
        Ok(Self(words.map_err(|cause| broken(cause.to_string()))?))
    }

    /// Reads words; case and blanks between them do not count.
    ///
    /// # Errors
    /// Where they are no BIP-39 mnemonic in English.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let text = Zeroizing::new(words.join(" "));
        let read = bip39::Mnemonic::parse_in_normalized(bip39::Language::English, &text);
        // The library's message names positions, never the words themselves.
        let words = read.map_err(|cause| {
            Error::usage(format!("not a mnemonic: {cause}"), "12 to 24 English BIP-39 words")
        })?;
        Ok(Self(words))
    }

    /// The words in order.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.words().collect::<Vec<_>>().join(" "))
    }

    fn is_devnet(&self) -> bool {
        *self.words() == DEVNET_MNEMONIC
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mnemonic(..)")
    }
}

/// A key that can sign, and its address.
#[derive(Clone)]
pub struct Wallet {
    key: SigningKey,
    address: Address,
    test: bool,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wallet({})", self.address_text())
    }
}

impl Wallet {
    /// The key at `m/44'/118'/0'/0/index`.
    ///
    /// # Errors
    /// Where the index is over 2^31 - 1.
    pub fn from_mnemonic(mnemonic: &Mnemonic, index: u32) -> Result<Self> {
        let wrong = |cause: bip32::Error| {
            Error::usage(format!("no key at index {index}: {cause}"), "an index below 2147483648")
        };
        let path: DerivationPath = path(index).parse().map_err(wrong)?;
        let seed = Zeroizing::new(mnemonic.0.to_seed_normalized(""));
        let extended = XPrv::derive_from_path(seed.as_slice(), &path).map_err(wrong)?;
        let wallet = Self::from_key(extended.private_key().clone());
        Ok(Self { test: mnemonic.is_devnet(), ..wallet })
    }

    /// A wallet around a key from elsewhere.
    #[must_use]
    pub fn from_key(key: SigningKey) -> Self {
        let address = address::from_public_key(&public_key_of(&key));
        Self { key, address, test: false }
    }

    /// A named account of the devnet's mnemonic: `dev0`, `author1`, `council`, `validator2`, …
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn test_account(name: &str) -> Result<Self> {
        let index = test_index(name).ok_or_else(|| {
            let names: Vec<&str> = TEST_ACCOUNTS.iter().map(|(name, _)| *name).collect();
            let hint = format!("{}, validator0…, executor0…", names.join(", "));
            Error::usage(format!("no test account is called `{name}`"), hint)
        })?;
        Self::from_mnemonic(&Mnemonic::parse(DEVNET_MNEMONIC)?, index)
    }

    /// The 20 bytes of the address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// `lockstep1…`.
    #[must_use]
    pub fn address_text(&self) -> String {
        address::account(&self.address)
    }

    /// The compressed public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 33] {
        public_key_of(&self.key)
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Refuses keys that everybody knows on chains where they could lose money.
    ///
    /// # Errors
    /// Where this is a test account and the chain is none for tests.
    pub fn allow_on(&self, chain_id: &str) -> Result<()> {
        if self.test && !is_test_chain(chain_id) {
            return Err(Error::usage(
                format!("a test account's key is public, so it does not sign for `{chain_id}`"),
                "use a key of your own: `lockstep keys add NAME`",
            ));
        }
        Ok(())
    }
}

/// The index of a named test account.
#[must_use]
pub fn test_index(name: &str) -> Option<u32> {
    let numbered = |prefix: &str, base: u32| {
        let number: u32 = name.strip_prefix(prefix)?.parse().ok().filter(|number| *number < 100)?;
        Some(base + number)
    };
    let named = TEST_ACCOUNTS.iter().find(|(known, _)| *known == name).map(|(_, index)| *index);
    named
        .or_else(|| numbered("validator", VALIDATOR_BASE))
        .or_else(|| numbered("executor", EXECUTOR_BASE))
}

/// The BIP-44 path of an index; 118 is the coin type of Cosmos, which wallets expect.
#[must_use]
pub fn path(index: u32) -> String {
    format!("m/44'/118'/0'/0/{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_the_address_that_every_cosmos_wallet_shows() {
        let words = Mnemonic::parse(&format!("{}about", "abandon ".repeat(11))).unwrap();
        let wallet = Wallet::from_mnemonic(&words, 0).unwrap();
        let (_, cosmos) = bech32_of("cosmos19rl4cm2hmr8afy4kldpxz3fka4jguq0auqdal4");
        assert_eq!(wallet.address().to_vec(), cosmos);
    }

    fn bech32_of(text: &str) -> (String, Vec<u8>) {
        let (hrp, bytes) = bech32::decode(text).unwrap();
        (hrp.to_string(), bytes)
    }

    #[test]
    fn a_test_account_signs_for_test_chains_alone() {
        let wallet = Wallet::test_account("dev0").unwrap();
        wallet.allow_on("lockstep-devnet-1").unwrap();
        wallet.allow_on("acme-test-2").unwrap();
        let refused = wallet.allow_on("lockstep-1").unwrap_err();
        assert!(refused.to_string().contains("lockstep-1"), "{refused}");
        // The same key under a name of one's own is as public.
        let words = Mnemonic::parse(DEVNET_MNEMONIC).unwrap();
        assert!(Wallet::from_mnemonic(&words, 77).unwrap().allow_on("lockstep-1").is_err());
        let own = Wallet::from_mnemonic(&Mnemonic::generate().unwrap(), 0).unwrap();
        own.allow_on("lockstep-1").unwrap();
    }

    #[test]
    fn no_two_test_accounts_share_a_key() {
        let mut indices: Vec<u32> = TEST_ACCOUNTS.iter().map(|(_, index)| *index).collect();
        indices
            .extend(["validator0", "validator99", "executor0"].map(|it| test_index(it).unwrap()));
        let all = indices.len();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), all);
        assert_eq!(test_index("validator100"), None);
    }

    #[test]
    fn wrong_words_are_refused_and_not_repeated() {
        let error = Mnemonic::parse("secret words that are wrong").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(Mnemonic::parse(&"abandon ".repeat(12)).is_err());
    }
}
