//! A watcher against a chain that is made up: what it sends counts one block later, and a trial goes
//! to whoever posted a trace of the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use lockstep_audit::Stop;
use lockstep_audit::play::{Answer, Court, Evidence, Move, Node, Nodes, PlayError, Sample};
use lockstep_chain::address::Address;
use lockstep_client::Error;
use lockstep_client::codes::Refusal;
use lockstep_proto::lockstep::chain::v1::{Params, Tip};
use lockstep_proto::lockstep::job::v1::{Earner, Job, JobState, RunStatus};
use lockstep_proto::lockstep::trial::v1::{
    Answer as OnTrial, Challenge, Supporter, SupporterState, Trace, Trial,
};
use lockstep_vm::hash::Hash;

use super::super::bench::{Again, Bench, WatchError};
use super::super::says::Says;
use super::Watcher;

const ME: Address = [1; 20];
const LIE: Hash = [6; 32];
const TRUTH: Hash = [7; 32];
/// Heights for which a job is verified before it is paid, and for which a trial takes traces.
const WINDOW: u64 = 40;
const TRIAL: u64 = 8;

fn answer(result_root: Hash) -> Answer {
    Answer { status: RunStatus::Halted, output_root: [8; 32], result_root }
}

/// A run of one step.
#[derive(Clone)]
struct Ran(Hash);

impl Evidence for Ran {
    fn answer(&self) -> Answer {
        answer(self.0)
    }

    fn again(&self) -> Result<bool, PlayError> {
        Ok(true)
    }

    fn is_traced(&self) -> bool {
        true
    }

    fn leaves(&self) -> u64 {
        1
    }

    fn steps_root(&self) -> Result<Hash, PlayError> {
        Ok(self.0)
    }

    fn open(&self, _: u32, _: u64) -> Result<Vec<Hash>, PlayError> {
        Ok(vec![self.0])
    }

    fn node(&self, _: u32, _: u64) -> Result<Hash, PlayError> {
        Ok(self.0)
    }

    fn witness(&self, _: u64, _: Nodes<'_>) -> Result<Vec<u8>, PlayError> {
        Ok(Vec::new())
    }

    fn recompute(&self, _: &Hash, _: u64, _: &[u8]) -> Result<Option<Hash>, PlayError> {
        Ok(Some(self.0))
    }
}

#[derive(Default)]
struct Chain {
    height: u64,
    jobs: BTreeMap<u64, Job>,
    trials: BTreeMap<u64, Trial>,
    mempool: Vec<(u64, Move)>,
    delivered: Vec<u64>,
    bonds: u64,
    /// What was asked of the node, and which of these calls fails.
    calls: u64,
    fails: Option<u64>,
    /// Challenges that are taken in, and lost.
    lost: u64,
    /// Jobs that cannot be run until a height.
    absent: BTreeMap<u64, u64>,
    /// Jobs that are run for ever.
    stuck: BTreeSet<u64>,
    /// What runs give, and what those from the start do, where it is not the truth.
    runs: BTreeMap<u64, Hash>,
    confirms: BTreeMap<u64, Hash>,
    /// Challenges that came into a block, with whether an own answer was beside.
    challenges: Vec<(u64, bool)>,
    recomputed: Vec<u64>,
}

impl Chain {
    fn block(&mut self) {
        self.height += 1;
        for (id, it) in std::mem::take(&mut self.mempool) {
            match it {
                Move::Challenge { .. } if self.lost > 0 => self.lost -= 1,
                Move::Challenge { answer, own } => {
                    self.challenge(id, answer, own.map(|own| own.answer.result_root));
                }
                other => panic!("{other:?}"),
            }
        }
        for id in std::mem::take(&mut self.delivered) {
            self.jobs.get_mut(&id).unwrap().delivered_height = self.height;
        }
        let over = |trial: &&Trial| trial.defend_counter <= self.height;
        let over: Vec<Trial> = self.trials.values().filter(over).cloned().collect();
        for trial in &over {
            self.end(trial);
        }
        for job in self.jobs.values_mut() {
            let paid = self.height >= job.challenge_counter
                && (job.earners.is_empty() || job.delivered_height > 0);
            if job.state() == JobState::Verified && paid {
                job.set_state(JobState::Final);
            }
        }
    }

