//! Linear layers: weights packed for one instruction set, and the loops around the integer products.

use super::{Isa, per_isa};
#[cfg(target_arch = "x86_64")]
use super::{avx2, vnni};
use crate::ops::{Activations, Fault, LinearSpec, finite_bits, matmul_row, planes, quant_row};

/// A linear layer whose weights are packed for one instruction set.
#[derive(Debug, Clone)]
pub struct Linear {
    isa: Isa,
    n: usize,
    k: usize,
    activations: Activations,
    smoothing: Option<Vec<f32>>,
    /// `[n]`, then zeros up to a whole panel; likewise the bias.
    scale: Vec<f32>,
    bias: Option<Vec<f32>>,
    weights: Weights,
}

#[derive(Debug, Clone)]
enum Weights {
    /// As in the artefact, `[n, k]`.
    Rows(Vec<i8>),
    /// For vectors.
    Panels(Panels),
}

impl Linear {
    /// Packs a layer for engines of `isa`, also on a machine that lacks it.
    ///
    /// # Panics
    /// Where a slice has not the length that `spec` says.
    #[must_use]
    pub fn pack(isa: Isa, spec: &LinearSpec<'_>) -> Self {
        assert_eq!(spec.weight.len(), spec.n * spec.k, "weights of a linear layer");
        assert_eq!(spec.scale.len(), spec.n, "scales of a linear layer");
        assert!(spec.bias.is_none_or(|bias| bias.len() == spec.n), "biases of a linear layer");
        assert!(
            spec.smoothing.is_none_or(|pre| pre.len() == spec.k),
            "smoothing of a linear layer"
        );
        let weights = match isa {
            Isa::Scalar => Weights::Rows(spec.weight.to_vec()),
            Isa::Avx2 => Weights::Panels(Panels::of_rows(spec.weight, spec.k, 16, 2)),
            Isa::Vnni => Weights::Panels(Panels::of_rows(spec.weight, spec.k, 32, 4)),
        };
        Self {
            isa,
            n: spec.n,
            k: spec.k,
            activations: spec.activations,
            smoothing: spec.smoothing.map(<[f32]>::to_vec),
            scale: padded(spec.scale),
            bias: spec.bias.map(padded),
            weights,
        }
    }

    /// The instruction set it is packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Outputs per row.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs per row.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Distance of rows of quantised activations: `k` up to whole groups.
    pub(super) fn stride(&self) -> usize {
        self.k.next_multiple_of(4)
    }

    /// Quantises rows of `x [rows, k]` and writes `out [rows, n]`.
    pub(super) fn rows(&self, x: &[f32], out: &mut [f32]) -> Result<(), Fault> {
        let (q, sx) = quant_rows(self.isa, x, self)?;
        self.products(&q, &sx, out)
    }

