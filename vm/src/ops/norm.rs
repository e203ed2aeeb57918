//! RMSNORM, LAYERNORM, `POOL_MEAN` and L2NORM: sums over the integers of TOINT.
//!
//! Edge cases: integers of 23 bits and rows of at most 2^17 values keep every sum below 2^63; the mean is
//! rounded to the nearest integer (halves up) before the deviations are squared; a mean square that
//! overflows binary32 is a FAULT even where the quotient would be zero; a zero row of L2NORM stays +0.

use super::Fault;
use super::float::{absmax, finite, finite_scalar};
use super::quant::Unit;

/// Longest row of a norm, and most tokens of a pooling.
pub const NORM_LEN_MAX: usize = 1 << 17;

/// Sum of the integers of some values of a row.
#[inline(always)]
pub(crate) fn sum(x: impl Iterator<Item = f32>, unit: Unit) -> i64 {
    x.fold(0, |sum: i64, x| sum.wrapping_add(i64::from(unit.integer(x))))
}

/// Sum of the squares of the integers of some values of a row, each less `mean`.
#[inline(always)]
pub(crate) fn sum_squares(x: impl Iterator<Item = f32>, unit: Unit, mean: i32) -> i64 {
    x.fold(0, |sum: i64, x| {
        let t = i64::from(unit.integer(x).wrapping_sub(mean));
        sum.wrapping_add(t.wrapping_mul(t))
    })
}

/// The mean of `len` values whose integers have this sum, and that of the integers, rounded.
#[inline(always)]
pub(crate) fn mean(sum: i64, len: usize, unit: Unit) -> (f32, i32) {
    let n = len as i64;
    let mu = sum.wrapping_mul(2).wrapping_add(n).div_euclid(2 * n) as i32;
    ((sum as f32 / len as f32) * unit.unit, mu)
}

/// Mean of squares in the row's own units.
#[inline(always)]
fn mean_square(squares: i64, len: usize, unit: Unit) -> Result<f32, Fault> {
    finite_scalar(((squares as f32 / len as f32) * unit.unit) * unit.unit)
}

/// What a row of `len` values with this sum of squares is multiplied by.
#[inline(always)]
pub(crate) fn inverse_root(squares: i64, len: usize, unit: Unit, eps: f32) -> Result<f32, Fault> {
    Ok(1.0 / (mean_square(squares, len, unit)? + eps).sqrt())
}

/// The last step of LAYERNORM for some values of a row, and their gains and offsets.
#[inline(always)]
pub(crate) fn layernorm_values(
    x: &[f32],
    (g, b): (&[f32], &[f32]),
    (mean, r): (f32, f32),
    out: &mut [f32],
) -> Result<(), Fault> {
    for (((x, g), b), y) in x.iter().zip(g).zip(b).zip(out.iter_mut()) {
        *y = ((x - mean) * r) * g + b;
    }
    finite(out)
}

/// The length of a row with this sum of squares; 0 only for a row of zeros.
#[inline(always)]
pub(crate) fn length(squares: i64, unit: Unit) -> Result<f32, Fault> {
    if squares == 0 {
        return Ok(0.0);
    }
    finite_scalar((squares as f32).sqrt() * unit.unit)
}

/// The last step of L2NORM for some values of a row.
#[inline(always)]
pub(crate) fn l2norm_values(x: &[f32], length: f32, out: &mut [f32]) -> Result<(), Fault> {
    if length == 0.0 {
        out.fill(0.0);
        return Ok(());
    }
    for (x, y) in x.iter().zip(out.iter_mut()) {
        *y = x / length;
    }
    finite(out)
}

/// The last step of `POOL_MEAN` for one column.
#[inline(always)]
pub(crate) fn pooled(sum: i64, tokens: usize, unit: Unit) -> f32 {
    (sum as f32 / tokens as f32) * unit.unit
}

/// RMSNORM of one row `x [n]` with gain `g [n]`: writes `[n]`.
///
/// # Errors
/// [`Fault`] where the mean square or a result is not finite.
#[inline(always)]
pub fn rmsnorm_row(x: &[f32], g: &[f32], eps: f32, out: &mut [f32]) -> Result<(), Fault> {
    let unit = Unit::of(absmax(x.iter().copied())?);
    let r = inverse_root(sum_squares(x.iter().copied(), unit, 0), x.len(), unit, eps)?;
    for ((x, g), y) in x.iter().zip(g).zip(out.iter_mut()) {
        *y = (x * r) * g;
    }
    finite(out)
}

/// LAYERNORM of one row `x [n]` with gain `g [n]` and offset `b [n]`: writes `[n]`.
///
/// # Errors
/// [`Fault`] where the variance or a result is not finite.
#[inline(always)]
pub fn layernorm_row(
    x: &[f32],
    g: &[f32],
    b: &[f32],
    eps: f32,
    out: &mut [f32],
) -> Result<(), Fault> {
    let unit = Unit::of(absmax(x.iter().copied())?);
    let (mean, mu) = mean(sum(x.iter().copied(), unit), x.len(), unit);
    let r = inverse_root(sum_squares(x.iter().copied(), unit, mu), x.len(), unit, eps)?;
    layernorm_values(x, (g, b), (mean, r), out)
}

/// `POOL_MEAN` of `x [tokens, cols]`, `cols = out.len()`: the mean of each column.
///
/// # Errors
/// [`Fault`] where an input or a result is not finite.
pub fn pool_mean(x: &[f32], out: &mut [f32]) -> Result<(), Fault> {
    let cols = out.len();
    let tokens = x.len() / cols;
    for (c, y) in out.iter_mut().enumerate() {
        let column = || x[c..].iter().step_by(cols).copied();
        let unit = Unit::of(absmax(column())?);
        *y = pooled(sum(column(), unit), tokens, unit);
    }
    finite(out)
}

/// L2NORM of one row `x [n]`: writes it divided by its length; a zero row gives +0.
///
/// # Errors
/// [`Fault`] where the length or a result is not finite.
#[inline(always)]
pub fn l2norm_row(x: &[f32], out: &mut [f32]) -> Result<(), Fault> {
    let unit = Unit::of(absmax(x.iter().copied())?);
    l2norm_values(x, length(sum_squares(x.iter().copied(), unit, 0), unit)?, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_row_has_no_direction_and_stays_plus_zero() {
        let mut y = [1.0; 3];
        assert_eq!(l2norm_row(&[-0.0, 0.0, -1e-40], &mut y), Ok(()));
        assert_eq!(y.map(f32::to_bits), [0; 3]);
    }

    #[test]
    fn a_mean_square_beyond_binary32_is_a_fault() {
        let mut y = [0.0; 2];
        assert_eq!(rmsnorm_row(&[3e38, 3e38], &[1.0; 2], 1e-5, &mut y), Err(Fault));
        assert_eq!(layernorm_row(&[3e38, -3e38], &[1.0; 2], &[0.0; 2], 1e-5, &mut y), Err(Fault));
    }

    #[test]
    fn the_longest_row_of_extremes_has_a_mean_square_of_one() {
        let (x, g) = (vec![1.0; NORM_LEN_MAX], vec![1.0; NORM_LEN_MAX]);
        let mut y = vec![0.0; NORM_LEN_MAX];
        assert_eq!(rmsnorm_row(&x, &g, 0.0, &mut y), Ok(()));
        assert!(y.iter().all(|y| y.to_bits() == 1.0_f32.to_bits()));
    }
}