    fn challenge(&mut self, id: u64, doubted: Hash, own: Option<Hash>) {
        let job = self.jobs.get_mut(&id).unwrap();
        let bonds = 1 + u64::from(own.is_some());
        if job.state() != JobState::Verified || self.bonds < bonds {
            return;
        }
        self.bonds -= bonds;
        self.challenges.push((id, own.is_some()));
        job.set_state(JobState::OnTrial);
        let roots = [Some(doubted), own].into_iter().flatten();
        let on_trial = |root: Hash| OnTrial { result_root: root.to_vec(), ..OnTrial::default() };
        let trial = Trial {
            job: id,
            attempt: job.attempt,
            started_height: self.height,
            defend_counter: self.height + TRIAL,
            call_counter: self.height + TRIAL,
            answers: roots.map(on_trial).collect(),
            challenges: vec![Challenge {
                account: ME.to_vec(),
                answer: 0,
                bond: 1,
                ..Challenge::default()
            }],
            supporters: own.iter().map(|_| supporter()).collect(),
            // It comes with its trace.
            traces: own.iter().map(trace).collect(),
            ..Trial::default()
        };
        self.trials.insert(id, trial);
    }

    /// Only the truth is defended; what nobody defends falls.
    fn end(&mut self, trial: &Trial) {
        self.trials.remove(&trial.job);
        let job = self.jobs.get_mut(&trial.job).unwrap();
        let was_right = job.result_root == TRUTH;
        if was_right {
            job.set_state(JobState::Verified);
            job.challenge_counter = self.height + WINDOW;
            return;
        }
        self.bonds += trial.challenges.iter().map(|it| it.bond).sum::<u64>();
        if trial.traces.is_empty() {
            job.set_state(JobState::Failed);
            return;
        }
        self.bonds += 1;
        job.set_state(JobState::Verified);
        job.result_root = TRUTH.to_vec();
        job.challenge_counter = self.height + WINDOW;
        job.earners = vec![Earner { account: ME.to_vec(), validator: Vec::new() }];
    }
}

fn trace(root: &Hash) -> Trace {
    let (account, steps_root) = (ME.to_vec(), root.to_vec());
    Trace { account, answer: 1, steps_root, leaves: 1, ..Trace::default() }
}

fn supporter() -> Supporter {
    let state = SupporterState::In.into();
    Supporter { account: ME.to_vec(), answer: 1, bond: 1, state, ..Supporter::default() }
}

/// A node that can be reached, or not.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Chain>>);

impl Fake {
    /// With jobs whose answer is this.
    fn new(jobs: &[(u64, Hash)], bonds: u64) -> Self {
        let job = |id: u64, root: Hash| Job {
            id,
            state: JobState::Verified.into(),
            attempt: 1,
            result_root: root.to_vec(),
            challenge_counter: WINDOW,
            challenge_time_ms: 60_000,
            ..Job::default()
        };
        let jobs = jobs.iter().map(|(id, root)| (*id, job(*id, *root))).collect();
        Self(Arc::new(Mutex::new(Chain { jobs, bonds, ..Chain::default() })))
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.0.lock().unwrap()
    }

    fn ask(&self) -> Result<MutexGuard<'_, Chain>, WatchError> {
        let mut chain = self.chain();
        chain.calls += 1;
        if chain.fails == Some(chain.calls) {
            let (url, cause) = ("http://node".to_owned(), "it broke".to_owned());
            return Err(Error::Unreachable { url, cause }.into());
        }
        Ok(chain)
    }

    fn watcher(&self, percent: u8) -> Watcher<Self> {
        Watcher::new(
            self.clone(),
            Sample::new([3; 32], percent),
            Says::new(true, Box::new(std::io::sink())),
        )
    }

    fn job_of(&self, id: u64) -> Job {
        self.chain().jobs[&id].clone()
    }
}

impl Court for Fake {
    type Error = WatchError;

    async fn trial(&self, job: u64) -> Result<Option<Trial>, WatchError> {
        Ok(self.ask()?.trials.get(&job).cloned())
    }

    async fn nodes(&self, _: u64, _: Node) -> Result<Vec<u8>, WatchError> {
        self.ask().map(|_| Vec::new())
    }

    async fn send(&self, job: u64, it: Move) -> Result<(), WatchError> {
        let mut chain = self.ask()?;
        let bonds =
            if let Move::Challenge { own, .. } = &it { 1 + u64::from(own.is_some()) } else { 0 };
        if chain.bonds < bonds {
            let refusal = Refusal { code: 1, log: "too poor".to_owned() };
            return Err(Error::Rejected(refusal).into());
        }
        chain.mempool.push((job, it));
        Ok(())
    }

    fn refuses(error: &WatchError) -> bool {
        matches!(error, WatchError::Client(Error::Rejected(_)))
    }
}

impl Bench for Fake {
    type Run = Ran;

    fn account(&self) -> Address {
        ME
    }

    async fn tip(&self) -> Result<Tip, WatchError> {
        let height = self.ask()?.height;
        Ok(Tip { height, trial_clock: height, ..Tip::default() })
    }

    async fn params(&self) -> Result<Params, WatchError> {
        drop(self.ask()?);
        Ok(Params { trial_defend_blocks: TRIAL, ..Params::default() })
    }

