use super::*;
use crate::limits::{DEPTH_MAX, OPS_MAX, TENSORS_MAX};

/// One layer of an encoder: every operator and every kind of tensor, T up to 16, 8 columns.
pub(crate) fn small() -> Program {
    let table = |rows, cols| Tensor::F32 { rows, cols };
    let eps_bits = 1e-12_f32.to_bits();
    let linear = |x, weight, bias, smoothing, activations| Op::Linear {
        x,
        weight,
        bias,
        smoothing,
        activations,
    };
    Program {
        format: FORMAT,
        input: Input::TokenIds { vocabulary: 10, tokens_max: 16 },
        tensors: vec![
            table(10, 8),
            table(16, 8),
            table(2, 8),
            table(1, 8),
            table(1, 8),
            Tensor::I8 { rows: 8, cols: 8 },
            table(1, 8),
            Tensor::I8 { rows: 12, cols: 8 },
            table(1, 8),
            Tensor::I8 { rows: 8, cols: 12 },
        ],
        ops: vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::Embed { table: 1, index: Index::Positions },
            Op::Add { a: 0, b: 1 },
            Op::Embed { table: 2, index: Index::Row(1) },
            Op::Add { a: 2, b: 3 },
            Op::LayerNorm { x: 4, gain: 3, bias: 4, eps_bits },
            linear(5, 5, Some(6), None, Activations::Bits16),
            Op::Attention { q: 6, k: 6, v: 6, heads: 2, scale_bits: 0.5_f32.to_bits() },
            linear(7, 7, None, Some(8), Activations::Bits8),
            Op::Map { x: 8, map: Map::GeluErf },
            linear(9, 9, None, None, Activations::Bits8),
            Op::Add { a: 10, b: 5 },
            Op::PoolMean { x: 11 },
            Op::L2Norm { x: 12 },
        ],
        output: 13,
    }
}

fn refusal(change: impl FnOnce(&mut Program)) -> String {
    let mut program = small();
    change(&mut program);
    verify(program).expect_err("refused").to_string()
}

