//! Amounts of money as people write them.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// ulock of a LOCK.
pub const ULOCK_PER_LOCK: u64 = 1_000_000;

/// An amount in ulock, read from `5lock`, `0.25lock` or `1200ulock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub u64);

impl FromStr for Amount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::usage(
                format!("`{text}` is not an amount"),
                "a number with its unit: 5lock, 0.25lock (6 digits at most) or 1200ulock",
            )
        };
        let lower = text.to_ascii_lowercase();
        if let Some(number) = lower.strip_suffix("ulock") {
            return digits(number).map(Self).ok_or_else(wrong);
        }
        let number = lower.strip_suffix("lock").ok_or_else(wrong)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        if part.is_empty() || part.len() > 6 {
            return Err(wrong());
        }
        let part = digits(&format!("{part:0<6}")).ok_or_else(wrong)?;
        let whole = digits(whole).and_then(|it| it.checked_mul(ULOCK_PER_LOCK));
        whole.and_then(|it| it.checked_add(part)).map(Self).ok_or_else(wrong)
    }
}

/// Digits and nothing else: no sign, no blanks.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / ULOCK_PER_LOCK, self.0 % ULOCK_PER_LOCK);
        if part == 0 {
            return write!(f, "{whole} LOCK");
        }
        let part = format!("{part:06}");
        write!(f, "{whole}.{} LOCK", part.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_needs_a_unit_and_has_at_most_six_decimals() {
        let read = |text: &str| text.parse::<Amount>().map(|it| it.0).ok();
        assert_eq!(read("5lock"), Some(5_000_000));
        assert_eq!(read("0.25LOCK"), Some(250_000));
        assert_eq!(read("0.000001lock"), Some(1));
        assert_eq!(read("1200ulock"), Some(1200));
        for bad in ["5", "lock", "ulock", "1.lock", ".5lock", "-5lock", "+5ulock", "0.0000001lock"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read("18446744073710lock"), None);
    }

    #[test]
    fn an_amount_is_shown_without_superfluous_zeros() {
        let shown = [0, 1, 250_000, 5_000_000, 5_100_000].map(|it| Amount(it).to_string());
        assert_eq!(shown, ["0 LOCK", "0.000001 LOCK", "0.25 LOCK", "5 LOCK", "5.1 LOCK"]);
    }
}
