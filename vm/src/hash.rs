//! The only way that this project hashes: BLAKE3 over a domain string and length-prefixed fields.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use std::fmt;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// BLAKE3 over `domain` and `fields`, each preceded by its length in bytes as u64, little endian.
///
/// No two different lists of fields, and no two domains, can feed the same bytes to BLAKE3.
#[must_use]
pub fn hash(domain: &str, fields: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for field in std::iter::once(domain.as_bytes()).chain(fields.iter().copied()) {
        let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
        hasher.update(&length.to_le_bytes());
        hasher.update(field);
    }
    *hasher.finalize().as_bytes()
}

/// Shows bytes as lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_blake3_over_length_prefixed_fields() {
        let mut bytes = Vec::new();
        bytes.extend(3_u64.to_le_bytes());
        bytes.extend(b"dom");
        bytes.extend(2_u64.to_le_bytes());
        bytes.extend(b"ab");
        bytes.extend(0_u64.to_le_bytes());
        assert_eq!(hash("dom", &[b"ab", b""]), *blake3::hash(&bytes).as_bytes());
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_hash() {
        let all = [
            hash("d", &[b"ab", b"c"]),
            hash("d", &[b"a", b"bc"]),
            hash("d", &[b"abc"]),
            hash("d", &[b"abc", b""]),
            hash("da", &[b"b", b"c"]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn hexadecimal_keeps_leading_zeros() {
        assert_eq!(Hex(&[0, 1, 0xab]).to_string(), "0001ab");
    }
}
