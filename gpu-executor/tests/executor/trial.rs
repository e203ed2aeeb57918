//! Disputes between executors, against the real state machine.

use lockstep_executor::config::Config;
use lockstep_executor::fault::{Fault, Kind};
use lockstep_proto::lockstep::job::v1::{Job, JobState, MemberState};

use crate::common::{Chain, Network, Running, job_of};
use crate::worker::{RIGHT, TOKENS, ready};

fn first(kind: Kind) -> Vec<Fault> {
    vec![Fault { job: None, nth: Some(1), kind }]
}

fn ended(id: u64) -> impl Fn(&Chain) -> Option<Job> {
    move |chain| {
        let job = job_of(chain, id);
        (job.state() == JobState::Final).then_some(job)
    }
}

fn is_right(job: &Job) -> bool {
    blake3::hash(&job.output).to_hex().as_str() == RIGHT
}

fn state_of(network: &Network, job: &Job, number: usize) -> Option<MemberState> {
    let operator = network.operators[number];
    let member = job.members.iter().find(|member| member.validator == operator)?;
    Some(member.state())
}

/// Two members; the first misbehaves. The job as it ended.
async fn duel(kind: Kind) -> (Network, Vec<Running>, Job) {
    let faulty = |number, config: &mut Config| {
        if number == 0 {
            config.fault = first(kind);
        }
    };
    let (network, running) = ready(2, faulty).await;
    let id = network.post(TOKENS);
    let job = network.until("the job is final", ended(id)).await;
    (network, running, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_that_stands_by_its_answer_is_refuted() {
    let (network, _running, job) = duel(Kind::WrongOutput).await;
    assert!(is_right(&job));
    assert_eq!(state_of(&network, &job, 0), Some(MemberState::Wrong));
    assert_eq!(state_of(&network, &job, 1), Some(MemberState::Revealed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_that_says_nothing_on_trial_loses_all_the_same() {
    let (network, _running, job) = duel(Kind::WrongSilent).await;
    assert!(is_right(&job));
    assert_eq!(state_of(&network, &job, 0), Some(MemberState::Wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn hardware_that_was_at_fault_is_found_out_and_conceded() {
    let (network, _running, job) = duel(Kind::HardwareFault).await;
    assert!(is_right(&job));
    assert_eq!(state_of(&network, &job, 0), Some(MemberState::Conceded));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_honest_executor_wins_against_three_that_collude() {
    let liars = |number, config: &mut Config| {
        if number < 3 {
            config.fault = first(Kind::WrongOutput);
        }
    };
    let (network, _running) = ready(4, liars).await;
    // Two at a time are asked, and each liar lies once. Where both lie, only the honest one's watch
    // is left.
    let mut wrong = Vec::new();
    for _ in 0..6 {
        let id = network.post(TOKENS);
        let job = network.until("the job is final", ended(id)).await;
        assert!(is_right(&job), "job {id}");
        let members = job.members.iter().filter(|it| it.state() == MemberState::Wrong);
        wrong.extend(members.map(|it| it.validator.clone()));
    }
    wrong.sort_unstable();
    let mut liars: Vec<Vec<u8>> = network.operators[..3].iter().map(|it| it.to_vec()).collect();
    liars.sort_unstable();
    assert_eq!(wrong, liars);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_challenge_and_a_bogus_trace_leave_the_right_answer_standing() {
    let faults = |number, config: &mut Config| {
        config.fault = if number == 0 {
            first(Kind::BogusTrace)
        } else {
            // Whoever is a member of the job has nothing to challenge.
            let fault = |job| Fault { job: Some(job), nth: None, kind: Kind::FalseChallenge };
            (1..=4).map(fault).collect()
        };
    };
    let (network, _running) = ready(4, faults).await;
    let mut wrong = Vec::new();
    for _ in 0..4 {
        let id = network.post(TOKENS);
        let tried = |chain: &Chain| (job_of(chain, id).state() == JobState::OnTrial).then_some(());
        network.until("the right answer is challenged", tried).await;
        let job = network.until("the job is final", ended(id)).await;
        assert!(is_right(&job), "job {id}");
        let members = job.members.iter().filter(|it| it.state() == MemberState::Wrong);
        wrong.extend(members.map(|it| it.validator.clone()));
    }
    // Its answer was right, its trace was not.
    assert_eq!(wrong, [network.operators[0].to_vec()]);
}
