//! Whole games over the traces of a real, small program, judged by the VM.

use std::io::Cursor;

use lockstep_chain::commitment;
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::artefact::{Description, Manifest, Reader, Writer};
use lockstep_vm::program::{self, Index, Input, Op, Tensor};
use lockstep_vm::result::{Status, input_bytes, input_root};
use lockstep_vm::trace::{Statement, Step, Tracer, verify_step};

use super::court::{Court, Party, play};
use crate::play::lie::Claimed;
use crate::play::{Evidence, Lie, PlayError, Program, Run, falsify};

const IDS: &[u32] = &[3, 0, 4, 1, 1, 2, 0, 4, 3, 2, 1, 0, 4, 4, 2, 3, 1, 0];
const WIDTH: u32 = 70;
const HONEST: u8 = 1;
const LIAR: u8 = 2;

struct Case {
    program: Program,
    version: Version,
    job: Job,
    manifest: Manifest,
}

/// The mean of normalised rows of a table.
fn case() -> Case {
    let program = program::Program {
        format: program::FORMAT,
        input: Input::TokenIds { vocabulary: 5, tokens_max: 32 },
        tensors: vec![Tensor::F32 { rows: 5, cols: WIDTH }],
        ops: vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::L2Norm { x: 0 },
            Op::PoolMean { x: 1 },
        ],
        output: 2,
    };
    let description = Description { family: "test".to_owned(), attachments: Vec::new() };
    let mut writer = Writer::new(Cursor::new(Vec::new()), program, description).unwrap();
    let values: Vec<f32> =
        (0..5 * WIDTH).map(|at| f32::from((at * 37 % 101) as u8) - 50.5).collect();
    writer.table(&values, WIDTH as usize).unwrap();
    let (file, manifest) = writer.finish().unwrap();
    let reader = Reader::new(file).unwrap();
    let artefact_root = manifest.root().to_vec();
    let version = Version { artefact_root, output_values: WIDTH, ..Version::default() };
    let input = input_bytes(IDS);
    let input_root = input_root(&input).to_vec();
    let job = Job { id: 1, input, input_root, ..Job::default() };
    Case { program: Program::load(reader, 1).unwrap(), version, job, manifest }
}

impl Case {
    fn right(&self) -> Run {
        self.program.repeat(&self.version, &self.job, IDS).unwrap()
    }

    fn altered(&self, alter: impl FnOnce(Tracer) -> (Tracer, Claimed)) -> Run {
        let alter = |tracer| Ok::<_, PlayError>(alter(tracer));
        self.program.altered(&self.version, &self.job, IDS, alter).unwrap()
    }

    /// One leaf lies, and the last, which holds another output than the run gave.
    fn lying_at(&self, leaf: u64, bit: u8) -> Run {
        self.altered(|tracer| {
            let last = tracer.leaf_count() - 1;
            let (status, mut output) = falsify(&self.version, &tracer.output().bytes);
            output[4] ^= bit;
            let root = commitment::output_root(&self.version, status, &output).unwrap();
            let (told, mut block) = tracer.leaf(leaf).unwrap();
            block[0] ^= bit;
            let tracer = tracer.with_override(leaf, told, block);
            let tracer = tracer.with_override(last, Status::Halted, root.to_vec());
            (tracer, Some((status, output)))
        })
    }

    fn court(&self, members: &[(u8, &Run)]) -> Court {
        let (manifest, job) = (self.manifest.clone(), self.job.clone());
        let judge = move |steps_root: &[u8; 32], leaf, witness: &[u8]| {
            let input_root = job.input_root.as_slice().try_into().unwrap();
            let tokens = u32::try_from(IDS.len()).unwrap();
            let statement = Statement { manifest: &manifest, input_root, tokens, steps_root };
            match verify_step(&statement, leaf, witness).unwrap() {
                Step::Leaf(hash) => Some(hash),
                Step::Malformed => None,
            }
        };
        let members: Vec<_> = members.iter().map(|(it, run)| ([*it; 20], run.answer())).collect();
        Court::before(Box::new(judge), self.right().leaves(), &members)
    }
}

fn duel(case: &Case, wrong: Run) -> Vec<[u8; 32]> {
    let right = case.right();
    let mut court = case.court(&[(HONEST, &right), (LIAR, &wrong)]);
    let honest = Party::new(HONEST, right, false, false);
    play(&mut court, &mut [honest, Party::new(LIAR, wrong, false, true)])
}

#[test]
fn honest_wins_wherever_the_lie_stands() {
    let case = case();
    let right = case.right();
    assert!(right.leaves() > 20, "{}", right.leaves());
    for leaf in 0..right.leaves() {
        let stands = duel(&case, case.lying_at(leaf, 1));
        assert_eq!(stands, [right.answer().result_root], "leaf {leaf} of {}", right.leaves());
    }
}

#[test]
fn the_injected_lies_are_refuted() {
    let case = case();
    let right = case.right().answer();
    let output = case.program.lie(&case.version, &case.job, IDS, Lie::Output).unwrap();
    assert_ne!(output.answer(), right);
    let first = |run: &Run| {
        let honest = case.right();
        let differs = |leaf: &u64| run.node(0, *leaf).unwrap() != honest.node(0, *leaf).unwrap();
        (0..honest.leaves()).find(differs).unwrap()
    };
    // The tile with the falsified value: the first of two, before the last leaf.
    assert_eq!(first(&output), output.leaves() - 3);
    assert_eq!(duel(&case, output), [right.result_root]);
    let bogus = case.program.lie(&case.version, &case.job, IDS, Lie::Trace).unwrap();
    assert_eq!(bogus.answer(), right);
    assert_eq!(first(&bogus), (bogus.leaves() - 1) / 2);
}

#[test]
fn two_lies_at_one_leaf_refute_each_other_and_of_two_leaves_the_first_falls() {
    let case = case();
    let against = |one: Run, two: Run| {
        let mut court = case.court(&[(LIAR, &one), (HONEST, &two)]);
        let one = Party::new(LIAR, one, false, true);
        play(&mut court, &mut [one, Party::new(HONEST, two, false, true)])
    };
    assert_eq!(against(case.lying_at(2, 1), case.lying_at(2, 2)), [[0; 32]; 0]);
    // Nobody honest is there to refute the other.
    let later = case.lying_at(5, 2).answer().result_root;
    assert_eq!(against(case.lying_at(2, 1), case.lying_at(5, 2)), [later]);
}

#[test]
fn a_lie_that_nobody_defends_falls() {
    let case = case();
    let right = case.right();
    let root = right.answer().result_root;
    let mut court = case.court(&[(HONEST, &right), (LIAR, &case.lying_at(2, 1))]);
    assert_eq!(play(&mut court, &mut [Party::new(HONEST, right, false, false)]), [root]);
}
