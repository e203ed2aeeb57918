//! Runs again what other validators answered, and challenges what is wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lockstep_audit::play::{Evidence as _, Run, Sample, Shared, accuse};
use lockstep_proto::lockstep::job::v1::{Job, MemberState};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::blobs::Root;
use crate::fault::Kind;
use crate::lane::Place;
use crate::metrics;
use crate::plan::{Docket, Me, Order};
use crate::steps::{StepError, answer, contain};
use crate::table::{Answer, Table};

/// Heights between two looks at what others answered.
const LOOK_BLOCKS: u64 = 4;
/// After so many heights a challenge that became no trial is sent again.
const AGAIN_BLOCKS: u64 = 4;
/// What could not be run again waits for 4, 8, 16, … heights, at most for so many.
const PAUSE_BLOCKS_MAX: u64 = 32;
/// Answers that are looked at together: they run one by one, but wait together for their inputs.
const CHECKS_MAX: usize = 16;

/// What is known of an answer that can still be challenged.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    Right,
    /// It was challenged at a height.
    Wrong {
        job: Box<Job>,
        sent_height: u64,
    },
    /// Nothing yet, and why.
    Nothing {
        failures: u32,
        resume_height: u64,
        words: String,
    },
}

/// What was looked at, and what is to be.
struct Watch {
    operator: Vec<u8>,
    sample: Sample,
    known: BTreeMap<Answer, Known>,
    queue: VecDeque<Job>,
    busy: BTreeSet<Answer>,
    /// The height of the last look.
    looked: Option<u64>,
}

/// Watches until there are no more dockets.
pub(crate) async fn keep(table: Arc<Table>, mut dockets: watch::Receiver<Docket>) {
    let mut watch = Watch::new(&table.tools.me, table.settings.watch_percent);
    let mut checks = JoinSet::new();
    loop {
        tokio::select! {
            changed = dockets.changed() => if changed.is_err() { return },
            Some(Ok((answer, result))) = checks.join_next() => {
                watch.ended(answer, result, dockets.borrow().height);
            }
        }
        let docket = dockets.borrow_and_update().clone();
        let watches = table.settings.watch_percent > 0 || !docket.accused.is_empty();
        if !watches || docket.height == 0 {
            continue;
        }
        if watch.is_due(docket.height) {
            match table.tools.node.verified().await {
                Ok(jobs) => watch.look(jobs, &docket),
                Err(error) => tracing::warn!(%error, "what others answered was not looked at"),
            }
        }
        for (answer, job) in watch.unheard(docket.height, |it| table.has_challenged(it)) {
            tracing::warn!(job = job.id, "a challenge became no trial; sending it again");
            let fault = fault_of(&docket, &job);
            checks.spawn(check(Arc::clone(&table), answer, job, fault));
        }
        while let Some((answer, job)) = watch.next() {
            if table.has_challenged(&answer) {
                tracing::warn!(
                    job = job.id,
                    "an answer that this executor challenged has survived and is not challenged \
                     again; hint: this machine may be at fault"
                );
                watch.ended(answer, Ok(Found::Right), docket.height);
                continue;
            }
            let fault = fault_of(&docket, &job);
            checks.spawn(check(Arc::clone(&table), answer, job, fault));
        }
    }
}

fn fault_of(docket: &Docket, job: &Job) -> Option<Kind> {
    docket.accused.contains(&job.id).then_some(Kind::FalseChallenge)
}

/// What came of a look at an answer.
#[derive(Debug)]
enum Found {
    Right,
    /// It was challenged, or could not be yet.
    Wrong(Box<Job>),
}

async fn check(
    table: Arc<Table>,
    answer: Answer,
    job: Job,
    fault: Option<Kind>,
) -> (Answer, Result<Found, String>) {
    let check = async move { table.check(job, answer.2, fault).await };
    (answer, contain(check).await)
}

impl Watch {
    fn new(me: &Me, percent: u8) -> Self {
        // Nobody can guess a salt, and no job has the id 0.
        let sample = Sample::new(me.key.salt(&me.chain_id, 0, 0), percent);
        let (known, queue, busy) = Default::default();
        Self { operator: me.operator.to_vec(), sample, known, queue, busy, looked: None }
    }

    fn is_due(&self, height: u64) -> bool {
        self.looked.is_none_or(|last| height >= last.saturating_add(LOOK_BLOCKS))
    }

    /// Takes in all answers that can still be challenged.
    fn look(&mut self, mut jobs: Vec<Job>, docket: &Docket) {
        let height = docket.height;
        self.looked = Some(height);
        let present: BTreeSet<Answer> = jobs.iter().filter_map(answer_of).collect();
        self.known.retain(|answer, _| present.contains(answer));
        jobs.retain(|job| {
            let watched = docket.accused.contains(&job.id) || self.sample.takes(job.id);
            let due = |answer: Answer| match self.known.get(&answer) {
                None => !self.busy.contains(&answer),
                Some(Known::Nothing { resume_height, .. }) => *resume_height <= height,
                Some(Known::Right | Known::Wrong { .. }) => false,
            };
            watched && !self.is_own(job) && answer_of(job).is_some_and(due)
        });
        // What cannot be had must not keep the rest waiting; else whose window ends first.
        jobs.sort_by_key(|job| (self.failures(job), job.challenge_counter));
        self.queue = jobs.into();
    }

