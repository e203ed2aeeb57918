//! Repeats runs on this machine's processor, with their traces.

use std::io::{Read, Seek};
use std::sync::{Arc, Mutex, OnceLock};

use lockstep_chain::commitment;
use lockstep_proto::lockstep::job::v1::{Job, RunStatus};
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::artefact::{Reader, validate};
use lockstep_vm::hash::Hash;
use lockstep_vm::interp::Model;
use lockstep_vm::merkle;
use lockstep_vm::ops::{Cpu, Isa};
use lockstep_vm::result::Status;
use lockstep_vm::trace::{Source, Statement, Step, TraceTree, Tracer, verify_step};

use super::PlayError;
use super::evidence::{Answer, Evidence, Nodes};
use super::lie::{Claimed, Lie};

/// A model in memory, every leaf of its artefact checked.
#[derive(Clone)]
pub struct Program {
    model: Arc<Model>,
    cpu: Arc<Cpu>,
    source: Arc<dyn Source>,
    tree: Arc<merkle::Tree>,
}

impl Program {
    /// Loads an artefact for so many threads.
    ///
    /// # Errors
    /// [`PlayError::Trace`] where it is damaged.
    pub fn load<R: Read + Seek + Send + 'static>(
        reader: Reader<R>,
        threads: usize,
    ) -> Result<Self, PlayError> {
        Self::load_for(reader, Isa::best(), threads)
    }

    /// Loads an artefact for so many threads and an instruction set; all give the same bytes.
    ///
    /// # Errors
    /// [`PlayError::Trace`] where it is damaged, or this machine lacks the instructions.
    pub fn load_for<R: Read + Seek + Send + 'static>(
        mut reader: Reader<R>,
        isa: Isa,
        threads: usize,
    ) -> Result<Self, PlayError> {
        let hashes = validate(&mut reader).map_err(PlayError::trace)?;
        let model = Model::load(&mut reader, isa).map_err(PlayError::trace)?;
        Ok(Self {
            model: Arc::new(model),
            cpu: Arc::new(Cpu::new(isa, threads).map_err(PlayError::trace)?),
            source: Arc::new(Mutex::new(reader)),
            tree: Arc::new(merkle::Tree::new(hashes)),
        })
    }

    /// The root that an artefact on the chain goes by.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.model.manifest().root()
    }

    fn tracer(&self, ids: &[u32]) -> Result<Tracer, PlayError> {
        let (model, cpu) = (Arc::clone(&self.model), Arc::clone(&self.cpu));
        Tracer::new(model, cpu, Arc::clone(&self.source), ids).map_err(PlayError::trace)
    }

    /// Whether there is another handle to it, such as a run that is kept.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.tree) > 1
    }

    /// Runs a job once, without tracing.
    ///
    /// # Errors
    /// [`PlayError::Trace`] where the input is none of this program's, or not the job's.
    pub fn repeat(&self, version: &Version, job: &Job, ids: &[u32]) -> Result<Run, PlayError> {
        let tracer = self.tracer(ids)?;
        let answer = answer(version, job, status_of(&tracer), tracer.output().root)?;
        Ok(Run {
            program: self.clone(),
            output: tracer.output().bytes.clone(),
            tracer: Arc::new(tracer),
            tree: Arc::default(),
            answer,
            input_root: job.input_root.as_slice().try_into().map_err(PlayError::trace)?,
            ids: ids.to_vec(),
        })
    }

    /// As [`Program::repeat`], but says something else than came of it: an injected fault.
    ///
    /// # Errors
    /// As [`Program::repeat`].
    pub fn lie(
        &self,
        version: &Version,
        job: &Job,
        ids: &[u32],
        lie: Lie,
    ) -> Result<Run, PlayError> {
        self.altered(version, job, ids, |tracer| lie.told(tracer, version))
    }

    /// As [`Program::repeat`], with another trace, and another answer where one is claimed: an injected
    /// fault.
    ///
    /// # Errors
    /// As [`Program::repeat`], and those of `alter`.
    pub fn altered(
        &self,
        version: &Version,
        job: &Job,
        ids: &[u32],
        alter: impl FnOnce(Tracer) -> Result<(Tracer, Claimed), PlayError>,
    ) -> Result<Run, PlayError> {
        let mut run = self.repeat(version, job, ids)?;
        let (tracer, claimed) = alter(self.tracer(ids)?)?;
        run.tracer = Arc::new(tracer);
        if let Some((status, output)) = claimed {
            let root = commitment::output_root(version, status, &output);
            let root = root.ok_or_else(|| PlayError::trace("an odd output"))?;
            run.answer = answer(version, job, status, root)?;
            run.output = output;
        }
        Ok(run)
    }
}

