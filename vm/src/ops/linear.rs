//! MATMUL8 and MATMUL16, EMBED and ADD.
//!
//! Edge cases: the integer dot product is exact for K <= 131,071 (8-bit: 131,071 * 128 * 127 fits i32;
//! 16-bit is held in i64); a missing bias is not a bias of zero, since adding +0 turns -0 into +0.

use super::Fault;
use super::float::finite;

/// Width of the integers that activations are quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activations {
    /// QUANT8.
    Bits8,
    /// QUANT16.
    Bits16,
}

impl Activations {
    /// Largest magnitude of a quantised activation.
    #[must_use]
    pub const fn max(self) -> i16 {
        match self {
            Self::Bits8 => super::QUANT8_MAX,
            Self::Bits16 => super::QUANT16_MAX,
        }
    }
}

/// Longest row of a linear layer that is exact in every backend.
pub const LINEAR_K_MAX: usize = 131_071;

/// A linear layer: `y = x * weight^T * scale + bias`.
#[derive(Debug, Clone, Copy)]
pub struct LinearSpec<'a> {
    /// Weights, row-major `[n, k]`, none of them -128.
    pub weight: &'a [i8],
    /// Outputs per row.
    pub n: usize,
    /// Inputs per row, at most [`LINEAR_K_MAX`].
    pub k: usize,
    /// One scale per output, `[n]`.
    pub scale: &'a [f32],
    /// Added to each output, `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Multiplied into the inputs before they are quantised, `[k]`.
    pub smoothing: Option<&'a [f32]>,
    /// How inputs are quantised.
    pub activations: Activations,
}

/// Exact integer dot product of quantised activations and weights.
#[inline(always)]
#[must_use]
pub fn dot(q: &[i16], w: &[i8]) -> i64 {
    // 512 * 32,640 * 128 < 2^31: activations are at most 256 * 127 + 128 in magnitude.
    q.chunks(512).zip(w.chunks(512)).fold(0, |sum, (q, w)| {
        let products = q.iter().zip(w).map(|(q, w)| i32::from(*q).wrapping_mul(i32::from(*w)));
        sum + i64::from(products.fold(0_i32, i32::wrapping_add))
    })
}

/// The value of an integer dot product, from the scales of its row of activations and of weights.
#[inline(always)]
#[must_use]
pub fn rescale(sum: i64, sx: f32, sw: f32) -> f32 {
    sum as f32 * (sx * sw)
}

/// The last step of a linear layer for some outputs of a row: from their integer sums, the scales of
/// the row `sx` and of the weights, and their biases.
///
/// # Errors
/// [`Fault`] where a result is not finite.
#[inline(always)]
pub(crate) fn finish(
    sums: &[i64],
    sx: f32,
    scale: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) -> Result<(), Fault> {
    for ((y, sum), sw) in out.iter_mut().zip(sums).zip(scale) {
        *y = rescale(*sum, sx, *sw);
    }
    if let Some(bias) = bias {
        for (y, bias) in out.iter_mut().zip(bias) {
            *y += bias;
        }
    }
    finite(out)
}

/// Adds the products of rows `q [m, depth]` and `w [n, depth]` to `sums [m, n]`; `depth` is at most 512.
#[inline(always)]
pub(crate) fn add_products(q: &[i16], w: &[i8], depth: usize, sums: &mut [i64]) {
    let n = w.len() / depth;
    for (q, sums) in q.chunks_exact(depth).zip(sums.chunks_exact_mut(n)) {
        for (w, sum) in w.chunks_exact(depth).zip(sums) {
            *sum = sum.wrapping_add(dot(q, w));
        }
    }
}

/// MATMUL8 or MATMUL16 for one row of quantised activations `q [k]` with scale `sx`: writes `[n]`.
///
/// # Errors
/// [`Fault`] where a result is not finite.
pub fn matmul_row(
    q: &[i16],
    sx: f32,
    layer: &LinearSpec<'_>,
    out: &mut [f32],
) -> Result<(), Fault> {
    let sums: Vec<i64> = layer.weight.chunks_exact(layer.k).map(|w| dot(q, w)).collect();
    finish(&sums, sx, layer.scale, layer.bias, out)
}

/// ADD: `out = a + b`, elementwise.
///
/// # Errors
/// [`Fault`] where a sum is not finite.
#[inline(always)]
pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) -> Result<(), Fault> {
    for ((a, b), y) in a.iter().zip(b).zip(out.iter_mut()) {
        *y = a + b;
    }
    finite(out)
}

/// EMBED of an f32 table `[rows, cols]`: copies the rows `ids` to `out [ids, cols]` as they are.
///
/// # Errors
/// [`Fault`] where the table has no such row.
pub fn embed_f32(table: &[f32], cols: usize, ids: &[u32], out: &mut [f32]) -> Result<(), Fault> {
    for (id, y) in ids.iter().zip(out.chunks_exact_mut(cols)) {
        y.copy_from_slice(table.chunks_exact(cols).nth(*id as usize).ok_or(Fault)?);
    }
    Ok(())
}

/// EMBED of an int8 table `[rows, cols]` with one scale per row: `out [ids, cols]`.
///
/// # Errors
/// [`Fault`] where a product is not finite.
///
/// # Panics
/// Where an id lies outside the table; callers check ids first.
pub fn embed8(
    table: &[i8],
    scale: &[f32],
    cols: usize,
    ids: &[u32],
    out: &mut [f32],
) -> Result<(), Fault> {
    for (id, y) in ids.iter().zip(out.chunks_exact_mut(cols)) {
        let row = *id as usize;
        for (q, y) in table[row * cols..][..cols].iter().zip(y) {
            *y = f32::from(*q) * scale[row];
        }
    }
    finite(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_row_of_extremes_is_exact() {
        let (q, w) = (vec![32_512; LINEAR_K_MAX], vec![-127; LINEAR_K_MAX]);
        assert_eq!(dot(&q, &w), -131_071 * 32_512 * 127);
        assert_eq!(dot(&vec![-32_640; 1024], &[-128; 1024]), 1024 * 32_640 * 128);
    }

    #[test]
    fn no_bias_keeps_the_sign_of_zero() {
        let mut layer = LinearSpec {
            weight: &[-1],
            n: 1,
            k: 1,
            scale: &[-0.0],
            bias: None,
            smoothing: None,
            activations: Activations::Bits8,
        };
        let mut y = [1.0];
        assert_eq!(matmul_row(&[1], 1.0, &layer, &mut y), Ok(()));
        assert_eq!(y[0].to_bits(), 0.0_f32.to_bits());
        assert_eq!(matmul_row(&[-1], 1.0, &layer, &mut y), Ok(()));
        assert_eq!(y[0].to_bits(), (-0.0_f32).to_bits());
        layer.bias = Some(&[0.0]);
        assert_eq!(matmul_row(&[-1], 1.0, &layer, &mut y), Ok(()));
        assert_eq!(y[0].to_bits(), 0.0_f32.to_bits());
    }

    #[test]
    fn a_sum_that_overflows_is_a_fault() {
        let mut y = [0.0];
        assert_eq!(add(&[3e38], &[3e38], &mut y), Err(Fault));
        assert_eq!(embed8(&[127], &[3e38], 1, &[0], &mut y), Err(Fault));
    }
}
