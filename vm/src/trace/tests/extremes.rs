//! The largest steps that verification lets pass: how long their witnesses are, and how long they take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::programs::vector;
use super::*;
use crate::artefact::{Content as Held, Description};
use crate::limits::{TRACE_LEAVES_MAX, WITNESS_BYTES_MAX};
use crate::merkle::{leaf_hash as constant_hash, root_of_many, siblings_of};
use crate::program::{Activations, FORMAT, Index, Input, Op, Tensor, Verified, verify};
use crate::trace::steps::{Form, Kind, Read};
use crate::trace::witness::{Content, Witness, constant_leaves};
use crate::trace::{Layout, leaf_hash};

const TOKENS: u32 = 8192;
const WIDE: u32 = 1 << 17;

fn program(tensors: Vec<Tensor>, ops: Vec<Op>) -> Program {
    let input = Input::TokenIds { vocabulary: 3, tokens_max: TOKENS };
    let output = u32::try_from(ops.len()).unwrap() - 1;
    Program { format: FORMAT, input, tensors, ops, output }
}

fn linear(x: u32, weight: u32, bias: Option<u32>, smoothing: Option<u32>) -> Op {
    Op::Linear { x, weight, bias, smoothing, activations: Activations::Bits16 }
}

/// Norms of the widest rows, pooling, and the largest output.
fn norms() -> Program {
    let tables = [Tensor::F32 { rows: 3, cols: WIDE - 1 }, vector(WIDE - 1), vector(WIDE - 1)];
    let last = [Tensor::I8 { rows: 16_384, cols: WIDE - 1 }];
    let eps_bits = 1_u32;
    program(
        [&tables[..], &last].concat(),
        vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::LayerNorm { x: 0, gain: 1, bias: 2, eps_bits },
            Op::Add { a: 0, b: 1 },
            Op::L2Norm { x: 2 },
            Op::PoolMean { x: 3 },
            linear(4, 3, None, None),
        ],
    )
}

/// The deepest and widest product.
fn products() -> Program {
    let tensors = vec![
        Tensor::F32 { rows: 3, cols: WIDE - 1 },
        Tensor::I8 { rows: WIDE - 1, cols: WIDE - 1 },
        vector(WIDE - 1),
        vector(WIDE - 1),
        Tensor::I8 { rows: 1, cols: WIDE - 1 },
    ];
    let mut ops = vec![Op::Embed { table: 0, index: Index::Tokens }];
    ops.push(linear(0, 1, Some(2), Some(3)));
    ops.push(linear(1, 4, None, None));
    ops.push(Op::PoolMean { x: 2 });
    program(tensors, ops)
}

/// Attention of `heads` heads, so many of them.
fn attention(count: u32, heads: u32, head_dim: u32) -> Program {
    let cols = heads * head_dim;
    let tensors = vec![
        Tensor::F32 { rows: 3, cols },
        Tensor::F32 { rows: TOKENS, cols },
        Tensor::I8 { rows: 1, cols },
    ];
    let mut ops = vec![
        Op::Embed { table: 0, index: Index::Tokens },
        Op::Embed { table: 1, index: Index::Positions },
    ];
    let scale_bits = 1.0_f32.to_bits();
    ops.extend((1..=count).map(|k| Op::Attention { q: 0, k, v: k, heads, scale_bits }));
    ops.push(linear(count + 1, 2, None, None));
    ops.push(Op::PoolMean { x: count + 2 });
    program(tensors, ops)
}

fn block(form: Form) -> Vec<u8> {
    let number: &[u8] = match form.kind {
        Kind::F32 => &0.5_f32.to_le_bytes(),
        Kind::I8 | Kind::Byte => &[77],
        Kind::I16 => &(-20_000_i16).to_le_bytes(),
        Kind::I64 => &(1_i64 << 30).to_le_bytes(),
    };
    number.repeat(form.bytes() / number.len())
}

/// A statement about a trace of which only what one step reads is known, and the step's witness.
struct Forged {
    manifest: Manifest,
    input_root: Hash,
    steps_root: Hash,
    witness: Vec<u8>,
}

