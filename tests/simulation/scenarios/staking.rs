//! What stake is taken, from whom and when it is free again.

use lockstep_chain::block::Evidence;
use lockstep_chain::state::tables::{POSSESSIONS, UNBONDINGS};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::{JobState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::actions;
use lockstep_tests::cluster::{FEE, Plan};
use lockstep_tests::executor::Behaviour;
use lockstep_tests::genesis::LOCK;

use super::{
    STAKE, all_but, committee, four, four_with, paid, post_child, set, slashes, tokens, until,
};

#[test]
fn a_no_show_loses_a_thousandth_once_an_epoch_and_its_possession() {
    let mut cluster = four();
    let absent = 2;
    set(&mut cluster, absent, Behaviour::Silent);
    let mut seen = 0;
    // All of this happens within the first epoch of 50 blocks.
    while seen < 2 && cluster.height < 35 {
        let id = post_child(&mut cluster);
        let was_member = committee(&cluster, id).contains(&absent);
        let operator = cluster.validators[absent].operator.address;
        let version = cluster.job(id).version;
        if was_member {
            seen += 1;
            while cluster.job(id).members.len() == 2 {
                assert!(POSSESSIONS.has(cluster.state(), &(version, operator)).unwrap());
                cluster.run(1);
            }
            assert!(!POSSESSIONS.has(cluster.state(), &(version, operator)).unwrap());
            assert_eq!(committee(&cluster, id).len(), 3, "the next in turn was asked");
            cluster.run(1);
            assert!(POSSESSIONS.has(cluster.state(), &(version, operator)).unwrap(), "proved anew");
        }
        let job = until(&mut cluster, id, JobState::Final);
        assert_eq!(paid(&job, PayoutKind::Executor), [3_500; 2]);
    }
    assert_eq!(seen, 2);
    cluster.run(4);
    assert!(cluster.height < 50);
    let found = slashes(&cluster);
    assert_eq!(found.len(), 1, "one penalty in an epoch");
    assert_eq!((found[0].offence(), found[0].amount), (Offence::NoShow, STAKE / 1000));
    assert_eq!(tokens(&cluster), all_but(absent, STAKE - STAKE / 1000));
}

#[test]
fn nobody_is_punished_while_more_than_a_third_is_absent_and_the_job_expires_with_everything_back() {
    let mut cluster = four();
    cluster.behaviours = vec![Behaviour::Dead; cluster.behaviours.len()];
    let before = cluster.balance("dev0");
    let id = post_child(&mut cluster);
    let job = until(&mut cluster, id, JobState::Expired);
    assert_eq!(job.members.len(), 4);
    assert_eq!(paid(&job, PayoutKind::Refund), [20_100]);
    assert_eq!(job.payouts.len(), 1);
    assert_eq!(cluster.balance("dev0"), before - FEE);
    cluster.run(5);
    assert!(slashes(&cluster).is_empty());
    // Nobody holds the version now, until they prove it again.
    let tx = cluster.tx("dev0", vec![any(&actions::job("dev0", "child", &[1]))]);
    let refused = cluster.outcome_of(tx);
    assert_eq!(refused.code, 4006, "{}", refused.log);
    cluster.behaviours = vec![Behaviour::Honest; cluster.behaviours.len()];
    cluster.run(2);
    let id = post_child(&mut cluster);
    until(&mut cluster, id, JobState::Final);
}

#[test]
fn a_commitment_that_is_never_revealed_costs_a_thousandth_and_the_others_answer_stands() {
    let mut cluster = four();
    set(&mut cluster, 3, Behaviour::NeverReveals);
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&3) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    let job = until(&mut cluster, id, JobState::Final);
    assert_eq!(job.attempt, 1);
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000]);
    cluster.run(4);
    let found: Vec<_> = slashes(&cluster).iter().map(|s| (s.offence(), s.amount)).collect();
    assert_eq!(found, [(Offence::NoReveal, STAKE / 1000)]);
    assert_eq!(tokens(&cluster), all_but(3, STAKE - STAKE / 1000));
}

