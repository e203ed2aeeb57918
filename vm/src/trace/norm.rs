//! Steps of LAYERNORM and L2NORM: per band of rows, each sum over chunks of the row, then tiles.

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
    At, CHUNK, Family, Form, Grid, Inputs, Kind, Needs, Steps, Stop, TILE, from_f32s, from_i64s,
    group, size,
};
use crate::artefact::Content;
use crate::ops::{
    Unit, inverse_root, l2norm_values, layernorm_values, length, magnitude, mean, sum, sum_squares,
};
use crate::program::{TensorId, ValueId};

const MAX_CHUNK: usize = 0;
const MAX: usize = 1;
const SUM_CHUNK: usize = 2;
const SUM: usize = 3;
const SQUARE_CHUNK: usize = 4;
const SQUARE: usize = 5;
const TILES: usize = 6;
const FAMILIES: [Family; 7] = [
    Family::new("MAX_CHUNK", ["band", "chunk", ""]),
    Family::new("MAX", ["band", "", ""]),
    Family::new("SUM_CHUNK", ["band", "chunk", ""]),
    Family::new("SUM", ["band", "", ""]),
    Family::new("SQUARE_CHUNK", ["band", "chunk", ""]),
    Family::new("SQUARE", ["band", "", ""]),
    Family::new("TILE", ["band", "tile", ""]),
];

/// What LAYERNORM has and L2NORM has not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) gain: TensorId,
    pub(super) bias: TensorId,
    pub(super) eps: f32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) x: ValueId,
    pub(super) affine: Option<Affine>,
    pub(super) grid: Grid,
}

impl Norm {
    /// The mean of a row, of its values and of their integers; L2NORM takes none off.
    fn mean(&self, total: Option<&i64>, unit: Unit) -> (f32, i32) {
        total.map_or((0.0, 0), |total| mean(*total, size(self.grid.cols), unit))
    }

    /// Number of the first block after the maximum, and the sum where there is one.
    fn after_totals(&self) -> usize {
        if self.affine.is_some() { 2 } else { 1 }
    }

    fn sums(&self, inputs: &Inputs<'_>) -> Vec<i64> {
        if self.affine.is_some() { inputs.i64s(1) } else { Vec::new() }
    }

    fn tile(&self, [band, tile, _]: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let (units, sums) = (inputs.units(0), self.sums(inputs));
        let squares = inputs.i64s(self.after_totals());
        let x = inputs.f32s_from(self.after_totals().saturating_add(1));
        let cols = self.grid.tile_cols(tile);
        let mut out = Vec::new();
        let rows = self.grid.rows_of(band, &x);
        for (row, ((x, unit), squares)) in rows.iter().zip(units).zip(squares).enumerate() {
            let mut y = vec![0.0; x.len()];
            if let Some(affine) = self.affine {
                let gain = inputs.constant(0, cols).unwrap_or_default();
                let bias = inputs.constant(1, cols).unwrap_or_default();
                let (mean, _) = self.mean(sums.get(row), unit);
                let r = inverse_root(squares, size(self.grid.cols), unit, affine.eps)?;
                layernorm_values(x, (&gain, &bias), (mean, r), &mut y)?;
            } else {
                l2norm_values(x, length(squares, unit)?, &mut y)?;
            }
            out.extend(y);
        }
        Ok(from_f32s(&out))
    }
}

impl Steps for Norm {
    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn extent(&self, family: usize) -> [u32; 3] {
        let (bands, chunks) = (self.grid.bands(), self.grid.chunks());
        let means = u32::from(self.affine.is_some());
        match family {
            MAX_CHUNK | SQUARE_CHUNK => [bands, chunks, 1],
            MAX | SQUARE => [bands, 1, 1],
            SUM_CHUNK => [bands, chunks, means],
            SUM => [bands, 1, means],
            _ => self.grid.extent(),
        }
    }

    fn form(&self, family: usize, at: At) -> Form {
        let rows = self.grid.band_rows(at[0]);
        match family {
            MAX_CHUNK | MAX => Form::new(Kind::F32, rows, 1),
            SUM_CHUNK | SUM | SQUARE_CHUNK | SQUARE => Form::new(Kind::I64, rows, 1),
            _ => self.grid.form(at),
        }
    }

    fn needs(&self, family: usize, [band, second, _]: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        if matches!(family, SUM_CHUNK | SQUARE_CHUNK | TILES) {
            needs.own(MAX, [band, 0, 0]);
        }
        if matches!(family, SQUARE_CHUNK | TILES) && self.affine.is_some() {
            needs.own(SUM, [band, 0, 0]);
        }
        match family {
            MAX_CHUNK | SUM_CHUNK | SQUARE_CHUNK => {
                for tile in group(self.grid.tiles(), CHUNK, second) {
                    needs.tile(self.x, band, tile);
                }
            }
            MAX | SUM | SQUARE => {
                for chunk in 0..self.grid.chunks() {
                    needs.own(family.saturating_sub(1), [band, chunk, 0]);
                }
            }
            _ => {
                needs.own(SQUARE, [band, 0, 0]);
                needs.tile(self.x, band, second);
                if let Some(affine) = self.affine {
                    let col = second.saturating_mul(TILE);
                    needs.constant(Content::Table(affine.gain), 0, col);
                    needs.constant(Content::Table(affine.bias), 0, col);
                }
            }
        }
        needs
    }

    fn compute(&self, family: usize, at: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let [band, ..] = at;
        match family {
            MAX_CHUNK => {
                let rows = self.grid.rows_of(band, &inputs.f32s_from(0));
                let most: Vec<f32> =
                    rows.iter().map(|row| magnitude(row.iter().copied())).collect();
                Ok(from_f32s(&most))
            }
            MAX => Ok(from_f32s(&inputs.maxima_from(0))),
            SUM_CHUNK => {
                let rows = self.grid.rows_of(band, &inputs.f32s_from(1));
                let sums = rows.iter().zip(inputs.units(0));
                let sums: Vec<i64> =
                    sums.map(|(row, unit)| sum(row.iter().copied(), unit)).collect();
                Ok(from_i64s(&sums))
            }
            SQUARE_CHUNK => {
                let rows = self.grid.rows_of(band, &inputs.f32s_from(self.after_totals()));
                let totals = self.sums(inputs);
                let each = rows.iter().zip(inputs.units(0)).enumerate();
                let sums: Vec<i64> = each
                    .map(|(number, (row, unit))| {
                        let (_, mu) = self.mean(totals.get(number), unit);
                        sum_squares(row.iter().copied(), unit, mu)
                    })
                    .collect();
                Ok(from_i64s(&sums))
            }
            SUM | SQUARE => Ok(from_i64s(&inputs.totals_from(0, self.grid.band_rows(band)))),
            _ => self.tile(at, inputs),
        }
    }
}
