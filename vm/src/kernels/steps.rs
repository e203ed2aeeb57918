//! What the steps of traces compute most, compiled for each instruction set.

use super::per_isa;
use crate::ops;

per_isa! {
    /// Adds integer products of rows of at most 512 to sums.
    add_products(q: &[i16], w: &[i8], depth: usize, sums: &mut [i64]) -> () = ops::add_products;
    /// A part of a softmax denominator.
    partial_denominator(s: &[f32], most: f32) -> i64 = ops::partial_denominator;
    /// Adds what some keys contribute to an attention's output.
    add_weighted(s: (&[f32], f32), sv: (&[f32], f32), v: &[i8], sums: &mut [i64]) -> ()
        = ops::add_weighted;
}
