//! The model that the tests' chains run: a real encoder, so small that a run takes microseconds and
//! its trace some hundreds of leaves.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, LazyLock, Mutex};

use lockstep_vm::artefact::{Description, Reader, Writer};
use lockstep_vm::hash::Hash;
use lockstep_vm::interp::Model;
use lockstep_vm::merkle::Tree;
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::program::{self, Activations, Index, Input, Map, Op, Program, Tensor};
use lockstep_vm::result::{Status, output_root};

use crate::rng::Rng;

/// How many token ids there are. The last one makes every run that holds it a FAULT.
pub const VOCABULARY: u32 = 5;
/// How long an input may be.
pub const TOKENS_MAX: u32 = 8;

/// Values of an output.
pub const HIDDEN: u32 = 64;
const INNER: u32 = 128;
const HEADS: u32 = 4;
const LAYERS: u32 = 3;

/// The artefact in memory, and what runs it.
pub struct Artefact {
    /// As a file.
    pub bytes: Vec<u8>,
    /// Canonical bytes of its manifest.
    pub manifest: Vec<u8>,
    /// Over its leaves.
    pub tree: Tree,
    /// Ready to run.
    pub model: Arc<Model>,
    /// Runs it: the scalar engine, so that a failure is the same on every machine.
    pub cpu: Arc<Cpu>,
    /// What was run already, by input.
    runs: Mutex<BTreeMap<Vec<u32>, Run>>,
}

/// What a run gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// HALTED or FAULT.
    pub status: Status,
    /// f32, little endian; empty after a FAULT.
    pub output: Vec<u8>,
}

impl Run {
    /// The root of its output.
    ///
    /// # Panics
    /// Where the output is not one of [`artefact`]'s.
    #[must_use]
    pub fn output_root(&self) -> Hash {
        let (rows, cols) = if self.status == Status::Halted { (1, HIDDEN) } else { (0, 0) };
        output_root(rows, cols, &self.output).expect("an output of the model")
    }
}

/// The one artefact of the tests.
#[must_use]
pub fn artefact() -> &'static Artefact {
    static ARTEFACT: LazyLock<Artefact> = LazyLock::new(Artefact::make);
    &ARTEFACT
}

impl Artefact {
    fn make() -> Self {
        let bytes = write(&program());
        let open = || Reader::new(Cursor::new(bytes.as_slice())).expect("an artefact");
        let hashes = open().each_leaf(|_, _| ()).expect("its leaves");
        let model = Model::load(&mut open(), Isa::Scalar).expect("a model");
        let cpu = Cpu::new(Isa::Scalar, 1).expect("the scalar engine");
        Self {
            manifest: model.manifest().encode().to_vec(),
            tree: Tree::new(hashes),
            model: Arc::new(model),
            cpu: Arc::new(cpu),
            runs: Mutex::default(),
            bytes,
        }
    }

    /// The bytes of a leaf and its path.
    ///
    /// # Panics
    /// Where there is no such leaf.
    #[must_use]
    pub fn leaf(&self, index: u64) -> (Vec<u8>, Vec<Hash>) {
        let mut reader = Reader::new(Cursor::new(self.bytes.as_slice())).expect("an artefact");
        (reader.leaf(index).expect("a leaf"), self.tree.path(index).expect("its path"))
    }

    /// Runs the model, once for each input.
    ///
    /// # Panics
    /// Where the model does not take the input.
    pub fn run(&self, ids: &[u32]) -> Run {
        let mut runs = self.runs.lock().expect("no run panics");
        let run = runs.entry(ids.to_vec()).or_insert_with(|| {
            let outcomes = self.model.run(&self.cpu, &[ids]).expect("an input of the model");
            match outcomes.into_iter().next().expect("one for each input") {
                Ok(row) => Run {
                    status: Status::Halted,
                    output: row.iter().flat_map(|value| value.to_le_bytes()).collect(),
                },
                Err(_) => Run { status: Status::Fault, output: Vec::new() },
            }
        });
        run.clone()
    }
}

/// Collects operators and their tensors.
struct Maker {
    program: Program,
}

impl Maker {
    fn op(&mut self, op: Op) -> u32 {
        self.program.ops.push(op);
        u32::try_from(self.program.ops.len()).unwrap() - 1
    }

    fn tensor(&mut self, tensor: Tensor) -> u32 {
        self.program.tensors.push(tensor);
        u32::try_from(self.program.tensors.len()).unwrap() - 1
    }

