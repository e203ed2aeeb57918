//! Honest traces: every step verifies, and the last leaf is the run's result.

mod extremes;
mod fuzz;
mod programs;
mod refusals;

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use super::{Output, Statement, Step, TraceTree, Tracer, last_leaf, verify_step};
use crate::artefact::tests::artefact;
use crate::artefact::{Manifest, Reader};
use crate::hash::Hash;
use crate::interp::{Model, output_bytes};
use crate::merkle::{self, Tree};
use crate::ops::{Cpu, Isa};
use crate::program::Program;
use crate::program::tests::small;
use crate::result::{Status, input_bytes, input_root, output_root};

/// A traced run, and all that is needed to judge its steps.
pub(super) struct Case {
    pub(super) manifest: Manifest,
    pub(super) tokens: u32,
    pub(super) input_root: Hash,
    pub(super) tracer: Arc<Tracer>,
    pub(super) tree: TraceTree,
    pub(super) constants: Tree,
    pub(super) artefact: Vec<u8>,
}

impl Case {
    pub(super) fn new(program: &Program, ids: &[u32]) -> Self {
        Self::of(artefact(program, &[]), ids, Isa::best(), 2)
    }

    pub(super) fn of(artefact: Vec<u8>, ids: &[u32], isa: Isa, threads: usize) -> Self {
        let mut reader = Reader::new(Cursor::new(artefact.clone())).unwrap();
        let model = Arc::new(Model::load(&mut reader, isa).unwrap());
        let constants = Tree::new(reader.each_leaf(|_, _| ()).unwrap());
        let cpu = Arc::new(Cpu::new(isa, threads).unwrap());
        let manifest = reader.manifest().clone();
        let source = Arc::new(Mutex::new(reader));
        let tracer = Arc::new(Tracer::new(model, cpu, source, ids).unwrap());
        Self::traced(manifest, tracer, ids, constants, artefact)
    }

    fn traced(
        manifest: Manifest,
        tracer: Arc<Tracer>,
        ids: &[u32],
        constants: Tree,
        artefact: Vec<u8>,
    ) -> Self {
        let tree = TraceTree::new(Arc::clone(&tracer)).unwrap();
        let input_root = input_root(&input_bytes(ids));
        let tokens = u32::try_from(ids.len()).unwrap();
        Self { manifest, tokens, input_root, tracer, tree, constants, artefact }
    }

    /// The tracer alone.
    fn into_tracer(self) -> Arc<Tracer> {
        let Self { tracer, tree, .. } = self;
        drop(tree);
        tracer
    }

    pub(super) fn witness(&self, position: u64) -> Vec<u8> {
        let node = |level, position| self.tree.node(level, position).ok();
        self.tracer.witness(position, &node, &self.constants).unwrap()
    }

    pub(super) fn judge(&self, position: u64, witness: &[u8]) -> Result<Step, super::WitnessError> {
        let steps_root = self.tree.root();
        let statement = Statement {
            manifest: &self.manifest,
            input_root: &self.input_root,
            tokens: self.tokens,
            steps_root: &steps_root,
        };
        verify_step(&statement, position, witness)
    }

    pub(super) fn leaf(&self, position: u64) -> Hash {
        self.tree.node(0, position).unwrap()
    }

    pub(super) fn assert_all_verify(&self) {
        self.assert_verify(0..self.tree.count());
    }

    pub(super) fn assert_verify(&self, positions: impl Iterator<Item = u64>) {
        for position in positions {
            let place = self.tracer.layout().place(position).unwrap();
            let step = self.judge(position, &self.witness(position));
            assert_eq!(step, Ok(Step::Leaf(self.leaf(position))), "leaf {position}: {place}");
        }
    }

