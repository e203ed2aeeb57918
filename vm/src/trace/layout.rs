//! The numbering of the leaves of a trace: operators in order, in each its families, in each its leaves
//! row by row; the result comes last.

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

use std::fmt;
use std::sync::Arc;

use super::attention::Attention;
use super::elementwise::{Add, Mapped, Output};
use super::embed::Embed;
use super::linear::Linear;
use super::norm::{Affine, Norm};
use super::pool::Pool;
use super::steps::{At, Family, Grid, Needs, Read, Steps, size};
use crate::ops;
use crate::program::{Activations, Op, Rows, Tensor, Verified};
use crate::result::Status;

/// The leaves of a trace; they follow from the program and the number of tokens alone.
#[derive(Clone)]
pub struct Layout {
    /// The operators, and after them the result.
    parts: Vec<Part>,
    count: u64,
}

#[derive(Clone)]
struct Part {
    first: u64,
    name: &'static str,
    steps: Arc<dyn Steps>,
}

/// A leaf as a member of its family.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'a> {
    /// Which operator, or one past the last for the result.
    pub(super) part: usize,
    pub(super) family: usize,
    pub(super) at: At,
    pub(super) steps: &'a dyn Steps,
}

impl Layout {
    /// Lays out the trace of a run over so many tokens.
    #[must_use]
    pub fn new(program: &Verified, tokens: u32) -> Self {
        let mut layout = Self { parts: Vec::new(), count: 0 };
        for (number, op) in program.program().ops.iter().enumerate() {
            layout.push(op.name(), steps_of(program, tokens, number, op));
        }
        let value = program.program().output;
        let grid = Grid { rows: 1, cols: program.output_values() };
        layout.push("RESULT", Arc::new(Output { value, grid }));
        layout
    }

    fn push(&mut self, name: &'static str, steps: Arc<dyn Steps>) {
        let families = 0..steps.families().len();
        let leaves =
            families.fold(0_u64, |sum, family| sum.saturating_add(leaves_of(&*steps, family)));
        self.parts.push(Part { first: self.count, name, steps });
        self.count = self.count.saturating_add(leaves);
    }

    /// Number of leaves.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.count
    }

    /// What stands at a leaf; none where there is no such leaf.
    #[must_use]
    pub fn place(&self, leaf: u64) -> Option<Place> {
        let found = self.find(leaf)?;
        let name = self.parts.get(found.part)?.name;
        let is_op = found.part.saturating_add(1) < self.parts.len();
        let op = u32::try_from(found.part).ok().filter(|_| is_op);
        Some(Place { op, name, family: *found.steps.families().get(found.family)?, at: found.at })
    }

    /// The number of parts: operators, and the result.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn steps(&self, part: usize) -> Option<&dyn Steps> {
        self.parts.get(part).map(|part| &*part.steps)
    }

    /// The leaves of one part.
    pub(super) fn leaves(&self, part: usize) -> std::ops::Range<u64> {
        let first = |part: usize| self.parts.get(part).map_or(self.count, |part| part.first);
        first(part)..first(part.saturating_add(1))
    }

    pub(super) fn find(&self, leaf: u64) -> Option<Leaf<'_>> {
        if leaf >= self.count {
            return None;
        }
        let after = self.parts.partition_point(|part| part.first <= leaf);
        let number = after.checked_sub(1)?;
        let part = self.parts.get(number)?;
        let mut rest = leaf.checked_sub(part.first)?;
        for family in 0..part.steps.families().len() {
            let leaves = leaves_of(&*part.steps, family);
            if rest < leaves {
                let at = coordinates(part.steps.extent(family), rest)?;
                return Some(Leaf { part: number, family, at, steps: &*part.steps });
            }
            rest = rest.checked_sub(leaves)?;
        }
        None
    }

    /// The number of a leaf that one of part `part` reads.
    pub(super) fn number_of(&self, part: usize, read: Read) -> Option<u64> {
        let (part, family, at) = match read {
            Read::Own { family, at } => (part, family, at),
            Read::Tile { value, band, tile } => {
                let part = usize::try_from(value).ok()?;
                let tiles = self.steps(part)?.families().len().checked_sub(1)?;
                (part, tiles, [band, tile, 0])
            }
        };
        let entry = self.parts.get(part)?;
        let mut number = entry.first;
        for before in 0..family {
            number = number.checked_add(leaves_of(&*entry.steps, before))?;
        }
        let mut leaf = 0_u64;
        for (at, axis) in at.into_iter().zip(entry.steps.extent(family)) {
            leaf = leaf.checked_mul(axis.into())?.checked_add(at.into())?;
        }
        number.checked_add(leaf)
    }

    /// The leaves that the one at `position` reads, rising, and the one before it.
    pub(super) fn opened(&self, position: u64, part: usize, needs: &Needs) -> Option<Vec<u64>> {
        let reads = needs.blocks.iter().map(|read| self.number_of(part, *read));
        let mut numbers = reads.collect::<Option<Vec<u64>>>()?;
        numbers.extend(position.checked_sub(1));
        numbers.sort_unstable();
        numbers.dedup();
        Some(numbers)
    }
}

