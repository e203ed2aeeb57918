//! What somebody tells of a run: an answer, and the trace that is to prove it. Stories are told once
//! and kept, since all who lie alike tell the same.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::sync::{Arc, LazyLock, Mutex};

use lockstep_audit::play::{Answer, Evidence, Nodes, PlayError};
use lockstep_proto::lockstep::job::v1::RunStatus;
use lockstep_vm::artefact::Reader;
use lockstep_vm::hash::Hash;
use lockstep_vm::merkle;
use lockstep_vm::result::{RunResult, Status, input_bytes, input_root};
use lockstep_vm::trace::{Source, Statement, Step, TraceTree, Tracer, verify_step};

use crate::executor::Claim;
use crate::model::artefact;

/// An answer with its trace.
#[derive(Clone)]
pub struct Story(Arc<Told>);

struct Told {
    answer: Answer,
    tree: TraceTree,
    input_root: Hash,
    tokens: u32,
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Story({:?})", self.0.answer)
    }
}

/// Input, answer and false leaf.
type Plot = (Vec<u32>, Claim, Option<u64>);

impl Story {
    /// What is told of a run with this input. A lie alters the leaf before the last, or `bogus`, and
    /// the last, which holds the answer; the truth alters `bogus` alone.
    ///
    /// # Panics
    /// Where the model does not take the input.
    #[must_use]
    pub fn of(ids: &[u32], claim: Claim, bogus: Option<u64>) -> Self {
        static TOLD: LazyLock<Mutex<BTreeMap<Plot, Story>>> = LazyLock::new(Mutex::default);
        let plot = (ids.to_vec(), claim, bogus);
        let known = TOLD.lock().unwrap().get(&plot).cloned();
        known.unwrap_or_else(|| {
            let story = Self(Arc::new(tell(ids, claim, bogus)));
            TOLD.lock().unwrap().insert(plot, story.clone());
            story
        })
    }
}

/// The artefact, as tracers read it.
fn source() -> Arc<dyn Source> {
    static SOURCE: LazyLock<Arc<dyn Source>> = LazyLock::new(|| {
        let reader = Reader::new(Cursor::new(artefact().bytes.as_slice()));
        Arc::new(Mutex::new(reader.expect("an artefact")))
    });
    Arc::clone(&SOURCE)
}

fn tell(ids: &[u32], claim: Claim, bogus: Option<u64>) -> Told {
    let artefact = artefact();
    let (model, cpu) = (Arc::clone(&artefact.model), Arc::clone(&artefact.cpu));
    let mut tracer = Tracer::new(model, cpu, source(), ids).expect("an input of the model");
    let run = claim.run(ids);
    let output_root = run.output_root();
    let last = tracer.leaf_count() - 1;
    let altered = match claim {
        Claim::Truth => bogus,
        Claim::Lie(_) => Some(bogus.unwrap_or(last - 1)),
    };
    if let Some(at) = altered.filter(|at| *at < last) {
        let (status, mut block) = tracer.leaf(at).expect("a leaf");
        match block.first_mut() {
            Some(byte) => *byte ^= 1,
            None => block.push(1),
        }
        tracer = tracer.with_override(at, status, block);
    }
    if claim != Claim::Truth {
        tracer = tracer.with_override(last, Status::Halted, output_root.to_vec());
    }
    let input_root = input_root(&input_bytes(ids));
    let result = RunResult {
        artefact_root: &artefact.model.manifest().root(),
        input_root: &input_root,
        parameters: &[],
        status: run.status,
        output_root: &output_root,
    };
    let status = if run.status == Status::Halted { RunStatus::Halted } else { RunStatus::Fault };
    Told {
        answer: Answer { status, output_root, result_root: result.root() },
        tree: TraceTree::new(Arc::new(tracer)).expect("a trace"),
        input_root,
        tokens: u32::try_from(ids.len()).expect("a few tokens"),
    }
}