    fn table(&mut self, rows: u32, cols: u32) -> u32 {
        self.tensor(Tensor::F32 { rows, cols })
    }

    fn linear(&mut self, x: u32, (rows, cols): (u32, u32)) -> u32 {
        let weight = self.tensor(Tensor::I8 { rows, cols });
        let bias = Some(self.table(1, rows));
        let activations = Activations::Bits8;
        self.op(Op::Linear { x, weight, bias, smoothing: None, activations })
    }

    fn norm(&mut self, x: u32) -> u32 {
        let (gain, bias) = (self.table(1, HIDDEN), self.table(1, HIDDEN));
        self.op(Op::LayerNorm { x, gain, bias, eps_bits: 1e-6_f32.to_bits() })
    }

    fn layer(&mut self, x: u32) -> u32 {
        let square = (HIDDEN, HIDDEN);
        let (q, k, v) = (self.linear(x, square), self.linear(x, square), self.linear(x, square));
        let scale_bits = 0.25_f32.to_bits();
        let mixed = self.op(Op::Attention { q, k, v, heads: HEADS, scale_bits });
        let projected = self.linear(mixed, square);
        let sum = self.op(Op::Add { a: x, b: projected });
        let middle = self.norm(sum);
        let wide = self.linear(middle, (INNER, HIDDEN));
        let active = self.op(Op::Map { x: wide, map: Map::GeluErf });
        let narrow = self.linear(active, (HIDDEN, INNER));
        let sum = self.op(Op::Add { a: middle, b: narrow });
        self.norm(sum)
    }
}

fn program() -> Program {
    let mut maker = Maker {
        program: Program {
            format: program::FORMAT,
            input: Input::TokenIds { vocabulary: VOCABULARY, tokens_max: TOKENS_MAX },
            tensors: Vec::new(),
            ops: Vec::new(),
            output: 0,
        },
    };
    let (words, places) = (maker.table(VOCABULARY, HIDDEN), maker.table(TOKENS_MAX, HIDDEN));
    let a = maker.op(Op::Embed { table: words, index: Index::Tokens });
    let b = maker.op(Op::Embed { table: places, index: Index::Positions });
    let sum = maker.op(Op::Add { a, b });
    // Not normalised before: here the last token id becomes an infinity.
    let mut x = maker.linear(sum, (HIDDEN, HIDDEN));
    for _ in 0..LAYERS {
        x = maker.layer(x);
    }
    let pooled = maker.op(Op::PoolMean { x });
    maker.program.output = maker.op(Op::L2Norm { x: pooled });
    maker.program
}

/// Fills the tensors with numbers that are the same on every machine.
fn write(program: &Program) -> Vec<u8> {
    let description = Description { family: "test-encoder".into(), attachments: Vec::new() };
    let sink = Cursor::new(Vec::new());
    let mut writer = Writer::new(sink, program.clone(), description).expect("a program");
    let mut rng = Rng::new(7);
    let mut small = move || i8::try_from(i16::try_from(rng.below(255)).unwrap() - 127).unwrap();
    for (number, tensor) in program.tensors.iter().enumerate() {
        match *tensor {
            Tensor::I8 { rows, cols } => {
                let cells: Vec<i8> = (0..rows * cols).map(|_| small()).collect();
                let scales: Vec<f32> =
                    (0..rows).map(|_| (f32::from(small()) + 200.0) / 1e5).collect();
                writer.matrix(&cells, cols as usize, &scales).expect("weights");
            }
            Tensor::F32 { rows, cols } => {
                let mut values: Vec<f32> =
                    (0..rows * cols).map(|_| f32::from(small()) / 64.0).collect();
                if number == 0 {
                    let last = ((VOCABULARY - 1) * HIDDEN) as usize;
                    values[last..].fill(3e38);
                }
                writer.table(&values, cols as usize).expect("a table");
            }
        }
    }
    writer.finish().expect("all leaves").0.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_differ_by_input_and_the_last_token_id_is_a_fault() {
        let artefact = artefact();
        let (a, b) = (artefact.run(&[0, 1, 2, 3]), artefact.run(&[0, 1, 2]));
        assert_eq!((a.status, a.output.len()), (Status::Halted, 256));
        assert_ne!(a.output, b.output);
        assert_eq!(artefact.run(&[1, 4]).status, Status::Fault);
        assert_ne!(artefact.run(&[1, 4]).output_root(), a.output_root());
    }
}
