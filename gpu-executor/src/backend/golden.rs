//! The golden self-test: a small program through every operator, whose bytes are known.
//!
//! The constants follow from integers alone, so the artefact is made here and needs no file. What it
//! must give was computed by the specification's own program, not by this one.

use std::io::Cursor;

use bytes::Bytes;
use lockstep_vm::artefact::{ArtefactError, Description, Writer};
use lockstep_vm::program::{Activations, FORMAT, Index, Input, Map, Op, Program, Tensor};

use super::{Backend, BackendError, Outcome};

/// Width of the stream, in three heads; no multiple of a vector register.
const WIDTH: u32 = 84;
/// Width of the inner layer: more than one block of 512.
const INNER: u32 = 523;
const HEADS: u32 = 3;
const VOCABULARY: u32 = 7;
const TOKENS_MAX: u32 = 64;

/// Inputs, and the BLAKE3 hash of what each must give.
const EXPECTED: &[(&str, &[u32], &str)] = &[
    ("one token", &[3], "89a3748d499848fc32c0410c655f9e70b05a3744a761acab90eaa82d7551114b"),
    (
        "seven tokens",
        &[1, 2, 3, 4, 5, 0, 1],
        "ff6dd1fba00c99559df0655e49dfd1bcb47d45b8a8c65fd224362fc05f988def",
    ),
    (
        "every token twice",
        &[0, 5, 1, 4, 2, 3, 3, 2, 4, 1, 5, 0],
        "2f3a97e2df3bafbd72502a842d2a81b18ca7cc459d9bd28cf3adcf7bd60a3057",
    ),
    ("an overflow", &[1, 6], FAULT),
];
/// Stands for an input that must end in FAULT.
const FAULT: &str = "FAULT";

/// What was tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfTest {
    /// How many inputs gave the specified bytes.
    pub programs: usize,
}

/// Runs the golden program on a backend, one input at a time and all together.
///
/// # Errors
/// [`BackendError::SelfTest`] where one byte differs; or the backend cannot run at all.
pub fn self_test(backend: &dyn Backend) -> Result<SelfTest, BackendError> {
    let artefact = artefact().map_err(|error| BackendError::Artefact(error.to_string()))?;
    let model = backend.load(artefact)?;
    let inputs: Vec<Vec<u32>> = EXPECTED.iter().map(|(_, input, _)| input.to_vec()).collect();
    let mut outcomes = Vec::new();
    for input in &inputs {
        outcomes.push(model.run(std::slice::from_ref(input))?);
    }
    let together = model.run(&inputs)?;
    for ((program, _, expected), outcome) in
        EXPECTED.iter().zip(outcomes.concat()).chain(EXPECTED.iter().zip(together))
    {
        let found = digest(&outcome);
        if found != *expected {
            let backend = backend.name();
            return Err(BackendError::SelfTest { backend, program, found, expected });
        }
    }
    Ok(SelfTest { programs: EXPECTED.len() })
}

fn digest(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Halted(output) => blake3::hash(output).to_hex().to_string(),
        Outcome::Fault => FAULT.to_owned(),
    }
}

/// A sequence of small integers, the same everywhere: a 32-bit linear congruential generator.
struct Integers(u32);

impl Integers {
    /// In -127..=127.
    fn next(&mut self) -> i8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let byte = i8::from_le_bytes([self.0.to_le_bytes()[3]]);
        byte.max(-127)
    }

    /// So many of them, divided by 64: exact in f32.
    fn floats(&mut self, count: u32) -> Vec<f32> {
        (0..count).map(|_| f32::from(self.next()) / 64.0).collect()
    }
}

fn program() -> Program {
    let table = |rows, cols| Tensor::F32 { rows, cols };
    let matrix = |rows, cols| Tensor::I8 { rows, cols };
    let tensors = vec![
        table(VOCABULARY, WIDTH),
        table(TOKENS_MAX, WIDTH),
        table(2, WIDTH),
        // Gain, bias, smoothing.
        table(1, WIDTH),
        table(1, WIDTH),
        table(1, WIDTH),
        // Queries, keys, values.
        matrix(WIDTH, WIDTH),
        matrix(WIDTH, WIDTH),
        matrix(WIDTH, WIDTH),
        // Up, its bias, down, its smoothing.
        matrix(INNER, WIDTH),
        table(1, INNER),
        matrix(WIDTH, INNER),
        table(1, INNER),
    ];
    let linear = |x, weight, bias, smoothing, activations| Op::Linear {
        x,
        weight,
        bias,
        smoothing,
        activations,
    };
    let (eps_bits, scale_bits) = (1.0e-5_f32.to_bits(), 0.1875_f32.to_bits());
    let ops = vec![
        Op::Embed { table: 0, index: Index::Tokens },
        Op::Embed { table: 1, index: Index::Positions },
        Op::Add { a: 0, b: 1 },
        Op::Embed { table: 2, index: Index::Row(1) },
        Op::Add { a: 2, b: 3 },
        Op::LayerNorm { x: 4, gain: 3, bias: 4, eps_bits },
        linear(5, 6, None, None, Activations::Bits16),
        linear(5, 7, None, Some(5), Activations::Bits8),
        linear(5, 8, Some(4), None, Activations::Bits16),
        Op::Attention { q: 6, k: 7, v: 8, heads: HEADS, scale_bits },
        linear(9, 9, Some(10), None, Activations::Bits8),
        Op::Map { x: 10, map: Map::GeluErf },
        Op::Map { x: 11, map: Map::GeluTanh },
        Op::Map { x: 12, map: Map::Silu },
        linear(13, 11, None, Some(12), Activations::Bits16),
        Op::Add { a: 14, b: 5 },
        Op::LayerNorm { x: 15, gain: 3, bias: 4, eps_bits },
        Op::PoolMean { x: 16 },
        Op::L2Norm { x: 17 },
    ];
    let input = Input::TokenIds { vocabulary: VOCABULARY, tokens_max: TOKENS_MAX };
    Program { format: FORMAT, input, tensors, ops, output: 18 }
}

/// The golden artefact: the program and its constants. Small, so tests use it too.
///
/// # Errors
/// Never, as long as this file is right.
pub fn artefact() -> Result<Bytes, ArtefactError> {
    let program = program();
    let tensors = program.tensors.clone();
    let description = Description { family: "golden".to_owned(), attachments: Vec::new() };
    let mut writer = Writer::new(Cursor::new(Vec::new()), program, description)?;
    let mut integers = Integers(2026);
    for (number, tensor) in tensors.into_iter().enumerate() {
        match tensor {
            Tensor::I8 { rows, cols } => {
                let cells: Vec<i8> = (0..rows * cols).map(|_| integers.next()).collect();
                let scale = |_| f32::from(integers.next().unsigned_abs().max(1)) / 8192.0;
                let scales: Vec<f32> = (0..rows).map(scale).collect();
                writer.matrix(&cells, cols as usize, &scales)?;
            }
            Tensor::F32 { rows, cols } => {
                let mut values = integers.floats(rows * cols);
                if number == 0 {
                    // The variance of the last token overflows.
                    values[6 * WIDTH as usize..].fill(2.0e38);
                }
                writer.table(&values, cols as usize)?;
            }
        }
    }
    let (file, _) = writer.finish()?;
    Ok(file.into_inner().into())
}
