//! Runs verified programs: batches of inputs, on one engine.
//!
//! The inputs of a batch lie one after the other as rows, so that linear layers see all of them at
//! once; attention and pooling see one at a time. No operator reduces a float, so what stands beside
//! an input cannot change a bit of its output. A fault can: then every input of the batch runs alone.

use std::io::{Read, Seek};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::artefact::{ArtefactError, Content, Layout, Manifest, Reader};
use crate::ops::{self, AttentionShape, Cpu, Fault, Isa, Linear, LinearSpec};
use crate::program::{
    Activations, Index, InputError, Map, Op, Rows, Shape, Tensor, TensorId, ValueId, Verified,
};

/// Rows that run at once; longer batches are cut between inputs. Bounds memory, keeps values in
/// cache, and changes no output.
const ROWS_AT_ONCE: usize = 1024;

/// What a run of one input gives: the output row, or the fault of the whole program.
pub type Outcome = Result<Vec<f32>, Fault>;

/// An artefact in memory, its weights packed for one instruction set.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    isa: Isa,
    /// By tensor; weights are empty once packed.
    constants: Vec<Constant>,
    /// By operator.
    linears: Vec<Option<Linear>>,
    /// Buffers of earlier runs, to be used again.
    arenas: Mutex<Vec<Arena>>,
}

#[derive(Debug)]
enum Constant {
    Matrix { cells: Vec<i8>, scales: Vec<f32> },
    Table(Vec<f32>),
}

/// The buffers of a run, one for each slot of the program's plan.
#[derive(Debug, Default)]
struct Arena {
    slots: Vec<Vec<f32>>,
}

impl Arena {
    fn value(&self, verified: &Verified, batch: &Batch<'_>, value: ValueId) -> &[f32] {
        let shape = verified.shapes()[value as usize];
        &self.slots[slot_of(verified, value)][..batch.values(shape)]
    }
}

/// The values of a run that are alive after one of its operators.
pub(crate) struct Values<'a> {
    verified: &'a Verified,
    batch: &'a Batch<'a>,
    arena: &'a Arena,
}

impl Values<'_> {
    /// A value, row by row; of one that is not alive, any numbers.
    pub(crate) fn of(&self, value: ValueId) -> &[f32] {
        self.arena.value(self.verified, self.batch, value)
    }
}

/// Sees every operator of a run: its number, its outcome, and the values alive.
pub(crate) type Visit<'a, E> =
    dyn FnMut(ValueId, Result<(), Fault>, &Values<'_>) -> Result<ControlFlow<()>, E> + 'a;

/// Sees the input of every linear layer: operator and rows.
pub type Observer<'a> = &'a mut (dyn FnMut(ValueId, &[f32]) + Send);

/// One run over inputs that lie one after the other.
struct Batch<'a> {
    ids: Vec<u32>,
    /// The place of each id within its input.
    positions: Vec<u32>,
    /// The number of ids of each input.
    lengths: Vec<usize>,
    cpu: &'a Cpu,
}

impl<'a> Batch<'a> {
    fn new(inputs: &[&[u32]], cpu: &'a Cpu) -> Self {
        Self {
            ids: inputs.concat(),
            positions: inputs.iter().flat_map(|ids| (0..).zip(*ids).map(|(at, _)| at)).collect(),
            lengths: inputs.iter().map(|ids| ids.len()).collect(),
            cpu,
        }
    }

    /// Where each input lies in a value of so many columns.
    fn spans(&self, cols: usize) -> impl Iterator<Item = Range<usize>> {
        self.lengths.iter().scan(0, move |end, tokens| {
            let start = *end;
            *end += tokens * cols;
            Some(start..*end)
        })
    }

    /// How many f32 a value of this shape holds.
    fn values(&self, shape: Shape) -> usize {
        let rows = match shape.rows {
            Rows::Tokens => self.ids.len(),
            Rows::One => self.lengths.len(),
        };
        rows * shape.cols as usize
    }
}

