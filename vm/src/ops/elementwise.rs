//! EXPN, SIGMOID, SILU, SWIGLU, `GELU_TANH`, `GELU_ERF` and ROPE: maps of single operations.
//!
//! Edge cases: EXPN takes x <= 0 (also -inf) and is +0 below -80, exactly 1 at either zero; `GELU_TANH`
//! of a large x passes through an infinite polynomial, which SIGMOID turns into 0 or 1, so the result
//! is finite; SWIGLU overflows only where the product does, and that is a FAULT.

use super::Fault;
use super::float::{finite, rni};

const EXP: [f32; 6] = [
    1.987_569_150_0e-4,
    1.398_199_950_7e-3,
    8.333_451_907_3e-3,
    4.166_579_589_4e-2,
    1.666_666_545_9e-1,
    5.000_000_120_1e-1,
];

/// EXPN: e^x for x <= 0, at most 1 ulp off; +0 below -80.
#[inline(always)]
#[must_use]
pub fn expn(x: f32) -> f32 {
    let low = x < -80.0;
    let x = if low { 0.0 } else { x };
    // `k` is read back from the rounded integer: its only difference, the sign of a zero, is lost in
    // the two subtractions below.
    let whole = rni(x * 1.442_695_04);
    let k = whole as f32;
    let r = (x - k * 0.693_359_375) - k * -2.121_944_40e-4;
    let mut p = EXP[0];
    for c in &EXP[1..] {
        p = p * r + c;
    }
    p = (p * (r * r) + r) + 1.0;
    let y = f32::from_bits(p.to_bits().wrapping_add((whole << 23).cast_unsigned()));
    if low { 0.0 } else { y }
}

/// SIGMOID, from [`expn`] of -|x|.
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let e = expn(-x.abs());
    let d = 1.0 / (1.0 + e);
    if x >= 0.0 { d } else { e * d }
}

/// `SILU(x) = x * SIGMOID(x)` of one value.
#[inline(always)]
#[must_use]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `GELU_TANH` of one value: `x * SIGMOID(1.5957691 * (x + 0.044715 x^3))`.
#[inline(always)]
#[must_use]
pub fn gelu_tanh(x: f32) -> f32 {
    let cube = (x * x) * x;
    x * sigmoid(1.595_769_1 * (x + 0.044_715 * cube))
}

const ERF: [f32; 5] = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];

/// `GELU_ERF` of one value, by Abramowitz and Stegun 7.1.26.
#[inline(always)]
#[must_use]
pub fn gelu_erf(x: f32) -> f32 {
    let z = x.abs() * 0.707_106_78;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let mut p = ERF[0] * t;
    for c in &ERF[1..] {
        p = (p + c) * t;
    }
    let h = (p * expn(-(z * z))) * 0.5;
    if x >= 0.0 { x - x * h } else { x * h }
}

#[inline(always)]
fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) -> Result<(), Fault> {
    for (x, y) in x.iter().zip(out.iter_mut()) {
        *y = f(*x);
    }
    finite(out)
}

macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident = $f:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Fault`] where a result is not finite.
        #[inline(always)]
        pub fn $name(x: &[f32], out: &mut [f32]) -> Result<(), Fault> {
            map(x, out, $f)
        }
    )*};
}

maps! {
    /// EXPN of every value.
    expn_map = expn;
    /// SIGMOID of every value.
    sigmoid_map = sigmoid;
    /// SILU of every value.
    silu_map = silu;
    /// `GELU_TANH` of every value.
    gelu_tanh_map = gelu_tanh;
    /// `GELU_ERF` of every value.
    gelu_erf_map = gelu_erf;
}

/// SWIGLU: `SILU(gate) * up`, elementwise.
///
/// # Errors
/// [`Fault`] where a product is not finite.
#[inline(always)]
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) -> Result<(), Fault> {
    for ((gate, up), y) in gate.iter().zip(up).zip(out.iter_mut()) {
        *y = silu(*gate) * up;
    }
    finite(out)
}

/// ROPE of one row `x [d]` with the artefact's table rows `cos, sin [d/2]`: turns the pairs
/// `(i, i + d/2)`. Writes `[d]`.
///
/// # Errors
/// [`Fault`] where a result is not finite.
#[inline(always)]
pub fn rope_row(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [f32]) -> Result<(), Fault> {
    let half = x.len() / 2;
    let (a, b) = x.split_at(half);
    let (low, high) = out.split_at_mut(half);
    let turns = cos.iter().zip(sin);
    for (((a, b), (c, s)), (low, high)) in
        a.iter().zip(b).zip(turns).zip(low.iter_mut().zip(high.iter_mut()))
    {
        *low = a * c - b * s;
        *high = b * c + a * s;
    }
    finite(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_ends_at_minus_80_and_is_one_at_zero() {
        assert_eq!(expn(0.0).to_bits(), 1.0_f32.to_bits());
        assert_eq!(expn(-0.0).to_bits(), 1.0_f32.to_bits());
        assert!(expn(-80.0) > 0.0);
        assert_eq!(expn(f32::from_bits((-80.0_f32).to_bits() + 1)).to_bits(), 0);
        assert_eq!(expn(f32::NEG_INFINITY).to_bits(), 0);
    }

    #[test]
    fn the_largest_inputs_stay_finite() {
        for x in [f32::MAX, f32::MIN, 1e30, -1e30, 1e13, -1e13] {
            let want = if x > 0.0 { x } else { -0.0 };
            for f in [silu, gelu_tanh, gelu_erf] {
                assert_eq!(f(x).to_bits(), want.to_bits(), "{x}");
            }
        }
        assert_eq!(swiglu(&[3e38], &[2.0], &mut [0.0]), Err(Fault));
    }
}
