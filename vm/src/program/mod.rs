//! What a program is: tensors, operators in order, their attributes; and its canonical bytes.
//!
//! Every operator gives one value, numbered like the operator. Shapes are known but for T, the
//! number of token ids of the input. Nothing here can run: [`verify`] turns a [`Program`] into a
//! [`Verified`], which alone can.

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

mod error;
mod plan;
mod shapes;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use borsh::{BorshDeserialize, BorshSerialize};

pub use error::{InputError, Place, VerifyError};
pub use plan::{Cost, Plan, Slot};
pub use shapes::{Rows, Shape};
pub use verify::{Verified, verify};

use crate::limits::PROGRAM_BYTES_MAX;

/// The format that this build reads and writes.
pub const FORMAT: u16 = 1;

/// Number of a tensor in [`Program::tensors`].
pub type TensorId = u32;
/// Number of an operator in [`Program::ops`], and of the value that it gives.
pub type ValueId = u32;

/// A program, unchecked. See [`verify`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Program {
    /// [`FORMAT`]; comes first, so that a later format is recognised before anything else is read.
    pub format: u16,
    /// What goes in.
    pub input: Input,
    /// The constants, in the order of their leaves in the artefact.
    pub tensors: Vec<Tensor>,
    /// In an order in which every operator reads earlier values only.
    pub ops: Vec<Op>,
    /// The value that comes out: one row of f32.
    pub output: ValueId,
}

/// What a program takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Input {
    /// 1 to `tokens_max` ids, each below `vocabulary`.
    TokenIds {
        /// How many different ids there are.
        vocabulary: u32,
        /// How many ids an input may hold.
        tokens_max: u32,
    },
}

/// A constant of the artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Tensor {
    /// int8 matrix, each row with an f32 scale; no value is -128.
    I8 {
        /// Rows (outputs of a linear layer).
        rows: u32,
        /// Columns (its inputs).
        cols: u32,
    },
    /// f32 table of finite values; a vector is one row.
    F32 {
        /// Rows.
        rows: u32,
        /// Columns.
        cols: u32,
    },
}

/// Bits of the integers that a linear layer's input is rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub enum Activations {
    /// QUANT8 and MATMUL8.
    Bits8,
    /// QUANT16 and MATMUL16.
    Bits16,
}

/// Which row of a table a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Index {
    /// The one of its id.
    Tokens,
    /// The one of its place in the input, from 0.
    Positions,
    /// The same for all.
    Row(u32),
}

/// A function of each value on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Map {
    /// `GELU_ERF`.
    GeluErf,
    /// `GELU_TANH`.
    GeluTanh,
    /// `SILU`.
    Silu,
}

/// One operator; `docs/vm.md` says what each computes. Floats are given by their IEEE 754 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Op {
    /// EMBED: rows of an f32 table, \[T, cols\].
    Embed {
        /// The table.
        table: TensorId,
        /// Which rows.
        index: Index,
    },
    /// ADD of two values of one shape.
    Add {
        /// Left.
        a: ValueId,
        /// Right.
        b: ValueId,
    },
    /// LAYERNORM of each row.
    LayerNorm {
        /// \[R, n\].
        x: ValueId,
        /// \[1, n\].
        gain: TensorId,
        /// \[1, n\].
        bias: TensorId,
        /// Finite, positive.
        eps_bits: u32,
    },
    /// QUANT and MATMUL: \[R, k\] to \[R, n\].
    Linear {
        /// \[R, k\].
        x: ValueId,
        /// I8 \[n, k\].
        weight: TensorId,
        /// \[1, n\].
        bias: Option<TensorId>,
        /// \[1, k\]: QUANT's `pre`.
        smoothing: Option<TensorId>,
        /// Which QUANT and MATMUL.
        activations: Activations,
    },
    /// A function of each value on its own.
    Map {
        /// \[R, n\].
        x: ValueId,
        /// The function.
        map: Map,
    },
    /// ATTENTION without a mask; heads lie side by side in the columns.
    Attention {
        /// Queries \[T, heads * d\].
        q: ValueId,
        /// Keys, of the same shape.
        k: ValueId,
        /// Values, of the same shape.
        v: ValueId,
        /// Number of heads.
        heads: u32,
        /// Finite, positive.
        scale_bits: u32,
    },
    /// `POOL_MEAN`: \[T, n\] to \[1, n\].
    PoolMean {
        /// \[T, n\].
        x: ValueId,
    },
    /// L2NORM of each row.
    L2Norm {
        /// \[R, n\].
        x: ValueId,
    },
}

