//! Steps of EMBED: pieces of table rows, then tiles put together from them.

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
    At, BAND, Family, Form, Grid, Inputs, Kind, Needs, Steps, Stop, TILE, from_f32s, part, size,
};
use crate::artefact::Content;
use crate::program::{Index, TensorId};

/// Columns of a piece, which never spans two leaves of the table.
const PIECE: u32 = 512;

const ROW: usize = 0;
const FAMILIES: [Family; 2] =
    [Family::new("ROW", ["token", "piece", ""]), Family::new("TILE", ["band", "tile", ""])];

#[derive(Debug, Clone, Copy)]
pub(super) struct Embed {
    pub(super) table: TensorId,
    pub(super) table_rows: u32,
    pub(super) index: Index,
    pub(super) grid: Grid,
}

impl Steps for Embed {
    fn families(&self) -> &'static [Family] {
        &FAMILIES
    }

    fn extent(&self, family: usize) -> [u32; 3] {
        match family {
            ROW => [self.grid.rows, self.grid.cols.div_ceil(PIECE), 1],
            _ => self.grid.extent(),
        }
    }

    fn form(&self, family: usize, at: At) -> Form {
        match family {
            ROW => Form::new(Kind::F32, 1, part(self.grid.cols, PIECE, at[1])),
            _ => self.grid.form(at),
        }
    }

    fn reads_input(&self, family: usize) -> bool {
        family == ROW && self.index == Index::Tokens
    }

    fn needs(&self, family: usize, at: At, ids: &[u32]) -> Needs {
        let mut needs = Needs::default();
        let [first, second, _] = at;
        if family == ROW {
            let row = match self.index {
                Index::Tokens => ids.get(size(first)).copied(),
                Index::Positions => Some(first),
                Index::Row(row) => Some(row),
            };
            if let Some(row) = row.filter(|row| *row < self.table_rows) {
                needs.constant(Content::Table(self.table), row, second.saturating_mul(PIECE));
            }
            return needs;
        }
        let piece = second.checked_div(PIECE.checked_div(TILE).unwrap_or(1)).unwrap_or(0);
        let token = first.saturating_mul(BAND);
        for row in 0..self.grid.band_rows(first) {
            needs.own(ROW, [token.saturating_add(row), piece, 0]);
        }
        needs
    }

    fn compute(&self, family: usize, at: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let [_, second, _] = at;
        if family == ROW {
            // A token without a row in the table is a FAULT.
            let len = part(self.grid.cols, PIECE, second);
            return Ok(from_f32s(&inputs.constant(0, len).ok_or(Stop::Fault)?));
        }
        let col = second.saturating_mul(TILE).checked_rem(PIECE).unwrap_or(0);
        let cols = size(self.grid.tile_cols(second));
        let rows = inputs.f32s_from(0);
        let tile: Vec<f32> =
            rows.iter().flat_map(|row| row.iter().skip(size(col)).take(cols)).copied().collect();
        Ok(from_f32s(&tile))
    }
}
