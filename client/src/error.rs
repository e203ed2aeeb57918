//! What can go wrong, and with which exit code the command line says so.

use crate::codes::Refusal;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be done as asked: wrong arguments, files or keys.
    #[error("{what}")]
    Usage {
        /// What is wrong, with the value.
        what: String,
        /// What to do.
        hint: String,
    },
    /// No answer from a node or blob service.
    #[error("no answer from {url}: {cause}")]
    Unreachable {
        /// Where it was asked.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// The other side answered something that is no answer to the question.
    #[error("{url} answered what cannot be right: {what}")]
    Protocol {
        /// Who answered.
        url: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// Refused before it came into a block; nothing has changed.
    #[error("refused: {0}")]
    Rejected(Refusal),
    /// In a block, where it failed; its fee and its sequence are spent.
    #[error("transaction {hash} stands in block {height} and failed: {refusal}")]
    Failed {
        /// Why.
        refusal: Refusal,
        /// The transaction, in hex.
        hash: String,
        /// The block.
        height: u64,
    },
    /// Sent, and not seen in a block within the time allowed. It may still come.
    #[error("it is not known whether {what} happened: not seen within {seconds} s")]
    Unknown {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
}

impl Error {
    /// Wrong arguments, files or keys.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: hint.into() }
    }

    /// A file could not be read or written.
    pub fn file(doing: &str, path: &std::path::Path, cause: impl std::fmt::Display) -> Self {
        let what = format!("cannot {doing} {}: {cause}", path.display());
        Self::usage(what, "check the path, its permissions and the space left")
    }

    pub(crate) fn protocol(url: &str, what: impl Into<String>) -> Self {
        Self::Protocol { url: url.into(), what: what.into() }
    }

    /// 1 usage, 2 rejected, 3 included but failed, 4 unknown after the timeout.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Unreachable { .. } | Self::Protocol { .. } => 1,
            Self::Rejected(_) => 2,
            Self::Failed { .. } => 3,
            Self::Unknown { .. } => 4,
        }
    }

    /// The chain's code, where the chain refused.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Rejected(refusal) | Self::Failed { refusal, .. } => Some(refusal.code),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Unreachable { .. } => Some(
                "is it running? give its address by --node, --blobs or in LOCKSTEP_NODE".into(),
            ),
            Self::Protocol { .. } => Some("is this the address of a Lockstep node?".into()),
            Self::Rejected(refusal) | Self::Failed { refusal, .. } => refusal.hint(),
            Self::Unknown { .. } => {
                Some("ask again later with `lockstep tx show HASH`; do not send it twice".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_end_has_its_own_exit_code_and_a_hint() {
        let refusal = Refusal { code: 13, log: String::new() };
        let failed = Error::Failed { refusal: refusal.clone(), hash: "ab".into(), height: 3 };
        let unknown = Error::Unknown { what: "it".into(), seconds: 1 };
        let ends = [Error::usage("a", "b"), Error::Rejected(refusal), failed, unknown];
        let codes: Vec<u8> = ends.iter().map(Error::exit_code).collect();
        assert_eq!(codes, [1, 2, 3, 4]);
        assert!(ends.iter().all(|end| end.hint().is_some()));
    }
}