    /// The products of quantised rows `q`, [`Self::stride`] apart, of scales `sx`: `out [rows, n]`.
    pub(super) fn products(&self, q: &[i16], sx: &[f32], out: &mut [f32]) -> Result<(), Fault> {
        match &self.weights {
            Weights::Rows(weight) => {
                let spec = LinearSpec {
                    weight,
                    n: self.n,
                    k: self.k,
                    scale: &self.scale[..self.n],
                    bias: self.bias.as_deref().map(|bias| &bias[..self.n]),
                    smoothing: None,
                    activations: self.activations,
                };
                let rows = q.chunks_exact(self.stride()).zip(sx).zip(out.chunks_exact_mut(self.n));
                rows.into_iter()
                    .try_for_each(|((q, sx), out)| matmul_row(&q[..self.k], *sx, &spec, out))
            }
            Weights::Panels(panels) => self.panel_products(panels, q, sx, out),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "calls code compiled for an instruction set")]
    fn panel_products(
        &self,
        panels: &Panels,
        q: &[i16],
        sx: &[f32],
        out: &mut [f32],
    ) -> Result<(), Fault> {
        let most = match self.isa {
            // SAFETY: an engine of either kind is made only where the machine has the instructions.
            Isa::Vnni => unsafe { self.vnni_products(panels, q, sx, out) },
            _ => unsafe { self.avx2_products(panels, q, sx, out) },
        };
        finite_bits(most)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn panel_products(&self, _: &Panels, _: &[i16], _: &[f32], _: &mut [f32]) -> Result<(), Fault> {
        unreachable!("no engine of this architecture has {} kernels", self.isa)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2_products(&self, panels: &Panels, q: &[i16], sx: &[f32], out: &mut [f32]) -> u32 {
        let (stride, mut most) = (self.stride(), [0; avx2::COLS]);
        let fits_i32 = self.activations == Activations::Bits8 || self.k <= 2 * avx2::PAIRS_MAX;
        let mut acc = [[0; avx2::COLS]; avx2::ROWS];
        let mut y = [0.0; avx2::COLS];
        for (p, panel) in panels.iter().enumerate() {
            for (first, rows) in tiles(sx.len(), avx2::ROWS) {
                let q = &q[first * stride..];
                if fits_i32 {
                    avx2::tile(q, stride, rows, panel, &mut acc);
                    for (row, acc) in (first..first + rows).zip(&acc) {
                        floats32(acc, &mut y);
                        self.finish(&mut y, p, sx[row], &mut out[row * self.n..], &mut most);
                    }
                } else {
                    let sums = avx2::long_tile(q, stride, rows, panel);
                    for (row, sums) in (first..first + rows).zip(&sums) {
                        floats64(sums, &mut y);
                        self.finish(&mut y, p, sx[row], &mut out[row * self.n..], &mut most);
                    }
                }
            }
        }
        highest(&most)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,avx512f,avx512vnni")]
    fn vnni_products(&self, panels: &Panels, q: &[i16], sx: &[f32], out: &mut [f32]) -> u32 {
        self.vnni_loops::<vnni::Avx512>(panels, q, sx, out)
    }

    /// The products on a model of the machine.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(super) fn products_on<M: vnni::Machine>(
        &self,
        q: &[i16],
        sx: &[f32],
        out: &mut [f32],
    ) -> Result<(), Fault> {
        match &self.weights {
            Weights::Rows(_) => unreachable!("packed for VNNI"),
            Weights::Panels(panels) => finite_bits(self.vnni_loops::<M>(panels, q, sx, out)),
        }
    }

    /// The loops around [`vnni::tile`]; a test runs them on a model of the machine.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn vnni_loops<M: vnni::Machine>(
        &self,
        panels: &Panels,
        q: &[i16],
        sx: &[f32],
        out: &mut [f32],
    ) -> u32 {
        let (stride, mut most) = (self.stride(), [0; vnni::COLS]);
        let wide = self.activations == Activations::Bits16;
        let (high, low) = unsigned_planes(q, wide);
        let mut acc = [[0; vnni::COLS]; vnni::ROWS];
        let mut acc_high = [[0; vnni::COLS]; vnni::ROWS];
        let mut y = [0.0; vnni::COLS];
        for (p, panel) in panels.iter().enumerate() {
            let start = panels.start(p);
            for (first, rows) in tiles(sx.len(), vnni::ROWS) {
                vnni::tile::<M>((&low[first * stride..], stride), rows, panel, start, &mut acc);
                if wide {
                    let high = (&high[first * stride..], stride);
                    vnni::tile::<M>(high, rows, panel, start, &mut acc_high);
                }
                for (row, (low, high)) in (first..first + rows).zip(acc.iter_mut().zip(&acc_high)) {
                    if self.k <= 512 {
                        for (low, high) in low.iter_mut().zip(high) {
                            *low = (high << 8).wrapping_add(*low);
                        }
                        floats32(low, &mut y);
                    } else {
                        let mut sums = [0_i64; vnni::COLS];
                        for (sum, (low, high)) in sums.iter_mut().zip(low.iter().zip(high)) {
                            *sum = (i64::from(*high) << 8).wrapping_add(i64::from(*low));
                        }
                        floats64(&sums, &mut y);
                    }
                    self.finish(&mut y, p, sx[row], &mut out[row * self.n..], &mut most);
                }
            }
        }
        highest(&most)
    }

    /// Scales the sums of one row of panel `p`, adds the bias, writes them to the row `out [n..]`, and
    /// raises `most` to their magnitude bits. Outputs past the last are zeros here.
    #[inline(always)]
    fn finish<const C: usize>(
        &self,
        y: &mut [f32; C],
        p: usize,
        sx: f32,
        out: &mut [f32],
        most: &mut [u32; C],
    ) {
        for (y, scale) in y.iter_mut().zip(&self.scale[p * C..][..C]) {
            *y *= sx * scale;
        }
        if let Some(bias) = &self.bias {
            for (y, bias) in y.iter_mut().zip(&bias[p * C..][..C]) {
                *y += bias;
            }
        }
        for (most, y) in most.iter_mut().zip(y.iter()) {
            *most = (*most).max(y.to_bits() & 0x7fff_ffff);
        }
        let left = self.n - p * C;
        if left >= C {
            out[p * C..][..C].copy_from_slice(y);
        } else {
            out[p * C..][..left].copy_from_slice(&y[..left]);
        }
    }
}

#[inline(always)]
fn floats32<const C: usize>(sums: &[i32; C], y: &mut [f32; C]) {
    for (y, sum) in y.iter_mut().zip(sums) {
        *y = *sum as f32;
    }
}

#[inline(always)]
fn floats64<const C: usize>(sums: &[i64; C], y: &mut [f32; C]) {
    for (y, sum) in y.iter_mut().zip(sums) {
        *y = *sum as f32;
    }
}

fn highest(most: &[u32]) -> u32 {
    most.iter().copied().fold(0, u32::max)
}

/// Weights as panels of `cols` outputs: within a panel `[k / group][cols][group]`, zeros at the edges.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    bytes: Vec<i8>,
    panel_bytes: usize,
    /// `-128 * sum(W)` of each output, modulo 2^32.
    start: Vec<i32>,
}

