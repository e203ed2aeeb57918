//! What a run takes: work, memory, and the buffers in which values live.

use super::shapes::{Rows, Shape};
use super::verify::Verified;
use super::{Activations, Op, Program, Tensor};

/// What a run takes, known from the program and the number of token ids alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of int8 integers; 16-bit operands count twice.
    pub macs: u64,
    /// f32 values that operators other than products read or write.
    pub elementwise: u64,
    /// Bytes of values and scratch that live at once.
    pub memory_bytes: u64,
    /// Bytes of the program's tensors.
    pub weight_bytes: u64,
}

/// A buffer that several values share, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Big enough for each of them.
    pub shape: Shape,
}

/// Which slot each value lives in, so that a run needs no more than what lives at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    slots: Vec<Slot>,
    /// By operator.
    slot_of: Vec<usize>,
    /// Bytes of scratch for each token: quantised operands and their scales.
    scratch_bytes: u64,
}

impl Plan {
    pub(super) fn new(program: &Program, shapes: &[Shape]) -> Self {
        let mut last_use: Vec<usize> = (0..program.ops.len()).collect();
        for (number, op) in program.ops.iter().enumerate() {
            for value in op.values() {
                if let Some(last) = index(value).and_then(|value| last_use.get_mut(value)) {
                    *last = number;
                }
            }
        }
        if let Some(last) = index(program.output).and_then(|output| last_use.get_mut(output)) {
            *last = usize::MAX;
        }
        let mut slots: Vec<Slot> = Vec::new();
        let mut slot_of: Vec<usize> = Vec::with_capacity(shapes.len());
        // Slots that hold nothing any more, of T rows and of one. Work is linear in the program.
        let mut free = (Vec::new(), Vec::new());
        for (number, (op, shape)) in program.ops.iter().zip(shapes).enumerate() {
            let chosen = match shape.rows {
                Rows::Tokens => free.0.pop(),
                Rows::One => free.1.pop(),
            };
            let chosen = chosen.unwrap_or(slots.len());
            match slots.get_mut(chosen) {
                Some(slot) => slot.shape.cols = slot.shape.cols.max(shape.cols),
                None => slots.push(Slot { shape: *shape }),
            }
            slot_of.push(chosen);
            for value in op.values().filter_map(index) {
                // Marked as released, since an operator may read a value twice.
                if let Some(last) = last_use.get_mut(value).filter(|last| **last == number) {
                    *last = usize::MAX;
                    let rows = shapes.get(value).map(|shape| shape.rows);
                    match (rows, slot_of.get(value)) {
                        (Some(Rows::Tokens), Some(slot)) => free.0.push(*slot),
                        (Some(Rows::One), Some(slot)) => free.1.push(*slot),
                        _ => {}
                    }
                }
            }
        }
        let scratch = program.ops.iter().map(|op| scratch_bytes(op, shapes)).max();
        Self { slots, slot_of, scratch_bytes: scratch.unwrap_or(0) }
    }

    /// The buffers.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The number of the buffer that holds an operator's value.
    #[must_use]
    pub fn slot_of(&self, op: usize) -> Option<usize> {
        self.slot_of.get(op).copied()
    }

    pub(super) fn memory_bytes(&self, tokens: u64) -> u64 {
        let values = self
            .slots
            .iter()
            .fold(0_u64, |sum, slot| sum.saturating_add(slot.shape.values(tokens, tokens)));
        values.saturating_mul(4).saturating_add(self.scratch_bytes.saturating_mul(tokens))
    }
}

fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

fn cols(shapes: &[Shape], value: u32) -> u64 {
    index(value).and_then(|value| shapes.get(value)).map_or(0, |shape| shape.cols.into())
}

/// Bytes of scratch for each row: one or two int8 planes with padding to a vector, and scales; in
/// attention quantised queries, keys and values, a row of scores and weights for each.
fn scratch_bytes(op: &Op, shapes: &[Shape]) -> u64 {
    match *op {
        Op::Linear { x, .. } => cols(shapes, x).saturating_add(64).saturating_mul(2),
        Op::Attention { q, heads, .. } => {
            let planes = cols(shapes, q).saturating_mul(4);
            planes.saturating_add(u64::from(heads).saturating_mul(64))
        }
        _ => 64,
    }
}

impl Cost {
    pub(super) fn of(verified: &Verified, tokens: u64) -> Self {
        let mut cost = Self {
            macs: 0,
            elementwise: 0,
            memory_bytes: verified.memory_bytes(tokens),
            weight_bytes: verified
                .program()
                .tensors
                .iter()
                .fold(0, |sum, tensor| weight_bytes(tensor).saturating_add(sum)),
        };
        for (op, shape) in verified.program().ops.iter().zip(verified.shapes()) {
            cost.add(op, *shape, verified.shapes(), tokens);
        }
        cost
    }

    fn add(&mut self, op: &Op, shape: Shape, shapes: &[Shape], tokens: u64) {
        let output = shape.values(tokens, 1);
        let (macs, elementwise) = match *op {
            Op::Linear { x, activations, .. } => {
                let planes = match activations {
                    Activations::Bits8 => 1,
                    Activations::Bits16 => 2,
                };
                let depth = cols(shapes, x);
                let rows = Shape { cols: 1, ..shape }.values(tokens, 1);
                (output.saturating_mul(depth).saturating_mul(planes), rows.saturating_mul(depth))
            }
            // Queries with keys in one plane, weights with values in two; a score for each pair.
            Op::Attention { heads, .. } => {
                let pairs = tokens.saturating_mul(tokens).saturating_mul(heads.into());
                let products = output.saturating_mul(tokens).saturating_mul(3);
                (products, output.saturating_mul(3).saturating_add(pairs))
            }
            Op::PoolMean { .. } => (0, Shape { rows: Rows::Tokens, ..shape }.values(tokens, 1)),
            Op::Add { .. } => (0, output.saturating_mul(2)),
            Op::Embed { .. } | Op::LayerNorm { .. } | Op::Map { .. } | Op::L2Norm { .. } => {
                (0, output)
            }
        };
        self.macs = self.macs.saturating_add(macs);
        self.elementwise = self.elementwise.saturating_add(elementwise).saturating_add(output);
    }
}

/// Bytes of a tensor in the artefact.
fn weight_bytes(tensor: &Tensor) -> u64 {
    let product = |rows: u32, cols: u32| u64::from(rows).saturating_mul(cols.into());
    match *tensor {
        Tensor::I8 { rows, cols } => {
            product(rows, cols).saturating_add(u64::from(rows).saturating_mul(4))
        }
        Tensor::F32 { rows, cols } => product(rows, cols).saturating_mul(4),
    }
}
