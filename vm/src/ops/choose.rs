//! ARGMAX, Philox4x32-10 and SAMPLE: choosing a token.
//!
//! Edge cases: -0 equals +0, ties go to the lowest id; an inverse temperature of zero is ARGMAX and draws
//! nothing; a `top_p` of zero keeps every candidate; the best token always has weight 2^24, so the total
//! is never zero and a token is always found.

use super::Fault;
use super::elementwise::expn;
use super::float::finite;

/// Most candidates that SAMPLE considers.
pub const TOP_K_MAX: usize = 1024;

/// How SAMPLE draws; validated when a job is posted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Inverse temperature, finite and not negative; 0 means temperature 0.
    pub inv_t: f32,
    /// Candidates to keep, 1 to [`TOP_K_MAX`].
    pub top_k: usize,
    /// Share of the candidates' weight to keep, in units of 2^-32; 0 means all.
    pub top_p: u32,
    /// Philox key.
    pub seed: u64,
    /// Philox counter.
    pub step: u64,
}

/// Order-preserving key of a float; -0 counts as +0.
#[inline(always)]
fn key(x: f32) -> u32 {
    let bits = (x + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// ARGMAX of `x [len]`, at most 2^32 values: the id of the largest, the lowest id on a tie.
///
/// # Errors
/// [`Fault`] where an input is an infinity or a NaN, or there is none.
#[inline(always)]
pub fn argmax(x: &[f32]) -> Result<u32, Fault> {
    finite(x)?;
    let keys = x.iter().zip(0_u32..).map(|(x, id)| u64::from(key(*x)) << 32 | u64::from(!id));
    keys.max().map(|best| !(best as u32)).ok_or(Fault)
}

/// Philox4x32-10 with the counter in the two low words.
#[must_use]
pub fn philox4x32(key: u64, counter: u64) -> [u32; 4] {
    let (low, high) = (|x: u64| x as u32, |x: u64| (x >> 32) as u32);
    let mut c = [low(counter), high(counter), 0, 0];
    let mut k = [low(key), high(key)];
    for _ in 0..10 {
        let a = 0xd251_1f53 * u64::from(c[0]);
        let b = 0xcd9e_8d57 * u64::from(c[2]);
        c = [high(b) ^ c[1] ^ k[0], low(b), high(a) ^ c[3] ^ k[1], low(a)];
        k = [k[0].wrapping_add(0x9e37_79b9), k[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// SAMPLE of `logits [len]`: the id of the token drawn.
///
/// # Errors
/// [`Fault`] where a logit is an infinity or a NaN, or there is none.
pub fn sample(logits: &[f32], how: Sampling) -> Result<u32, Fault> {
    let best = argmax(logits)?;
    if how.inv_t == 0.0 {
        return Ok(best);
    }
    let kept = candidates(logits, logits[best as usize], how);
    let total: u64 = kept.iter().map(|(weight, _)| weight).sum();
    let [low, high, ..] = philox4x32(how.seed, how.step);
    let draw = u128::from(low) | u128::from(high) << 32;
    let target = (draw * u128::from(total)) >> 64;
    let mut sum = 0;
    for (weight, id) in kept {
        sum += u128::from(weight);
        if sum > target {
            return Ok(id);
        }
    }
    Err(Fault)
}

/// The tokens that may be drawn, with their weights: by weight, then by id, cut to top-k and top-p.
fn candidates(logits: &[f32], most: f32, how: Sampling) -> Vec<(u64, u32)> {
    let weight = |l: f32| (expn((l - most) * how.inv_t) * 16_777_216.0).round_ties_even() as u64;
    let mut all: Vec<(u64, u32)> = logits.iter().map(|l| weight(*l)).zip(0..).collect();
    let order = |a: &(u64, u32), b: &(u64, u32)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
    if how.top_k < all.len() {
        all.select_nth_unstable_by(how.top_k, order);
        all.truncate(how.top_k);
    }
    all.sort_unstable_by(order);
    if how.top_p != 0 {
        let total: u128 = all.iter().map(|(weight, _)| u128::from(*weight)).sum();
        let need = u128::from(how.top_p) * total;
        let mut sum = 0;
        let reached = |(weight, _): &(u64, u32)| {
            sum += u128::from(*weight);
            sum << 32 >= need
        };
        if let Some(last) = all.iter().position(reached) {
            all.truncate(last + 1);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Sampling = Sampling { inv_t: 1.0, top_k: 1024, top_p: 0, seed: 1, step: 0 };

    #[test]
    fn ties_go_to_the_lowest_id_and_zeros_are_equal() {
        assert_eq!(argmax(&[-1.0, -0.0, 0.0]), Ok(1));
        assert_eq!(argmax(&[-3.0, -2.0, -2.0]), Ok(1));
        assert_eq!(argmax(&[1.0, f32::NAN]), Err(Fault));
        assert_eq!(argmax(&[]), Err(Fault));
    }

    #[test]
    fn philox_gives_the_published_numbers() {
        // Known answers of Random123 for a zero counter and key, and for ones in the low words.
        assert_eq!(philox4x32(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn a_temperature_of_zero_takes_the_best_whatever_the_seed() {
        for seed in 0..50 {
            let how = Sampling { inv_t: 0.0, seed, ..HOW };
            assert_eq!(sample(&[1.0, 5.0, 5.0, 2.0], how), Ok(1));
        }
    }

    #[test]
    fn top_k_keeps_the_best_and_draws_only_among_them() {
        for step in 0..200 {
            let how = Sampling { top_k: 2, step, ..HOW };
            assert!([1, 3].contains(&sample(&[1.0, 5.0, 0.0, 5.0, 5.0], how).unwrap_or(9)));
        }
    }

    #[test]
    fn draws_follow_the_weights() {
        let logits = [0.0, 0.0, -80.0];
        let zeros =
            (0..1000).filter(|step| sample(&logits, Sampling { step: *step, ..HOW }) == Ok(0));
        assert!((400..600).contains(&zeros.count()));
    }
}