impl Model {
    /// Reads an artefact, checks every leaf and the root, and packs the weights for `isa`.
    ///
    /// # Errors
    /// [`ArtefactError`] where anything about the artefact is wrong.
    pub fn load<R: Read + Seek>(reader: &mut Reader<R>, isa: Isa) -> Result<Self, ArtefactError> {
        let manifest = reader.manifest().clone();
        let tensors = &manifest.verified().program().tensors;
        let mut constants: Vec<Constant> = tensors.iter().map(Constant::empty).collect();
        reader.each_leaf(|index, leaf| place(manifest.layout(), &mut constants, index, leaf))?;
        let linears = pack(manifest.verified(), &mut constants, isa);
        Ok(Self { manifest, isa, constants, linears, arenas: Mutex::default() })
    }

    /// [`Model::load`] from a file.
    ///
    /// # Errors
    /// [`ArtefactError`].
    pub fn open(path: &Path, isa: Isa) -> Result<Self, ArtefactError> {
        Self::load(&mut Reader::open(path)?, isa)
    }

    /// The artefact's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The instruction set that the weights are packed for; the engine of a run must have the same.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs each input; the outcomes come in the same order and do not depend on one another.
    ///
    /// # Errors
    /// [`InputError`] where an input is not one of this program's; then nothing ran.
    pub fn run(&self, cpu: &Cpu, inputs: &[&[u32]]) -> Result<Vec<Outcome>, InputError> {
        self.run_observed(cpu, inputs, &mut |_, _| ())
    }

