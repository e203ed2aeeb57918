//! Honest traces: every step verifies, and the last leaf is the run's result.

mod programs;

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use super::{Output, Statement, Step, TraceTree, Tracer, last_leaf, verify_step};
use crate::artefact::tests::artefact;
use crate::artefact::{Manifest, Reader};
use crate::hash::Hash;
use crate::interp::{Model, output_bytes};
use crate::merkle::Tree;
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
        for position in 0..self.tree.count() {
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
