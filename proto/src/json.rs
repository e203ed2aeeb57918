//! How bytes appear in JSON: hashes and blobs as hex, addresses as bech32.

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// The human-readable part of account addresses.
pub const ACCOUNT_PREFIX: &str = "lockstep";
/// The human-readable part of operator addresses.
pub const OPERATOR_PREFIX: &str = "lockstepvaloper";

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn to_bech32(prefix: &str, bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some(String::new());
    }
    let hrp = bech32::Hrp::parse(prefix).ok()?;
    bech32::encode::<bech32::Bech32>(hrp, bytes).ok()
}

fn from_bech32(prefix: &str, text: &str) -> Option<Vec<u8>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let (hrp, bytes) = bech32::decode(text).ok()?;
    (hrp.as_str() == prefix).then_some(bytes)
}

/// Bytes as lower-case hex.
pub mod hex {
    use super::{Deserializer, Serializer, String, Vec};
    use super::{from_hex, to_hex};
    use serde::Deserialize as _;
    use serde::de::Error as _;

    /// Writes hex.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&to_hex(bytes))
    }

    /// Reads hex.
    ///
    /// # Errors
    /// When the text is not hex.
    pub fn deserialize<'a, D: Deserializer<'a>>(input: D) -> Result<Vec<u8>, D::Error> {
        from_hex(&String::deserialize(input)?).ok_or_else(|| D::Error::custom("not hex"))
    }
}

/// A list of bytes, each as hex.
pub mod hex_list {
    use super::{Deserializer, Serializer, String, Vec};
    use super::{from_hex, to_hex};
    use serde::Deserialize as _;
    use serde::de::Error as _;

    /// Writes hex.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(list: &[Vec<u8>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(|bytes| to_hex(bytes)))
    }

    /// Reads hex.
    ///
    /// # Errors
    /// When an item is not hex.
    pub fn deserialize<'a, D: Deserializer<'a>>(input: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<String>::deserialize(input)?;
        let read = list.iter().map(|text| from_hex(text)).collect::<Option<_>>();
        read.ok_or_else(|| D::Error::custom("not hex"))
    }
}

macro_rules! bech32_module {
    ($name:ident, $prefix:expr, $doc:literal) => {
        #[doc = $doc]
        pub mod $name {
            use super::*;

            /// Writes bech32; nothing as the empty text.
            ///
            /// # Errors
            /// The serializer's.
            pub fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
                let text = to_bech32($prefix, bytes);
                out.serialize_str(&text.ok_or_else(|| serde::ser::Error::custom("not an address"))?)
            }

            /// Reads bech32.
            ///
            /// # Errors
            /// When the text is not an address of this kind.
            pub fn deserialize<'a, D: Deserializer<'a>>(input: D) -> Result<Vec<u8>, D::Error> {
                let text = String::deserialize(input)?;
                from_bech32($prefix, &text).ok_or_else(|| {
                    D::Error::custom(alloc::format!("`{text}` is not a {}1… address", $prefix))
                })
            }
        }
    };
}

bech32_module!(account, ACCOUNT_PREFIX, "An account address.");
bech32_module!(operator, OPERATOR_PREFIX, "An operator address.");

/// A list of operator addresses.
pub mod operators {
    use super::{Deserializer, OPERATOR_PREFIX, Serializer, String, Vec, from_bech32, to_bech32};
    use serde::Deserialize as _;
    use serde::de::Error as _;

    /// Writes bech32.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(list: &[Vec<u8>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(list.iter().map(|bytes| to_bech32(OPERATOR_PREFIX, bytes)))
    }

    /// Reads bech32.
    ///
    /// # Errors
    /// When an item is not an operator address.
    pub fn deserialize<'a, D: Deserializer<'a>>(input: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<String>::deserialize(input)?;
        let read =
            list.iter().map(|text| from_bech32(OPERATOR_PREFIX, text)).collect::<Option<_>>();
        read.ok_or_else(|| D::Error::custom("not an operator address"))
    }
}
