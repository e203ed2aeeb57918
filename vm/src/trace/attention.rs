//! Steps of ATTENTION: per head integers of queries, keys and values, scores, their maximum and
//! denominator, weighted sums over 64 keys at a time, then tiles put together from the heads.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use super::steps::{
    At, BAND, CHUNK, Family, Form, Grid, Inputs, Kind, Needs, Steps, Stop, TILE, from_f32s,
    from_i64s, group, part, size,
};
use crate::kernels;
use crate::ops::{QUANT8_MAX, Quant, factor, finite, highest, magnitude, rescale, scores};
use crate::program::ValueId;

/// Keys of a block of scores, in bands.
const KEY_BANDS: u32 = 4;
const KEYS: u32 = KEY_BANDS * BAND;

const MAX: usize = 0;
const QUANT: usize = 1;
const SCORE: usize = 2;
const TOP_CHUNK: usize = 3;
const TOP: usize = 4;
const SHARE_CHUNK: usize = 5;
const SHARE: usize = 6;
const SCALE: usize = 7;
const SUM: usize = 8;
const FAMILIES: [Family; 10] = [
    Family::new("MAX", ["of q, k, v", "head", "band"]),
    Family::new("QUANT", ["of q, k, v", "head", "band"]),
    Family::new("SCORE", ["head", "band", "keys"]),
    Family::new("TOP_CHUNK", ["head", "band", "chunk"]),
    Family::new("TOP", ["head", "band", ""]),
    Family::new("SHARE_CHUNK", ["head", "band", "chunk"]),
    Family::new("SHARE", ["head", "band", ""]),
    Family::new("SCALE", ["head", "", ""]),
    Family::new("SUM", ["head", "band", "keys"]),
    Family::new("TILE", ["band", "tile", ""]),
];

/// Numbers of queries, keys and values where a coordinate tells them apart.
const QUERY: u32 = 0;
const KEY: u32 = 1;
const VALUE: u32 = 2;

#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) q: ValueId,
    pub(super) k: ValueId,
    pub(super) v: ValueId,
    pub(super) heads: u32,
    pub(super) scale: f32,
    pub(super) grid: Grid,
}

impl Attention {
    fn head_dim(&self) -> u32 {
        self.grid.cols.checked_div(self.heads).unwrap_or(0)
    }

    /// Blocks of keys.
    fn blocks(&self) -> u32 {
        self.grid.rows.div_ceil(KEYS)
    }

    fn chunks(&self) -> u32 {
        self.blocks().div_ceil(CHUNK)
    }

    /// The tiles that columns `first` to `last` touch.
    fn tiles(first: u32, last: u32) -> std::ops::RangeInclusive<u32> {
        let tile = |col: u32| col.checked_div(TILE).unwrap_or(0);
        tile(first)..=tile(last)
    }

    fn head_tiles(&self, needs: &mut Needs, [of, head, band]: At) {
        let value = match of {
            QUERY => self.q,
            KEY => self.k,
            _ => self.v,
        };
        let first = head.saturating_mul(self.head_dim());
        let last = first.saturating_add(self.head_dim()).saturating_sub(1);
        for tile in Self::tiles(first, last) {
            needs.tile(value, band, tile);
        }
    }

    /// The rows of one head from its tiles, which are the blocks from `block` on.
    fn head_rows(&self, [_, head, band]: At, block: usize, inputs: &Inputs<'_>) -> Vec<Vec<f32>> {
        let skipped = head.saturating_mul(self.head_dim()).checked_rem(TILE).unwrap_or(0);
        let rows = self.grid.rows_of(band, &inputs.f32s_from(block));
        let cut = |row: Vec<f32>| {
            row.into_iter().skip(size(skipped)).take(size(self.head_dim())).collect()
        };
        rows.into_iter().map(cut).collect()
    }

    /// Maxima and integers of the bands of a block of keys or values.
    fn key_bands(&self, needs: &mut Needs, of: u32, head: u32, block: u32) {
        for band in group(self.grid.bands(), KEY_BANDS, block) {
            needs.own(MAX, [of, head, band]);
            needs.own(QUANT, [of, head, band]);
        }
    }

    /// Scales and integers of a block of keys or values, whose bands are `bands` pairs of blocks from
    /// `first` on.
    fn keys(first: usize, bands: usize, inputs: &Inputs<'_>) -> (Vec<f32>, Vec<i8>) {
        let (mut scales, mut integers) = (Vec::new(), Vec::new());
        for band in (first..).step_by(2).take(bands) {
            scales.extend(Self::scales(&inputs.f32s(band)));
            integers.extend(inputs.i8s(band.saturating_add(1)));
        }
        (scales, integers)
    }

