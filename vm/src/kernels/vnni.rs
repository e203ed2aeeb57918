//! Integer products with AVX-512 VNNI: 32 outputs of up to eight rows at a time, by `vpdpbusd`.
//!
//! `vpdpbusd` adds four products of an unsigned and a signed byte to an i32, without saturation. A signed
//! activation q enters as the unsigned q + 128, and the accumulators start at `-128 * sum(W)`. Sums wrap
//! modulo 2^32 on the way; the result is exact because it fits an i32 (K <= 131,071). 16-bit activations
//! are two such planes.
//!
//! The loop is written over [`Machine`], five instructions, so that all of it but those five runs and
//! is tested on machines without them.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_storeu_si512,
};

/// Outputs of a panel.
pub(super) const COLS: usize = 32;
/// Most rows of a tile: 16 accumulators of the 32 registers.
pub(super) const ROWS: usize = 8;

/// Integer sums of a tile, `[row][output]`.
pub(super) type Acc = [[i32; COLS]; ROWS];

/// Bytes of one group of four k of a panel.
const QUAD_BYTES: usize = 4 * COLS;

/// The instructions that the kernel is made of, on vectors of sixteen i32.
#[expect(unsafe_code, reason = "pointers, and instructions that not every machine has")]
pub(super) trait Machine {
    type Vector: Copy;
    /// Loads 64 bytes: four weights of each of sixteen outputs.
    ///
    /// # Safety
    /// 64 bytes must be readable at `from`, and the machine must have the instruction.
    unsafe fn weights(from: *const i8) -> Self::Vector;
    /// Repeats four activations sixteen times.
    ///
    /// # Safety
    /// 4 bytes must be readable at `from`, and the machine must have the instruction.
    unsafe fn activations(from: *const u8) -> Self::Vector;
    /// Loads sixteen sums.
    ///
    /// # Safety
    /// The machine must have the instruction.
    unsafe fn load(from: &[i32; 16]) -> Self::Vector;
    /// `sums + u * w`, four unsigned by signed products each.
    ///
    /// # Safety
    /// The machine must have the instruction.
    unsafe fn dot(sums: Self::Vector, u: Self::Vector, w: Self::Vector) -> Self::Vector;
    /// Stores sixteen sums.
    ///
    /// # Safety
    /// The machine must have the instruction.
    unsafe fn store(sums: Self::Vector, to: &mut [i32; 16]);
}

/// The real thing.
pub(super) struct Avx512;

#[expect(unsafe_code, reason = "one intrinsic each, called where the machine has it")]
impl Machine for Avx512 {
    type Vector = __m512i;

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        // SAFETY: as promised by the caller.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn activations(from: *const u8) -> __m512i {
        // SAFETY: as promised by the caller.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load(from: &[i32; 16]) -> __m512i {
        // SAFETY: sixteen i32 are one vector.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, u: __m512i, w: __m512i) -> __m512i {
        // SAFETY: as promised by the caller.
        unsafe { _mm512_dpbusd_epi32(sums, u, w) }
    }

    #[inline(always)]
    unsafe fn store(sums: __m512i, to: &mut [i32; 16]) {
        // SAFETY: sixteen i32 are one vector.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), sums) }
    }
}

/// Writes to `acc` the products of `rows` rows of activations + 128, `stride` apart in `u`, with a panel
/// of weights `[quads][COLS][4]`, where `start` is `-128 * sum(W)` of each output, modulo 2^32.
///
/// # Panics
/// Where `u` is too short, or `rows` is not 1 to [`ROWS`].
#[inline(always)]
pub(super) fn tile<M: Machine>(
    u: (&[u8], usize),
    rows: usize,
    panel: &[i8],
    start: &[i32; COLS],
    acc: &mut Acc,
) {
    match rows {
        1 => fixed::<M, 1>(u, panel, start, acc),
        2 => fixed::<M, 2>(u, panel, start, acc),
        3 => fixed::<M, 3>(u, panel, start, acc),
        4 => fixed::<M, 4>(u, panel, start, acc),
        5 => fixed::<M, 5>(u, panel, start, acc),
        6 => fixed::<M, 6>(u, panel, start, acc),
        7 => fixed::<M, 7>(u, panel, start, acc),
        8 => fixed::<M, 8>(u, panel, start, acc),
        _ => unreachable!("a tile has 1 to 8 rows, not {rows}"),
    }
}

#[inline(always)]
#[expect(unsafe_code, reason = "vector loads and stores through pointers")]
fn fixed<M: Machine, const R: usize>(
    (u, stride): (&[u8], usize),
    panel: &[i8],
    start: &[i32; COLS],
    acc: &mut Acc,
) {
    let quads = panel.len() / QUAD_BYTES;
    assert!(u.len() >= (R - 1) * stride + 4 * quads, "activations too short for the tile");
    let (low, high) = start.split_at(16);
    let (Ok(low), Ok(high)) = (low.try_into(), high.try_into()) else {
        unreachable!("32 is 16 and 16")
    };
    // SAFETY: loads of sixteen i32 from arrays of that size.
    let mut sums = [unsafe { [M::load(low), M::load(high)] }; R];
    let mut rows = [u.as_ptr(); R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = u[r * stride..].as_ptr();
    }
    let weights = panel.as_ptr().cast::<[i8; QUAD_BYTES]>();
    for k in 0..quads {
        // SAFETY: `k < quads`, so 128 bytes of the panel stand at quad `k`, and, by the assertion above,
        // four activations of each row.
        unsafe {
            let w = weights.add(k).cast::<i8>();
            let (low, high) = (M::weights(w), M::weights(w.add(QUAD_BYTES / 2)));
            for (row, sums) in rows.iter().zip(&mut sums) {
                let four = M::activations(row.cast::<[u8; 4]>().add(k).cast());
                sums[0] = M::dot(sums[0], four, low);
                sums[1] = M::dot(sums[1], four, high);
            }
        }
    }
    for (sums, acc) in sums.iter().zip(acc) {
        let (low, high) = acc.split_at_mut(16);
        let (Ok(low), Ok(high)) = (low.try_into(), high.try_into()) else {
            unreachable!("32 is 16 and 16")
        };
        // SAFETY: stores of sixteen i32 to arrays of that size.
        unsafe {
            M::store(sums[0], low);
            M::store(sums[1], high);
        }
    }
}