    fn assert_ends_like_the_run(&self, ids: &[u32]) {
        let mut reader = Reader::new(Cursor::new(self.artefact.clone())).unwrap();
        let model = Model::load(&mut reader, Isa::Scalar).unwrap();
        let outcome = model.run(&Cpu::new(Isa::Scalar, 1).unwrap(), &[ids]).unwrap().remove(0);
        let Output { status, bytes, root } = self.tracer.output();
        if let Ok(row) = outcome {
            assert_eq!((*status, bytes), (Status::Halted, &output_bytes(&row)));
            let cols = u32::try_from(row.len()).unwrap();
            assert_eq!(*root, output_root(1, cols, bytes).unwrap());
        } else {
            assert_eq!((*status, bytes.len()), (Status::Fault, 0));
            assert_eq!(*root, output_root(0, 0, &[]).unwrap());
        }
        let count = self.tree.count();
        assert_eq!(self.leaf(count - 1), last_leaf(count, *status, root));
    }
}

#[test]
fn every_step_of_the_small_program_verifies_at_every_length() {
    for tokens in 1..=16_u32 {
        let ids: Vec<u32> = (0..tokens).map(|i| (i * i + tokens) % 10).collect();
        let case = Case::new(&small(), &ids);
        case.assert_all_verify();
        case.assert_ends_like_the_run(&ids);
    }
}

#[test]
fn every_step_of_every_family_verifies_where_reductions_have_several_chunks() {
    for (program, ids) in programs::wide() {
        let case = Case::new(&program, &ids);
        case.assert_all_verify();
        case.assert_ends_like_the_run(&ids);
    }
}

#[test]
fn a_range_of_leaves_is_that_of_the_whole_trace() {
    let (program, ids) = programs::wide().remove(0);
    let case = Case::new(&program, &ids);
    let whole = case.tracer.leaves(0..case.tree.count()).unwrap();
    let count = case.tree.count();
    for (start, end) in [(0, 1), (1, 300), (count / 3, count / 2), (count - 1, count), (5, 5)] {
        let range = case.tracer.leaves(start..end).unwrap();
        let index = |at| usize::try_from(at).unwrap();
        assert!(range == whole[index(start)..index(end)], "{start}..{end}");
    }
    assert!(case.tracer.leaves(count..count + 1).is_err());
    let one = Case::of(case.artefact.clone(), &ids, Isa::Scalar, 1);
    assert!(one.tracer.leaves(0..count).unwrap() == whole, "another engine");
}

#[test]
fn a_tree_that_keeps_little_gives_the_nodes_of_one_that_keeps_all() {
    let (program, ids) = programs::wide().remove(0);
    let case = Case::new(&program, &ids);
    let whole = Tree::new(case.tracer.leaves(0..case.tree.count()).unwrap());
    assert_eq!(case.tree.root(), whole.root());
    for kept_max in [1 << 20, 100, 1] {
        let tree = TraceTree::keeping(Arc::clone(&case.tracer), kept_max).unwrap();
        assert_eq!(tree.root(), whole.root(), "{kept_max}");
        for level in 0..=merkle::height(tree.count()) {
            let width = merkle::width(tree.count(), level);
            for position in [0, width / 2, width - 1] {
                assert_eq!(tree.node(level, position).ok(), whole.node(level, position));
                let opened = tree.open(level, position).unwrap();
                let fold = merkle::fold(tree.count(), level, position, &opened);
                assert_eq!(fold, whole.node(level, position));
            }
            assert!(tree.node(level, width).is_err() && tree.open(level, width).is_err());
        }
        assert!(tree.node(merkle::height(tree.count()) + 1, 0).is_err());
    }
}

#[test]
fn a_leaf_is_named_for_people() {
    let case = Case::new(&small(), &[1, 2]);
    let layout = case.tracer.layout();
    let places: Vec<String> =
        (0..case.tree.count()).map(|leaf| layout.place(leaf).unwrap().to_string()).collect();
    assert_eq!(places[0], "operator 0 (EMBED), ROW, token 0, piece 0");
    assert!(places.contains(&"operator 6 (LINEAR16), PRODUCT, band 0, tile 0, block 0".into()));
    assert!(places.contains(&"operator 7 (ATTENTION), SCALE, head 1".into()));
    assert_eq!(places.last().unwrap(), "the result");
    assert!(layout.place(case.tree.count()).is_none());
}