impl Panels {
    /// From a row-major matrix `[n, k]`.
    fn of_rows(weight: &[i8], k: usize, cols: usize, group: usize) -> Self {
        let panel_bytes = k.next_multiple_of(4) * cols;
        let n = weight.len() / k;
        let mut bytes = vec![0; n.div_ceil(cols) * panel_bytes];
        let mut start = vec![0; n.next_multiple_of(cols)];
        for ((row, weights), start) in weight.chunks_exact(k).enumerate().zip(&mut start) {
            let panel = &mut bytes[row / cols * panel_bytes..][..panel_bytes];
            let groups = panel.chunks_exact_mut(cols * group);
            for (four, weights) in groups.zip(weights.chunks(group)) {
                four[row % cols * group..][..weights.len()].copy_from_slice(weights);
            }
            let sum = weights.iter().fold(0_i32, |sum, w| sum.wrapping_add(i32::from(*w)));
            *start = sum.wrapping_mul(-128);
        }
        Self { bytes, panel_bytes, start }
    }

    fn iter(&self) -> std::slice::ChunksExact<'_, i8> {
        self.bytes.chunks_exact(self.panel_bytes)
    }

    fn start<const C: usize>(&self, p: usize) -> &[i32; C] {
        match self.start[p * C..].first_chunk() {
            Some(start) => start,
            None => unreachable!("one start per output of a whole number of panels"),
        }
    }
}

/// One value per output, and zeros up to a whole panel of any backend.
fn padded(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    values.resize(values.len().next_multiple_of(32), 0.0);
    values
}

/// Cuts `rows` into tiles of nearly equal height, at most `most` high: `(first row, rows)`.
#[inline]
pub(super) fn tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    (0..count).map(move |i| (i * rows / count, (i + 1) * rows / count - i * rows / count))
}

/// Activations + 128 as one plane of unsigned bytes (the second of the pair), or as two.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn unsigned_planes(q: &[i16], wide: bool) -> (Vec<u8>, Vec<u8>) {
    let (mut high, mut low) = (vec![0; if wide { q.len() } else { 0 }], vec![0; q.len()]);
    if wide {
        for (q, (high, low)) in q.iter().zip(high.iter_mut().zip(&mut low)) {
            let (h, l) = planes(*q);
            (*high, *low) = (h.cast_unsigned() ^ 0x80, l.cast_unsigned() ^ 0x80);
        }
    } else {
        for (q, low) in q.iter().zip(&mut low) {
            *low = (*q as u8) ^ 0x80;
        }
    }
    (high, low)
}

per_isa! {
    /// Quantises rows of `x [rows, k]` for a layer: integers [`Linear::stride`] apart, one scale per row.
    quant_rows(x: &[f32], layer: &Linear) -> Result<(Vec<i16>, Vec<f32>), Fault> = quant_rows_body;
}

#[inline(always)]
fn quant_rows_body(x: &[f32], layer: &Linear) -> Result<(Vec<i16>, Vec<f32>), Fault> {
    let (stride, pre) = (layer.stride(), layer.smoothing.as_deref());
    let rows = x.len() / layer.k;
    let (mut q, mut sx) = (vec![0; rows * stride], vec![0.0; rows]);
    let each = x.chunks_exact(layer.k).zip(q.chunks_exact_mut(stride)).zip(&mut sx);
    for ((x, q), sx) in each {
        *sx = quant_row(x, pre, layer.activations.max(), &mut q[..layer.k])?;
    }
    Ok((q, sx))
}
