//! Steps of linear layers: per band of rows the scale, the integers, their products block by block of
//! 512 columns, then tiles.

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
    At, CHUNK, Family, Form, Grid, Inputs, Kind, Needs, Steps, Stop, TILE, from_f32s, from_i16s,
    from_i64s, group, part, size,
};
use crate::artefact::Content;
use crate::kernels;
use crate::limits::BLOCK_COLS;
use crate::ops::{Activations, Quant, absmax, finish};
use crate::program::{TensorId, ValueId};

/// Tiles of a block of columns.
const BLOCK_TILES: u32 = 8;

const _: () = assert!(BLOCK_TILES * TILE == BLOCK_COLS && crate::limits::BLOCK_ROWS == TILE);

const MAX_CHUNK: usize = 0;
const MAX: usize = 1;
const QUANT: usize = 2;
const PRODUCT: usize = 3;
const FAMILIES: [Family; 5] = [
    Family::new("MAX_CHUNK", ["band", "chunk", ""]),
    Family::new("MAX", ["band", "", ""]),
    Family::new("QUANT", ["band", "block", ""]),
    Family::new("PRODUCT", ["band", "tile", "block"]),
    Family::new("TILE", ["band", "tile", ""]),
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub(super) x: ValueId,
    pub(super) weight: TensorId,
    pub(super) bias: Option<TensorId>,
    pub(super) smoothing: Option<TensorId>,
    pub(super) activations: Activations,
    pub(super) input: Grid,
    pub(super) grid: Grid,
}

impl Linear {
    fn blocks(&self) -> u32 {
        self.input.cols.div_ceil(BLOCK_COLS)
    }

    fn smoothing(&self, needs: &mut Needs, col: u32) {
        if let Some(smoothing) = self.smoothing {
            needs.constant(Content::Table(smoothing), 0, col);
        }
    }

    /// The rows of tiles from block `first` of the inputs on, smoothed.
    fn rows(&self, band: u32, first: usize, inputs: &Inputs<'_>) -> Vec<Vec<f32>> {
        let mut rows = self.input.rows_of(band, &inputs.f32s_from(first));
        if let Some(pre) = inputs.constant(0, TILE.saturating_mul(CHUNK)) {
            for (x, pre) in rows.iter_mut().flat_map(|row| row.iter_mut().zip(&pre)) {
                *x *= pre;
            }
        }
        rows
    }

    fn quants(&self, maxima: &[f32]) -> Vec<Quant> {
        maxima.iter().map(|most| Quant::of(*most, self.activations.max())).collect()
    }

    fn quantise(&self, band: u32, inputs: &Inputs<'_>) -> Vec<u8> {
        let mut integers = Vec::new();
        let quants = self.quants(&inputs.f32s(0));
        for (row, quant) in self.rows(band, 1, inputs).iter().zip(quants) {
            let mut q = vec![0; row.len()];
            quant.integers(row.iter().copied(), &mut q);
            integers.extend(q);
        }
        from_i16s(&integers)
    }

    fn product(&self, [_, _, block]: At, values: usize, inputs: &Inputs<'_>) -> Vec<u8> {
        let mut sums = inputs.i64s(1);
        sums.resize(values, 0);
        let depth = size(part(self.input.cols, BLOCK_COLS, block));
        kernels::add_products(inputs.isa, &inputs.i16s(0), &inputs.weights(0), depth, &mut sums);
        from_i64s(&sums)
    }

    fn tile(&self, [_, tile, _]: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let (sums, quants) = (inputs.i64s(1), self.quants(&inputs.f32s(0)));
        let cols = self.grid.tile_cols(tile);
        let scale = inputs.constant(0, cols).unwrap_or_default();
        let bias = inputs.constant(1, cols);
        let mut out = vec![0.0; sums.len()];
        let width = size(cols).max(1);
        for ((sums, y), quant) in sums.chunks(width).zip(out.chunks_mut(width)).zip(quants) {
            finish(sums, quant.scale, &scale, bias.as_deref(), y)?;
        }
        Ok(from_f32s(&out))
    }
}

impl Steps for Linear {
    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn extent(&self, family: usize) -> [u32; 3] {
        let bands = self.input.bands();
        match family {
            MAX_CHUNK => [bands, self.input.chunks(), 1],
            MAX => [bands, 1, 1],
            QUANT => [bands, self.blocks(), 1],
            PRODUCT => [bands, self.grid.tiles(), self.blocks()],
            _ => self.grid.extent(),
        }
    }

    fn form(&self, family: usize, at: At) -> Form {
        let [band, second, _] = at;
        let rows = self.input.band_rows(band);
        match family {
            MAX_CHUNK | MAX => Form::new(Kind::F32, rows, 1),
            QUANT => Form::new(Kind::I16, rows, part(self.input.cols, BLOCK_COLS, second)),
            PRODUCT => Form::new(Kind::I64, rows, self.grid.tile_cols(second)),
            _ => self.grid.form(at),
        }
    }

    fn needs(&self, family: usize, [band, second, third]: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        match family {
            MAX_CHUNK => {
                for tile in group(self.input.tiles(), CHUNK, second) {
                    needs.tile(self.x, band, tile);
                }
                self.smoothing(&mut needs, second.saturating_mul(CHUNK).saturating_mul(TILE));
            }
            MAX => {
                for chunk in 0..self.input.chunks() {
                    needs.own(MAX_CHUNK, [band, chunk, 0]);
                }
            }
            QUANT => {
                needs.own(MAX, [band, 0, 0]);
                for tile in group(self.input.tiles(), BLOCK_TILES, second) {
                    needs.tile(self.x, band, tile);
                }
                self.smoothing(&mut needs, second.saturating_mul(BLOCK_COLS));
            }
            PRODUCT => {
                needs.own(QUANT, [band, third, 0]);
                if let Some(before) = third.checked_sub(1) {
                    needs.own(PRODUCT, [band, second, before]);
                }
                let (row, col) = (second.saturating_mul(TILE), third.saturating_mul(BLOCK_COLS));
                needs.constant(Content::Weights(self.weight), row, col);
            }
            _ => {
                needs.own(MAX, [band, 0, 0]);
                needs.own(PRODUCT, [band, second, self.blocks().saturating_sub(1)]);
                let col = second.saturating_mul(TILE);
                needs.constant(Content::Scales(self.weight), 0, col);
                if let Some(bias) = self.bias {
                    needs.constant(Content::Table(bias), 0, col);
                }
            }
        }
        needs
    }

    fn compute(&self, family: usize, at: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let [band, tile, _] = at;
        match family {
            MAX_CHUNK => {
                let rows = self.rows(band, 0, inputs);
                let most = rows.iter().map(|row| absmax(row.iter().copied()));
                Ok(from_f32s(&most.collect::<Result<Vec<_>, _>>()?))
            }
            MAX => Ok(from_f32s(&inputs.maxima_from(0))),
            QUANT => Ok(self.quantise(band, inputs)),
            PRODUCT => {
                let cols = self.grid.tile_cols(tile);
                let values = size(self.input.band_rows(band).saturating_mul(cols));
                Ok(self.product(at, values, inputs))
            }
            _ => self.tile(at, inputs),
        }
    }
}
