//! What every operator says of its steps, so that numbering, proving and verifying are written once.

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

use crate::artefact::{Content, Span};
use crate::kernels::Isa;
use crate::ops::{Fault, Unit, magnitude};
use crate::program::ValueId;

/// Rows of a band: [`crate::limits::TILE_ROWS`].
pub(super) const BAND: u32 = 16;
/// Columns of a tile: [`crate::limits::TILE_COLS`].
pub(super) const TILE: u32 = 64;
/// Tiles, or blocks of scores, of a chunk of a reduction.
pub(super) const CHUNK: u32 = 16;

/// Leaves of one kind, numbered by up to three coordinates, the last one running fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) name: &'static str,
    /// What the coordinates count; empty where there is only one.
    pub(super) axes: [&'static str; 3],
}

impl Family {
    pub(super) const fn new(name: &'static str, axes: [&'static str; 3]) -> Self {
        Self { name, axes }
    }
}

/// Coordinates of a leaf in its family.
pub(super) type At = [u32; 3];

/// Why a leaf has no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The program ends here.
    Fault,
    /// What it reads cannot stand in an honest trace.
    Malformed,
}

impl From<Fault> for Stop {
    fn from(_: Fault) -> Self {
        Self::Fault
    }
}

/// How one operator is cut into steps, for a run over a known number of tokens.
pub(super) trait Steps: Send + Sync {
    /// Its families in order. The last holds the tiles of the value, `[bands, tiles, 1]` of them.
    fn families(&self) -> &'static [Family];

    /// How many leaves a family has along each coordinate.
    fn extent(&self, family: usize) -> [u32; 3];

    /// What a leaf holds.
    fn form(&self, family: usize, at: At) -> Form;

    /// Whether the leaves of a family read the input.
    fn reads_input(&self, _family: usize) -> bool {
        false
    }

    /// What a leaf reads; `ids` is the input where it reads that, else empty.
    fn needs(&self, family: usize, at: At, ids: &[u32]) -> Needs;

    /// A leaf's block from what it reads, in the order of [`Steps::needs`]. Never panics, and reduces
    /// no float that could be a NaN to an integer, whatever the inputs hold.
    fn compute(&self, family: usize, at: At, inputs: &Inputs<'_>) -> Result<Vec<u8>, Stop>;
}

/// What a leaf reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) blocks: Vec<Read>,
    pub(super) constants: Vec<Constant>,
}

/// An earlier leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// A tile of a value.
    Tile { value: ValueId, band: u32, tile: u32 },
    /// A leaf of the same operator.
    Own { family: usize, at: At },
}

/// The leaf of the artefact that holds this place of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) content: Content,
    pub(super) row: u32,
    pub(super) col: u32,
}

impl Needs {
    pub(super) fn tile(&mut self, value: ValueId, band: u32, tile: u32) {
        self.blocks.push(Read::Tile { value, band, tile });
    }

    pub(super) fn own(&mut self, family: usize, at: At) {
        self.blocks.push(Read::Own { family, at });
    }

    /// The leaf that holds column `col` of a table of one row.
    pub(super) fn constant(&mut self, content: Content, row: u32, col: u32) {
        self.constants.push(Constant { content, row, col });
    }
}

/// What the numbers of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    I8,
    I16,
    I64,
    /// A hash.
    Byte,
}

/// A block: numbers of one kind, little endian, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) kind: Kind,
    pub(super) rows: u32,
    pub(super) cols: u32,
}

impl Form {
    pub(super) fn new(kind: Kind, rows: u32, cols: u32) -> Self {
        Self { kind, rows, cols }
    }

    pub(super) fn bytes(self) -> usize {
        let width = match self.kind {
            Kind::I8 | Kind::Byte => 1_u32,
            Kind::I16 => 2,
            Kind::F32 => 4,
            Kind::I64 => 8,
        };
        size(self.rows.saturating_mul(self.cols).saturating_mul(width))
    }

    /// Whether a block can be of this form: its length, and every float finite.
    pub(super) fn holds(self, block: &[u8]) -> bool {
        let finite = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes).is_finite();
        block.len() == self.bytes()
            && (self.kind != Kind::F32 || block.as_chunks().0.iter().all(finite))
    }
}

/// What a leaf reads, opened: blocks hold their forms, constants keep the artefact's rules.
pub(super) struct Inputs<'a> {
    pub(super) blocks: Vec<&'a [u8]>,
    pub(super) constants: Vec<Opened<'a>>,
    pub(super) isa: Isa,
}

/// A leaf of the artefact, and the place of it that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened<'a> {
    pub(super) place: Constant,
    pub(super) span: Span,
    pub(super) leaf: &'a [u8],
}

