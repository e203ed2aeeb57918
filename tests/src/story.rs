//! What somebody tells of a run: an answer, and the trace that is to prove it. Stories are told once
//! and kept, since all who lie alike tell the same.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{LazyLock, Mutex};

use lockstep_audit::play::{Evidence as _, Program, Run};
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_vm::artefact::Reader;
use lockstep_vm::result::{Status, input_bytes, input_root};

use crate::executor::{Claim, run_status};
use crate::model::{HIDDEN, artefact};

/// Input, answer and false leaf.
type Plot = (Vec<u32>, Claim, Option<u64>);

/// What is told of a run with this input, traced. A lie alters the leaf before the last, or `bogus`,
/// and the last, which holds the answer; the truth alters `bogus` alone.
///
/// # Panics
/// Where the model does not take the input.
#[must_use]
pub fn story(ids: &[u32], claim: Claim, bogus: Option<u64>) -> Run {
    static TOLD: LazyLock<Mutex<BTreeMap<Plot, Run>>> = LazyLock::new(Mutex::default);
    let plot = (ids.to_vec(), claim, bogus);
    let known = TOLD.lock().unwrap().get(&plot).cloned();
    known.unwrap_or_else(|| {
        let run = tell(ids, claim, bogus);
        run.steps_root().expect("a trace");
        TOLD.lock().unwrap().insert(plot, run.clone());
        run
    })
}

fn tell(ids: &[u32], claim: Claim, bogus: Option<u64>) -> Run {
    static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
        let reader = Reader::new(Cursor::new(artefact().bytes.as_slice())).expect("an artefact");
        Program::load(reader, 1).expect("a program")
    });
    let artefact_root = artefact().model.manifest().root().to_vec();
    let version = Version { artefact_root, output_values: HIDDEN, ..Version::default() };
    let input = input_bytes(ids);
    let job = Job { input_root: input_root(&input).to_vec(), input, ..Job::default() };
    let altered = PROGRAM.altered(&version, &job, ids, |mut tracer| {
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
        if claim == Claim::Truth {
            return Ok((tracer, None));
        }
        let run = claim.run(ids);
        tracer = tracer.with_override(last, Status::Halted, run.output_root().to_vec());
        Ok((tracer, Some((run_status(run.status), run.output))))
    });
    altered.expect("an input of the model")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_and_false_stories_differ_where_they_say() {
        let truth = story(&[0, 1, 2], Claim::Truth, None);
        let leaves = truth.leaves();
        assert!(leaves > 256, "{leaves} leaves: games would be over at once");
        let bogus = story(&[0, 1, 2], Claim::Truth, Some(7));
        let lie = story(&[0, 1, 2], Claim::Lie(0), None);
        let differs = |a: &Run, b: &Run| -> Vec<u64> {
            (0..leaves).filter(|at| a.node(0, *at).unwrap() != b.node(0, *at).unwrap()).collect()
        };
        assert_eq!(differs(&truth, &bogus), [7]);
        assert_eq!(truth.answer(), bogus.answer());
        assert_eq!(differs(&truth, &lie), [leaves - 2, leaves - 1]);
        assert_ne!(truth.answer(), lie.answer());
    }

    #[test]
    fn every_leaf_of_a_true_story_is_proved_and_a_false_one_refuted() {
        let truth = story(&[0, 1, 2], Claim::Truth, None);
        for story in [story(&[3, 4], Claim::Truth, None), truth.clone()] {
            for leaf in 0..story.leaves() {
                let witness = story.witness(leaf, &|_, _| None).unwrap();
                let found = story.recompute(&story.steps_root().unwrap(), leaf, &witness).unwrap();
                assert_eq!(found, Some(story.node(0, leaf).unwrap()), "leaf {leaf}");
            }
        }
        let bogus = story(&[0, 1, 2], Claim::Truth, Some(7));
        let witness = truth.witness(7, &|level, at| bogus.node(level, at).ok()).unwrap();
        let found = truth.recompute(&bogus.steps_root().unwrap(), 7, &witness).unwrap();
        assert_eq!(found, Some(truth.node(0, 7).unwrap()));
        assert_ne!(found, Some(bogus.node(0, 7).unwrap()));
    }
}
