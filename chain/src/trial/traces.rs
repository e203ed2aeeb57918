//! For tests: a real model, its honest trace, and liars' traces of it.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::io::Cursor;
use std::sync::Mutex;

use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_vm::artefact::{Description, Reader, Writer};
use lockstep_vm::hash::Hash;
use lockstep_vm::interp;
use lockstep_vm::merkle::{self, Tree};
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::program::{self, Index, Input, Op, Program, Tensor};
use lockstep_vm::result::{Status, output_root};
use lockstep_vm::trace::{Source, TraceTree, Tracer};

use super::defend::Claim;

/// Values of a row of the model, and of its output.
const COLS: u32 = 4;
/// What every job of the tests runs on.
pub(super) const TOKENS: [u32; 2] = [1, 2];

/// A model in memory: the mean over embedded tokens, doubled so many times before.
pub(super) struct Model {
    pub(super) manifest: Vec<u8>,
    artefact: Tree,
    loaded: Arc<interp::Model>,
    cpu: Arc<Cpu>,
    source: Arc<dyn Source>,
}

impl Model {
    pub(super) fn new(doublings: u32) -> Self {
        let mut ops = vec![Op::Embed { table: 0, index: Index::Tokens }];
        ops.extend((0..doublings).map(|x| Op::Add { a: x, b: x }));
        ops.push(Op::PoolMean { x: doublings });
        let program = Program {
            format: program::FORMAT,
            input: Input::TokenIds { vocabulary: 4, tokens_max: 8 },
            tensors: vec![Tensor::F32 { rows: 4, cols: COLS }],
            output: doublings + 1,
            ops,
        };
        let description = Description { family: "test".into(), attachments: Vec::new() };
        let mut writer = Writer::new(Cursor::new(Vec::new()), program, description).unwrap();
        // Zeros, which no number of doublings makes infinite.
        writer.table(&[0.0; 16], 4).unwrap();
        let bytes = writer.finish().unwrap().0.into_inner();
        let open = || Reader::new(Cursor::new(bytes.clone())).unwrap();
        let model = interp::Model::load(&mut open(), Isa::Scalar).unwrap();
        Self {
            manifest: model.manifest().encode().to_vec(),
            artefact: Tree::new(open().each_leaf(|_, _| ()).unwrap()),
            loaded: Arc::new(model),
            cpu: Arc::new(Cpu::new(Isa::Scalar, 1).unwrap()),
            source: Arc::new(Mutex::new(open())),
        }
    }

    fn tracer(&self) -> Tracer {
        let (model, cpu) = (Arc::clone(&self.loaded), Arc::clone(&self.cpu));
        Tracer::new(model, cpu, Arc::clone(&self.source), &TOKENS).unwrap()
    }

    /// The trace of what the model gives.
    pub(super) fn honest(&self) -> Trace {
        let tracer = self.tracer();
        let (status, output) = (tracer.output().status, tracer.output().bytes.clone());
        assert_eq!(status, Status::Halted);
        Trace::new(tracer, output, None)
    }

    /// The trace of another output, right but for the last leaf.
    pub(super) fn liar(&self) -> Trace {
        let tracer = self.tracer();
        let mut output = tracer.output().bytes.clone();
        output[0] ^= 1;
        let root = output_root(1, COLS, &output).unwrap();
        let last = tracer.leaf_count() - 1;
        let tracer = tracer.with_override(last, Status::Halted, root.to_vec());
        Trace::new(tracer, output, Some(last))
    }

    /// A trace of the right output that is wrong in one leaf.
    pub(super) fn bogus(&self, leaf: u64) -> Trace {
        let tracer = self.tracer();
        let output = tracer.output().bytes.clone();
        let mut block = tracer.leaf(leaf).unwrap().1;
        block[0] ^= 1;
        Trace::new(tracer.with_override(leaf, Status::Run, block), output, Some(leaf))
    }

    /// The witness for a leaf of somebody's trace.
    pub(super) fn witness(&self, trace: &Trace, position: u64) -> Vec<u8> {
        let node = |level, position| trace.tree.node(level, position).ok();
        self.tracer().witness(position, &node, &self.artefact).unwrap()
    }
}

/// A trace as somebody claims it.
pub(super) struct Trace {
    tree: TraceTree,
    pub(super) output: Vec<u8>,
    /// The first leaf that is not what the run gives.
    pub(super) wrong: Option<u64>,
}

impl Trace {
    fn new(tracer: Tracer, output: Vec<u8>, wrong: Option<u64>) -> Self {
        Self { tree: TraceTree::new(Arc::new(tracer)).unwrap(), output, wrong }
    }

    pub(super) fn leaves(&self) -> u64 {
        self.tree.count()
    }

    pub(super) fn open(&self, level: u32, position: u64) -> Vec<Hash> {
        self.tree.open(level, position).unwrap()
    }

    pub(super) fn root(&self) -> Hash {
        self.tree.root()
    }

    pub(super) fn claim(&self) -> Claim {
        let last = self.leaves() - 1;
        let path = merkle::siblings_of(self.leaves(), &[last]).into_iter();
        Claim {
            status: RunStatus::Halted,
            output_root: output_root(1, COLS, &self.output).unwrap(),
            steps_root: self.root(),
            last_path: path.map(|(level, at)| self.tree.node(level, at).unwrap()).collect(),
            nodes: self.open(merkle::height(self.leaves()), 0),
        }
    }
}
