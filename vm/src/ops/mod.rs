//! The VM's operators as pure functions: the definition that every backend must equal byte for byte.
//!
//! No float is ever reduced. Sums, maxima and dot products run over integers; floats pass only through
//! elementwise maps of single binary32 operations, rounded to nearest even, never fused. So any order of
//! work gives the same bytes. The bodies are inlined into [`crate::kernels`], which compiles them
//! once per instruction set: the scalar build of these functions is the reference.
//!
//! Every f32 that goes in or out is finite. An operator whose result would not be yields [`Fault`].

#![expect(
    clippy::inline_always,
    reason = "definitions must land in the kernels that are compiled for an instruction set"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "bounds are stated beside the operators; integer to binary32 rounds by definition"
)]
#![expect(
    clippy::approx_constant,
    clippy::excessive_precision,
    clippy::many_single_char_names,
    reason = "constants and names are those of the specification"
)]

mod attention;
mod choose;
mod elementwise;
mod float;
mod linear;
mod norm;
mod quant;

pub use attention::{AttentionShape, attention_head};
pub(crate) use attention::{add_weighted, factor, highest, partial_denominator, scores, weights};
pub use choose::{Sampling, TOP_K_MAX, argmax, philox4x32, sample};
pub use elementwise::{
    expn, expn_map, gelu_erf, gelu_erf_map, gelu_tanh, gelu_tanh_map, rope_row, sigmoid,
    sigmoid_map, silu, silu_map, swiglu,
};
pub use float::{absmax, finite, finite_scalar, pow2, rni};
pub(crate) use float::{finite_bits, magnitude};
pub use linear::{
    Activations, LINEAR_K_MAX, LinearSpec, add, dot, embed_f32, embed8, matmul_row, rescale,
};
pub(crate) use linear::{add_products, finish};
pub use norm::{NORM_LEN_MAX, l2norm_row, layernorm_row, pool_mean, rmsnorm_row};
pub(crate) use norm::{
    inverse_root, l2norm_values, layernorm_values, length, mean, pooled, sum, sum_squares,
};
pub(crate) use quant::Quant;
pub use quant::{QUANT8_MAX, QUANT16_MAX, Unit, planes, quant_row, quant_weight_row, toint_row};

pub use crate::kernels::{Cpu, CpuError, Isa, Linear};

/// An f32 result would be infinite or NaN: a valid, deterministic outcome of the whole program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an operator's result is not finite (FAULT)")]
pub struct Fault;