    fn scales(maxima: &[f32]) -> impl Iterator<Item = f32> {
        maxima.iter().map(|most| Quant::of(*most, QUANT8_MAX).scale)
    }

    fn quantise(&self, at: At, inputs: &Inputs<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (row, most) in self.head_rows(at, 1, inputs).iter().zip(inputs.f32s(0)) {
            let mut q = vec![0_i16; row.len()];
            Quant::of(most, QUANT8_MAX).integers(row.iter().copied(), &mut q);
            bytes.extend(q.iter().map(|q| i8::try_from(*q).unwrap_or(0).cast_unsigned()));
        }
        bytes
    }

    fn score(&self, [_, _, block]: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let depth = size(self.head_dim()).max(1);
        let bands = group(self.grid.bands(), KEY_BANDS, block).len();
        let (sk, k) = Self::keys(2, bands, inputs);
        let q: Vec<i16> = inputs.i8s(1).into_iter().map(i16::from).collect();
        let sq: Vec<f32> = Self::scales(&inputs.f32s(0)).collect();
        let mut sums = vec![0_i64; sq.len().saturating_mul(sk.len())];
        kernels::add_products(inputs.isa, &q, &k, depth, &mut sums);
        let dots: Vec<i32> = sums.iter().map(|sum| i32::try_from(*sum).unwrap_or(0)).collect();
        let mut out = vec![0.0; dots.len()];
        let width = sk.len().max(1);
        for ((dots, sq), s) in dots.chunks(width).zip(sq).zip(out.chunks_mut(width)) {
            scores(dots, sq, self.scale, &sk, s);
        }
        finite(&out)?;
        Ok(from_f32s(&out))
    }

    /// The highest of each row of some blocks.
    fn top(&self, [_, band, _]: At, inputs: &Inputs<'_>) -> Vec<u8> {
        let rows = self.grid.rows_of(band, &inputs.f32s_from(0));
        let tops: Vec<f32> = rows.iter().map(|row| highest(row.iter().copied())).collect();
        from_f32s(&tops)
    }

    fn share(&self, [_, band, _]: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let rows = self.grid.rows_of(band, &inputs.f32s_from(1));
        let mut shares = Vec::new();
        for (row, top) in rows.iter().zip(inputs.f32s(0)) {
            below(row, top)?;
            shares.push(kernels::partial_denominator(inputs.isa, row, top));
        }
        Ok(from_i64s(&shares))
    }

    fn sum(&self, [_, band, block]: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let depth = size(self.head_dim()).max(1);
        let bands = group(self.grid.bands(), KEY_BANDS, block).len();
        let (sv, v) = Self::keys(3, bands, inputs);
        let (tops, sv_max) = (inputs.f32s(0), inputs.f32s(1).first().copied().unwrap_or(0.0));
        below(&sv, sv_max)?;
        let mut sums = inputs.i64s(bands.saturating_mul(2).saturating_add(3));
        sums.resize(size(self.grid.band_rows(band)).saturating_mul(depth), 0);
        let s = inputs.f32s(2);
        let rows = s.chunks(sv.len().max(1)).zip(tops).zip(sums.chunks_mut(depth));
        for ((s, top), sums) in rows {
            below(s, top)?;
            kernels::add_weighted(inputs.isa, (s, top), (&sv, sv_max), &v, sums);
        }
        Ok(from_i64s(&sums))
    }

    /// The heads that the columns of a tile belong to.
    fn heads_of(&self, tile: u32) -> std::ops::RangeInclusive<u32> {
        let first = tile.saturating_mul(TILE);
        let last = first.saturating_add(self.grid.tile_cols(tile)).saturating_sub(1);
        let head = |col: u32| col.checked_div(self.head_dim()).unwrap_or(0);
        head(first)..=head(last)
    }

    fn tile(&self, [band, tile, _]: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let mut parts = Vec::new();
        for (head, first) in self.heads_of(tile).zip((0_usize..).step_by(3)) {
            let (shares, sv_max) = (inputs.i64s(first), inputs.f32s(first.saturating_add(1)));
            let sv_max = sv_max.first().copied().unwrap_or(0.0);
            let sums = inputs.i64s(first.saturating_add(2));
            let start = tile.saturating_mul(TILE);
            let skipped = start.saturating_sub(head.saturating_mul(self.head_dim()));
            let mut part = Vec::new();
            for (sums, share) in sums.chunks(size(self.head_dim()).max(1)).zip(shares) {
                let sums = sums.iter().skip(size(skipped));
                let factor = if sv_max == 0.0 { 0.0 } else { factor(sv_max, share) };
                part.push(sums.map(|sum| rescale(*sum, factor, 1.0)).collect::<Vec<_>>());
            }
            parts.push(part);
        }
        let cols = size(self.grid.tile_cols(tile));
        let mut out = Vec::new();
        for row in 0..size(self.grid.band_rows(band)) {
            let values = parts.iter().filter_map(|part| part.get(row)).flatten().take(cols);
            out.extend(values.copied());
        }
        finite(&out)?;
        Ok(from_f32s(&out))
    }
}

