//! What is not the honest step is refused or refuted, and nothing panics.

use std::collections::BTreeMap;

use super::programs::{patched, pooling, wide};
use super::*;
use crate::limits::WITNESS_BYTES_MAX;
use crate::program::{Activations, Map, Op};
use crate::trace::WitnessError;
use crate::trace::steps::{Form, Kind};

pub(super) const IDS: [u32; 16] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3];

/// One leaf of every family of every operator.
fn one_of_each_family(case: &Case) -> Vec<u64> {
    let mut found = BTreeMap::new();
    for position in 0..case.tree.count() {
        let place = case.tracer.layout().place(position).unwrap();
        found.insert((place.op(), place.family()), position);
    }
    found.into_values().collect()
}

#[test]
fn a_change_of_any_byte_of_a_witness_is_refused_in_every_family() {
    let case = Case::new(&small(), &IDS);
    for position in one_of_each_family(&case) {
        let mut witness = case.witness(position);
        assert_eq!(case.judge(position, &witness), Ok(Step::Leaf(case.leaf(position))));
        for at in 0..witness.len() {
            let mask = 1_u8 << (at % 8);
            witness[at] ^= mask;
            let place = case.tracer.layout().place(position).unwrap();
            assert!(case.judge(position, &witness).is_err(), "{place}: byte {at}");
            witness[at] ^= mask;
        }
    }
}

#[test]
fn a_truncated_extended_or_oversized_witness_is_refused() {
    let case = Case::new(&small(), &IDS);
    for position in one_of_each_family(&case) {
        let witness = case.witness(position);
        for length in 0..witness.len() {
            assert!(case.judge(position, &witness[..length]).is_err(), "{position}: {length}");
        }
        for more in [vec![0], vec![0; 32], vec![0; WITNESS_BYTES_MAX - witness.len()]] {
            assert!(case.judge(position, &[&witness[..], &more].concat()).is_err());
        }
    }
    let oversized = vec![0; WITNESS_BYTES_MAX + 1];
    assert_eq!(case.judge(0, &oversized), Err(WitnessError::Length(oversized.len())));
    // A length prefix that promises more than there is must not reserve it.
    assert!(case.judge(0, &[0xff; 64]).is_err());
}

#[test]
fn a_witness_proves_its_own_position_only() {
    let case = Case::new(&small(), &IDS[..5]);
    for position in one_of_each_family(&case) {
        let witness = case.witness(position);
        for other in (0..case.tree.count()).filter(|other| *other != position) {
            // Two leaves may read the same ones; then the witness is that of both.
            if case.witness(other) != witness {
                assert!(case.judge(other, &witness).is_err(), "{position} as {other}");
            }
        }
        let count = case.tree.count();
        let beyond = WitnessError::Position { position: count, count };
        assert_eq!(case.judge(count, &witness), Err(beyond));
    }
}

#[test]
fn another_input_root_number_of_tokens_or_trace_is_refused() {
    let case = Case::new(&small(), &IDS);
    let judge = |input_root, tokens, steps_root, position| {
        let (input_root, steps_root) = (&input_root, &steps_root);
        let statement = Statement { manifest: &case.manifest, input_root, tokens, steps_root };
        verify_step(&statement, position, &case.witness(position))
    };
    let (root, input) = (case.tree.root(), case.input_root);
    assert_eq!(judge(input, 16, root, 0), Ok(Step::Leaf(case.leaf(0))));
    assert_eq!(judge([1; 32], 16, root, 0), Err(WitnessError::Input));
    assert_eq!(judge(input, 15, root, 0), Err(WitnessError::Input));
    assert_eq!(judge(input, 16, [1; 32], 1), Err(WitnessError::Trace));
    assert!(judge(input, 15, root, 60).is_err());
    for tokens in [0, 17] {
        let tokens_max = 16;
        assert_eq!(judge(input, tokens, root, 0), Err(WitnessError::Tokens { tokens, tokens_max }));
    }
}