impl Opened<'_> {
    /// So many f32 values from the place on.
    fn f32s(&self, len: u32) -> Vec<f32> {
        let down = self.place.row.saturating_sub(self.span.row).saturating_mul(self.span.cols);
        let skipped = down.saturating_add(self.place.col.saturating_sub(self.span.col));
        let values = self.leaf.as_chunks().0.iter().skip(size(skipped)).take(size(len));
        values.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

impl Inputs<'_> {
    fn block(&self, number: usize) -> &[u8] {
        self.blocks.get(number).copied().unwrap_or_default()
    }

    pub(super) fn f32s(&self, number: usize) -> Vec<f32> {
        f32s(self.block(number))
    }

    pub(super) fn i64s(&self, number: usize) -> Vec<i64> {
        self.block(number).as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    }

    pub(super) fn i16s(&self, number: usize) -> Vec<i16> {
        self.block(number).as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect()
    }

    pub(super) fn i8s(&self, number: usize) -> Vec<i8> {
        self.block(number).iter().map(|byte| byte.cast_signed()).collect()
    }

    /// All blocks from one on.
    pub(super) fn f32s_from(&self, first: usize) -> Vec<Vec<f32>> {
        self.blocks.iter().skip(first).map(|block| f32s(block)).collect()
    }

    /// How TOINT scales the rows whose largest magnitudes a block holds.
    pub(super) fn units(&self, number: usize) -> Vec<Unit> {
        self.f32s(number).into_iter().map(Unit::of).collect()
    }

    /// The largest magnitudes of all blocks from one on, place by place.
    pub(super) fn maxima_from(&self, first: usize) -> Vec<f32> {
        let blocks = self.f32s_from(first);
        let places = 0..blocks.first().map_or(0, Vec::len);
        let place = |at| blocks.iter().filter_map(move |block| block.get(at).copied());
        places.map(|at| magnitude(place(at))).collect()
    }

    /// The integer sums of all blocks from one on, added place by place.
    pub(super) fn totals_from(&self, first: usize, values: u32) -> Vec<i64> {
        let mut totals = vec![0_i64; size(values)];
        for number in first..self.blocks.len() {
            for (total, part) in totals.iter_mut().zip(self.i64s(number)) {
                *total = total.wrapping_add(part);
            }
        }
        totals
    }

    /// So many f32 values of a constant; none where it was not asked for.
    pub(super) fn constant(&self, number: usize, len: u32) -> Option<Vec<f32>> {
        self.constants.get(number).map(|opened| opened.f32s(len))
    }

    /// The bytes of a whole leaf of a weight matrix.
    pub(super) fn weights(&self, number: usize) -> Vec<i8> {
        let leaf = self.constants.get(number).map_or(&[][..], |opened| opened.leaf);
        leaf.iter().map(|byte| byte.cast_signed()).collect()
    }
}

fn f32s(block: &[u8]) -> Vec<f32> {
    block.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

pub(super) fn from_f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn from_i64s(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn from_i16s(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The length of part `index` of `total` cut into parts of `step`.
pub(super) fn part(total: u32, step: u32, index: u32) -> u32 {
    total.saturating_sub(index.saturating_mul(step)).min(step)
}

/// The part numbers of one group of `step` parts out of `parts`.
pub(super) fn group(parts: u32, step: u32, index: u32) -> std::ops::Range<u32> {
    let start = index.saturating_mul(step);
    start..start.saturating_add(part(parts, step, index))
}

/// A value's rows and columns in this run, in tiles of 16 by 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) rows: u32,
    pub(super) cols: u32,
}

impl Grid {
    pub(super) fn bands(self) -> u32 {
        self.rows.div_ceil(BAND)
    }

    pub(super) fn tiles(self) -> u32 {
        self.cols.div_ceil(TILE)
    }

    /// Chunks of a row.
    pub(super) fn chunks(self) -> u32 {
        self.tiles().div_ceil(CHUNK)
    }

    pub(super) fn band_rows(self, band: u32) -> u32 {
        part(self.rows, BAND, band)
    }

    pub(super) fn tile_cols(self, tile: u32) -> u32 {
        part(self.cols, TILE, tile)
    }

    /// The extent of the family of tiles.
    pub(super) fn extent(self) -> [u32; 3] {
        [self.bands(), self.tiles(), 1]
    }

    pub(super) fn form(self, [band, tile, _]: At) -> Form {
        Form::new(Kind::F32, self.band_rows(band), self.tile_cols(tile))
    }

    /// The rows of some neighbouring tiles of a band, each put together again.
    pub(super) fn rows_of(self, band: u32, tiles: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut rows = vec![Vec::new(); size(self.band_rows(band))];
        for tile in tiles {
            let cols = tile.len().checked_div(rows.len()).unwrap_or(0).max(1);
            for (row, values) in rows.iter_mut().zip(tile.chunks(cols)) {
                row.extend_from_slice(values);
            }
        }
        rows
    }
}
