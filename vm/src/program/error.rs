//! Why a program is refused.

use std::fmt;

use super::{FORMAT, Op, Shape, TensorId, ValueId};
use crate::hash::Hex;

/// Where in a program something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The program as a whole.
    Program,
    /// A declared tensor.
    Tensor(TensorId),
    /// An operator, by number and name.
    Op(ValueId, &'static str),
}

impl Place {
    pub(super) fn op(number: ValueId, op: &Op) -> Self {
        Self::Op(number, op.name())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => write!(f, "the program"),
            Self::Tensor(number) => write!(f, "tensor {number}"),
            Self::Op(number, name) => write!(f, "operator {number} ({name})"),
        }
    }
}

/// Why a program is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Another format than this build knows.
    #[error("the program is in format {0}, this build reads format {FORMAT}")]
    Format(u16),
    /// The bytes are no program in canonical form.
    #[error("the program's bytes are refused: {0}")]
    Bytes(String),
    /// A number is outside its bounds.
    #[error("{place}: {what} is {found}, allowed are {min} to {max}")]
    Range {
        /// Where.
        place: Place,
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The least allowed.
        min: u64,
        /// The greatest allowed.
        max: u64,
    },
    /// An operator reads a value that is not computed before it.
    #[error("{place} reads value {value}, which is not computed before it")]
    Later {
        /// The operator, or the program for its output.
        place: Place,
        /// The value.
        value: ValueId,
    },
    /// A tensor that is not declared.
    #[error("{place} reads tensor {tensor}, which is not declared")]
    NoTensor {
        /// The operator.
        place: Place,
        /// The tensor.
        tensor: TensorId,
    },
    /// A tensor of the wrong kind.
    #[error("{place} reads tensor {tensor}, which must be {expected}")]
    Kind {
        /// The operator.
        place: Place,
        /// The tensor.
        tensor: TensorId,
        /// What it must be.
        expected: &'static str,
    },
    /// A value of the wrong shape.
    #[error("{place}: value {value} has shape {found}, expected {expected}")]
    Shape {
        /// The operator, or the program for its output.
        place: Place,
        /// The value.
        value: ValueId,
        /// Its shape.
        found: Shape,
        /// What it must be.
        expected: String,
    },
    /// A tensor of the wrong shape.
    #[error("{place}: tensor {tensor} is [{rows}, {cols}], expected {expected}")]
    TensorShape {
        /// The operator.
        place: Place,
        /// The tensor.
        tensor: TensorId,
        /// Its rows.
        rows: u32,
        /// Its columns.
        cols: u32,
        /// What it must be.
        expected: String,
    },
    /// An attribute that is not a finite positive float.
    #[error("{place}: {what} has bits 0x{}, which is no finite positive float", Hex(&.bits.to_be_bytes()))]
    Float {
        /// The operator.
        place: Place,
        /// Which attribute.
        what: &'static str,
        /// Its IEEE 754 bits.
        bits: u32,
    },
    /// A tensor that no operator reads.
    #[error("tensor {0} is used by no operator")]
    UnusedTensor(TensorId),
    /// A value that neither an operator nor the output reads.
    #[error("value {0} is used by no operator and is not the output")]
    UnusedValue(ValueId),
}

/// Why an input is refused. Inputs of a batch count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No token ids at all.
    #[error("input {input} has no token ids; hint: give at least one")]
    Empty {
        /// Which input.
        input: usize,
    },
    /// More than the model takes.
    #[error(
        "input {input} has {tokens} token ids, the model takes at most {tokens_max}; \
         hint: cut the text"
    )]
    TooLong {
        /// Which input.
        input: usize,
        /// How many it has.
        tokens: u32,
        /// How many are allowed.
        tokens_max: u32,
    },
}

impl InputError {
    /// The same about another input.
    #[must_use]
    pub fn of_input(mut self, number: usize) -> Self {
        let (Self::Empty { input } | Self::TooLong { input, .. }) = &mut self;
        *input = number;
        self
    }
}