fn linear_of(program: &mut Program, number: usize) -> (&mut ValueId, &mut TensorId) {
    match &mut program.ops[number] {
        Op::Linear { x, weight, .. } => (x, weight),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_program_is_verified_and_its_facts_are_known() {
    let verified = verify(small()).unwrap();
    assert_eq!((verified.tokens_max(), verified.vocabulary()), (16, 10));
    assert_eq!(verified.output_values(), 8);
    assert_eq!(verified.shapes()[9], Shape { rows: Rows::Tokens, cols: 12 });
    assert_eq!(verified.shapes()[13], Shape { rows: Rows::One, cols: 8 });
}

#[test]
fn bytes_come_back_and_only_the_canonical_ones_are_read() {
    let program = small();
    let bytes = program.encode().unwrap();
    assert_eq!(Program::decode(&bytes).unwrap(), program);
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Program::decode(&longer).is_err());
    for length in 0..bytes.len() {
        assert!(Program::decode(&bytes[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn whatever_byte_changes_the_program_is_refused_or_another_one_and_nothing_panics() {
    let bytes = small().encode().unwrap();
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x40] {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Ok(program) = Program::decode(&changed) {
                assert_eq!(program.encode().unwrap(), changed);
                assert_eq!(program == small(), changed == bytes);
                let _ = verify(program).map(|verified| verified.cost(verified.tokens_max()));
            }
        }
    }
}

#[test]
fn another_format_and_too_many_bytes_are_refused_in_words() {
    let mut bytes = small().encode().unwrap();
    bytes[0] = 2;
    let error = Program::decode(&bytes).unwrap_err().to_string();
    assert_eq!(error, "the program is in format 2, this build reads format 1");
    let error = Program::decode(&vec![1; PROGRAM_BYTES_MAX + 1]).unwrap_err();
    assert!(error.to_string().contains("at most 253952 are allowed"), "{error}");
    // A length prefix that promises more than there is must not reserve it.
    let mut huge = small().encode().unwrap();
    huge[11..15].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Program::decode(&huge).is_err());
}

#[test]
fn a_depth_of_131072_is_refused_and_131071_is_not() {
    let deep = |depth: u32| {
        let mut program = small();
        program.tensors[9] = Tensor::I8 { rows: 8, cols: depth };
        program.tensors[7] = Tensor::I8 { rows: depth, cols: 8 };
        verify(program)
    };
    assert!(deep(DEPTH_MAX).is_ok());
    assert_eq!(
        deep(DEPTH_MAX + 1).unwrap_err().to_string(),
        "tensor 9: its number of columns is 131072, allowed are 1 to 131071"
    );
}

#[test]
fn operators_read_earlier_values_of_the_right_shape_only() {
    let cases = [
        (
            refusal(|p| *linear_of(p, 6).0 = 6),
            "operator 6 (LINEAR16) reads value 6, which is not computed before it",
        ),
        (
            refusal(|p| *linear_of(p, 6).0 = u32::MAX),
            "operator 6 (LINEAR16) reads value 4294967295, which is not computed before it",
        ),
        (
            refusal(|p| *linear_of(p, 8).1 = 9),
            "operator 8 (LINEAR8): value 7 has shape [T, 8], expected 12 columns, as many as \
             weight tensor 9 has",
        ),
        (
            refusal(|p| p.ops[11] = Op::Add { a: 10, b: 9 }),
            "operator 11 (ADD): value 9 has shape [T, 12], expected [T, 8]",
        ),
        (
            refusal(|p| p.ops[13] = Op::PoolMean { x: 12 }),
            "operator 13 (POOL_MEAN): value 12 has shape [1, 8], expected one row for each token",
        ),
        (
            refusal(|p| p.output = 11),
            "the program: value 11 has shape [T, 8], expected one row, as the output of a program",
        ),
        (refusal(|p| p.output = 99), "the program reads value 99, which is not computed before it"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn tensors_must_be_declared_of_the_right_kind_and_shape() {
    let cases = [
        (
            refusal(|p| *linear_of(p, 6).1 = 10),
            "operator 6 (LINEAR16) reads tensor 10, which is not declared",
        ),
        (
            refusal(|p| *linear_of(p, 6).1 = 0),
            "operator 6 (LINEAR16) reads tensor 0, which must be an int8 matrix",
        ),
        (
            refusal(|p| p.ops[0] = Op::Embed { table: 5, index: Index::Tokens }),
            "operator 0 (EMBED) reads tensor 5, which must be an f32 table",
        ),
        (
            refusal(|p| p.tensors[0] = Tensor::F32 { rows: 9, cols: 8 }),
            "operator 0 (EMBED): tensor 0 is [9, 8], expected one row for each of 10 token ids",
        ),
        (
            refusal(|p| p.tensors[1] = Tensor::F32 { rows: 15, cols: 8 }),
            "operator 1 (EMBED): tensor 1 is [15, 8], expected at least 16 rows, one for each \
             position",
        ),
        (
            refusal(|p| p.ops[3] = Op::Embed { table: 2, index: Index::Row(2) }),
            "operator 3 (EMBED): tensor 2 is [2, 8], expected more than 2 rows",
        ),
        (
            refusal(|p| p.tensors[6] = Tensor::F32 { rows: 1, cols: 7 }),
            "operator 6 (LINEAR16): tensor 6 is [1, 7], expected [1, 8]",
        ),
        (
            refusal(|p| p.tensors[3] = Tensor::F32 { rows: 0, cols: 8 }),
            "tensor 3: its number of rows is 0, allowed are 1 to 1048576",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn attributes_are_finite_positive_floats_and_heads_divide_the_columns() {
    for bits in [0, f32::NAN.to_bits(), f32::INFINITY.to_bits(), (-1.0_f32).to_bits()] {
        let found = refusal(|p| {
            p.ops[5] = Op::LayerNorm { x: 4, gain: 3, bias: 4, eps_bits: bits };
        });
        let expected = format!(
            "operator 5 (LAYERNORM): eps has bits 0x{bits:08x}, which is no finite positive float"
        );
        assert_eq!(found, expected);
    }
    for heads in [0, 3, 1025] {
        let scale_bits = 1.0_f32.to_bits();
        let found = refusal(|p| p.ops[7] = Op::Attention { q: 6, k: 6, v: 6, heads, scale_bits });
        assert!(found.starts_with("operator 7 (ATTENTION): "), "{found}");
    }
}

#[test]
fn nothing_unused_and_nothing_oversized_passes() {
    let unused = refusal(|p| p.tensors.push(Tensor::F32 { rows: 1, cols: 1 }));
    assert_eq!(unused, "tensor 10 is used by no operator");
    let unused = refusal(|p| {
        p.ops.push(Op::L2Norm { x: 12 });
    });
    assert_eq!(unused, "value 14 is used by no operator and is not the output");
    let many = refusal(|p| p.ops.resize(OPS_MAX + 1, Op::L2Norm { x: 12 }));
    assert_eq!(many, "the program: its number of operators is 8193, allowed are 1 to 8192");
    let many = refusal(|p| p.tensors.resize(TENSORS_MAX + 1, Tensor::F32 { rows: 1, cols: 1 }));
    assert_eq!(many, "the program: its number of tensors is 8193, allowed are 1 to 8192");
    for tokens_max in [0, 8193] {
        let found = refusal(|p| p.input = Input::TokenIds { vocabulary: 10, tokens_max });
        assert!(found.contains("its limit of tokens is"), "{found}");
    }
}

#[test]
fn a_program_that_could_never_be_run_is_refused_by_its_cost() {
    let found = refusal(|p| {
        let (tokens_max, wide) = (8192, 131_071);
        p.input = Input::TokenIds { vocabulary: 10, tokens_max };
        p.tensors[1] = Tensor::F32 { rows: tokens_max, cols: 8 };
        p.tensors[7] = Tensor::I8 { rows: wide, cols: 8 };
        p.tensors[9] = Tensor::I8 { rows: 8, cols: wide };
        let square = u32::try_from(p.tensors.len()).unwrap();
        p.tensors.push(Tensor::I8 { rows: wide, cols: wide });
        // Each such layer is 1.4e14 multiply-adds; the bound is 7.2e16.
        let tail = p.ops.split_off(9);
        for x in 8..1000 {
            let activations = Activations::Bits8;
            p.ops.push(Op::Linear { x, weight: square, bias: None, smoothing: None, activations });
        }
        let shift = 991;
        for op in tail {
            p.ops.push(match op {
                Op::Map { map, .. } => Op::Map { x: 8 + shift + 1, map },
                Op::Linear { weight, activations, .. } => {
                    Op::Linear { x: 10 + shift, weight, bias: None, smoothing: None, activations }
                }
                Op::Add { .. } => Op::Add { a: 11 + shift, b: 5 },
                Op::PoolMean { .. } => Op::PoolMean { x: 12 + shift },
                _ => Op::L2Norm { x: 13 + shift },
            });
        }
        p.output = 14 + shift;
    });
    assert!(found.contains("its number of multiply-adds is"), "{found}");
}

#[test]
fn the_cost_counts_every_product_and_grows_with_the_input() {
    let verified = verify(small()).unwrap();
    let t = 16_u64;
    let linear = t * 8 * 8 * 2 + t * 12 * 8 + t * 8 * 12;
    let cost = verified.cost(16);
    assert_eq!(cost.macs, linear + 3 * t * t * 8);
    let tables = (10 + 16 + 2 + 5 - 1) * 8 * 4;
    assert_eq!(cost.weight_bytes, tables + (64 + 8 * 4) + (96 + 12 * 4) + (96 + 8 * 4));
    for tokens in 1..16 {
        let (less, more) = (verified.cost(tokens), verified.cost(tokens + 1));
        assert!(less.macs < more.macs && less.elementwise < more.elementwise);
        assert!(less.memory_bytes < more.memory_bytes);
    }
    assert_eq!(verified.cost(u32::MAX).macs, verified.cost(u32::MAX - 1).macs, "it saturates");
}

#[test]
fn no_value_shares_its_slot_with_one_that_is_still_needed() {
    let verified = verify(small()).unwrap();
    let (ops, plan) = (&verified.program().ops, verified.plan());
    assert!(plan.slots().len() < ops.len(), "slots are used again");
    let mut holds = vec![None; plan.slots().len()];
    for (number, op) in ops.iter().enumerate() {
        let slot = plan.slot_of(number).unwrap();
        for value in op.values().map(|value| value as usize) {
            let read = plan.slot_of(value).unwrap();
            assert_eq!(holds[read], Some(value), "operator {number}");
            assert_ne!(read, slot, "operator {number} writes over what it reads");
        }
        assert!(verified.shapes()[number].cols <= plan.slots()[slot].shape.cols);
        holds[slot] = Some(number);
    }
    assert_eq!(holds[plan.slot_of(13).unwrap()], Some(13));
}

#[test]
fn inputs_are_judged_in_words() {
    let verified = verify(small()).unwrap();
    assert_eq!(verified.check_input(&[0, 10]), Ok(()));
    let words = |ids: &[u32]| verified.check_input(ids).unwrap_err().to_string();
    assert!(words(&[]).starts_with("input 0 has no token ids"));
    assert!(words(&[0; 17]).starts_with("input 0 has 17 token ids, the model takes at most 16"));
}
