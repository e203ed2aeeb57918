//! Disputes between executors, against the real state machine.

use lockstep_chain::state::tables::TRIALS;
use lockstep_executor::config::Config;
use lockstep_executor::fault::{Fault, Kind};
use lockstep_proto::lockstep::job::v1::{Job, JobState, Member, MemberState, MsgPostJob};

use crate::common::{Chain, Network, Running, callable, genesis, job_of, told};
use crate::worker::{RIGHT, TOKENS, ready, ready_in, store};

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
async fn an_executor_that_starts_again_in_mid_trial_still_wins() {
    let faulty = |number, config: &mut Config| {
        if number == 0 {
            config.fault = first(Kind::WrongOutput);
        }
    };
    let (network, mut running) = ready(2, faulty).await;
    let id = network.post(TOKENS);
    let called = |chain: &Chain| {
        let trial = TRIALS.get(&chain.state, &id).unwrap()?;
        (!trial.games.is_empty()).then_some(())
    };
    network.until("a trace is called", called).await;
    let honest = running.remove(1);
    honest.stop.send(true).unwrap();
    honest.task.await.unwrap().unwrap();
    network.step();
    let _again = network.run(1, |_| {});
    let job = network.until("the job is final", ended(id)).await;
    assert!(is_right(&job));
    assert_eq!(state_of(&network, &job, 0), Some(MemberState::Wrong));
    assert_eq!(state_of(&network, &job, 1), Some(MemberState::Revealed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_an_input_that_is_a_blob_is_refuted() {
    let network = Network::start(2);
    network.publish();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    store(&network, 0).await;
    let _liar = network.run(0, |config| {
        config.listen = ([127, 0, 0, 1], port).into();
        config.fault = first(Kind::WrongOutput);
    });
    let _honest = network.run(1, |config| config.peers = vec![url.clone()]);
    network.until("the version is callable", callable).await;
    let input = lockstep_vm::result::input_bytes(TOKENS);
    let root = lockstep_vm::result::input_root(&input);
    let id = network.post_message(MsgPostJob {
        input_root: root.to_vec(),
        input_bytes: input.len() as u64,
        ..MsgPostJob::default()
    });
    let put = format!("{url}/v1/blobs/{}", hex::encode(root));
    let stored = reqwest::Client::new().put(&put).body(input).send().await.unwrap();
    assert_eq!(stored.status(), 201);
    let job = network.until("the job is final", ended(id)).await;
    assert!(is_right(&job));
    assert_eq!(state_of(&network, &job, 0), Some(MemberState::Wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_nothing_does_not_recompute_the_trials_of_others() {
    let faulty = |_, config: &mut Config| {
        config.watch_percent = 0;
        config.fault = first(Kind::WrongOutput);
    };
    let (network, _running) = ready(3, faulty).await;
    // The second job's members have lied before or do now; somebody is not asked at all.
    let honest = |job: &Job| {
        let asked = |number: &usize| state_of(&network, job, *number).is_some();
        (0..3).find(|number| !asked(number)).unwrap()
    };
    let mut tried = 0;
    for _ in 0..3 {
        let before = network.chain.lock().unwrap().asked.len();
        let id = network.post(TOKENS);
        let job = network.until("the job is final", ended(id)).await;
        let chain = network.chain.lock().unwrap();
        tried += told(&chain, "answers_differ", id, "job").len();
        let outsider = (honest(&job), "/lockstep.job.v1.Query/Job".to_owned());
        assert!(!chain.asked[before..].contains(&outsider), "job {id}");
    }
    assert!(tried > 0);
}

/// How often something was told of the fourth executor's account.
fn told_of_honest(network: &Network, kind: &str, job: u64) -> usize {
    let accounts = told(&network.chain.lock().unwrap(), kind, job, "account");
    accounts.iter().filter(|account| **account == Network::executor(3)).count()
}

/// The third job of four executors, of which three lie about it, together, and watch nobody.
async fn collusion(network: Network) -> (Network, Job) {
    let liars = |number, config: &mut Config| {
        if number < 3 {
            config.fault = vec![Fault { job: Some(3), nth: None, kind: Kind::WrongOutput }];
            config.watch_percent = 0;
        }
    };
    let (network, _running) = ready_in(network, liars).await;
    for _ in 0..2 {
        network.post(TOKENS);
    }
    let id = network.post(TOKENS);
    let job = network.until("the job is final", ended(id)).await;
    assert!(is_right(&job));
    // All of its committee lied: nothing but the honest one's watch could find out.
    let mut committee = job.members.iter().filter(|it| it.attempt == 1);
    let lied = |it: &Member| it.state() == MemberState::Wrong;
    assert!(committee.clone().count() > 1 && committee.all(lied), "{:?}", job.members);
    let challengers = told(&network.chain.lock().unwrap(), "challenged", id, "challenger");
    assert_eq!(challengers.first(), Some(&Network::executor(3)));
    (network, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_honest_executor_wins_against_three_that_collude() {
    let (network, job) = collusion(Network::start(4)).await;
    for kind in ["bond_posted", "bond_returned"] {
        assert_eq!(told_of_honest(&network, kind, job.id), 2, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_is_lost_on_its_way_into_a_block_is_sent_again() {
    let network = Network::start(4);
    network.chain.lock().unwrap().challenges_to_lose = 1;
    let (network, _) = collusion(network).await;
    assert_eq!(network.chain.lock().unwrap().challenges_to_lose, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn funds_for_one_bond_are_enough_to_fell_a_lie() {
    let mut genesis = genesis(4);
    // Of the 1,000,000 that an executor has.
    genesis.params.trial_bond = 600_000;
    let (network, job) = collusion(Network::start_with(&genesis)).await;
    for kind in ["bond_posted", "bond_returned"] {
        assert_eq!(told_of_honest(&network, kind, job.id), 1, "{kind}");
    }
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
        let before = wrong.len();
        wrong.extend(members.map(|it| it.validator.clone()));
        // Whoever fells a bogus trace has its challenge's bond back.
        if wrong.len() == before {
            let chain = network.chain.lock().unwrap();
            let returned = told(&chain, "bond_returned", id, "account");
            let challengers = told(&chain, "challenged", id, "challenger");
            let false_ones = || challengers.iter().filter(|it| **it != Network::executor(0));
            assert!(false_ones().count() > 0);
            assert!(false_ones().all(|it| !returned.contains(it)), "job {id}: {returned:?}");
            // One bond of the challenge, one of the answer beside it.
            let posted = told(&chain, "bond_posted", id, "account");
            assert!(false_ones().all(|it| posted.iter().filter(|by| *by == it).count() == 2));
        }
    }
    // Its answer was right, its trace was not.
    assert_eq!(wrong, [network.operators[0].to_vec()]);
}