    fn failures(&self, job: &Job) -> u32 {
        match answer_of(job).and_then(|answer| self.known.get(&answer)) {
            Some(Known::Nothing { failures, .. }) => *failures,
            _ => 0,
        }
    }

    /// Whether the own validator revealed the answer that stands.
    fn is_own(&self, job: &Job) -> bool {
        job.members.iter().any(|member| {
            member.validator == self.operator
                && member.state() == MemberState::Revealed
                && member.result_root == job.result_root
        })
    }

    /// The next answer to look at, unless there are enough of them.
    fn next(&mut self) -> Option<(Answer, Job)> {
        while self.busy.len() < CHECKS_MAX {
            let job = self.queue.pop_front()?;
            if let Some(answer) = answer_of(&job)
                && self.busy.insert(answer)
            {
                return Some((answer, job));
            }
        }
        None
    }

    /// Wrong answers whose challenge stands nowhere, to be challenged again.
    fn unheard(&mut self, height: u64, heard: impl Fn(&Answer) -> bool) -> Vec<(Answer, Job)> {
        let again = self.known.iter().filter_map(|(answer, known)| match known {
            Known::Wrong { job, sent_height }
                if sent_height.saturating_add(AGAIN_BLOCKS) <= height
                    && !heard(answer)
                    && !self.busy.contains(answer) =>
            {
                Some((*answer, Job::clone(job)))
            }
            _ => None,
        });
        let again: Vec<_> = again.collect();
        self.busy.extend(again.iter().map(|(answer, _)| *answer));
        again
    }

    /// Notes what came of a look at an answer.
    fn ended(&mut self, answer: Answer, result: Result<Found, String>, height: u64) {
        self.busy.remove(&answer);
        let known = match result {
            Ok(Found::Right) => Known::Right,
            Ok(Found::Wrong(job)) => Known::Wrong { job, sent_height: height },
            Err(words) => self.failed(answer, words, height),
        };
        self.known.insert(answer, known);
    }

    fn failed(&self, answer: Answer, words: String, height: u64) -> Known {
        let (before, said) = match self.known.get(&answer) {
            Some(Known::Nothing { failures, words, .. }) => (*failures, Some(words)),
            _ => (0, None),
        };
        if said != Some(&words) {
            tracing::warn!(job = answer.0, error = words, "an answer was not looked at yet");
        }
        let pause = LOOK_BLOCKS.checked_shl(before).unwrap_or(u64::MAX).min(PAUSE_BLOCKS_MAX);
        let (failures, resume_height) = (before.saturating_add(1), height.saturating_add(pause));
        Known::Nothing { failures, resume_height, words }
    }
}

/// The answer that stands.
fn answer_of(job: &Job) -> Option<Answer> {
    Some((job.id, job.attempt, job.result_root.as_slice().try_into().ok()?))
}

impl Table {
    /// Runs a job again, and challenges what was said where that is wrong.
    async fn check(
        self: Arc<Self>,
        job: Job,
        said: Root,
        fault: Option<Kind>,
    ) -> Result<Found, StepError> {
        // A place that was taken for an earlier try is as good as a new run.
        let differs = |seat: &Shared<Run>| {
            seat.try_lock().is_ok_and(|it| it.evidence().answer().result_root != said)
        };
        let (seat, place) = match self.seat(job.id).filter(differs) {
            Some(seat) => (seat, self.others.place(u64::MAX).await),
            None => match self.compare(&job, said, fault).await? {
                None => return Ok(Found::Right),
                Some((run, place)) => (self.take_seat(job.id, None, run, fault), place),
            },
        };
        let now_ms = self.tools.node.tip().await?.time_ms;
        let accused = accuse(self.as_ref(), &seat, &job, now_ms).await;
        drop(place);
        // To trace it may have taken many heights.
        self.keep_seat(job.id, seat);
        match accused {
            Ok(()) => {
                tracing::warn!(
                    job = job.id,
                    "challenged an answer that is not what was recomputed"
                );
            }
            Err(error) if error.retake() => {
                self.leave_seat(job.id);
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(job = job.id, %error, "a wrong answer could not be challenged");
            }
        }
        Ok(Found::Wrong(Box::new(job)))
    }

