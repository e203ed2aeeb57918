//! Addresses: the first 20 bytes that a key hashes to, shown as bech32.

use alloc::string::String;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use ripemd::Ripemd160;
use sha2::{Digest as _, Sha256};

use crate::error::{MALFORMED_ADDRESS, Reject};
pub use crate::state::tables::Address;

/// The human-readable part of account addresses.
pub const ACCOUNT_PREFIX: &str = lockstep_proto::json::ACCOUNT_PREFIX;
/// The human-readable part of operator addresses.
pub const OPERATOR_PREFIX: &str = lockstep_proto::json::OPERATOR_PREFIX;
/// The digits of 20 bytes, five bits each.
const ADDRESS_DIGITS: usize = 32;
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
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| MALFORMED_ADDRESS)?;
    // One spelling per address: bech32 also allows upper case (as the prefix shows, since both together
    // are refused), another checksum, and bits left over, for which this length has no room.
    let digits = checked.data_part_ascii_no_checksum().len();
    if checked.hrp().as_str() != prefix || digits != ADDRESS_DIGITS {
        return Err(MALFORMED_ADDRESS);
    }
    let mut address = [0; 20];
    address.iter_mut().zip(checked.byte_iter()).for_each(|(to, from)| *to = from);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use bech32::{ByteIterExt as _, Fe32, Fe32IterExt as _};

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
        let hrp = Hrp::parse_unchecked(ACCOUNT_PREFIX);
        let other = bech32::encode::<bech32::Bech32m>(hrp, &[7; 20]).unwrap();
        assert_eq!(parse_account(&other), Err(MALFORMED_ADDRESS));
        // Left-over bits after the same bytes, with their right checksum; and other lengths.
        let digits = || [7_u8; 20].into_iter().bytes_to_fes();
        let spelled = |more: &[Fe32]| -> String {
            let digits = digits().chain(more.iter().copied());
            digits.with_checksum::<Bech32>(&hrp).chars().collect()
        };
        assert_eq!(spelled(&[]), text);
        assert_eq!(parse_account(&spelled(&[Fe32::Q])), Err(MALFORMED_ADDRESS));
        assert_eq!(parse_account(&spelled(&[Fe32::P])), Err(MALFORMED_ADDRESS));
        for length in [0, 19, 21, 32] {
            let text = bech32::encode::<Bech32>(hrp, &[7; 32][..length]).unwrap();
            assert_eq!(parse_account(&text), Err(MALFORMED_ADDRESS));
        }
    }
}