    /// [`Model::run`], and `observer` sees the input of every linear layer.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_observed(
        &self,
        cpu: &Cpu,
        inputs: &[&[u32]],
        observer: Observer<'_>,
    ) -> Result<Vec<Outcome>, InputError> {
        for (number, ids) in inputs.iter().enumerate() {
            self.manifest.verified().check_input(ids).map_err(|error| error.of_input(number))?;
        }
        let mut arena = self.arenas().pop().unwrap_or_default();
        let mut outcomes = Vec::with_capacity(inputs.len());
        let mut rest = inputs;
        while !rest.is_empty() {
            let mut rows = 0;
            let count = rest.iter().take_while(|ids| {
                rows += ids.len();
                rows <= ROWS_AT_ONCE
            });
            let (now, later) = rest.split_at(count.count().max(1));
            rest = later;
            match cpu.install(|| self.run_batch(cpu, now, &mut arena, observer)) {
                Ok(outputs) => outcomes.extend(outputs.into_iter().map(Ok)),
                Err(Fault) => {
                    for ids in now {
                        let alone =
                            cpu.install(|| self.run_batch(cpu, &[ids], &mut arena, observer));
                        outcomes.push(alone.map(|mut outputs| outputs.pop().unwrap_or_default()));
                    }
                }
            }
        }
        self.arenas().push(arena);
        Ok(outcomes)
    }

    fn arenas(&self) -> std::sync::MutexGuard<'_, Vec<Arena>> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_batch(
        &self,
        cpu: &Cpu,
        inputs: &[&[u32]],
        arena: &mut Arena,
        observer: Observer<'_>,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let batch = Batch::new(inputs, cpu);
        let verified = self.manifest.verified();
        arena.slots.resize_with(verified.plan().slots().len(), Vec::new);
        for (number, (op, shape)) in (0..).zip(verified.program().ops.iter().zip(verified.shapes()))
        {
            let slot = slot_of(verified, number);
            let mut out = std::mem::take(&mut arena.slots[slot]);
            resize(&mut out, batch.values(*shape));
            if let Op::Linear { x, .. } = *op {
                observer(number, arena.value(verified, &batch, x));
            }
            let done = self.step(number, op, &batch, arena, &mut out);
            arena.slots[slot] = out;
            done?;
        }
        let cols = verified.output_values() as usize;
        let rows = arena.value(verified, &batch, verified.program().output);
        Ok(rows.chunks(cols).map(<[f32]>::to_vec).collect())
    }

    /// Runs one input of 1 to `tokens_max` ids operator by operator, and shows each one's outcome with
    /// the values still alive: its own, its inputs' and those read later. Ends after a fault, or where
    /// `visit` says so.
    pub(crate) fn walk<E>(
        &self,
        cpu: &Cpu,
        ids: &[u32],
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        let batch = Batch::new(&[ids], cpu);
        let verified = self.manifest.verified();
        let mut arena = self.arenas().pop().unwrap_or_default();
        arena.slots.resize_with(verified.plan().slots().len(), Vec::new);
        for (number, (op, shape)) in (0..).zip(verified.program().ops.iter().zip(verified.shapes()))
        {
            let slot = slot_of(verified, number);
            let mut out = std::mem::take(&mut arena.slots[slot]);
            resize(&mut out, batch.values(*shape));
            let done = self.step(number, op, &batch, &arena, &mut out);
            arena.slots[slot] = out;
            let values = Values { verified, batch: &batch, arena: &arena };
            if visit(number, done, &values)?.is_break() || done.is_err() {
                break;
            }
        }
        self.arenas().push(arena);
        Ok(())
    }

    fn step(
        &self,
        number: ValueId,
        op: &Op,
        batch: &Batch<'_>,
        arena: &Arena,
        out: &mut [f32],
    ) -> Result<(), Fault> {
        let cpu = batch.cpu;
        let verified = self.manifest.verified();
        let value = |value: ValueId| arena.value(verified, batch, value);
        let cols = |value: ValueId| verified.shapes()[value as usize].cols as usize;
        match *op {
            Op::Embed { table, index } => {
                let width = cols(number);
                let (table, tokens) = (self.table(table), batch.ids.len());
                match index {
                    Index::Tokens => cpu.embed_f32(table, width, &batch.ids, out),
                    Index::Positions => cpu.embed_f32(table, width, &batch.positions, out),
                    Index::Row(row) => cpu.embed_f32(table, width, &vec![row; tokens], out),
                }
            }
            Op::Add { a, b } => cpu.add(value(a), value(b), out),
            Op::LayerNorm { x, gain, bias, eps_bits } => {
                let eps = f32::from_bits(eps_bits);
                cpu.layernorm(value(x), self.table(gain), self.table(bias), eps, out)
            }
            Op::Linear { x, .. } => {
                let layer = self.linears[number as usize].as_ref().expect("packed at load");
                cpu.linear(value(x), layer, out)
            }
            Op::Map { x, map } => match map {
                Map::GeluErf => cpu.gelu_erf(value(x), out),
                Map::GeluTanh => cpu.gelu_tanh(value(x), out),
                Map::Silu => cpu.silu(value(x), out),
            },
            Op::Attention { q, k, v, heads, scale_bits } => {
                let (heads, scale) = (heads as usize, f32::from_bits(scale_bits));
                let (width, head_dim) = (cols(q), cols(q) / heads);
                let rows = (value(q), value(k), value(v));
                for at in batch.spans(width) {
                    let shape = AttentionShape { heads, head_dim, tokens: at.len() / width };
                    let rows = (&rows.0[at.clone()], &rows.1[at.clone()], &rows.2[at.clone()]);
                    cpu.attention(rows, shape, scale, &mut out[at])?;
                }
                Ok(())
            }
            Op::PoolMean { x } => {
                let (rows, width) = (value(x), cols(x));
                for (at, out) in batch.spans(width).zip(out.chunks_mut(width)) {
                    cpu.pool_mean(&rows[at], width, out)?;
                }
                Ok(())
            }
            Op::L2Norm { x } => cpu.l2norm(value(x), cols(x), out),
        }
    }

    fn table(&self, tensor: TensorId) -> &[f32] {
        match &self.constants[tensor as usize] {
            Constant::Table(values) => values,
            Constant::Matrix { .. } => &[],
        }
    }
}

/// Gives a buffer this length without ever holding more than its longest value needs.
fn resize(buffer: &mut Vec<f32>, length: usize) {
    buffer.reserve_exact(length.saturating_sub(buffer.len()));
    buffer.resize(length, 0.0);
}

fn slot_of(verified: &Verified, op: ValueId) -> usize {
    verified.plan().slot_of(op as usize).expect("verification gives every operator a slot")
}

impl Constant {
    fn empty(tensor: &Tensor) -> Self {
        let values = |rows: u32, cols: u32| rows as usize * cols as usize;
        match *tensor {
            Tensor::I8 { rows, cols } => Self::Matrix {
                cells: vec![0; values(rows, cols)],
                scales: vec![0.0; rows as usize],
            },
            Tensor::F32 { rows, cols } => Self::Table(vec![0.0; values(rows, cols)]),
        }
    }
}

