//! Why an audit did not go on.

use crate::report::Difference;

/// What this crate's functions return.
pub type Result<T, E = Stop> = std::result::Result<T, E>;

/// What a comparison returns.
pub type Compared<T = ()> = std::result::Result<T, Box<Difference>>;

/// Why an audit did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// What was recorded is not what the rules give.
    #[error("{0}")]
    Difference(Box<Difference>),
    /// What is needed to go on is not there: a block, a file, an answer, time.
    #[error("{what}\nhint: {hint}")]
    Incomplete {
        /// What is missing, without where: it goes into reports, which are the same for everybody.
        what: String,
        /// What to do.
        hint: String,
    },
    /// It cannot be done as asked.
    #[error("{what}\nhint: {hint}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
}

impl Stop {
    /// Something is missing.
    pub fn incomplete(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Incomplete { what: what.into(), hint: hint.into() }
    }

    /// It cannot be done as asked.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: hint.into() }
    }

    /// A file could not be read or written.
    pub fn file(doing: &str, path: &std::path::Path, cause: impl std::fmt::Display) -> Self {
        let name = path.file_name().unwrap_or_default().display();
        let hint = "check the path, its permissions and the space left";
        Self::incomplete(
            format!("cannot {doing} {name}: {cause}"),
            format!("{hint} ({})", path.display()),
        )
    }

    /// 1 usage, 10 difference, 11 incomplete.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 1,
            Self::Difference(_) => 10,
            Self::Incomplete { .. } => 11,
        }
    }
}

impl From<Difference> for Stop {
    fn from(difference: Difference) -> Self {
        Self::Difference(Box::new(difference))
    }
}

impl From<Box<Difference>> for Stop {
    fn from(difference: Box<Difference>) -> Self {
        Self::Difference(difference)
    }
}
