//! Single rules that a fault once broke.

use lockstep_chain::envelope::{K256, Unsigned};
use lockstep_chain::genesis::GenesisAccount;
use lockstep_chain::state::tables::TIP;
use lockstep_chain::wire::any;
use lockstep_chain::{extension, mempool, proposal};
use lockstep_proto::lockstep::block::v1::{Commitment, ExtendedCommit, VoteExtension};
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_proto::lockstep::trial::v1::{MsgCallNode, MsgProveStep};
use lockstep_tests::actions::{self, with_models};
use lockstep_tests::cluster::{Cluster, Plan};
use lockstep_tests::executor::{self, Behaviour};
use lockstep_tests::genesis::{genesis, params};
use lockstep_tests::keys::Account;
use prost::Message as _;

#[test]
fn the_role_of_an_executor_that_works_for_nobody_can_be_revoked() {
    let mut genesis = genesis(&[100, 100], params());
    genesis.accounts.push(GenesisAccount {
        address: Account::named("idle").text(),
        balance: 0,
        roles: vec!["executor".to_owned()],
    });
    let mut cluster = Cluster::new(&genesis);
    let tx = cluster.tx("council", vec![actions::revoke("idle", Role::Executor)]);
    cluster.deliver(vec![tx]);
    assert_eq!(cluster.account("idle").roles, 0);
}

#[test]
fn moves_that_fail_use_up_the_budget_and_a_hundred_of_the_quota_and_their_height_does_not_count() {
    let mut cluster = with_models(&genesis(&[100; 4], params()));
    let trial_clock = |cluster: &Cluster| TIP.must(cluster.state(), &()).unwrap().trial_clock;
    let free = |cluster: &mut Cluster, moves: usize| {
        let nobody_asked = any(&MsgCallNode {
            challenger: Account::named("exec0").text(),
            job: 7,
            trace: 0,
            level: 0,
            position: 0,
        });
        let unsigned = cluster.unsigned("exec0", vec![nobody_asked; moves]);
        Unsigned { fee: 0, ..unsigned }.sign(&cluster.keys("exec0").key)
    };
    cluster.run(1);
    let (clock, used) = (trial_clock(&cluster), cluster.account("exec0").free_used);
    let few: Vec<_> = (0..15).map(|_| free(&mut cluster, 4)).collect();
    let report = cluster.block(Plan { txs: few, ..Plan::default() });
    assert!(report.outcomes.iter().all(|outcome| outcome.code == 25));
    assert_eq!(trial_clock(&cluster), clock + 1, "there was room for a proof");
    assert_eq!(cluster.account("exec0").free_used, used + 15 * 101);
    let many: Vec<_> = (0..40).map(|_| free(&mut cluster, 4)).collect();
    let report = cluster.block(Plan { txs: many, ..Plan::default() });
    assert_eq!(report.outcomes.len(), 16);
    assert_eq!(trial_clock(&cluster), clock + 1, "somebody may have been left out");
    // What no block takes is refused before it can wait.
    let proof = MsgProveStep { prover: Account::named("exec0").text(), ..MsgProveStep::default() };
    let unsigned = cluster.unsigned("exec0", vec![any(&proof); 17]);
    let more = Unsigned { fee: 0, ..unsigned }.sign(&cluster.keys("exec0").key);
    assert_eq!(mempool::check_tx(cluster.state(), &more, &K256).unwrap().code, 3);
}

#[test]
fn two_validators_of_a_genesis_cannot_share_an_executor() {
    let mut genesis = genesis(&[100, 100], params());
    genesis.check().unwrap();
    genesis.validators[1].executor = genesis.validators[0].executor.clone();
    assert_eq!(genesis.check().unwrap_err().what, "a validator twice");
}

#[test]
fn one_bad_offer_does_not_cost_the_others_their_place_in_the_vote() {
    let mut cluster = with_models(&genesis(&[100; 4], params()));
    let tx = cluster.tx("dev0", vec![any(&actions::job("dev0", "child", &[1]))]);
    cluster.deliver(vec![tx]);
    let job = cluster.job(1);
    let operator = job.members[0].validator.as_slice().try_into().unwrap();
    let good = Commitment { job: 1, attempt: 1, commitment: vec![7; 32] };
    let bad = Commitment { commitment: vec![7; 31], ..good.clone() };
    let offers = VoteExtension { commitments: vec![bad, good], ..VoteExtension::default() };
    let bytes = extension::extend(cluster.state(), &operator, &offers).unwrap();
    assert_eq!(VoteExtension::decode(bytes.as_slice()).unwrap().commitments.len(), 1);
}

