//! The numbering of a trace's leaves.

use std::fmt;

use crate::program::Verified;

/// The leaves of a trace; they follow from the program and the number of tokens alone.
#[derive(Debug, Clone)]
pub struct Layout {
    count: u64,
}

impl Layout {
    /// Lays out the trace of a run over so many tokens.
    #[must_use]
    pub fn new(program: &Verified, tokens: u32) -> Self {
        let _ = (program, tokens);
        Self { count: 1 }
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.count
    }

    /// What stands at a leaf; none where there is no such leaf.
    #[must_use]
    pub fn place(&self, leaf: u64) -> Option<Place> {
        (leaf < self.count).then(|| Place { op: None, name: "RESULT", family: "RESULT" })
    }
}

/// What a leaf holds, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The operator's number; none for the result.
    pub op: Option<u32>,
    /// The operator's name.
    pub name: &'static str,
    /// The family of leaves.
    pub family: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}