#[test]
fn a_changed_weight_scale_or_table_does_not_open() {
    let honest = Case::new(&small(), &IDS);
    for leaf in 0..honest.manifest.leaf_count() {
        let changed = Case::of(patched(&honest.artefact, &[(leaf, 0, 1)]), &IDS, Isa::Scalar, 1);
        let mut readers = 0;
        for position in one_of_each_family(&honest) {
            let witness = changed.witness(position);
            let statement = Statement {
                manifest: &honest.manifest,
                input_root: &honest.input_root,
                tokens: 16,
                steps_root: &changed.tree.root(),
            };
            let step = verify_step(&statement, position, &witness);
            let artefact = matches!(step, Err(WitnessError::Artefact(_)));
            readers += u32::from(artefact);
            let reads = !witness_constants(&witness).is_empty();
            assert_eq!(artefact, reads, "leaf {leaf} of the artefact, step {position}");
        }
        assert!(readers > 0);
    }
}

fn witness_constants(witness: &[u8]) -> Vec<Vec<u8>> {
    crate::trace::witness::Witness::decode(witness).unwrap().constants
}

/// The first leaf that differs between two traces of one layout.
fn first_difference(a: &Case, b: &Case) -> u64 {
    (0..a.tree.count()).find(|at| a.leaf(*at) != b.leaf(*at)).expect("they differ")
}

#[test]
fn a_run_with_any_other_attribute_is_refuted_at_its_first_wrong_leaf() {
    let changes: [fn(&mut Op); 8] = [
        |op| {
            if let Op::LayerNorm { eps_bits, .. } = op {
                *eps_bits = 0.5_f32.to_bits();
            }
        },
        |op| {
            if let Op::Attention { scale_bits, .. } = op {
                *scale_bits ^= 1 << 20;
            }
        },
        |op| {
            if let Op::Attention { k, .. } = op {
                *k = 5;
            }
        },
        |op| {
            if let Op::Attention { v, .. } = op {
                *v = 4;
            }
        },
        |op| {
            if let Op::Linear { activations: activations @ Activations::Bits16, .. } = op {
                *activations = Activations::Bits8;
            }
        },
        |op| {
            if let Op::Map { map, .. } = op {
                *map = Map::Silu;
            }
        },
        |op| {
            if let Op::Add { a: 10, b } = op {
                *b = 4;
            }
        },
        |op| {
            if let Op::Embed { index: crate::program::Index::Row(row), .. } = op {
                *row = 0;
            }
        },
    ];
    let honest = Case::new(&small(), &IDS);
    for (number, change) in changes.iter().enumerate() {
        let mut program = small();
        program.ops.iter_mut().for_each(change);
        let other = Case::new(&program, &IDS);
        let position = first_difference(&honest, &other);
        // Everything before it is the same in both, so the honest party's witness opens in either.
        let node = |level, position| other.tree.node(level, position).ok();
        let witness = honest.tracer.witness(position, &node, &honest.constants).unwrap();
        let statement = Statement {
            manifest: &honest.manifest,
            input_root: &honest.input_root,
            tokens: 16,
            steps_root: &other.tree.root(),
        };
        let step = verify_step(&statement, position, &witness);
        assert_eq!(step, Ok(Step::Leaf(honest.leaf(position))), "change {number}");
        assert_ne!(step, Ok(Step::Leaf(other.leaf(position))), "change {number}");
    }
}

/// A trace that differs from the honest one in these leaves.
pub(super) fn liar(honest: &Case, overrides: Vec<(u64, Status, Vec<u8>)>) -> Case {
    let mut case = Case::of(honest.artefact.clone(), &IDS, Isa::best(), 1);
    let mut tracer = Arc::into_inner(case.into_tracer()).unwrap();
    for (position, status, block) in overrides {
        tracer = tracer.with_override(position, status, block);
    }
    let (manifest, constants) = (honest.manifest.clone(), honest.constants.clone());
    let artefact = honest.artefact.clone();
    case = Case::traced(manifest, Arc::new(tracer), &IDS, constants, artefact);
    case
}

#[test]
fn a_lie_about_any_leaf_is_refuted_by_a_witness_against_the_liars_own_tree() {
    let honest = Case::new(&small(), &IDS);
    for position in one_of_each_family(&honest) {
        let (status, mut block) = honest.tracer.leaf(position).unwrap();
        block[0] ^= 1;
        let lies = [(status, block.clone()), (Status::Fault, Vec::new()), (Status::Run, vec![])];
        for (status, block) in lies {
            let liar = liar(&honest, vec![(position, status, block)]);
            assert_eq!(first_difference(&honest, &liar), position);
            let node = |level, position| liar.tree.node(level, position).ok();
            let witness = honest.tracer.witness(position, &node, &honest.constants).unwrap();
            assert_eq!(liar.judge(position, &witness), Ok(Step::Leaf(honest.leaf(position))));
            assert_ne!(liar.leaf(position), honest.leaf(position));
        }
    }
}

