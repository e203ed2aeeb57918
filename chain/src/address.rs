//! Addresses: the first 20 bytes that a key hashes to, shown as bech32.

use alloc::string::String;

use bech32::{Bech32, Hrp};
use ripemd::Ripemd160;
use sha2::{Digest as _, Sha256};

use crate::error::{MALFORMED_ADDRESS, Reject};
pub use crate::state::tables::Address;

/// The human-readable part of account addresses.
pub const ACCOUNT_PREFIX: &str = lockstep_proto::json::ACCOUNT_PREFIX;
/// The human-readable part of operator addresses.
pub const OPERATOR_PREFIX: &str = lockstep_proto::json::OPERATOR_PREFIX;
/// The unit of money; a LOCK is 10^6 of it.
pub const DENOM: &str = "ulock";

/// The address of a compressed secp256k1 key: RIPEMD-160 of its SHA-256, as everywhere in Cosmos.
#[must_use]
pub fn from_public_key(key: &[u8; 33]) -> Address {
    Ripemd160::digest(Sha256::digest(key)).into()
}

/// The address of an ed25519 consensus key: the first 20 bytes of its SHA-256, as in CometBFT.
#[must_use]
pub fn from_consensus_key(key: &[u8; 32]) -> Address {
    let digest = Sha256::digest(key);
    let mut address = [0; 20];
    address.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    address
}

/// `lockstep1…`.
#[must_use]
pub fn account(address: &Address) -> String {
    encode(ACCOUNT_PREFIX, address)
}

/// `lockstepvaloper1…`.
#[must_use]
pub fn operator(address: &Address) -> String {
    encode(OPERATOR_PREFIX, address)
}

/// Reads `lockstep1…`.
///
/// # Errors
/// [`MALFORMED_ADDRESS`].
pub fn parse_account(text: &str) -> Result<Address, Reject> {
    parse(ACCOUNT_PREFIX, text)
}

/// Reads `lockstepvaloper1…`.
///
/// # Errors
/// [`MALFORMED_ADDRESS`].
pub fn parse_operator(text: &str) -> Result<Address, Reject> {
    parse(OPERATOR_PREFIX, text)
}

fn encode(prefix: &str, address: &Address) -> String {
    // Both prefixes are valid and an address is short, so nothing here can fail.
    let hrp = Hrp::parse_unchecked(prefix);
    bech32::encode::<Bech32>(hrp, address).unwrap_or_default()
}

fn parse(prefix: &str, text: &str) -> Result<Address, Reject> {
    let (hrp, bytes) = bech32::decode(text).map_err(|_| MALFORMED_ADDRESS)?;
    let address = Address::try_from(bytes).map_err(|_| MALFORMED_ADDRESS)?;
    // One spelling per address: bech32 also allows upper case and another checksum.
    if hrp.as_str() != prefix || encode(prefix, &address) != text {
        return Err(MALFORMED_ADDRESS);
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let text = account(&[7; 20]);
        assert_eq!(parse_account(&text), Ok([7; 20]));
        assert_eq!(parse_account(&text.to_uppercase()), Err(MALFORMED_ADDRESS));
        assert_eq!(parse_operator(&text), Err(MALFORMED_ADDRESS));
        assert_eq!(
            parse_account(text.trim_end_matches(char::is_alphanumeric)),
            Err(MALFORMED_ADDRESS)
        );
    }
}
