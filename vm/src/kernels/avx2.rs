//! Integer products with AVX2: sixteen outputs of up to six rows at a time, by `vpmaddwd`.
//!
//! `vpmaddwd` multiplies i16 pairs and adds the two products as i32, exactly. A pair of activation and
//! weight products is at most `2 * 32,640 * 128`, so [`PAIRS_MAX`] of them fit an i32: longer rows of
//! 16-bit activations are cut there and added up in i64. With 8-bit activations a pair is at most
//! `2 * 127 * 128`, and the 65,536 pairs of the longest row fit.

use std::arch::x86_64::{
    __m128i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_madd_epi16,
    _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
};

/// Outputs of a panel.
pub(super) const COLS: usize = 16;
/// Most rows of a tile: 12 accumulators of the 16 registers.
pub(super) const ROWS: usize = 6;
/// Pairs of 16-bit activations whose products fit an i32: 256 * 2 * 32,640 * 128 < 2^31.
pub(super) const PAIRS_MAX: usize = 256;

/// Integer sums of a tile, `[row][output]`.
pub(super) type Acc = [[i32; COLS]; ROWS];
/// The same in i64.
pub(super) type LongAcc = [[i64; COLS]; ROWS];

/// Bytes of one k-pair of a panel.
const PAIR_BYTES: usize = 2 * COLS;

/// Writes to `acc` the products of `rows` rows of activations, `stride` apart in `q`, with a panel of
/// weights `[pairs][COLS][2]`.
///
/// # Panics
/// Where `q` is too short, or `rows` is not 1 to [`ROWS`].
#[target_feature(enable = "avx2")]
pub(super) fn tile(q: &[i16], stride: usize, rows: usize, panel: &[i8], acc: &mut Acc) {
    match rows {
        1 => fixed::<1>(q, stride, panel, acc),
        2 => fixed::<2>(q, stride, panel, acc),
        3 => fixed::<3>(q, stride, panel, acc),
        4 => fixed::<4>(q, stride, panel, acc),
        5 => fixed::<5>(q, stride, panel, acc),
        6 => fixed::<6>(q, stride, panel, acc),
        _ => unreachable!("a tile has 1 to 6 rows, not {rows}"),
    }
}

/// As [`tile`], for rows of 16-bit activations of any length: sums in i64.
///
/// # Panics
/// As [`tile`].
#[target_feature(enable = "avx2")]
pub(super) fn long_tile(q: &[i16], stride: usize, rows: usize, panel: &[i8]) -> LongAcc {
    let mut acc = [[0; COLS]; ROWS];
    let mut sums = [[0_i64; COLS]; ROWS];
    for (cut, panel) in panel.chunks(PAIRS_MAX * PAIR_BYTES).enumerate() {
        tile(&q[cut * 2 * PAIRS_MAX..], stride, rows, panel, &mut acc);
        for (sums, acc) in sums.iter_mut().zip(&acc).take(rows) {
            for (sum, acc) in sums.iter_mut().zip(acc) {
                *sum = sum.wrapping_add(i64::from(*acc));
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "vector loads and stores through pointers")]
#[expect(clippy::cast_ptr_alignment, reason = "loads and stores are unaligned ones")]
fn fixed<const R: usize>(q: &[i16], stride: usize, panel: &[i8], acc: &mut Acc) {
    let pairs = panel.len() / PAIR_BYTES;
    assert!(q.len() >= (R - 1) * stride + 2 * pairs, "activations too short for the tile");
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    let mut rows = [q.as_ptr().cast::<i32>(); R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = q[r * stride..].as_ptr().cast();
    }
    let weights = panel.as_ptr().cast::<[__m128i; 2]>();
    for p in 0..pairs {
        // SAFETY: `p < pairs`, so 32 bytes of the panel stand at pair `p`, and, by the assertion above,
        // two activations of each row. Unaligned loads are meant.
        unsafe {
            let w = weights.add(p).cast::<__m128i>();
            let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(w));
            let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(1)));
            for (row, sums) in rows.iter().zip(&mut sums) {
                let pair = _mm256_set1_epi32(row.add(p).read_unaligned());
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(pair, low));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(pair, high));
            }
        }
    }
    for (sums, acc) in sums.iter().zip(acc) {
        // SAFETY: `acc` holds sixteen i32, two vectors.
        unsafe {
            _mm256_storeu_si256(acc.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(acc.as_mut_ptr().add(8).cast(), sums[1]);
        }
    }
}