fn status_of(tracer: &Tracer) -> RunStatus {
    let halted = tracer.output().status == Status::Halted;
    if halted { RunStatus::Halted } else { RunStatus::Fault }
}

fn answer(
    version: &Version,
    job: &Job,
    status: RunStatus,
    output_root: Hash,
) -> Result<Answer, PlayError> {
    let result_root = commitment::result_root(version, job, status, &output_root);
    Ok(Answer { status, output_root, result_root: result_root.map_err(PlayError::trace)? })
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Program").field(&hex::encode(self.root())).finish()
    }
}

/// A run that was repeated: evidence for a trial. It is traced when its trace is first asked for.
#[derive(Clone)]
pub struct Run {
    program: Program,
    tracer: Arc<Tracer>,
    tree: Arc<OnceLock<TraceTree>>,
    answer: Answer,
    output: Vec<u8>,
    input_root: Hash,
    ids: Vec<u32>,
}

impl Run {
    /// The output row, f32 little endian; empty after a FAULT.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    fn tree(&self) -> Result<&TraceTree, PlayError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = TraceTree::new(Arc::clone(&self.tracer)).map_err(PlayError::trace)?;
        Ok(self.tree.get_or_init(|| tree))
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Run").field(&self.answer).finish()
    }
}

impl Evidence for Run {
    fn answer(&self) -> Answer {
        self.answer
    }

    fn again(&self) -> Result<bool, PlayError> {
        let tracer = self.program.tracer(&self.ids)?;
        let again = (status_of(&tracer), tracer.output().root);
        Ok(again == (self.answer.status, self.answer.output_root))
    }

    fn is_traced(&self) -> bool {
        self.tree.get().is_some()
    }

    fn leaves(&self) -> u64 {
        self.tracer.leaf_count()
    }

    fn steps_root(&self) -> Result<Hash, PlayError> {
        Ok(self.tree()?.root())
    }

    fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, PlayError> {
        self.tree()?.open(level, position).map_err(PlayError::trace)
    }

    fn node(&self, level: u32, position: u64) -> Result<Hash, PlayError> {
        self.tree()?.node(level, position).map_err(PlayError::trace)
    }

    fn witness(&self, leaf: u64, theirs: Nodes<'_>) -> Result<Vec<u8>, PlayError> {
        // What lies left of the leaf is the same in both traces, but only the own one is whole.
        let (count, tree) = (self.leaves(), self.tree()?);
        let node = |level: u32, position: u64| {
            let left = merkle::under(count, level, position, 0).is_some_and(|it| it.end <= leaf);
            let theirs = if left { None } else { theirs(level, position) };
            theirs.or_else(|| tree.node(level, position).ok())
        };
        let witness = self.tracer.witness(leaf, &node, &self.program.tree);
        witness.map_err(PlayError::trace)
    }

    fn recompute(
        &self,
        steps_root: &Hash,
        leaf: u64,
        witness: &[u8],
    ) -> Result<Option<Hash>, PlayError> {
        let input_root = &self.input_root;
        let tokens = u32::try_from(self.ids.len()).map_err(PlayError::trace)?;
        let manifest = self.program.model.manifest();
        let statement = Statement { manifest, input_root, tokens, steps_root };
        match verify_step(&statement, leaf, witness).map_err(PlayError::trace)? {
            Step::Leaf(hash) => Ok(Some(hash)),
            Step::Malformed => Ok(None),
        }
    }
}