    /// What a job gives on the processor, where that is not what was said; and the place to trace it.
    async fn compare(
        &self,
        job: &Job,
        said: Root,
        fault: Option<Kind>,
    ) -> Result<Option<(Run, Place)>, StepError> {
        let quick = if fault.is_none() { self.quick(job).await? } else { None };
        if quick == Some(said) {
            metrics::watched();
            return Ok(None);
        }
        // Before a bond is at stake, the processor has to say the same.
        let (run, place) = self.recompute(job, fault, &self.others, u64::MAX).await?;
        metrics::watched();
        if run.answer().result_root != said {
            return Ok(Some((run, place)));
        }
        if quick.is_some() {
            tracing::warn!(
                job = job.id,
                "the backend computes another answer than this machine's processor; hint: test \
                 the device with `lockstep-executor --home DIR self-test`"
            );
        }
        Ok(None)
    }

    /// What the backend answers; nothing where that would hold up a duty, or fails: then the
    /// processor decides.
    async fn quick(&self, job: &Job) -> Result<Option<Root>, StepError> {
        let (version, ids) = self.gather(job).await?;
        let order = Order { job: job.clone(), falsify: false };
        // One at a time: two would load the same model, and a duty would wait for both.
        let _turn = self.idle.lock().await;
        let run = async {
            if !self.tools.preload(version.id).await? {
                return Ok(None);
            }
            let outcome = self.tools.runner.run_aside(version.id, ids).await?;
            Ok::<_, StepError>(Some(answer(&version, &order, outcome)?.result_root))
        };
        Ok(run.await.unwrap_or_else(|error| {
            tracing::debug!(job = job.id, %error, "the backend does not look at an answer");
            None
        }))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_proto::lockstep::job::v1::Member;

    use super::*;

    const WRONG: Root = [1; 32];

    fn job(id: u64) -> Job {
        Job { id, attempt: 1, result_root: WRONG.to_vec(), ..Job::default() }
    }

    fn watch() -> Watch {
        Watch {
            operator: vec![9; 20],
            sample: Sample::new([0; 32], 100),
            known: BTreeMap::new(),
            queue: VecDeque::new(),
            busy: BTreeSet::new(),
            looked: None,
        }
    }

    /// Looks at these jobs at a height; which are to be run.
    fn look(watch: &mut Watch, jobs: &[u64], height: u64) -> Vec<u64> {
        watch
            .look(jobs.iter().copied().map(job).collect(), &Docket { height, ..Docket::default() });
        std::iter::from_fn(|| watch.next()).map(|(_, job)| job.id).collect()
    }

    fn answer(id: u64) -> Answer {
        (id, 1, WRONG)
    }

    #[test]
    fn what_cannot_be_run_again_waits_ever_longer_and_keeps_nobody_else_waiting() {
        let mut watch = watch();
        assert_eq!(look(&mut watch, &[1, 2], 4), [1, 2]);
        watch.ended(answer(1), Err("no input".to_owned()), 4);
        watch.ended(answer(2), Ok(Found::Right), 4);
        let mut tried = Vec::new();
        for height in (8..100).step_by(4) {
            let due = look(&mut watch, &[1, 2, height], height);
            assert_eq!(due[0], height);
            watch.ended(answer(height), Ok(Found::Right), height);
            if due.len() > 1 {
                tried.push(height);
                watch.ended(answer(1), Err("no input".to_owned()), height);
            }
        }
        assert_eq!(tried, [8, 16, 32, 64, 96]);
    }

    #[test]
    fn a_challenge_is_sent_until_it_is_heard_and_never_after() {
        let mut watch = watch();
        let wrong = || Ok(Found::Wrong(Box::new(job(1))));
        assert_eq!(look(&mut watch, &[1], 4), [1]);
        watch.ended(answer(1), wrong(), 5);
        assert!(look(&mut watch, &[1], 8).is_empty());
        assert!(watch.unheard(8, |_| false).is_empty());
        assert_eq!(watch.unheard(9, |_| false), [(answer(1), job(1))]);
        assert!(watch.unheard(9, |_| false).is_empty());
        watch.ended(answer(1), wrong(), 9);
        assert!(watch.unheard(13, |it| *it == answer(1)).is_empty());
        // The same answer in a new attempt is another one.
        let again = Job { attempt: 2, ..job(1) };
        watch.look(vec![again], &Docket { height: 16, ..Docket::default() });
        assert_eq!(watch.next().map(|(answer, _)| answer), Some((1, 2, WRONG)));
        assert!(watch.unheard(99, |_| false).is_empty());
    }

    #[test]
    fn what_the_own_validator_revealed_is_left_to_others() {
        let mut watch = watch();
        let mut own = job(1);
        let member = Member {
            validator: vec![9; 20],
            result_root: WRONG.to_vec(),
            state: MemberState::Revealed.into(),
            ..Member::default()
        };
        own.members.push(member);
        watch.look(vec![own, job(2)], &Docket { height: 1, ..Docket::default() });
        assert_eq!(watch.next().map(|(answer, _)| answer.0), Some(2));
        assert!(watch.next().is_none());
    }
}
