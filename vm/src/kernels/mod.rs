//! The operators compiled for each instruction set, and the engine that runs them on several threads.
//!
//! Maps, norms, quantisation and softmax are the definitions of [`crate::ops`] themselves, inlined and
//! compiled once more with AVX2 enabled: single binary32 operations have one result on any width, and
//! the compiler never fuses them. Only the integer matrix products are written by hand.
//!
//! These are the only files of this crate with `unsafe` in them.

#![expect(
    clippy::inline_always,
    reason = "bodies must land in the function that is compiled for an instruction set"
)]
#![expect(clippy::many_single_char_names, reason = "names are those of the specification")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "bounds are stated beside the operators; integer to binary32 rounds by definition"
)]

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod cpu;
mod float_mode;
mod isa;
mod linear;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use cpu::{Cpu, CpuError};
pub(crate) use cpu::{add, gelu_erf, gelu_tanh, silu};
pub(crate) use float_mode::ieee;
pub use isa::{Isa, UnknownIsa};
pub use linear::Linear;
pub(crate) use steps::{add_products, add_weighted, partial_denominator};

/// Declares a function `name(isa, arguments)` whose body, an inlined function, is compiled for each
/// instruction set.
macro_rules! per_isa {
    ($($(#[$meta:meta])* $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty = $body:path;)*) => {$(
        $(#[$meta])*
        pub(crate) fn $name(isa: $crate::kernels::Isa, $($arg: $ty),*) -> $ret {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $ty),*) -> $ret {
                $body($($arg),*)
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Isa::Avx2 | $crate::kernels::Isa::Vnni => {
                    // SAFETY: an engine of this kind is made only where the machine has AVX2.
                    #[expect(unsafe_code, reason = "calls code compiled for AVX2")]
                    unsafe { avx2($($arg),*) }
                }
                _ => $body($($arg),*),
            }
        }
    )*};
}
pub(crate) use per_isa;
