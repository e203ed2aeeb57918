//! Computes leaves of one part of a trace from the values of a run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Layout;
use super::error::{Source, TraceError};
use super::layout::Leaf;
use super::steps::{Inputs, Opened, Read, Stop, from_f32s, size};
use super::witness::leaf_of;
use crate::artefact::Manifest;
use crate::interp::Values;
use crate::kernels::{Isa, ieee};
use crate::program::ValueId;

/// Bytes of blocks of one operator that are kept to be read again.
const BLOCK_BYTES: usize = 64 << 20;
/// Bytes of constants that are kept to be read again.
const CONSTANT_BYTES: usize = 64 << 20;

/// Why a leaf has no block.
#[derive(Debug)]
pub(super) enum Failed {
    Fault,
    Error(TraceError),
}

impl From<TraceError> for Failed {
    fn from(error: TraceError) -> Self {
        Self::Error(error)
    }
}

/// Byte strings by number, forgotten all at once where they become too many.
#[derive(Default)]
pub(super) struct Kept(Mutex<Strings>);

#[derive(Default)]
struct Strings {
    by_number: BTreeMap<u64, Arc<[u8]>>,
    bytes: usize,
}

impl Kept {
    fn strings(&self) -> MutexGuard<'_, Strings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, number: u64) -> Option<Arc<[u8]>> {
        self.strings().by_number.get(&number).cloned()
    }

    fn insert(&self, number: u64, bytes: &Arc<[u8]>, bytes_max: usize) {
        let mut kept = self.strings();
        if kept.bytes + bytes.len() > bytes_max {
            *kept = Strings::default();
        }
        let before = kept.by_number.insert(number, Arc::clone(bytes));
        // Two threads may have computed the same one.
        kept.bytes += bytes.len() - before.map_or(0, |bytes| bytes.len());
    }
}

/// The leaves of an artefact, the last ones read kept.
pub(super) struct Constants {
    source: Arc<dyn Source>,
    kept: Kept,
}

impl Constants {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, kept: Kept::default() }
    }

    pub(super) fn leaf(&self, number: u64) -> Result<Arc<[u8]>, TraceError> {
        if let Some(leaf) = self.kept.get(number) {
            return Ok(leaf);
        }
        let leaf = self.source.leaf(number)?.into();
        self.kept.insert(number, &leaf, CONSTANT_BYTES);
        Ok(leaf)
    }
}

/// What stays the same over a run.
pub(super) struct Run<'a> {
    pub(super) layout: &'a Layout,
    pub(super) manifest: &'a Manifest,
    pub(super) constants: &'a Constants,
    pub(super) ids: &'a [u32],
    pub(super) isa: Isa,
}

/// An operator that has just run, or the result.
pub(super) struct Part<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) number: usize,
    /// Whether it faulted, so that its value is none.
    pub(super) fault: bool,
    pub(super) values: &'a Values<'a>,
    /// Blocks that other leaves may read.
    pub(super) kept: Kept,
}

impl Part<'_> {
    pub(super) fn leaves(&self) -> Range<u64> {
        self.run.layout.leaves(self.number)
    }

    /// The block of a leaf of this part.
    pub(super) fn block(&self, number: u64) -> Result<Arc<[u8]>, Failed> {
        if let Some(block) = self.kept.get(number) {
            return Ok(block);
        }
        let count = self.run.layout.leaf_count();
        let missing = TraceError::Position { position: number, count };
        let leaf = self.run.layout.find(number).ok_or(missing)?;
        let is_tile = leaf.family + 1 == leaf.steps.families().len();
        let is_result = self.number + 1 == self.run.layout.parts();
        if is_tile && !is_result && !self.fault {
            let value = ValueId::try_from(self.number).expect("operators are numbered in 32 bits");
            return Ok(self.tile(value, [leaf.at[0], leaf.at[1]]).into());
        }
        let block: Arc<[u8]> = self.compute(number, &leaf)?.into();
        self.kept.insert(number, &block, BLOCK_BYTES);
        Ok(block)
    }

    fn compute(&self, position: u64, leaf: &Leaf<'_>) -> Result<Vec<u8>, Failed> {
        let needs = leaf.steps.needs(leaf.family, leaf.at, self.run.ids);
        let mut blocks = Vec::with_capacity(needs.blocks.len());
        for read in &needs.blocks {
            blocks.push(match *read {
                Read::Tile { value, band, tile } => self.tile(value, [band, tile]).into(),
                Read::Own { .. } => {
                    let number = self.run.layout.number_of(self.number, *read);
                    self.block(number.expect("a family of this operator"))?
                }
            });
        }
        let layout = self.run.manifest.layout();
        let mut constants = Vec::with_capacity(needs.constants.len());
        for place in &needs.constants {
            let number = leaf_of(*place, layout).expect("a tensor of the program");
            let span = layout.span(number).expect("a leaf of the artefact");
            constants.push((*place, span, self.run.constants.leaf(number)?));
        }
        let inputs = Inputs {
            blocks: blocks.iter().map(|block| &**block).collect(),
            constants: constants
                .iter()
                .map(|(place, span, leaf)| Opened { place: *place, span: *span, leaf })
                .collect(),
            isa: self.run.isa,
        };
        let block = ieee(|| leaf.steps.compute(leaf.family, leaf.at, &inputs));
        block.map_err(|stop| match stop {
            Stop::Fault => Failed::Fault,
            // The steps of a run are its operators' own: this machine computes wrongly.
            Stop::Malformed => TraceError::Inconsistent { position }.into(),
        })
    }

    /// A tile of a value that is alive.
    fn tile(&self, value: ValueId, [band, tile]: [u32; 2]) -> Vec<u8> {
        let steps = self.run.layout.steps(size(value)).expect("verified: an earlier value");
        let form = steps.form(steps.families().len() - 1, [band, tile, 0]);
        let width = size(self.run.manifest.verified().shapes()[size(value)].cols);
        let rows = self.values.of(value).chunks_exact(width).skip(16 * size(band));
        let rows = rows.take(size(form.rows));
        rows.flat_map(|row| from_f32s(&row[64 * size(tile)..][..size(form.cols)])).collect()
    }
}
