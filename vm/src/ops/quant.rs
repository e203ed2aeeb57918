//! QUANT8, QUANT16, `QUANT_WEIGHT` and TOINT: rows of binary32 to integers with one scale.
//!
//! Edge cases: a row whose largest magnitude is below 2^-100 becomes zeros (scale 0, for TOINT unit
//! 2^-21), so that no reciprocal overflows; a row with an infinity or a NaN is a FAULT, also where the
//! smoothing vector produced it; halves round to the even neighbour.

use super::Fault;
use super::float::{TINY, absmax, pow2, rni};

/// Largest magnitude of an 8-bit activation and of a weight.
pub const QUANT8_MAX: i16 = 127;
/// Largest magnitude of a 16-bit activation: its high plane stays within an i8.
pub const QUANT16_MAX: i16 = 32_512;

/// How QUANT rounds a row, from the row's largest magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quant {
    inverse: f32,
    q_max: i16,
    /// The value of one step.
    pub(crate) scale: f32,
}

impl Quant {
    #[inline(always)]
    pub(crate) fn of(most: f32, q_max: i16) -> Self {
        if most < TINY {
            return Self { inverse: 0.0, q_max, scale: 0.0 };
        }
        let top = f32::from(q_max);
        Self { inverse: top / most, q_max, scale: most / top }
    }

    /// The integers of some values of the row.
    #[inline(always)]
    pub(crate) fn integers(self, x: impl Iterator<Item = f32>, q: &mut [i16]) {
        if self.inverse == 0.0 {
            q.fill(0);
            return;
        }
        let limit = i32::from(self.q_max);
        for (q, x) in q.iter_mut().zip(x) {
            *q = rni(x * self.inverse).clamp(-limit, limit) as i16;
        }
    }
}

#[inline(always)]
fn quant(x: impl Iterator<Item = f32> + Clone, q_max: i16, q: &mut [i16]) -> Result<f32, Fault> {
    let quant = Quant::of(absmax(x.clone())?, q_max);
    quant.integers(x, q);
    Ok(quant.scale)
}

/// QUANT8 (`q_max` 127) or QUANT16 (`q_max` 32,512) of one row; `pre` is the smoothing vector.
///
/// Writes one integer per value and returns the row's scale: value = integer * scale.
///
/// # Errors
/// [`Fault`] where the row, after smoothing, holds an infinity or a NaN.
#[inline(always)]
pub fn quant_row(x: &[f32], pre: Option<&[f32]>, q_max: i16, q: &mut [i16]) -> Result<f32, Fault> {
    match pre {
        None => quant(x.iter().copied(), q_max, q),
        Some(pre) => quant(x.iter().zip(pre).map(|(x, p)| x * p), q_max, q),
    }
}

/// The two int8 planes of a 16-bit activation: `q = 256 * high + low`.
#[inline(always)]
#[must_use]
pub fn planes(q: i16) -> (i8, i8) {
    let high = (i32::from(q) + 128) >> 8;
    (high as i8, (i32::from(q) - (high << 8)) as i8)
}

/// `QUANT_WEIGHT`, the import rule, for one row of a weight matrix: divides by the scale instead of
/// multiplying by its reciprocal, as import need not be fast.
///
/// Writes one integer in -127..=127 per weight and returns the row's scale.
///
/// # Errors
/// [`Fault`] where the row holds an infinity or a NaN.
pub fn quant_weight_row(w: &[f32], q: &mut [i8]) -> Result<f32, Fault> {
    let most = absmax(w.iter().copied())?;
    if most < TINY {
        q.fill(0);
        return Ok(0.0);
    }
    let scale = most / 127.0;
    for (q, w) in q.iter_mut().zip(w) {
        *q = rni(w / scale).clamp(-127, 127) as i8;
    }
    Ok(scale)
}

/// How TOINT scales a row: `t = rni(x * factor)`, `|t| <= 2^22`, and `x` is about `t * unit`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    factor: f32,
    /// The value of one step, a power of two.
    pub unit: f32,
}

impl Unit {
    /// From the row's largest magnitude; below 2^-100 all integers are 0 and the unit is 2^-21.
    #[inline(always)]
    #[must_use]
    pub fn of(most: f32) -> Self {
        if most < TINY {
            return Self { factor: 0.0, unit: pow2(-21) };
        }
        let e = (most.to_bits() >> 23).cast_signed() - 127;
        Self { factor: pow2(21 - e), unit: pow2(e - 21) }
    }

    /// The integer of one value of the row.
    #[inline(always)]
    #[must_use]
    pub fn integer(self, x: f32) -> i32 {
        rni(x * self.factor)
    }
}

/// TOINT of one row: writes its integers and returns the unit.
///
/// # Errors
/// [`Fault`] where the row holds an infinity or a NaN.
pub fn toint_row(x: &[f32], t: &mut [i32]) -> Result<f32, Fault> {
    let unit = Unit::of(absmax(x.iter().copied())?);
    for (t, x) in t.iter_mut().zip(x) {
        *t = unit.integer(*x);
    }
    Ok(unit.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_put_every_activation_together_again() {
        for q in -QUANT16_MAX..=QUANT16_MAX {
            let (high, low) = planes(q);
            assert_eq!(256 * i32::from(high) + i32::from(low), i32::from(q));
            assert!(high > i8::MIN);
        }
    }

    #[test]
    fn halves_round_to_the_even_neighbour() {
        let mut q = [0; 5];
        let scale = quant_row(&[127.0, 0.5, 1.5, -2.5, 3.5], None, 127, &mut q);
        assert_eq!((scale, q), (Ok(1.0), [127, 0, 2, -2, 4]));
    }

    #[test]
    fn a_row_below_two_to_the_minus_100_is_zero() {
        let (mut q, mut t) = ([9; 2], [9; 2]);
        let row = [f32::from_bits(TINY.to_bits() - 1), -1e-45];
        assert_eq!(quant_row(&row, None, QUANT16_MAX, &mut q), Ok(0.0));
        assert_eq!(toint_row(&row, &mut t), Ok(pow2(-21)));
        assert_eq!((q, t), ([0; 2], [0; 2]));
    }

    #[test]
    fn smoothing_that_overflows_is_a_fault() {
        let mut q = [0; 2];
        assert_eq!(quant_row(&[1e38, 1.0], Some(&[1e3, 1.0]), 127, &mut q), Err(Fault));
        assert_eq!(quant_row(&[f32::INFINITY, 1.0], Some(&[0.0, 1.0]), 127, &mut q), Err(Fault));
    }
}