    async fn trials(&self) -> Result<Vec<Trial>, WatchError> {
        Ok(self.ask()?.trials.values().cloned().collect())
    }

    async fn verified(&self) -> Result<Vec<Job>, WatchError> {
        let chain = self.ask()?;
        let verified = chain.jobs.values().filter(|job| job.state() == JobState::Verified);
        Ok(verified.cloned().collect())
    }

    async fn job(&self, id: u64) -> Result<Job, WatchError> {
        Ok(self.ask()?.jobs[&id].clone())
    }

    async fn recompute(&self, job: &Job) -> Result<Again<Ran>, WatchError> {
        if self.chain().stuck.contains(&job.id) {
            std::future::pending::<()>().await;
        }
        let mut chain = self.ask()?;
        chain.recomputed.push(job.id);
        if chain.absent.get(&job.id).is_some_and(|until| chain.height < *until) {
            return Err(Stop::incomplete("it is not there", "ask another").into());
        }
        let run = Ran(chain.runs.get(&job.id).copied().unwrap_or(TRUTH));
        Ok(Again { run, output: vec![1; 4] })
    }

    async fn confirm(&self, job: &Job, _: Answer) -> Result<Answer, WatchError> {
        let chain = self.ask()?;
        Ok(answer(chain.confirms.get(&job.id).copied().unwrap_or(TRUTH)))
    }

    async fn deliver(&self, job: u64, _: i32, output: Vec<u8>) -> Result<(), WatchError> {
        assert_eq!(output, [1; 4]);
        self.ask()?.delivered.push(job);
        Ok(())
    }
}

/// So many blocks, and all that the watcher does about each. Tasks that are stuck are not waited for.
async fn blocks(fake: &Fake, watcher: &mut Watcher<Fake>, count: u64) {
    let stuck = fake.chain().stuck.len();
    for _ in 0..count {
        fake.chain().block();
        watcher.poll().await;
        while watcher.tasks.len() > stuck {
            let done = watcher.tasks.join_next().await.unwrap();
            watcher.take(done);
        }
    }
}

/// The lies of these jobs are felled, and the truth is handed in and paid where it was brought.
fn all_is_well(fake: &Fake, jobs: &[u64]) -> Result<(), String> {
    for id in jobs {
        let job = fake.job_of(*id);
        let paid = job.result_root == TRUTH && job.state() == JobState::Final;
        let alone = fake.chain().challenges.contains(&(*id, false));
        if !(paid || alone && job.state() == JobState::Failed) {
            return Err(format!("{job:?}"));
        }
    }
    Ok(())
}

const LONG: u64 = 3 * WINDOW;

#[tokio::test]
async fn lies_are_felled_and_the_truth_is_delivered_in_two_trials_at_once() {
    let fake = Fake::new(&[(1, LIE), (2, TRUTH), (3, LIE)], 4);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, LONG).await;
    all_is_well(&fake, &[1, 2, 3]).unwrap();
    assert_eq!(fake.chain().bonds, 4);
    fake.chain().challenges.sort_unstable();
    assert_eq!(fake.chain().challenges, [(1, true), (3, true)]);
    // Each job is run once: what the trials end with is known already.
    fake.chain().recomputed.sort_unstable();
    assert_eq!(fake.chain().recomputed, [1, 2, 3]);
    assert!(watcher.is_done());
    assert_eq!(watcher.says.end(), 10);
}

#[tokio::test]
async fn a_node_that_breaks_at_any_one_question_loses_neither_lie_nor_output() {
    let fake = Fake::new(&[(1, LIE), (2, LIE)], 4);
    blocks(&fake, &mut fake.watcher(100), LONG).await;
    let calls = fake.chain().calls;
    for fails in 1..=calls {
        let fake = Fake::new(&[(1, LIE), (2, LIE)], 4);
        fake.chain().fails = Some(fails);
        let mut watcher = fake.watcher(100);
        // One more, where the last question broke.
        blocks(&fake, &mut watcher, LONG + 1).await;
        all_is_well(&fake, &[1, 2]).unwrap_or_else(|why| panic!("question {fails}: {why}"));
        // Only who is refused leaves its own answer out.
        assert!(fake.chain().challenges.iter().all(|(_, own)| *own), "question {fails}");
        assert!(watcher.is_done(), "question {fails}");
    }
}

#[tokio::test]
async fn a_watcher_that_is_started_anew_at_any_height_plays_and_delivers_to_the_end() {
    for height in 1..LONG {
        let fake = Fake::new(&[(1, LIE)], 2);
        blocks(&fake, &mut fake.watcher(100), height).await;
        // What it has a part in, it plays also where it would not look at the job.
        let had_part = !fake.chain().challenges.is_empty();
        let percent = if had_part { 1 } else { 100 };
        assert!(!Sample::new([3; 32], 1).takes(1));
        blocks(&fake, &mut fake.watcher(percent), LONG).await;
        all_is_well(&fake, &[1]).unwrap_or_else(|why| panic!("height {height}: {why}"));
        assert_eq!(fake.chain().bonds, 2);
    }
}