fn failed(error: impl fmt::Display) -> PlayError {
    PlayError::Trace(error.to_string())
}

impl Evidence for Story {
    fn answer(&self) -> Answer {
        self.0.answer
    }

    fn again(&self) -> Result<bool, PlayError> {
        Ok(true)
    }

    fn is_traced(&self) -> bool {
        true
    }

    fn leaves(&self) -> u64 {
        self.0.tree.count()
    }

    fn steps_root(&self) -> Result<Hash, PlayError> {
        Ok(self.0.tree.root())
    }

    fn open(&self, level: u32, position: u64) -> Result<Vec<Hash>, PlayError> {
        self.0.tree.open(level, position).map_err(failed)
    }

    fn node(&self, level: u32, position: u64) -> Result<Hash, PlayError> {
        self.0.tree.node(level, position).map_err(failed)
    }

    fn witness(&self, leaf: u64, theirs: Nodes<'_>) -> Result<Vec<u8>, PlayError> {
        // Left of the leaf both traces agree, but only the own one is whole.
        let node = |level: u32, position: u64| {
            let end = merkle::under(self.leaves(), level, position, 0).map(|leaves| leaves.end);
            let known = if end? <= leaf { None } else { theirs(level, position) };
            known.or_else(|| self.0.tree.node(level, position).ok())
        };
        self.0.tree.tracer().witness(leaf, &node, &artefact().tree).map_err(failed)
    }

    fn recompute(
        &self,
        steps_root: &Hash,
        leaf: u64,
        witness: &[u8],
    ) -> Result<Option<Hash>, PlayError> {
        let statement = Statement {
            manifest: artefact().model.manifest(),
            input_root: &self.0.input_root,
            tokens: self.0.tokens,
            steps_root,
        };
        match verify_step(&statement, leaf, witness).map_err(failed)? {
            Step::Leaf(hash) => Ok(Some(hash)),
            Step::Malformed => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_and_false_stories_differ_where_they_say() {
        let truth = Story::of(&[0, 1, 2], Claim::Truth, None);
        let leaves = truth.leaves();
        assert!(leaves > 256, "{leaves} leaves: games would be over at once");
        let bogus = Story::of(&[0, 1, 2], Claim::Truth, Some(7));
        let lie = Story::of(&[0, 1, 2], Claim::Lie(0), None);
        let differs = |a: &Story, b: &Story| -> Vec<u64> {
            (0..leaves).filter(|at| a.node(0, *at).unwrap() != b.node(0, *at).unwrap()).collect()
        };
        assert_eq!(differs(&truth, &bogus), [7]);
        assert_eq!(truth.answer(), bogus.answer());
        assert_eq!(differs(&truth, &lie), [leaves - 2, leaves - 1]);
        assert_ne!(truth.answer(), lie.answer());
    }

    #[test]
    fn every_leaf_of_a_true_story_is_proved_and_a_false_one_refuted() {
        let truth = Story::of(&[3, 4], Claim::Truth, None);
        let story = Story::of(&[0, 1, 2], Claim::Truth, None);
        for story in [truth, story] {
            for leaf in 0..story.leaves() {
                let witness = story.witness(leaf, &|_, _| None).unwrap();
                let found = story.recompute(&story.steps_root().unwrap(), leaf, &witness).unwrap();
                assert_eq!(found, Some(story.node(0, leaf).unwrap()), "leaf {leaf}");
            }
        }
        let (truth, bogus) = (
            Story::of(&[0, 1, 2], Claim::Truth, None),
            Story::of(&[0, 1, 2], Claim::Truth, Some(7)),
        );
        let witness = truth.witness(7, &|level, at| bogus.node(level, at).ok()).unwrap();
        let found = truth.recompute(&bogus.steps_root().unwrap(), 7, &witness).unwrap();
        assert_eq!(found, Some(truth.node(0, 7).unwrap()));
        assert_ne!(found, Some(bogus.node(0, 7).unwrap()));
    }
}