#[test]
fn an_extension_of_very_many_duties_stays_within_its_bound() {
    let mut params = params();
    params.commit_window_blocks = 40;
    params.reveal_window_blocks = 40;
    let mut cluster = with_models(&genesis(&[100; 2], params));
    let post = any(&actions::job("dev0", "child", &[1]));
    let txs: Vec<_> = (0..4).map(|_| cluster.tx("dev0", vec![post.clone(); 10])).collect();
    cluster.deliver(txs);
    let me = cluster.validators[0].clone();
    let offers = executor::offers(cluster.state(), &[], &me, Behaviour::Honest, 0);
    assert_eq!(offers.commitments.len(), 40);
    let bytes = extension::extend(cluster.state(), &me.operator.address, &offers).unwrap();
    assert!(bytes.len() <= 1024 && extension::verify(&bytes));
    assert!(VoteExtension::decode(bytes.as_slice()).unwrap().commitments.len() >= 24);
    // What does not fit waits; all of them end well.
    cluster.run(40);
    for id in 1..=40 {
        assert_eq!(cluster.job(id).state(), JobState::Final, "job {id}");
    }
}

#[test]
fn a_proposer_with_two_copies_of_a_vote_uses_the_good_one() {
    let mut cluster = with_models(&genesis(&[100; 4], params()));
    cluster.run(1);
    let mut commit = cluster.last_commit.clone().unwrap();
    commit.votes.truncate(3);
    let mut forged = commit.votes[0].clone();
    forged.signature = vec![0; 64];
    commit.votes.insert(0, forged);
    let height = cluster.height + 1;
    let block = proposal::prepare(cluster.state(), height, 1 << 20, Some(commit), &[]).unwrap();
    let injected = ExtendedCommit::decode(block[0].as_slice()).unwrap();
    assert_eq!(injected.votes.len(), 3);
}

#[test]
fn a_proposer_without_room_for_the_votes_proposes_an_empty_commit() {
    let cluster = with_models(&genesis(&[100; 4], params()));
    let commit = cluster.last_commit.clone();
    let block = proposal::prepare(cluster.state(), cluster.height + 1, 100, commit, &[]).unwrap();
    assert!(ExtendedCommit::decode(block[0].as_slice()).unwrap().empty);
}

#[test]
fn the_same_absence_in_two_attempts_and_epochs_is_two_offences() {
    let mut params = params();
    // Each attempt lasts longer than an epoch.
    params.epoch_blocks = 4;
    let mut cluster = with_models(&genesis(&[100; 2], params));
    cluster.behaviours.fill(Behaviour::NeverReveals);
    let tx = cluster.tx("dev0", vec![any(&actions::job("dev0", "child", &[1]))]);
    cluster.deliver(vec![tx]);
    cluster.run(40);
    let job = cluster.job(1);
    assert_eq!((job.state(), job.attempt), (JobState::Failed, 3));
    let slashes = lockstep_chain::state::tables::SLASHES.scan(cluster.state(), &(), 100).unwrap();
    assert_eq!(slashes.len(), 6, "two members in three attempts");
    assert!(slashes.iter().all(|(_, slash)| slash.offence() == Offence::NoReveal));
}

#[test]
fn validators_beyond_the_seats_wait_and_take_over_by_stake() {
    let mut params = params();
    params.validators_max = 3;
    let mut cluster = with_models(&genesis(&[100, 50, 40], params));
    let low = cluster.tx("val3", vec![actions::create_validator(3, 40)]);
    let high = cluster.tx("val4", vec![actions::create_validator(4, 60)]);
    let report = cluster.deliver(vec![low, high]);
    // Number 4 comes for number 2; number 3 has as much as number 2, but no seat is left.
    assert_eq!(report.outcome.validator_updates.len(), 2);
    cluster.run(3);
    let powers: Vec<u64> = (0..5).map(|number| cluster.validator(number).power).collect();
    assert_eq!(powers, [100, 50, 0, 0, 60]);
    let more = cluster.tx("delegator", vec![actions::delegate("delegator", 3, 11_000_000)]);
    cluster.deliver(vec![more]);
    cluster.block(Plan::default());
    let powers: Vec<u64> = (0..5).map(|number| cluster.validator(number).power).collect();
    assert_eq!(powers, [100, 0, 0, 51, 60]);
}