/// The leaves that the step at `position` reads, with their forms.
pub(super) fn reads(case: &Case, position: u64) -> Vec<(u64, Form)> {
    let layout = case.tracer.layout();
    let leaf = layout.find(position).unwrap();
    let needs = leaf.steps.needs(leaf.family, leaf.at, &IDS);
    let number = |read: &_| layout.number_of(leaf.part, *read).unwrap();
    let numbers = needs.blocks.iter().map(number);
    let form = |number| {
        let read = layout.find(number).unwrap();
        (number, read.steps.form(read.family, read.at))
    };
    numbers.map(form).collect()
}

#[test]
fn leaves_that_no_honest_trace_holds_make_a_step_malformed() {
    let honest = Case::new(&small(), &IDS);
    for position in one_of_each_family(&honest) {
        for (read, form) in reads(&honest, position) {
            let (_, block) = honest.tracer.leaf(read).unwrap();
            let mut wild = block.clone();
            if form.kind == Kind::F32 {
                wild[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            } else {
                wild.push(0);
            }
            let lies = [
                (Status::Run, block[1..].to_vec()),
                (Status::Run, Vec::new()),
                (Status::Run, wild),
                (Status::Fault, Vec::new()),
                (Status::Halted, block.clone()),
            ];
            for (status, block) in lies {
                let liar = liar(&honest, vec![(read, status, block)]);
                let step = liar.judge(position, &liar.witness(position));
                if read + 1 == position && status != Status::Run {
                    let follows = crate::trace::leaf_hash(position, status, &[]);
                    assert_eq!(step, Ok(Step::Leaf(follows)));
                } else {
                    assert_eq!(step, Ok(Step::Malformed), "step {position}, leaf {read}");
                }
            }
        }
    }
}

#[test]
fn everything_after_a_fault_is_that_fault_and_every_such_step_verifies() {
    let mut places = std::collections::BTreeSet::new();
    let programs = wide().into_iter().take(2).chain([(small(), IDS.to_vec()), pooling()]);
    for (program, ids) in programs {
        let bytes = artefact(&program, &[]);
        let leaves = Case::new(&program, &ids).manifest.leaf_count();
        for (leaf, huge) in
            (0..leaves).flat_map(|leaf| [(leaf, f32::MAX), (leaf, 3e38), (leaf, 3e25)])
        {
            let places_of = |leaf| (0..6).map(move |at| (leaf, at * 5, huge.to_bits()));
            let edits: Vec<(u64, usize, u32)> = places_of(leaf).chain(places_of(1)).collect();
            let edits = if huge < 3.2e38 { &edits[..6] } else { &edits };
            let case = Case::of(patched(&bytes, edits), &ids, Isa::best(), 2);
            case.assert_ends_like_the_run(&ids);
            let Some(fault) = case.tracer.first_fault_of_run() else { continue };
            let place = case.tracer.layout().place(fault).unwrap();
            if places.insert((place.name(), place.family())) {
                case.assert_all_verify();
                let after = fault + (case.tree.count() - fault) / 2;
                assert_eq!(case.tracer.leaf(after).unwrap(), (Status::Fault, Vec::new()));
            }
        }
    }
    for expected in [
        ("ADD", "TILE"),
        ("ATTENTION", "SCORE"),
        ("L2NORM", "TILE"),
        ("LAYERNORM", "TILE"),
        ("LINEAR16", "TILE"),
        ("LINEAR8", "MAX_CHUNK"),
        ("POOL_MEAN", "TILE"),
    ] {
        assert!(places.contains(&expected), "{expected:?} is not in {places:?}");
    }
}

#[test]
fn a_token_outside_the_vocabulary_is_a_fault_that_can_be_proved() {
    let mut ids = IDS;
    ids[4] = 10;
    let case = Case::new(&small(), &ids);
    assert_eq!(case.tracer.output().status, Status::Fault);
    assert_eq!(case.tracer.first_fault_of_run(), Some(4));
    case.assert_all_verify();
}