fn forge(verified: &Verified, layout: &Layout, position: u64) -> Forged {
    let leaf = layout.find(position).unwrap();
    let ids = vec![2; TOKENS as usize];
    let needs = leaf.steps.needs(leaf.family, leaf.at, &ids);
    let opened = layout.opened(position, leaf.part, &needs).unwrap();
    let content = |number: &u64| {
        let read = layout.find(*number).unwrap();
        Content { status: 0, block: block(read.steps.form(read.family, read.at)) }
    };
    let leaves: Vec<Content> = opened.iter().map(content).collect();
    let hashes: Vec<(u64, Hash)> = opened
        .iter()
        .zip(&leaves)
        .map(|(number, content)| (*number, leaf_hash(*number, Status::Run, &content.block)))
        .collect();
    let count = layout.leaf_count();
    let siblings = vec![[7; 32]; siblings_of(count, &opened).len()];
    let steps_root = root_of_many(count, &hashes, &siblings).unwrap_or_default();

    let artefact = crate::artefact::Layout::new(&verified.program().tensors, &[]);
    let numbers = constant_leaves(&needs, &artefact).unwrap();
    let constant = |number: &u64| {
        let span = artefact.span(*number).unwrap();
        let number: &[u8] = match span.content {
            Held::Weights(_) | Held::Attachment(_) => &[0x93],
            Held::Scales(_) | Held::Table(_) => &0.5_f32.to_le_bytes(),
        };
        number.repeat(span.bytes() / number.len())
    };
    let constants: Vec<Vec<u8>> = numbers.iter().map(constant).collect();
    let hashes: Vec<(u64, Hash)> =
        numbers.iter().zip(&constants).map(|(at, leaf)| (*at, constant_hash(*at, leaf))).collect();
    let beside = vec![[8; 32]; siblings_of(artefact.leaf_count(), &numbers).len()];
    let root = root_of_many(artefact.leaf_count(), &hashes, &beside).unwrap_or_default();
    let description = Description { family: "test".into(), attachments: Vec::new() };
    let reads_input = leaf.steps.reads_input(leaf.family);
    let input = input_bytes(&ids);
    Forged {
        manifest: Manifest::new(verified.program(), description, root).unwrap(),
        input_root: input_root(&input),
        steps_root,
        witness: Witness {
            leaves,
            siblings,
            constants,
            constant_siblings: beside,
            input: if reads_input { input } else { Vec::new() },
        }
        .encode(),
    }
}

/// Some leaves of a family: the first and last along every coordinate, and some in between.
fn samples(extent: [u32; 3]) -> Vec<[u32; 3]> {
    let along = |length: u32| {
        let mut places = vec![0, length / 3, length / 2, length.saturating_sub(1)];
        places.dedup();
        places
    };
    let [first, second, third] = extent.map(along);
    let mut all = Vec::new();
    for a in &first {
        for b in &second {
            all.extend(third.iter().map(|c| [*a, *b, *c]));
        }
    }
    all
}

/// Worst bytes and time by operator and family.
type Worst = BTreeMap<(&'static str, &'static str), (usize, Duration)>;

fn measure(program: Program, worst: &mut Worst) {
    let verified = verify(program).unwrap();
    let layout = Layout::new(&verified, TOKENS);
    assert!(layout.leaf_count() <= TRACE_LEAVES_MAX);
    let parts = [0, 1, 2, 3, 4, 5, layout.parts() - 4, layout.parts() - 3, layout.parts() - 2];
    let parts = parts.into_iter().filter(|part| *part < layout.parts()).chain([layout.parts() - 1]);
    for part in parts.collect::<std::collections::BTreeSet<_>>() {
        let steps = layout.steps(part).unwrap();
        for family in 0..steps.families().len() {
            let extent = steps.extent(family);
            for at in samples(extent).into_iter().filter(|_| !extent.contains(&0)) {
                let position = layout.number_of(part, Read::Own { family, at }).unwrap();
                let place = layout.place(position).unwrap();
                let forged = forge(&verified, &layout, position);
                let bytes = forged.witness.len();
                assert!(bytes <= WITNESS_BYTES_MAX, "{place}: {bytes} bytes");
                let statement = Statement {
                    manifest: &forged.manifest,
                    input_root: &forged.input_root,
                    tokens: TOKENS,
                    steps_root: &forged.steps_root,
                };
                let took = (0..2).map(|_| {
                    let start = Instant::now();
                    let step = verify_step(&statement, position, &forged.witness);
                    assert!(matches!(step, Ok(Step::Leaf(_))), "{place}: {step:?}");
                    start.elapsed()
                });
                let took = took.min().unwrap();
                let entry = worst.entry((place.name(), place.family())).or_default();
                *entry = (entry.0.max(bytes), entry.1.max(took));
            }
        }
    }
}

#[test]
fn the_largest_steps_of_every_family_fit_a_witness() {
    let mut worst = Worst::new();
    let attentions = [(511, 256), (513, 255), (1024, 1), (1024, 3), (1000, 63), (512, 65)];
    let programs = [norms(), products()].into_iter();
    for program in programs.chain(attentions.map(|(heads, dim)| attention(5, heads, dim))) {
        measure(program, &mut worst);
    }
    for ((name, family), (bytes, took)) in &worst {
        println!("{name:12} {family:12} {bytes:7} bytes {:9.3} ms", took.as_secs_f64() * 1e3);
        // Five milliseconds on a machine that does nothing else; here others may run.
        assert!(*took < Duration::from_millis(200), "{name} {family} takes {took:?}");
    }
}

#[test]
fn what_would_not_fit_is_refused_before_it_runs() {
    let refusal = |program| verify(program).unwrap_err().to_string();
    let message = refusal(attention(1, 510, 257));
    assert!(message.contains("columns of a head is 257, allowed are 1 to 256"), "{message}");
    let mut wide = norms();
    wide.tensors[3] = Tensor::I8 { rows: 16_385, cols: WIDE - 1 };
    let message = refusal(wide);
    assert!(message.contains("values of an output is 16385, allowed are 1 to 16384"), "{message}");
    let message = refusal(attention(8188, 1024, 1));
    assert!(message.contains("number of leaves of a trace"), "{message}");
}
