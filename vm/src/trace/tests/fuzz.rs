//! Random witnesses, random numbers in a liar's trace, random programs.

use proptest::prelude::*;

use super::refusals::{IDS, liar, reads};
use super::*;
use crate::program::{Activations, FORMAT, Index, Input, Map, Op, Tensor};
use crate::trace::steps::{Form, Kind};

/// Numbers that are most likely to break something.
fn hostile(form: Form, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let number = |pick: u64, any: u64| match (form.kind, pick % 5) {
        (_, 0) => vec![0; 8],
        (Kind::F32, 1) => f32::MAX.to_le_bytes().to_vec(),
        (Kind::F32, 2) => f32::MIN.to_le_bytes().to_vec(),
        (Kind::F32, 3) => 1_u32.to_le_bytes().to_vec(),
        (Kind::F32, _) => (any & 0xff7f_ffff).to_le_bytes().to_vec(),
        (_, 1) => vec![0xff; 8],
        (Kind::I64, 2) => i64::MAX.to_le_bytes().to_vec(),
        (Kind::I64, 3) => i64::MIN.to_le_bytes().to_vec(),
        (Kind::I16, 2) => i16::MAX.to_le_bytes().to_vec(),
        (Kind::I16, 3) => i16::MIN.to_le_bytes().to_vec(),
        (_, 2 | 3) => vec![0x80; 8],
        _ => (any << 31 | any).to_le_bytes().to_vec(),
    };
    let values = form.rows as usize * form.cols as usize;
    let width = form.bytes() / values;
    let bytes: Vec<u8> =
        (0..values).flat_map(|_| number(next(), next())[..width].to_vec()).collect();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes that are no witness, or nearly one.
    #[test]
    fn no_bytes_make_a_step_panic_or_prove_anything_wrong(
        pick in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let case = fuzzed();
        let position = pick.index(usize::try_from(case.tree.count()).unwrap()) as u64;
        let honest = case.witness(position);
        let mut witness = honest.clone();
        for (at, byte, kind) in edits {
            let at = at.index(witness.len().max(1));
            match kind {
                0 if at < witness.len() => witness[at] = byte,
                1 if at < witness.len() => { witness.remove(at); }
                2 => witness.insert(at.min(witness.len()), byte),
                _ => witness.truncate(at),
            }
        }
        prop_assert!(witness == honest || case.judge(position, &witness).is_err());
        prop_assert!(case.judge(position, &junk).is_err());
    }

    /// Leaves that open, of the right form, with numbers that no run gives.
    #[test]
    fn no_numbers_in_a_liars_trace_make_a_step_panic(
        pick in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let case = fuzzed();
        let position = pick.index(usize::try_from(case.tree.count()).unwrap()) as u64;
        let overrides = reads(case, position).into_iter().zip(seed..)
            .map(|((read, form), seed)| (read, Status::Run, hostile(form, seed)))
            .collect();
        let liar = liar(case, overrides);
        let step = liar.judge(position, &liar.witness(position));
        prop_assert!(step.is_ok(), "{step:?}");
    }
}

/// The trace that is fuzzed, made once.
fn fuzzed() -> &'static Case {
    static CASE: std::sync::OnceLock<Case> = std::sync::OnceLock::new();
    CASE.get_or_init(|| Case::new(&small(), &IDS))
}

/// A program of operators chosen by `picks`, each of which reads the value before it.
fn random_program(tokens: u32, cols: u32, picks: &[(u8, u32)]) -> Program {
    let mut cols = cols;
    let mut tensors = vec![Tensor::F32 { rows: 10, cols }, Tensor::F32 { rows: tokens, cols }];
    let mut ops = vec![
        Op::Embed { table: 0, index: Index::Tokens },
        Op::Embed { table: 1, index: Index::Positions },
        Op::Add { a: 0, b: 1 },
    ];
    // An earlier value of the same shape.
    let mut before = 0;
    for (kind, number) in picks {
        let x = u32::try_from(ops.len()).unwrap() - 1;
        let tensor = u32::try_from(tensors.len()).unwrap();
        ops.push(match kind % 7 {
            0 => {
                tensors.extend([Tensor::F32 { rows: 1, cols }, Tensor::F32 { rows: 1, cols }]);
                Op::LayerNorm {
                    x,
                    gain: tensor,
                    bias: tensor + 1,
                    eps_bits: 1 + number % 0x4000_0000,
                }
            }
            1 | 2 => {
                let rows = 1 + number % 150;
                tensors.extend([Tensor::I8 { rows, cols }, Tensor::F32 { rows: 1, cols: rows }]);
                tensors.push(Tensor::F32 { rows: 1, cols });
                cols = rows;
                before = x + 1;
                let (bias, smoothing) = (Some(tensor + 1), Some(tensor + 2));
                let activations =
                    if *kind % 7 == 1 { Activations::Bits8 } else { Activations::Bits16 };
                Op::Linear { x, weight: tensor, bias, smoothing, activations }
            }
            3 => Op::Map { x, map: [Map::GeluErf, Map::GeluTanh, Map::Silu][*number as usize % 3] },
            4 => {
                let dims = (1..=cols.min(256)).filter(|dim| cols.is_multiple_of(*dim));
                let heads = cols / dims.cycle().nth(*number as usize % 100).unwrap();
                Op::Attention { q: x, k: before, v: x, heads, scale_bits: 1 + number % 0x4000_0000 }
            }
            5 => Op::L2Norm { x },
            _ => Op::Add { a: before, b: x },
        });
    }
    ops.push(Op::PoolMean { x: u32::try_from(ops.len()).unwrap() - 1 });
    let output = u32::try_from(ops.len()).unwrap() - 1;
    let input = Input::TokenIds { vocabulary: 10, tokens_max: tokens };
    Program { format: FORMAT, input, tensors, ops, output }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_program_is_traced_to_its_own_result_and_its_steps_verify(
        tokens in 1..40_u32,
        cols in 1..150_u32,
        picks in prop::collection::vec((any::<u8>(), any::<u32>()), 0..8),
        first in 0..10_u32,
    ) {
        let ids: Vec<u32> = (0..tokens).map(|i| (first + i * i) % 10).collect();
        let case = Case::new(&random_program(tokens, cols, &picks), &ids);
        case.assert_ends_like_the_run(&ids);
        let stride = usize::try_from(case.tree.count() / 150).unwrap().max(1);
        case.assert_verify((0..case.tree.count()).rev().step_by(stride));
    }
}
