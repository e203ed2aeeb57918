//! Steps of ADD, of maps, and of the result.

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

use super::steps::{At, Family, Form, Grid, Inputs, Kind, Needs, Steps, Stop, from_f32s};
use crate::kernels;
use crate::program::{Map, ValueId};
use crate::result::output_root;

const TILES: [Family; 1] = [Family::new("TILE", ["band", "tile", ""])];

#[derive(Debug, Clone, Copy)]
pub(super) struct Add {
    pub(super) a: ValueId,
    pub(super) b: ValueId,
    pub(super) grid: Grid,
}

impl Steps for Add {
    fn families(&self) -> &'static [Family] {
        &TILES
    }

    fn extent(&self, _: usize) -> [u32; 3] {
        self.grid.extent()
    }

    fn form(&self, _: usize, at: At) -> Form {
        self.grid.form(at)
    }

    fn needs(&self, _: usize, [band, tile, _]: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        needs.tile(self.a, band, tile);
        needs.tile(self.b, band, tile);
        needs
    }

    fn compute(&self, _: usize, _: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let (a, b) = (inputs.f32s(0), inputs.f32s(1));
        let mut sum = vec![0.0; a.len()];
        kernels::add(inputs.isa, &a, &b, &mut sum)?;
        Ok(from_f32s(&sum))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped {
    pub(super) x: ValueId,
    pub(super) map: Map,
    pub(super) grid: Grid,
}

impl Steps for Mapped {
    fn families(&self) -> &'static [Family] {
        &TILES
    }

    fn extent(&self, _: usize) -> [u32; 3] {
        self.grid.extent()
    }

    fn form(&self, _: usize, at: At) -> Form {
        self.grid.form(at)
    }

    fn needs(&self, _: usize, [band, tile, _]: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        needs.tile(self.x, band, tile);
        needs
    }

    fn compute(&self, _: usize, _: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let x = inputs.f32s(0);
        let mut y = vec![0.0; x.len()];
        match self.map {
            Map::GeluErf => kernels::gelu_erf(inputs.isa, &x, &mut y)?,
            Map::GeluTanh => kernels::gelu_tanh(inputs.isa, &x, &mut y)?,
            Map::Silu => kernels::silu(inputs.isa, &x, &mut y)?,
        }
        Ok(from_f32s(&y))
    }
}

/// The last leaf of a trace: the output root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) value: ValueId,
    pub(super) grid: Grid,
}

const RESULT: [Family; 1] = [Family::new("RESULT", [""; 3])];

impl Steps for Output {
    fn families(&self) -> &'static [Family] {
        &RESULT
    }

    fn extent(&self, _: usize) -> [u32; 3] {
        [1; 3]
    }

    fn form(&self, _: usize, _: At) -> Form {
        Form::new(Kind::Byte, 1, 32)
    }

    fn needs(&self, _: usize, _: At, _: &[u32]) -> Needs {
        let mut needs = Needs::default();
        for tile in 0..self.grid.tiles() {
            needs.tile(self.value, 0, tile);
        }
        needs
    }

    fn compute(&self, _: usize, _: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop> {
        let root = output_root(self.grid.rows, self.grid.cols, &inputs.blocks.concat());
        root.map(Vec::from).ok_or(Stop::Malformed)
    }
}
