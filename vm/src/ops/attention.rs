//! ATTENTION: softmax over integers, in two passes.
//!
//! Edge cases: a query sees its visible keys only, and a score that is infinite is a FAULT only where it
//! is visible; queries, keys and values must be finite all of them. Where every visible value vector is
//! zero the output is +0. Weights are at most 32,512, values at most 127: 2^40 keys would fit an i64.

use super::Fault;
use super::elementwise::expn;
use super::float::{finite, finite_bits, magnitude_bits, rni};
use super::linear::rescale;
use super::quant::{QUANT8_MAX, quant_row};

/// The shape of one sequence's attention: rows are tokens, each `[heads * head_dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Attention heads.
    pub heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Keys and values, so rows of `k` and `v`.
    pub tokens: usize,
}

/// Largest softmax weight, that of the best key where its value vector has the largest scale.
const WEIGHT_MAX: f32 = 32_512.0;

/// Bits of a float as an integer of the same order; -0 comes just below +0.
#[inline(always)]
fn order_key(x: f32) -> i32 {
    let bits = x.to_bits().cast_signed();
    bits ^ ((bits >> 31) & i32::MAX)
}

/// Turns the integer dot products of one query into scores: `S_j = cvt(dot) * ((sq * scale) * sk_j)`.
#[inline(always)]
pub(crate) fn scores(dots: &[i32], sq: f32, scale: f32, sk: &[f32], out: &mut [f32]) {
    let sq = sq * scale;
    for ((dot, sk), s) in dots.iter().zip(sk).zip(out) {
        *s = *dot as f32 * (sq * sk);
    }
}

/// The highest of some scores; which zero it is does not matter, EXPN is 1 at both.
#[inline(always)]
pub(crate) fn highest(s: impl Iterator<Item = f32>) -> f32 {
    let key = s.fold(i32::MIN, |most, s| most.max(order_key(s)));
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)).cast_unsigned())
}

/// What one exponential adds to the denominator.
#[inline(always)]
fn share(e: f32) -> i64 {
    i64::from((e * 16_777_216.0).round_ties_even() as i32)
}

/// The integer weight of a key, from its exponential and its value's scale; `sv_max` is not zero.
#[inline(always)]
fn weight(e: f32, sv: f32, sv_max: f32) -> i16 {
    rni((e * (sv / sv_max)) * WEIGHT_MAX) as i16
}

/// What turns `sum w_j * v8_j` into the output.
#[inline(always)]
pub(crate) fn factor(sv_max: f32, denominator: i64) -> f32 {
    let unit = f32::from_bits(103 << 23);
    (sv_max / WEIGHT_MAX) / (denominator as f32 * unit)
}

/// Softmax of one query's visible scores, in place of a float denominator.
///
/// Overwrites `s` by the exponentials, writes the integer weights `w`, and returns the factor that turns
/// `sum w_j * v8_j` into the output; `None` where all visible value scales `sv` are zero.
///
/// # Errors
/// [`Fault`] where a score is not finite.
#[inline(always)]
pub(crate) fn weights(s: &mut [f32], sv: &[f32], w: &mut [i16]) -> Result<Option<f32>, Fault> {
    finite_bits(magnitude_bits(s.iter().copied()))?;
    let most = highest(s.iter().copied());
    for s in s.iter_mut() {
        *s = expn(*s - most);
    }
    let denominator = s.iter().fold(0, |sum: i64, e| sum.wrapping_add(share(*e)));
    let sv_max = f32::from_bits(magnitude_bits(sv.iter().copied()));
    if sv_max.to_bits() == 0 {
        return Ok(None);
    }
    for ((e, sv), w) in s.iter().zip(sv).zip(w) {
        *w = weight(*e, *sv, sv_max);
    }
    Ok(Some(factor(sv_max, denominator)))
}

/// A part of the denominator: that of some keys with scores `s`, none above `most`.
#[inline(always)]
pub(crate) fn partial_denominator(s: &[f32], most: f32) -> i64 {
    s.iter().fold(0, |sum: i64, s| sum.wrapping_add(share(expn(s - most))))
}

