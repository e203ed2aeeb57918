//! Programs whose traces have every family, and several leaves of each.

use std::io::Cursor;

use crate::artefact::{Manifest, Reader};
use crate::merkle::Builder;
use crate::program::{Activations, FORMAT, Index, Input, Map, Op, Program, Tensor};

pub(super) fn vector(cols: u32) -> Tensor {
    Tensor::F32 { rows: 1, cols }
}

/// Attention of so many heads over so many tokens, and all that is elementwise.
fn attention(tokens: u32, heads: u32, head_dim: u32) -> (Program, Vec<u32>) {
    let cols = heads * head_dim;
    let program = Program {
        format: FORMAT,
        input: Input::TokenIds { vocabulary: 20, tokens_max: tokens },
        tensors: vec![
            Tensor::F32 { rows: 20, cols },
            Tensor::F32 { rows: tokens, cols },
            Tensor::F32 { rows: 3, cols },
            vector(cols),
            vector(cols),
        ],
        ops: vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::Embed { table: 1, index: Index::Positions },
            Op::Embed { table: 2, index: Index::Row(2) },
            Op::Add { a: 0, b: 1 },
            Op::LayerNorm { x: 3, gain: 3, bias: 4, eps_bits: 1e-5_f32.to_bits() },
            Op::Map { x: 4, map: Map::GeluTanh },
            Op::Map { x: 2, map: Map::Silu },
            Op::Attention { q: 4, k: 5, v: 3, heads, scale_bits: 0.25_f32.to_bits() },
            Op::Add { a: 7, b: 6 },
            Op::PoolMean { x: 8 },
            Op::L2Norm { x: 9 },
        ],
        output: 10,
    };
    (program, (0..tokens).map(|i| (i * i + 3 * i) % 20).collect())
}

/// A linear layer from `k` to `n` columns.
fn linear(
    tokens: u32,
    (k, n): (u32, u32),
    (bias, smoothing): (bool, bool),
    activations: Activations,
) -> (Program, Vec<u32>) {
    let mut tensors =
        vec![Tensor::F32 { rows: 7, cols: k }, Tensor::I8 { rows: n, cols: k }, vector(n)];
    if smoothing {
        tensors.push(vector(k));
    }
    if !bias {
        tensors.remove(2);
    }
    let program = Program {
        format: FORMAT,
        input: Input::TokenIds { vocabulary: 7, tokens_max: tokens },
        tensors,
        ops: vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::Linear {
                x: 0,
                weight: 1,
                bias: bias.then_some(2),
                smoothing: smoothing.then_some(2 + u32::from(bias)),
                activations,
            },
            Op::Map { x: 1, map: Map::GeluErf },
            Op::PoolMean { x: 2 },
        ],
        output: 3,
    };
    (program, (0..tokens).map(|i| (5 * i + 1) % 7).collect())
}

/// A mean of sums: where numbers are too large, any of its operators faults.
pub(super) fn pooling() -> (Program, Vec<u32>) {
    let program = Program {
        format: FORMAT,
        input: Input::TokenIds { vocabulary: 1, tokens_max: 2 },
        tensors: vec![vector(30), vector(30)],
        ops: vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::Embed { table: 1, index: Index::Row(0) },
            Op::Add { a: 0, b: 1 },
            Op::PoolMean { x: 2 },
            Op::L2Norm { x: 3 },
        ],
        output: 4,
    };
    (program, vec![0, 0])
}

/// Several bands, tiles, blocks and chunks of everything; heads within tiles and across them.
pub(super) fn wide() -> Vec<(Program, Vec<u32>)> {
    vec![
        attention(70, 13, 10),
        attention(20, 3, 65),
        attention(270, 2, 1),
        attention(17, 1, 70),
        linear(18, (1100, 70), (true, true), Activations::Bits8),
        linear(3, (600, 130), (false, true), Activations::Bits16),
        linear(17, (515, 64), (true, false), Activations::Bits16),
        linear(1, (1, 1), (false, false), Activations::Bits8),
    ]
}

/// An artefact with other numbers in some leaves: leaf, number of the 4 bytes within it (the last ones
/// where there are fewer), and their bits.
pub(super) fn patched(artefact: &[u8], edits: &[(u64, usize, u32)]) -> Vec<u8> {
    let mut bytes = artefact.to_vec();
    let reader = Reader::new(Cursor::new(artefact)).unwrap();
    let manifest = reader.manifest();
    let first = 16 + manifest.encode().len();
    let (mut builder, mut at) = (Builder::new(), first);
    for index in 0..manifest.leaf_count() {
        let end = at + manifest.leaf_len(index).unwrap();
        for (_, value, bits) in edits.iter().filter(|(leaf, ..)| *leaf == index) {
            let start = (at + 4 * value).min(end - 4);
            bytes[start..start + 4].copy_from_slice(&bits.to_le_bytes());
        }
        builder.push(&bytes[at..end]);
        at = end;
    }
    let program = manifest.verified().program();
    let changed =
        Manifest::new(program, manifest.description().clone(), builder.finish().0).unwrap();
    bytes[16..first].copy_from_slice(changed.encode());
    bytes
}
