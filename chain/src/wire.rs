//! How messages are written: one spelling each.

use alloc::string::ToString as _;

use lockstep_proto::cosmos::base::v1beta1::Coin;
use prost::{Message, Name};
use prost_types::Any;

use crate::address::DENOM;
use crate::error::{BAD_AMOUNT, MALFORMED, NOT_CANONICAL, Reject};

/// Decodes a message and insists that its bytes are the one encoding of it: prost accepts unknown
/// fields, duplicates and over-long varints.
///
/// # Errors
/// [`MALFORMED`] or [`NOT_CANONICAL`].
pub fn canonical<M: Message + Default>(bytes: &[u8]) -> Result<M, Reject> {
    let message = M::decode(bytes).map_err(|_| MALFORMED)?;
    if message.encoded_len() != bytes.len() || message.encode_to_vec() != bytes {
        return Err(NOT_CANONICAL);
    }
    Ok(message)
}

/// Reads a positive amount of ulock from one coin.
///
/// # Errors
/// [`BAD_AMOUNT`].
pub fn amount(coin: &Coin) -> Result<u64, Reject> {
    let amount: u64 = coin.amount.parse().map_err(|_| BAD_AMOUNT)?;
    // One spelling per number: no `+`, no leading zero.
    if coin.denom != DENOM || amount == 0 || amount.to_string() != coin.amount {
        return Err(BAD_AMOUNT);
    }
    Ok(amount)
}

/// The coin that [`amount`] reads.
#[must_use]
pub fn coin(amount: u64) -> Coin {
    Coin { denom: DENOM.to_string(), amount: amount.to_string() }
}

/// Wraps a message with its type URL.
#[must_use]
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}
