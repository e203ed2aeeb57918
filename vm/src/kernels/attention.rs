//! ATTENTION of one head: both products through the tile of linear layers, softmax by the definition.

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "x86_64")]
use super::linear::tiles;
use crate::ops::{AttentionShape, Fault, QUANT8_MAX, attention_head, quant_row};
#[cfg(target_arch = "x86_64")]
use crate::ops::{finite, rescale, scores, weights};

/// ATTENTION of head `h`: writes `out [queries, head_dim]`. With `first`, query i sees the keys
/// `0 ..= first + i`.
///
/// # Errors
/// [`Fault`] where an input, a visible score or a result is not finite.
pub(super) fn attention_rows(
    isa: Isa,
    qkv: (&[f32], &[f32], &[f32]),
    head: (AttentionShape, usize),
    scale: f32,
    first: Option<usize>,
    out: &mut [f32],
) -> Result<(), Fault> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Vnni => {
            // SAFETY: an engine of this kind is made only where the machine has AVX2.
            #[expect(unsafe_code, reason = "calls code compiled for AVX2")]
            unsafe {
                with_tiles(qkv, head, scale, first, out)
            }
        }
        _ => {
            let [q, k, v] = [qkv.0, qkv.1, qkv.2].map(|x| gather(x, head));
            attention_head((&q, &k, &v), head.0.head_dim, scale, first, out)
        }
    }
}

/// The columns of one head.
fn gather(x: &[f32], (shape, h): (AttentionShape, usize)) -> Vec<f32> {
    let d = shape.head_dim;
    x.chunks_exact(shape.heads * d).flat_map(|row| &row[h * d..][..d]).copied().collect()
}

/// QUANT8 of one head's rows, each padded with zeros to `stride`.
#[inline(always)]
fn quant8(
    x: &[f32],
    (shape, h): (AttentionShape, usize),
    stride: usize,
) -> Result<(Vec<i16>, Vec<f32>), Fault> {
    let (d, width) = (shape.head_dim, shape.heads * shape.head_dim);
    let rows = x.len() / width;
    let (mut q, mut scale) = (vec![0; rows * stride], vec![0.0; rows]);
    let each = x.chunks_exact(width).zip(q.chunks_exact_mut(stride)).zip(&mut scale);
    for ((x, q), scale) in each {
        *scale = quant_row(&x[h * d..][..d], None, QUANT8_MAX, &mut q[..d])?;
    }
    Ok((q, scale))
}

/// Keys, rows of `stride`, as panels of sixteen: `[stride / 2][16][2]` each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pack_keys(k: &[i16], stride: usize) -> Vec<i8> {
    let panel_bytes = stride * avx2::COLS;
    let mut out = vec![0; (k.len() / stride).div_ceil(avx2::COLS) * panel_bytes];
    let panels = k.chunks(stride * avx2::COLS).zip(out.chunks_exact_mut(panel_bytes));
    for (rows, panel) in panels {
        for (r, row) in rows.chunks_exact(stride).enumerate() {
            let pairs = panel.chunks_exact_mut(2 * avx2::COLS).zip(row.chunks_exact(2));
            for (to, pair) in pairs {
                to[2 * r] = pair[0] as i8;
                to[2 * r + 1] = pair[1] as i8;
            }
        }
    }
    out
}

/// Values, rows of `stride` channels, as panels of sixteen channels: `[keys / 2][16][2]` each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pack_values(v: &[i16], stride: usize) -> (Vec<i8>, usize) {
    let pairs = (v.len() / stride).div_ceil(2);
    let panel_bytes = pairs * 2 * avx2::COLS;
    let mut out = vec![0; stride / avx2::COLS * panel_bytes];
    for (p, panel) in out.chunks_exact_mut(panel_bytes).enumerate() {
        for (to, rows) in panel.chunks_exact_mut(2 * avx2::COLS).zip(v.chunks(2 * stride)) {
            for (i, row) in rows.chunks_exact(stride).enumerate() {
                for (c, value) in row[p * avx2::COLS..][..avx2::COLS].iter().enumerate() {
                    to[2 * c + i] = *value as i8;
                }
            }
        }
    }
    (out, panel_bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_tiles(
    (q, k, v): (&[f32], &[f32], &[f32]),
    head: (AttentionShape, usize),
    scale: f32,
    first: Option<usize>,
    out: &mut [f32],
) -> Result<(), Fault> {
    let d = head.0.head_dim;
    let (stride, keys) = (d.next_multiple_of(2), head.0.tokens);
    let (q8, sq) = quant8(q, head, stride)?;
    let (k8, sk) = quant8(k, head, stride)?;
    let (v8, sv) = quant8(v, head, d.next_multiple_of(avx2::COLS))?;
    let k8 = pack_keys(&k8, stride);
    let (v8, v_panel) = pack_values(&v8, d.next_multiple_of(avx2::COLS));
    let (keys_up, w_stride) = (keys.next_multiple_of(avx2::COLS), keys.next_multiple_of(2));
    let mut dots = vec![0; avx2::ROWS * keys_up];
    let (mut s, mut w) = (vec![0.0; keys], vec![0_i16; avx2::ROWS * w_stride]);
    for (row, rows) in tiles(sq.len(), avx2::ROWS) {
        for (p, panel) in k8.chunks_exact(stride * avx2::COLS).enumerate() {
            let mut acc = [[0; avx2::COLS]; avx2::ROWS];
            avx2::tile(&q8[row * stride..], stride, rows, panel, &mut acc);
            for (acc, dots) in acc.iter().zip(dots.chunks_exact_mut(keys_up)) {
                dots[p * avx2::COLS..][..avx2::COLS].copy_from_slice(acc);
            }
        }
        let mut factor = [None; avx2::ROWS];
        let each = dots.chunks_exact(keys_up).zip(w.chunks_exact_mut(w_stride)).zip(&mut factor);
        for (i, ((dots, w), factor)) in (row..row + rows).zip(each) {
            let seen = first.map_or(keys, |first| first + i + 1);
            let s = &mut s[..seen];
            scores(&dots[..seen], sq[i], scale, &sk[..seen], s);
            *factor = weights(s, &sv[..seen], &mut w[..seen])?;
            w[seen..].fill(0);
        }
        let out = &mut out[row * d..][..rows * d];
        for (p, panel) in v8.chunks_exact(v_panel).enumerate() {
            let sums = avx2::long_tile(&w, w_stride, rows, panel);
            for ((sums, out), factor) in sums.iter().zip(out.chunks_exact_mut(d)).zip(factor) {
                let factor = factor.unwrap_or(0.0);
                for (y, sum) in out[p * avx2::COLS..].iter_mut().zip(sums) {
                    *y = rescale(*sum, factor, 1.0);
                }
            }
        }
    }
    finite(out)
}