#[test]
fn undelegated_stake_is_slashed_with_the_rest_and_matures_late() {
    let mut cluster = four();
    let liar = 0;
    let delegated = cluster.tx("delegator", vec![actions::delegate("delegator", liar, 10 * LOCK)]);
    cluster.deliver(vec![delegated]);
    cluster.run(2);
    let id = cluster.totals().jobs + 1;
    set(&mut cluster, liar, Behaviour::LiesFrom(id));
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&liar) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    // The liar has committed; now its delegators run.
    until(&mut cluster, id, JobState::Committed);
    let before = cluster.balance("delegator");
    let run = cluster.tx("delegator", vec![actions::undelegate("delegator", liar, 10 * LOCK)]);
    let own = cluster.tx("val0", vec![actions::undelegate("val0", liar, 40 * LOCK)]);
    cluster.deliver(vec![run, own]);
    let undelegated_height = cluster.height;
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    let found = slashes(&cluster);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].amount, (110 * LOCK) / 2, "bonded and unbonding alike");
    assert_eq!(tokens(&cluster), all_but(liar, 30 * LOCK));
    let queue: Vec<_> = UNBONDINGS.scan(cluster.state(), &(), 10).unwrap();
    assert_eq!(queue.iter().map(|(_, u)| u.amount).collect::<Vec<_>>(), [5 * LOCK, 20 * LOCK]);
    while cluster.height + 1 < undelegated_height + 20 {
        cluster.run(1);
    }
    assert_eq!(cluster.balance("delegator"), before - FEE);
    cluster.run(1);
    assert_eq!(cluster.balance("delegator"), before - FEE + 5 * LOCK);
    assert_eq!(cluster.totals().unbonding, 0);
}

#[test]
fn stake_that_left_before_the_offence_is_not_liable() {
    let mut cluster = four();
    let leaves = cluster.tx("val0", vec![actions::undelegate("val0", 0, 50 * LOCK)]);
    cluster.deliver(vec![leaves]);
    cluster.run(1);
    let id = cluster.totals().jobs + 1;
    set(&mut cluster, 0, Behaviour::LiesFrom(id));
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&0) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert_eq!(slashes(&cluster)[0].amount, 25 * LOCK);
}

#[test]
fn stake_matures_only_when_heights_and_time_have_passed() {
    let mut cluster = four();
    let before = cluster.balance("val0");
    let leaves = cluster.tx("val0", vec![actions::undelegate("val0", 0, 50 * LOCK)]);
    cluster.deliver(vec![leaves]);
    // Heights pass quickly, time slowly: 40 heights of 100 ms.
    for _ in 0..40 {
        cluster.block(Plan { step_ms: 100, ..Plan::default() });
    }
    assert_eq!(cluster.balance("val0"), before - FEE);
    // 4 s have passed; with 16 s more it is 20 s.
    cluster.block(Plan { step_ms: 15_999, ..Plan::default() });
    assert_eq!(cluster.balance("val0"), before - FEE);
    cluster.block(Plan { step_ms: 1, ..Plan::default() });
    assert_eq!(cluster.balance("val0"), before - FEE + 50 * LOCK);
}

#[test]
fn stake_does_not_mature_while_an_older_commitment_is_open() {
    // The windows last long in time, so that the job outlives the unbonding.
    let mut cluster = four_with(|params| params.reveal_window_ms = 100_000);
    set(&mut cluster, 0, Behaviour::NeverReveals);
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&0) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    until(&mut cluster, id, JobState::Committed);
    let before = cluster.balance("val0");
    let leaves = cluster.tx("val0", vec![actions::undelegate("val0", 0, 50 * LOCK)]);
    cluster.deliver(vec![leaves]);
    cluster.run(60);
    assert_eq!(cluster.job(id).state(), JobState::Committed);
    assert_eq!(cluster.balance("val0"), before - FEE, "its heights and time have long passed");
    until(&mut cluster, id, JobState::Final);
    // The verdict was recorded when the window ended; it takes its part before the stake leaves.
    cluster.run(4);
    let found = slashes(&cluster);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].amount, STAKE / 1000);
    let fees = 3_500 * u64::from(cluster.validator(0).tokens == 0);
    assert_eq!(cluster.balance("val0"), before - FEE + fees + 50 * LOCK - 50 * LOCK / 1000);
}