/// Copies a leaf to where it belongs.
fn place(layout: &Layout, constants: &mut [Constant], index: u64, leaf: &[u8]) {
    let Some(span) = layout.span(index) else { return };
    let (row, rows) = (span.row as usize, span.rows as usize);
    let (col, cols) = (span.col as usize, span.cols as usize);
    let width = span.width as usize;
    let (tensor, scales) = match span.content {
        Content::Weights(tensor) | Content::Table(tensor) => (tensor as usize, false),
        Content::Scales(tensor) => (tensor as usize, true),
        Content::Attachment(_) => return,
    };
    match &mut constants[tensor] {
        Constant::Matrix { cells, scales: values } if !scales => {
            for (line, bytes) in leaf.chunks(cols).enumerate() {
                let start = (row + line) * width + col;
                for (cell, byte) in cells[start..start + cols].iter_mut().zip(bytes) {
                    *cell = i8::from_le_bytes([*byte]);
                }
            }
        }
        Constant::Matrix { scales: values, .. } => copy(&mut values[col..col + cols], leaf),
        Constant::Table(values) => {
            // A leaf holds whole rows, or a piece of one.
            let start = row * width + col;
            copy(&mut values[start..start + rows * cols], leaf);
        }
    }
}

fn copy(values: &mut [f32], bytes: &[u8]) {
    for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = f32::from_le_bytes(*bytes);
    }
}

/// Packs the weights of every linear layer; a matrix is dropped after its last use.
fn pack(verified: &Verified, constants: &mut [Constant], isa: Isa) -> Vec<Option<Linear>> {
    let ops = &verified.program().ops;
    let mut linears = Vec::with_capacity(ops.len());
    for (number, op) in ops.iter().enumerate() {
        let Op::Linear { weight, bias, smoothing, activations, .. } = *op else {
            linears.push(None);
            continue;
        };
        let table = |tensor: TensorId| match &constants[tensor as usize] {
            Constant::Table(values) => values.as_slice(),
            Constant::Matrix { .. } => &[],
        };
        if let Constant::Matrix { cells, scales } = &constants[weight as usize] {
            let spec = LinearSpec {
                weight: cells,
                n: scales.len(),
                k: cells.len() / scales.len(),
                scale: scales,
                bias: bias.map(table),
                smoothing: smoothing.map(table),
                activations: match activations {
                    Activations::Bits8 => ops::Activations::Bits8,
                    Activations::Bits16 => ops::Activations::Bits16,
                },
            };
            linears.push(Some(Linear::pack(isa, &spec)));
        }
        if !ops[number + 1..].iter().any(|op| op.tensors().any(|tensor| tensor == weight)) {
            constants[weight as usize] = Constant::Table(Vec::new());
        }
    }
    linears
}