/// Adds to `sums [d]` what at most 64 keys with scores `s`, none above `most`, and values `v [keys, d]`
/// of scales `sv`, none above `sv_max`, contribute.
#[inline(always)]
pub(crate) fn add_weighted(
    (s, most): (&[f32], f32),
    (sv, sv_max): (&[f32], f32),
    v: &[i8],
    sums: &mut [i64],
) {
    if sv_max == 0.0 {
        return;
    }
    // 64 * 32,768 * 128 < 2^31.
    let mut part = vec![0_i32; sums.len()];
    for ((s, sv), v) in s.iter().zip(sv).zip(v.chunks_exact(sums.len())) {
        let w = i32::from(weight(expn(s - most), *sv, sv_max));
        for (part, v) in part.iter_mut().zip(v) {
            *part = part.wrapping_add(w.wrapping_mul(i32::from(*v)));
        }
    }
    for (sum, part) in sums.iter_mut().zip(part) {
        *sum = sum.wrapping_add(i64::from(part));
    }
}

/// ATTENTION of one head: `q [queries, d]`, `k, v [keys, d]`, `d = head_dim`; writes `[queries, d]`.
///
/// With `first`, query i sees the keys `0 ..= first + i`; otherwise all of them.
///
/// # Errors
/// [`Fault`] where an input, a visible score or a result is not finite.
pub fn attention_head(
    (q, k, v): (&[f32], &[f32], &[f32]),
    head_dim: usize,
    scale: f32,
    first: Option<usize>,
    out: &mut [f32],
) -> Result<(), Fault> {
    let (q8, sq) = quant8(q, head_dim)?;
    let (k8, sk) = quant8(k, head_dim)?;
    let (v8, sv) = quant8(v, head_dim)?;
    let keys = sk.len();
    let (mut dots, mut s, mut w) = (vec![0; keys], vec![0.0; keys], vec![0; keys]);
    for (i, y) in out.chunks_exact_mut(head_dim).enumerate() {
        let seen = first.map_or(keys, |first| first + i + 1);
        for (dot, k) in dots[..seen].iter_mut().zip(k8.chunks_exact(head_dim)) {
            let q = &q8[i * head_dim..][..head_dim];
            *dot = q.iter().zip(k).map(|(q, k)| i32::from(*q) * i32::from(*k)).sum();
        }
        scores(&dots[..seen], sq[i], scale, &sk[..seen], &mut s[..seen]);
        let Some(factor) = weights(&mut s[..seen], &sv[..seen], &mut w[..seen])? else {
            y.fill(0.0);
            continue;
        };
        for (c, y) in y.iter_mut().enumerate() {
            let v = v8[c..].iter().step_by(head_dim);
            let sum = w[..seen].iter().zip(v).map(|(w, v)| i64::from(*w) * i64::from(*v)).sum();
            *y = rescale(sum, factor, 1.0);
        }
    }
    finite(out)
}

/// QUANT8 of rows.
fn quant8(x: &[f32], cols: usize) -> Result<(Vec<i16>, Vec<f32>), Fault> {
    let mut q = vec![0; x.len()];
    let rows = x.chunks_exact(cols).zip(q.chunks_exact_mut(cols));
    let scale = rows.map(|(x, q)| quant_row(x, None, QUANT8_MAX, q)).collect::<Result<_, _>>()?;
    Ok((q, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_the_floats_they_stand_for() {
        let rising = [f32::MIN, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, f32::MAX];
        assert!(rising.map(order_key).is_sorted());
    }

    #[test]
    fn an_infinite_score_faults_only_where_it_is_seen() {
        let (q, k) = ([1e19, 1e19], [1.0, 1e20]);
        let v = [1.0, 2.0];
        let mut y = [0.0; 2];
        let seen = attention_head((&q[..1], &k, &v), 1, 1.0, Some(0), &mut y[..1]);
        assert_eq!(seen, Ok(()));
        assert_eq!(attention_head((&q, &k, &v), 1, 1.0, Some(0), &mut y), Err(Fault));
    }

    #[test]
    fn zero_values_attend_to_plus_zero() {
        let mut y = [1.0; 2];
        let zero = [-0.0, 1e-40];
        assert_eq!(attention_head((&[1.0, 2.0], &[3.0, 4.0], &zero), 2, 1.0, None, &mut y), Ok(()));
        assert_eq!(y.map(f32::to_bits), [0; 2]);
    }
}