/// Refuses values above what is said to be the highest: only a false trace has them, and from them on
/// floats could become NaNs.
fn below(values: &[f32], most: f32) -> Result<(), Stop> {
    if values.iter().all(|value| *value <= most) { Ok(()) } else { Err(Stop::Malformed) }
}

impl Steps for Attention {
    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn extent(&self, family: usize) -> [u32; 3] {
        let (heads, bands) = (self.heads, self.grid.bands());
        match family {
            MAX | QUANT => [3, heads, bands],
            SCORE | SUM => [heads, bands, self.blocks()],
            TOP_CHUNK | SHARE_CHUNK => [heads, bands, self.chunks()],
            TOP | SHARE => [heads, bands, 1],
            SCALE => [heads, 1, 1],
            _ => self.grid.extent(),
        }
    }

    fn form(&self, family: usize, at: At) -> Form {
        let [_, second, third] = at;
        let rows = |band| self.grid.band_rows(band);
        match family {
            MAX => Form::new(Kind::F32, rows(third), 1),
            QUANT => Form::new(Kind::I8, rows(third), self.head_dim()),
            SCORE => Form::new(Kind::F32, rows(second), part(self.grid.rows, KEYS, third)),
            TOP_CHUNK | TOP => Form::new(Kind::F32, rows(second), 1),
            SHARE_CHUNK | SHARE => Form::new(Kind::I64, rows(second), 1),
            SCALE => Form::new(Kind::F32, 1, 1),
            SUM => Form::new(Kind::I64, rows(second), self.head_dim()),
            _ => self.grid.form(at),
        }
    }

    fn needs(&self, family: usize, at: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        let [first, second, third] = at;
        match family {
            MAX => self.head_tiles(&mut needs, at),
            QUANT => {
                needs.own(MAX, at);
                self.head_tiles(&mut needs, at);
            }
            SCORE => {
                needs.own(MAX, [QUERY, first, second]);
                needs.own(QUANT, [QUERY, first, second]);
                self.key_bands(&mut needs, KEY, first, third);
            }
            TOP_CHUNK | SHARE_CHUNK => {
                if family == SHARE_CHUNK {
                    needs.own(TOP, [first, second, 0]);
                }
                for block in group(self.blocks(), CHUNK, third) {
                    needs.own(SCORE, [first, second, block]);
                }
            }
            TOP | SHARE => {
                for chunk in 0..self.chunks() {
                    needs.own(family.saturating_sub(1), [first, second, chunk]);
                }
            }
            SCALE => {
                for band in 0..self.grid.bands() {
                    needs.own(MAX, [VALUE, first, band]);
                }
            }
            SUM => {
                needs.own(TOP, [first, second, 0]);
                needs.own(SCALE, [first, 0, 0]);
                needs.own(SCORE, at);
                self.key_bands(&mut needs, VALUE, first, third);
                if let Some(before) = third.checked_sub(1) {
                    needs.own(SUM, [first, second, before]);
                }
            }
            _ => {
                for head in self.heads_of(second) {
                    needs.own(SHARE, [head, first, 0]);
                    needs.own(SCALE, [head, 0, 0]);
                    needs.own(SUM, [head, first, self.blocks().saturating_sub(1)]);
                }
            }
        }
        needs
    }

    fn compute(&self, family: usize, at: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        match family {
            MAX => {
                let rows = self.head_rows(at, 0, inputs);
                let most: Vec<f32> =
                    rows.iter().map(|row| magnitude(row.iter().copied())).collect();
                Ok(from_f32s(&most))
            }
            QUANT => Ok(self.quantise(at, inputs)),
            SCORE => self.score(at, inputs),
            TOP_CHUNK | TOP => Ok(self.top(at, inputs)),
            SHARE_CHUNK => self.share(at, inputs),
            SHARE => {
                let rows = self.grid.band_rows(at[1]);
                Ok(from_i64s(&inputs.totals_from(0, rows)))
            }
            SCALE => {
                let maxima = inputs.f32s_from(0).concat();
                Ok(from_f32s(&[magnitude(Self::scales(&maxima))]))
            }
            SUM => self.sum(at, inputs),
            _ => self.tile(at, inputs),
        }
    }
}