impl Leaf<'_> {
    /// The status of this leaf where it has a block.
    pub(super) fn status(&self, layout: &Layout) -> Status {
        let last = self.part.saturating_add(1) == layout.parts();
        if last { Status::Halted } else { Status::Run }
    }
}

fn leaves_of(steps: &dyn Steps, family: usize) -> u64 {
    steps.extent(family).iter().fold(1_u64, |leaves, axis| leaves.saturating_mul((*axis).into()))
}

fn coordinates(extent: [u32; 3], leaf: u64) -> Option<At> {
    let (mut at, mut rest) = ([0; 3], leaf);
    for (at, axis) in at.iter_mut().zip(extent).rev() {
        *at = u32::try_from(rest.checked_rem(axis.into())?).ok()?;
        rest = rest.checked_div(axis.into())?;
    }
    Some(at)
}

fn steps_of(program: &Verified, tokens: u32, number: usize, op: &Op) -> Arc<dyn Steps> {
    let grid_at = |value: usize| {
        let shape = program.shapes().get(value);
        shape.map_or(Grid { rows: 0, cols: 0 }, |shape| Grid {
            rows: if shape.rows == Rows::Tokens { tokens } else { 1 },
            cols: shape.cols,
        })
    };
    let grid = grid_at(number);
    let input = |value: u32| grid_at(size(value));
    match *op {
        Op::Embed { table, index } => {
            let table_rows = match program.program().tensors.get(size(table)) {
                Some(Tensor::F32 { rows, .. }) => *rows,
                _ => 0,
            };
            Arc::new(Embed { table, table_rows, index, grid })
        }
        Op::Add { a, b } => Arc::new(Add { a, b, grid }),
        Op::LayerNorm { x, gain, bias, eps_bits } => {
            let affine = Some(Affine { gain, bias, eps: f32::from_bits(eps_bits) });
            Arc::new(Norm { x, affine, grid })
        }
        Op::L2Norm { x } => Arc::new(Norm { x, affine: None, grid }),
        Op::Linear { x, weight, bias, smoothing, activations } => {
            let activations = match activations {
                Activations::Bits8 => ops::Activations::Bits8,
                Activations::Bits16 => ops::Activations::Bits16,
            };
            let input = input(x);
            Arc::new(Linear { x, weight, bias, smoothing, activations, input, grid })
        }
        Op::Map { x, map } => Arc::new(Mapped { x, map, grid }),
        Op::Attention { q, k, v, heads, scale_bits } => {
            Arc::new(Attention { q, k, v, heads, scale: f32::from_bits(scale_bits), grid })
        }
        Op::PoolMean { x } => Arc::new(Pool { x, input: input(x), grid }),
    }
}

/// What a leaf holds, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    op: Option<u32>,
    name: &'static str,
    family: Family,
    at: At,
}

impl Place {
    /// The operator's number; none for the result.
    #[must_use]
    pub fn op(&self) -> Option<u32> {
        self.op
    }

    /// The operator's name in `docs/vm.md`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name of the family of leaves in `docs/vm.md`.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.family.name
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(op) = self.op else { return f.write_str("the result") };
        write!(f, "operator {op} ({}), {}", self.name, self.family.name)?;
        let named = self.family.axes.iter().zip(self.at).filter(|(axis, _)| !axis.is_empty());
        for (axis, at) in named {
            write!(f, ", {axis} {at}")?;
        }
        Ok(())
    }
}
