//! Shapes: known before a run but for T, the number of token ids.

use std::fmt;

/// How many rows a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// T: one for each token id.
    Tokens,
    /// One.
    One,
}

/// Shape of a value: rows of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its rows.
    pub rows: Rows,
    /// Values in a row.
    pub cols: u32,
}

impl Shape {
    /// The number of f32 values for so many token ids in so many sequences.
    #[must_use]
    pub fn values(&self, tokens: u64, sequences: u64) -> u64 {
        let rows = match self.rows {
            Rows::Tokens => tokens,
            Rows::One => sequences,
        };
        rows.saturating_mul(self.cols.into())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            Rows::Tokens => write!(f, "[T, {}]", self.cols),
            Rows::One => write!(f, "[1, {}]", self.cols),
        }
    }
}
