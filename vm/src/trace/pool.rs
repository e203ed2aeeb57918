//! Steps of `POOL_MEAN`: per tile of columns the scale and the sum over chunks of 256 rows.

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
    At, CHUNK, Family, Form, Grid, Inputs, Kind, Needs, Steps, Stop, from_f32s, from_i64s, group,
    size,
};
use crate::ops::{Unit, finite, magnitude, pooled, sum};
use crate::program::ValueId;

const MAX_CHUNK: usize = 0;
const MAX: usize = 1;
const SUM_CHUNK: usize = 2;
const FAMILIES: [Family; 4] = [
    Family::new("MAX_CHUNK", ["tile", "chunk", ""]),
    Family::new("MAX", ["tile", "", ""]),
    Family::new("SUM_CHUNK", ["tile", "chunk", ""]),
    Family::new("TILE", ["band", "tile", ""]),
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    pub(super) x: ValueId,
    pub(super) input: Grid,
    pub(super) grid: Grid,
}

impl Pool {
    fn chunks(&self) -> u32 {
        self.input.bands().div_ceil(CHUNK)
    }

    /// The columns of tiles that stand one below the other.
    fn columns(&self, tile: u32, tiles: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let cols = size(self.input.tile_cols(tile)).max(1);
        let rows: Vec<&[f32]> = tiles.iter().flat_map(|tile| tile.chunks(cols)).collect();
        let column = |col| rows.iter().filter_map(|row| row.get(col).copied()).collect();
        (0..cols).map(column).collect()
    }
}

impl Steps for Pool {
    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn extent(&self, family: usize) -> [u32; 3] {
        let tiles = self.input.tiles();
        match family {
            MAX_CHUNK | SUM_CHUNK => [tiles, self.chunks(), 1],
            MAX => [tiles, 1, 1],
            _ => self.grid.extent(),
        }
    }

    fn form(&self, family: usize, at: At) -> Form {
        let cols = self.input.tile_cols(at[0]);
        match family {
            MAX_CHUNK | MAX => Form::new(Kind::F32, 1, cols),
            SUM_CHUNK => Form::new(Kind::I64, 1, cols),
            _ => self.grid.form(at),
        }
    }

    fn needs(&self, family: usize, [first, second, _]: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        match family {
            MAX_CHUNK | SUM_CHUNK => {
                if family == SUM_CHUNK {
                    needs.own(MAX, [first, 0, 0]);
                }
                for band in group(self.input.bands(), CHUNK, second) {
                    needs.tile(self.x, band, first);
                }
            }
            MAX => {
                for chunk in 0..self.chunks() {
                    needs.own(MAX_CHUNK, [first, chunk, 0]);
                }
            }
            _ => {
                needs.own(MAX, [second, 0, 0]);
                for chunk in 0..self.chunks() {
                    needs.own(SUM_CHUNK, [second, chunk, 0]);
                }
            }
        }
        needs
    }

    fn compute(&self, family: usize, at: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let [first, second, _] = at;
        match family {
            MAX_CHUNK => {
                let columns = self.columns(first, &inputs.f32s_from(0));
                let most: Vec<f32> =
                    columns.iter().map(|column| magnitude(column.iter().copied())).collect();
                Ok(from_f32s(&most))
            }
            MAX => Ok(from_f32s(&inputs.maxima_from(0))),
            SUM_CHUNK => {
                let columns = self.columns(first, &inputs.f32s_from(1));
                let sums = columns.iter().zip(inputs.units(0));
                let sums: Vec<i64> =
                    sums.map(|(column, unit)| sum(column.iter().copied(), unit)).collect();
                Ok(from_i64s(&sums))
            }
            _ => {
                let totals = inputs.totals_from(1, self.grid.tile_cols(second));
                let tokens = size(self.input.rows);
                let mean = |(total, unit): (i64, Unit)| pooled(total, tokens, unit);
                let means: Vec<f32> = totals.into_iter().zip(inputs.units(0)).map(mean).collect();
                finite(&means)?;
                Ok(from_f32s(&means))
            }
        }
    }
}