impl Op {
    /// The operator's name in `docs/vm.md`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embed { .. } => "EMBED",
            Self::Add { .. } => "ADD",
            Self::LayerNorm { .. } => "LAYERNORM",
            Self::Linear { activations: Activations::Bits8, .. } => "LINEAR8",
            Self::Linear { activations: Activations::Bits16, .. } => "LINEAR16",
            Self::Map { map: Map::GeluErf, .. } => "GELU_ERF",
            Self::Map { map: Map::GeluTanh, .. } => "GELU_TANH",
            Self::Map { map: Map::Silu, .. } => "SILU",
            Self::Attention { .. } => "ATTENTION",
            Self::PoolMean { .. } => "POOL_MEAN",
            Self::L2Norm { .. } => "L2NORM",
        }
    }

    /// The values that it reads.
    pub fn values(&self) -> impl Iterator<Item = ValueId> {
        let values = match *self {
            Self::Embed { .. } => [None; 3],
            Self::Add { a, b } => [Some(a), Some(b), None],
            Self::Attention { q, k, v, .. } => [Some(q), Some(k), Some(v)],
            Self::LayerNorm { x, .. }
            | Self::Linear { x, .. }
            | Self::Map { x, .. }
            | Self::PoolMean { x }
            | Self::L2Norm { x } => [Some(x), None, None],
        };
        values.into_iter().flatten()
    }

    /// The tensors that it reads.
    pub fn tensors(&self) -> impl Iterator<Item = TensorId> {
        let tensors = match *self {
            Self::Embed { table, .. } => [Some(table), None, None],
            Self::LayerNorm { gain, bias, .. } => [Some(gain), Some(bias), None],
            Self::Linear { weight, bias, smoothing, .. } => [Some(weight), bias, smoothing],
            Self::Add { .. }
            | Self::Map { .. }
            | Self::Attention { .. }
            | Self::PoolMean { .. }
            | Self::L2Norm { .. } => [None; 3],
        };
        tensors.into_iter().flatten()
    }
}

impl Program {
    /// The canonical bytes: borsh.
    ///
    /// # Errors
    /// [`VerifyError::Bytes`] where they exceed [`PROGRAM_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, VerifyError> {
        let bytes = borsh::to_vec(self).map_err(|error| VerifyError::Bytes(error.to_string()))?;
        check_length(bytes.len())?;
        Ok(bytes)
    }

    /// Reads canonical bytes; any other encoding of the same program is refused.
    ///
    /// # Errors
    /// [`VerifyError::Format`] or [`VerifyError::Bytes`].
    pub fn decode(bytes: &[u8]) -> Result<Self, VerifyError> {
        check_length(bytes.len())?;
        if let Some(format) = bytes.first_chunk().map(|format| u16::from_le_bytes(*format))
            && format != FORMAT
        {
            return Err(VerifyError::Format(format));
        }
        let program: Self =
            borsh::from_slice(bytes).map_err(|error| VerifyError::Bytes(error.to_string()))?;
        if program.encode()? != bytes {
            return Err(VerifyError::Bytes("not in canonical form".into()));
        }
        Ok(program)
    }
}

fn check_length(length: usize) -> Result<(), VerifyError> {
    if length > PROGRAM_BYTES_MAX {
        let message = format!("{length} bytes, at most {PROGRAM_BYTES_MAX} are allowed");
        return Err(VerifyError::Bytes(message));
    }
    Ok(())
}