/// An output row as bytes: f32, little endian, as it is hashed and delivered.
#[must_use]
pub fn output_bytes(output: &[f32]) -> Vec<u8> {
    output.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::artefact::tests::artefact;
    use crate::program::Program;
    use crate::program::tests::small;

    fn model(program: &Program, isa: Isa) -> Model {
        Model::load(&mut Reader::new(Cursor::new(artefact(program, &[]))).unwrap(), isa).unwrap()
    }

    fn bits(outcome: &Outcome) -> Result<Vec<u32>, Fault> {
        outcome.as_ref().map(|row| row.iter().map(|v| v.to_bits()).collect()).map_err(|f| *f)
    }

    /// Inputs of every length, more in all than run at once.
    fn inputs() -> Vec<Vec<u32>> {
        (0..200_u32).map(|i| (0..=i % 16).map(|j| (i * 7 + j * j) % 10).collect()).collect()
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_a_fault_and_costs_no_other_input_its_answer() {
        let model = model(&small(), Isa::Scalar);
        let cpu = Cpu::new(Isa::Scalar, 1).unwrap();
        let outcomes = model.run(&cpu, &[&[1, 2], &[1, 10], &[u32::MAX], &[3]]).unwrap();
        let faults: Vec<_> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(faults, [false, true, true, false]);
        assert_eq!(bits(&outcomes[0]), bits(&model.run(&cpu, &[&[1, 2]]).unwrap()[0]));
    }

    #[test]
    fn batches_threads_and_instruction_sets_change_no_byte() {
        let inputs = inputs();
        let batch: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut first: Option<Vec<_>> = None;
        for isa in Isa::available() {
            let model = model(&small(), isa);
            for threads in [1, 2, 3] {
                let cpu = Cpu::new(isa, threads).unwrap();
                let together: Vec<_> = model.run(&cpu, &batch).unwrap().iter().map(bits).collect();
                let alone: Vec<_> =
                    batch.iter().map(|ids| bits(&model.run(&cpu, &[ids]).unwrap()[0])).collect();
                assert_eq!(together, alone, "{isa}, {threads} threads");
                assert_eq!(*first.get_or_insert_with(|| together.clone()), together, "{isa}");
            }
        }
        let first = first.unwrap();
        assert!(first.iter().all(|outcome| outcome.as_ref().is_ok_and(|row| row.len() == 8)));
        assert_ne!(first[1], first[2]);
    }

    /// Token 9 has an embedding so large that the variance of its row is infinite.
    fn faulting() -> Vec<u8> {
        let program = small();
        let mut bytes = artefact(&program, &[]);
        let reader = Reader::new(Cursor::new(bytes.clone())).unwrap();
        let manifest = reader.manifest();
        let first = 16 + manifest.encode().len();
        let mut builder = crate::merkle::Builder::new();
        let mut at = first;
        for index in 0..manifest.leaf_count() {
            let end = at + manifest.leaf_len(index).unwrap();
            if index == 0 {
                bytes[end - 4..end].copy_from_slice(&f32::MAX.to_le_bytes());
            }
            builder.push(&bytes[at..end]);
            at = end;
        }
        let description = manifest.description().clone();
        let changed = Manifest::new(&program, description, builder.finish().0).unwrap();
        bytes[16..first].copy_from_slice(changed.encode());
        bytes
    }

    #[test]
    fn a_fault_stays_with_its_input() {
        let isa = Isa::best();
        let cpu = Cpu::new(isa, 2).unwrap();
        let model = Model::load(&mut Reader::new(Cursor::new(faulting())).unwrap(), isa).unwrap();
        let batch: [&[u32]; 4] = [&[1, 2], &[3, 9], &[4], &[9]];
        let outcomes = model.run(&cpu, &batch).unwrap();
        let faults: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(faults, [false, true, false, true]);
        for (ids, outcome) in batch.iter().zip(&outcomes) {
            assert_eq!(bits(&model.run(&cpu, &[ids]).unwrap()[0]), bits(outcome));
        }
    }

    #[test]
    fn an_input_that_does_not_fit_is_refused_before_anything_runs() {
        let isa = Isa::Scalar;
        let (model, cpu) = (model(&small(), isa), Cpu::new(isa, 1).unwrap());
        let error = model.run(&cpu, &[&[1], &[0; 17]]).unwrap_err().to_string();
        assert!(
            error.starts_with("input 1 has 17 token ids, the model takes at most 16"),
            "{error}"
        );
        assert!(model.run(&cpu, &[&[]]).is_err());
        assert!(model.run(&cpu, &[]).unwrap().is_empty());
    }

    #[test]
    fn values_take_no_more_memory_than_the_static_cost_says() {
        let isa = Isa::Scalar;
        let (model, cpu) = (model(&small(), isa), Cpu::new(isa, 1).unwrap());
        for length in [16, 3, 16] {
            model.run(&cpu, &[&vec![1; length]]).unwrap();
            let held: usize =
                model.arenas().iter().flat_map(|arena| &arena.slots).map(Vec::capacity).sum();
            assert!(held as u64 * 4 <= model.manifest().verified().cost(16).memory_bytes);
        }
        assert_eq!(model.arenas().len(), 1, "the buffers are used again");
    }

    #[test]
    fn a_damaged_artefact_is_never_loaded() {
        let mut bytes = artefact(&small(), &[]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = Model::load(&mut Reader::new(Cursor::new(bytes)).unwrap(), Isa::Scalar);
        assert!(matches!(error, Err(ArtefactError::Root { .. })));
    }
}
