//! Numbers and bytes as Go writes them into JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// A number, also in quotes; nothing is 0.
///
/// # Errors
/// Where it is none, or does not fit.
pub fn number<'a, T: TryFrom<i128>, D: Deserializer<'a>>(input: D) -> Result<T, D::Error> {
    let number: Option<i128> = match Value::deserialize(input)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            number.as_i64().map(Into::into).or(number.as_u64().map(Into::into))
        }
        Value::Null => Some(0),
        _ => None,
    };
    let fits = number.and_then(|number| T::try_from(number).ok());
    fits.ok_or_else(|| de::Error::custom("not a number that fits"))
}

/// Bytes in Base64; nothing is none.
///
/// # Errors
/// Where it is no Base64.
pub fn bytes<'a, D: Deserializer<'a>>(input: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(input)?.unwrap_or_default();
    STANDARD.decode(text).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Read {
        #[serde(deserialize_with = "number")]
        one: u64,
        #[serde(deserialize_with = "number")]
        other: i32,
        #[serde(deserialize_with = "bytes")]
        bytes: Vec<u8>,
    }

    #[test]
    fn numbers_come_bare_or_in_quotes_and_must_fit() {
        let read = |one: &str, other: &str| {
            let text = format!(r#"{{"one": {one}, "other": {other}, "bytes": "AQI="}}"#);
            serde_json::from_str::<Read>(&text)
        };
        let largest = read(r#""18446744073709551615""#, "-7").unwrap();
        assert_eq!((largest.one, largest.other), (u64::MAX, -7));
        assert_eq!(largest.bytes, [1, 2]);
        assert_eq!(read("18446744073709551615", "null").unwrap().other, 0);
        for (one, other) in [
            ("-1", "0"),
            (r#""18446744073709551616""#, "0"),
            ("0", "2147483648"),
            ("[]", "0"),
            ("1.5", "0"),
        ] {
            assert!(read(one, other).is_err(), "{one} {other}");
        }
    }
}