#[test]
fn stake_does_not_mature_between_a_verdict_and_its_execution() {
    let mut cluster = four_with(|params| {
        params.reveal_window_ms = 100_000;
        params.challenge_window_ms = 0;
        params.challenge_window_blocks = 1;
        params.verdict_delay_blocks = 15;
        params.unbonding_blocks = 40;
    });
    set(&mut cluster, 0, Behaviour::NeverReveals);
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&0) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    until(&mut cluster, id, JobState::Committed);
    let before = cluster.balance("val0");
    let leaves = cluster.tx("val0", vec![actions::undelegate("val0", 0, 50 * LOCK)]);
    cluster.deliver(vec![leaves]);
    until(&mut cluster, id, JobState::Final);
    cluster.run(3);
    let verdict = slashes(&cluster)[0].clone();
    assert!(!verdict.executed);
    assert_eq!(cluster.balance("val0"), before - FEE, "the stake is locked by the verdict");
    cluster.run(16);
    assert_eq!(slashes(&cluster)[0].amount, STAKE / 1000);
    assert_eq!(cluster.balance("val0"), before - FEE + 50 * LOCK - 50 * LOCK / 1000);
}

#[test]
fn evidence_takes_a_twentieth_once_and_removes_the_validator() {
    let mut cluster = four();
    let address = cluster.validators[1].consensus_address();
    let evidence = |height| Evidence { address, height };
    let stranger = Evidence { address: [9; 20], height: 2 };
    cluster.block(Plan { evidence: vec![stranger, evidence(2), evidence(2)], ..Plan::default() });
    cluster.block(Plan { evidence: vec![evidence(2)], ..Plan::default() });
    // The same double signer at another height, before the verdict is executed.
    cluster.block(Plan { evidence: vec![evidence(3)], ..Plan::default() });
    cluster.run(6);
    cluster.block(Plan { evidence: vec![evidence(4)], ..Plan::default() });
    cluster.run(6);
    let found: Vec<_> = slashes(&cluster).iter().map(|s| (s.offence(), s.amount)).collect();
    assert_eq!(found, [(Offence::Equivocation, STAKE / 20)]);
    assert_eq!(tokens(&cluster), all_but(1, STAKE - STAKE / 20));
    assert!(cluster.validator(1).tombstoned);
    assert_eq!(cluster.validator(1).power, 0);
    assert_eq!(cluster.sets[&(cluster.height + 1)].len(), 3);
    let more = cluster.tx("delegator", vec![actions::delegate("delegator", 1, LOCK)]);
    assert_eq!(cluster.outcome_of(more).code, 1200, "nobody can stake with it again");
}

#[test]
fn evidence_of_all_validators_leaves_the_last_set_in_place() {
    let mut cluster = four();
    let evidence = (0..4)
        .map(|number| Evidence {
            address: cluster.validators[number].consensus_address(),
            height: 2,
        })
        .collect();
    cluster.block(Plan { evidence, ..Plan::default() });
    cluster.run(8);
    assert_eq!(tokens(&cluster), [STAKE - STAKE / 20; 4]);
    assert_eq!(cluster.sets[&(cluster.height + 1)].len(), 4, "CometBFT needs someone");
    // A new validator takes over.
    let tx = cluster.tx("val4", vec![actions::create_validator(4, 10)]);
    cluster.deliver(vec![tx]);
    cluster.run(3);
    let set: Vec<_> = cluster.sets[&(cluster.height + 1)].clone().into_iter().collect();
    assert_eq!(set, [(cluster.validators[4].consensus_key(), 10)]);
}