#[tokio::test]
async fn a_challenge_that_mempools_lose_is_sent_again() {
    let fake = Fake::new(&[(1, LIE)], 2);
    fake.chain().lost = 3;
    blocks(&fake, &mut fake.watcher(100), LONG).await;
    all_is_well(&fake, &[1]).unwrap();
    assert_eq!(fake.chain().challenges, [(1, true)]);
}

#[tokio::test]
async fn what_cannot_be_run_is_tried_again_and_holds_up_nothing_else() {
    let fake = Fake::new(&[(1, LIE), (2, LIE), (3, LIE)], 6);
    fake.chain().absent.insert(1, 20);
    fake.chain().stuck.insert(2);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, LONG).await;
    all_is_well(&fake, &[1, 3]).unwrap();
    let tries = fake.chain().recomputed.iter().filter(|id| **id == 1).count();
    assert!((3..12).contains(&tries), "{tries}");
    assert_eq!(watcher.says.end(), 10);
}

#[tokio::test]
async fn a_job_that_can_never_be_run_is_said_once_and_ends_with_eleven() {
    let fake = Fake::new(&[(1, TRUTH)], 2);
    fake.chain().absent.insert(1, u64::MAX);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, WINDOW - 5).await;
    assert!(watcher.is_done());
    assert_eq!(watcher.says.said.len(), 1);
    assert_eq!(watcher.says.end(), 11);
    // Once it could be run, all is well.
    fake.chain().absent.clear();
    fake.chain().jobs.get_mut(&1).unwrap().challenge_counter += WINDOW;
    blocks(&fake, &mut watcher, 20).await;
    assert_eq!(watcher.says.end(), 0);
}

#[tokio::test]
async fn one_bond_is_enough_to_fell_a_lie() {
    let fake = Fake::new(&[(1, LIE), (2, LIE)], 3);
    blocks(&fake, &mut fake.watcher(100), LONG).await;
    let mut challenges = fake.chain().challenges.clone();
    challenges.sort_unstable();
    assert_eq!(challenges.iter().filter(|(_, own)| *own).count(), 1, "{challenges:?}");
    assert_eq!(challenges.len(), 2);
    let felled =
        |id| fake.job_of(id).result_root == TRUTH || fake.job_of(id).state() == JobState::Failed;
    assert!(felled(1) && felled(2));
    assert_eq!(fake.chain().bonds, 3);
}

#[tokio::test]
async fn a_challenge_waits_for_money() {
    let fake = Fake::new(&[(1, LIE)], 0);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, 12).await;
    assert!(fake.chain().challenges.is_empty());
    fake.chain().bonds = 2;
    blocks(&fake, &mut watcher, LONG).await;
    all_is_well(&fake, &[1]).unwrap();
}

#[tokio::test]
async fn a_machine_whose_two_runs_differ_challenges_nothing() {
    let fake = Fake::new(&[(1, TRUTH)], 2);
    fake.chain().runs.insert(1, [9; 32]);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, 20).await;
    assert!(fake.chain().challenges.is_empty());
    assert_eq!(watcher.says.end(), 11);
}

#[tokio::test]
async fn what_survived_a_challenge_is_not_challenged_again() {
    let fake = Fake::new(&[(1, TRUTH)], 8);
    fake.chain().runs.insert(1, [9; 32]);
    fake.chain().confirms.insert(1, [9; 32]);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, LONG).await;
    assert_eq!(fake.chain().challenges, [(1, true)]);
    assert_eq!(fake.chain().bonds, 6);
    assert!(watcher.is_done());
}

#[tokio::test]
async fn a_lie_in_another_attempt_is_challenged_again() {
    let fake = Fake::new(&[(1, LIE)], 2);
    let mut watcher = fake.watcher(100);
    blocks(&fake, &mut watcher, 3).await;
    // The node is away while the trial ends without an answer, and another attempt gives the same lie.
    {
        let mut chain = fake.chain();
        chain.trials.clear();
        chain.bonds = 2;
        chain.mempool.clear();
        let job = chain.jobs.get_mut(&1).unwrap();
        (job.attempt, job.challenge_counter) = (2, 2 * WINDOW);
        job.set_state(JobState::Verified);
    }
    blocks(&fake, &mut watcher, LONG).await;
    assert_eq!(fake.chain().challenges.len(), 2);
    all_is_well(&fake, &[1]).unwrap();
}
