//! What every operator is made of: single binary32 operations, and maxima over bit patterns.

use super::Fault;

/// Rows whose largest magnitude lies below 2^-100 count as zero.
pub(crate) const TINY: f32 = f32::from_bits(27 << 23);

/// The magnitude bits of an infinity; everything from here on is not finite.
const INFINITE_BITS: u32 = 0x7f80_0000;

/// 1.5 * 2^23: adding it to a value of at most 2^22 leaves that value, rounded, in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// Rounds to the nearest integer, ties to even, for |x| <= 2^22.
///
/// One fadd does the rounding, because binary32 values between 2^23 and 2^24 are the integers; the
/// integer is then read off the bits. Other inputs give a wrong number, never undefined behaviour.
#[inline(always)]
#[must_use]
pub fn rni(x: f32) -> i32 {
    (x + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()).cast_signed()
}

/// 2^e for -126 <= e <= 127.
#[inline(always)]
#[must_use]
pub fn pow2(e: i32) -> f32 {
    f32::from_bits(e.wrapping_add(127).cast_unsigned() << 23)
}

/// The largest magnitude of some values, as its bits. Order of bits is order of magnitudes, and
/// infinities and NaNs come out above every finite value.
#[inline(always)]
pub(crate) fn magnitude_bits(values: impl Iterator<Item = f32>) -> u32 {
    values.fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff))
}

/// The largest magnitude of some finite values; of others, what [`magnitude_bits`] makes of them.
#[inline(always)]
pub(crate) fn magnitude(values: impl Iterator<Item = f32>) -> f32 {
    f32::from_bits(magnitude_bits(values))
}

/// Refuses magnitude bits of an infinity or a NaN.
#[inline(always)]
pub(crate) fn finite_bits(most: u32) -> Result<(), Fault> {
    if most >= INFINITE_BITS { Err(Fault) } else { Ok(()) }
}

/// The largest magnitude of some values.
///
/// # Errors
/// [`Fault`] where one of them is an infinity or a NaN.
#[inline(always)]
pub fn absmax(values: impl Iterator<Item = f32>) -> Result<f32, Fault> {
    let most = magnitude_bits(values);
    finite_bits(most).map(|()| f32::from_bits(most))
}

/// Checks that an operator's result holds no infinity and no NaN.
///
/// # Errors
/// [`Fault`] where it does.
#[inline(always)]
pub fn finite(values: &[f32]) -> Result<(), Fault> {
    finite_bits(magnitude_bits(values.iter().copied()))
}

/// Checks a value that a whole row is about to be divided or multiplied by.
///
/// # Errors
/// [`Fault`] where it is an infinity or a NaN.
#[inline(always)]
pub fn finite_scalar(x: f32) -> Result<f32, Fault> {
    if x.is_finite() { Ok(x) } else { Err(Fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_by_addition_is_rounding_to_nearest_even() {
        let edge = 4_194_304.0_f32;
        for i in -2_000_000_i32..=2_000_000 {
            let x = i as f32 * 0.25;
            assert_eq!(rni(x), x.round_ties_even() as i32, "{x}");
        }
        for i in 0..4_000_u32 {
            let x = f32::from_bits(edge.to_bits() - i);
            assert_eq!(rni(x), x.round_ties_even() as i32, "{x}");
            assert_eq!(rni(-x), (-x).round_ties_even() as i32, "-{x}");
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        assert_eq!(pow2(-100).to_bits(), TINY.to_bits());
        assert_eq!(pow2(0).to_bits(), 1.0_f32.to_bits());
        assert_eq!(pow2(127).to_bits(), 0x7f00_0000);
    }

    #[test]
    fn infinities_and_nans_fault_wherever_they_stand() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..9 {
                let mut row = [1.0, -3e38, 0.0, -0.0, 1e-45, 7.0, 8.0, 9.0, 1.0];
                assert_eq!(finite(&row), Ok(()));
                row[at] = bad;
                assert_eq!(finite(&row), Err(Fault));
            }
        }
    }
}
