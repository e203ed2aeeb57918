//! Scenarios with exact expected numbers: four validators of 100 LOCK each unless said otherwise.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_chain::block::Evidence;
use lockstep_chain::envelope::any;
use lockstep_chain::state::tables::{POSSESSIONS, SLASHES, UNBONDINGS};
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState, MemberState, MsgPostJob, PayoutKind};
use lockstep_proto::lockstep::staking::v1::{Offence, Slash};
use lockstep_tests::actions::{self, with_models};
use lockstep_tests::cluster::{Cluster, FEE, Plan};
use lockstep_tests::executor::Behaviour;
use lockstep_tests::genesis::{BALANCE, LOCK, genesis, params};

const STAKE: u64 = 100 * LOCK;

fn four() -> Cluster {
    with_models(&genesis(&[100; 4], params()))
}

fn four_with(change: impl FnOnce(&mut Params)) -> Cluster {
    let mut params = params();
    change(&mut params);
    with_models(&genesis(&[100; 4], params))
}

fn post(cluster: &mut Cluster, job: &MsgPostJob) -> u64 {
    let tx = cluster.tx("dev0", vec![any(job)]);
    cluster.deliver(vec![tx]);
    cluster.totals().jobs
}

fn post_child(cluster: &mut Cluster) -> u64 {
    post(cluster, &actions::job("dev0", "child", &[1, 2, 3]))
}

/// The numbers of the job's present members, in order.
fn committee(cluster: &Cluster, id: u64) -> Vec<usize> {
    let job = cluster.job(id);
    let present = job.members.iter().filter(|member| member.attempt == job.attempt);
    let number = |operator: &[u8]| {
        let found = cluster.validators.iter().position(|v| v.operator.address == operator);
        found.unwrap()
    };
    present.map(|member| number(&member.validator)).collect()
}

fn until(cluster: &mut Cluster, id: u64, state: JobState) -> Job {
    for _ in 0..150 {
        let job = cluster.job(id);
        if job.state() == state {
            return job;
        }
        cluster.run(1);
    }
    panic!("job {id} is {:?} and never {state:?}", cluster.job(id).state());
}

fn slashes(cluster: &Cluster) -> Vec<Slash> {
    SLASHES.scan(cluster.state(), &(), 1000).unwrap().into_iter().map(|(_, slash)| slash).collect()
}

fn tokens(cluster: &Cluster) -> Vec<u64> {
    (0..4).map(|number| cluster.validator(number).tokens).collect()
}

/// All stakes as at the start but for one.
fn all_but(number: usize, stake: u64) -> Vec<u64> {
    (0..4).map(|other| if other == number { stake } else { STAKE }).collect()
}

fn paid(job: &Job, kind: PayoutKind) -> Vec<u64> {
    job.payouts.iter().filter(|payout| payout.kind() == kind).map(|payout| payout.amount).collect()
}

fn set(cluster: &mut Cluster, number: usize, behaviour: Behaviour) {
    cluster.behaviours[number] = behaviour;
}

#[test]
fn a_quick_job_is_verified_four_blocks_after_it_was_posted_and_pays_everyone_exactly() {
    let mut cluster = four();
    let names = ["author0", "author1", "treasury", "val0", "val1", "val2", "val3", "dev0"];
    let before: BTreeMap<_, _> = names.map(|name| (name, cluster.balance(name))).into();
    let (supply, burned) = (cluster.totals().supply, cluster.totals().burned);
    let id = post_child(&mut cluster);
    assert_eq!(cluster.totals().escrow, 10_000 + 10_000 + 100);
    let job = until(&mut cluster, id, JobState::Final);
    assert_eq!(job.verified_height, job.posted_height + 4);
    assert_eq!(paid(&job, PayoutKind::Executor), [3_500, 3_500]);
    assert_eq!(paid(&job, PayoutKind::Treasury), [500]);
    assert_eq!(paid(&job, PayoutKind::Burn), [600]);
    assert_eq!(paid(&job, PayoutKind::Refund), [10_000]);
    let mut authors = paid(&job, PayoutKind::Author);
    authors.sort_unstable();
    assert_eq!(authors, [800, 1_200]);
    let mut expected = before;
    for (name, gain) in [("author0", 800), ("author1", 1_200), ("treasury", 500 + FEE)] {
        *expected.get_mut(name).unwrap() += gain;
    }
    for number in committee(&cluster, id) {
        *expected.get_mut(format!("val{number}").as_str()).unwrap() += 3_500;
    }
    *expected.get_mut("dev0").unwrap() -= 10_000 + 100 + FEE;
    for (name, balance) in expected {
        assert_eq!(cluster.balance(name), balance, "{name}");
    }
    assert_eq!(cluster.totals().supply, supply - 600);
    assert_eq!(cluster.totals().burned, burned + 600);
    assert_eq!(cluster.totals().escrow, 0);
    assert!(slashes(&cluster).is_empty());
    assert_eq!(tokens(&cluster), [STAKE; 4]);
}

#[test]
fn a_liar_loses_half_once_then_everything_and_its_seat_and_nobody_else_loses() {
    let mut cluster = four();
    let id = cluster.totals().jobs + 1;
    set(&mut cluster, 0, Behaviour::LiesFrom(id));
    let mut convicted = Vec::new();
    for _ in 0..8 {
        let id = post_child(&mut cluster);
        let was_member = committee(&cluster, id).contains(&0);
        let job = until(&mut cluster, id, JobState::Final);
        cluster.run(4);
        assert_eq!(job.escalated, was_member, "a difference asks everyone");
        if was_member {
            convicted.push(id);
            assert_eq!(paid(&job, PayoutKind::Executor), [2_333; 3], "the liar is not paid");
            assert_eq!(paid(&job, PayoutKind::Treasury), [501], "with the rest of rounding");
        }
        if convicted.len() == 1 {
            assert_eq!(tokens(&cluster), all_but(0, STAKE / 2));
            assert_eq!(cluster.validator(0).power, 50);
        }
        if convicted.len() == 2 {
            break;
        }
    }
    assert_eq!(tokens(&cluster), all_but(0, 0));
    assert!(cluster.validator(0).tombstoned);
    assert_eq!(cluster.validator(0).power, 0);
    let found: Vec<_> = slashes(&cluster)
        .iter()
        .map(|s| (s.offence(), s.job, s.amount, s.fraction_bps, s.removal, s.executed))
        .collect();
    assert_eq!(
        found,
        [
            (Offence::WrongResult, convicted[0], STAKE / 2, 5_000, false, true),
            (Offence::WrongResult, convicted[1], STAKE / 2, 10_000, true, true),
        ]
    );
    let report = cluster.block(Plan::default());
    assert!(report.outcome.validator_updates.is_empty());
    assert_eq!(cluster.sets[&(cluster.height + 1)].len(), 3);
}

#[test]
fn a_copied_commitment_opens_nothing_and_is_never_paid() {
    let mut cluster = four();
    let copier = 1;
    set(&mut cluster, copier, Behaviour::Copies);
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&copier) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    let job = until(&mut cluster, id, JobState::Final);
    let operator = cluster.validators[copier].operator.address;
    let member = job.members.iter().find(|member| member.validator == operator).unwrap();
    let victim = job.members.iter().find(|member| member.validator != operator).unwrap();
    assert_eq!(member.commitment, victim.commitment);
    assert_eq!(member.state(), MemberState::Unrevealed);
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000], "the one that computed gets all");
    cluster.run(4);
    let found: Vec<_> = slashes(&cluster).iter().map(|s| (s.offence(), s.job, s.amount)).collect();
    assert_eq!(found, [(Offence::NoReveal, id, STAKE / 1000)]);
    assert_eq!(tokens(&cluster), all_but(copier, STAKE - STAKE / 1000));
}

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
fn where_nobody_reveals_fresh_members_try_again_and_then_it_fails_with_everything_back() {
    let mut cluster = four();
    let before = cluster.balance("dev0");
    cluster.behaviours = vec![Behaviour::NeverReveals; cluster.behaviours.len()];
    let id = post_child(&mut cluster);
    let first = committee(&cluster, id);
    while cluster.job(id).attempt == 1 {
        cluster.run(1);
    }
    let second = committee(&cluster, id);
    assert_eq!(second.len(), 2);
    assert!(second.iter().all(|number| !first.contains(number)), "{first:?} {second:?}");
    let job = until(&mut cluster, id, JobState::Failed);
    assert_eq!(job.attempt, 3);
    assert_eq!(paid(&job, PayoutKind::Refund), [20_100]);
    assert_eq!(cluster.balance("dev0"), before - FEE);
    cluster.run(4);
    assert!(slashes(&cluster).iter().all(|slash| slash.offence() == Offence::NoReveal));
    assert_eq!(tokens(&cluster), [STAKE - STAKE / 1000; 4], "one penalty each in an epoch");
}

#[test]
fn a_new_attempt_takes_old_members_where_the_fresh_ones_are_too_few() {
    let mut cluster = with_models(&genesis(&[100; 5], params()));
    cluster.behaviours = vec![Behaviour::NeverReveals; cluster.behaviours.len()];
    let id = post_child(&mut cluster);
    while cluster.job(id).attempt < 3 {
        assert_ne!(cluster.job(id).state(), JobState::Failed, "five members are enough for three");
        cluster.run(1);
    }
    let job = cluster.job(id);
    let earlier: BTreeSet<_> =
        job.members.iter().filter(|m| m.attempt < 3).map(|m| m.validator.clone()).collect();
    assert_eq!(earlier.len(), 4);
    let third: Vec<_> = job.members.iter().filter(|m| m.attempt == 3).collect();
    assert_eq!(third.len(), 2);
    assert!(!earlier.contains(&third[0].validator), "the fresh one comes first");
    assert!(earlier.contains(&third[1].validator));
    cluster.behaviours = vec![Behaviour::Honest; cluster.behaviours.len()];
    until(&mut cluster, id, JobState::Final);
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

#[test]
fn a_job_is_cancelled_before_the_first_commitment_alone_and_costs_the_posting_charge() {
    let mut cluster = four();
    cluster.behaviours = vec![Behaviour::Silent; cluster.behaviours.len()];
    let before = cluster.balance("dev0");
    let id = post_child(&mut cluster);
    let other = cluster.tx("dev1", vec![actions::cancel("dev1", id)]);
    assert_eq!(cluster.outcome_of(other).code, 4100);
    let tx = cluster.tx("dev0", vec![actions::cancel("dev0", id)]);
    cluster.deliver(vec![tx]);
    let job = cluster.job(id);
    assert_eq!(job.state(), JobState::Cancelled);
    assert_eq!(paid(&job, PayoutKind::Refund), [20_000]);
    assert_eq!(paid(&job, PayoutKind::Burn), [100]);
    assert_eq!(cluster.balance("dev0"), before - 2 * FEE - 100);
    let again = cluster.tx("dev0", vec![actions::cancel("dev0", id)]);
    assert_eq!(cluster.outcome_of(again).code, 4101);

    cluster.behaviours = vec![Behaviour::Honest; cluster.behaviours.len()];
    let id = post_child(&mut cluster);
    cluster.run(2);
    let late = cluster.tx("dev0", vec![actions::cancel("dev0", id)]);
    assert_eq!(cluster.outcome_of(late).code, 4101);
}

#[test]
fn a_job_that_only_no_shows_have_seen_can_still_be_cancelled() {
    let mut cluster = four();
    cluster.behaviours = vec![Behaviour::Silent; cluster.behaviours.len()];
    let id = post_child(&mut cluster);
    while cluster.job(id).members.len() == 2 {
        cluster.run(1);
    }
    let tx = cluster.tx("dev0", vec![actions::cancel("dev0", id)]);
    cluster.deliver(vec![tx]);
    assert_eq!(cluster.job(id).state(), JobState::Cancelled);
}

#[test]
fn a_blob_that_enough_validators_hold_starts_the_job_and_one_that_nobody_holds_is_unavailable() {
    let mut cluster = four();
    let blob = actions::blob_job("dev0", "child", &[1, 2, 3]);
    let id = post(&mut cluster, &blob);
    assert_eq!(cluster.job(id).state(), JobState::AwaitingInput);
    let job = until(&mut cluster, id, JobState::Final);
    assert_eq!(job.holders.len(), 3, "the third makes more than two thirds");
    assert_eq!(paid(&job, PayoutKind::Executor), [3_500; 2]);

    let before = cluster.balance("dev0");
    set(&mut cluster, 0, Behaviour::Dead);
    set(&mut cluster, 1, Behaviour::Dead);
    let id = post(&mut cluster, &blob);
    let job = until(&mut cluster, id, JobState::Unavailable);
    assert_eq!(job.holders.len(), 2);
    assert_eq!(paid(&job, PayoutKind::Refund), [20_000]);
    assert_eq!(paid(&job, PayoutKind::Burn), [100]);
    assert_eq!(cluster.balance("dev0"), before - FEE - 100);
    cluster.run(4);
    assert!(slashes(&cluster).is_empty());
}

#[test]
fn the_second_member_delivers_after_the_window_of_the_first() {
    let mut cluster = four();
    let id = post_child(&mut cluster);
    let first = committee(&cluster, id)[0];
    set(&mut cluster, first, Behaviour::NeverDelivers);
    let job = until(&mut cluster, id, JobState::Final);
    assert!(job.delivery_open);
    // The window of three heights, and one more for the transaction.
    assert_eq!(job.delivered_height, job.verified_height + 3 + 1);
    assert_eq!(paid(&job, PayoutKind::Executor), [3_500; 2]);
}

#[test]
fn an_output_that_nobody_delivers_makes_a_new_attempt_with_fresh_members() {
    let mut cluster = four();
    let id = post_child(&mut cluster);
    let first = committee(&cluster, id);
    for number in &first {
        set(&mut cluster, *number, Behaviour::NeverDelivers);
    }
    let job = until(&mut cluster, id, JobState::Final);
    let second = committee(&cluster, id);
    assert_eq!(job.attempt, 2);
    assert!(second.iter().all(|number| !first.contains(number)));
    let payees: BTreeSet<_> = job
        .payouts
        .iter()
        .filter(|payout| payout.kind() == PayoutKind::Executor)
        .map(|payout| payout.account.clone())
        .collect();
    let expected: BTreeSet<_> =
        second.iter().map(|n| cluster.validators[*n].operator.address.to_vec()).collect();
    assert_eq!(payees, expected, "those that delivered nothing get nothing");
}

#[test]
fn two_liars_of_four_leave_it_undecided_and_nobody_is_called_a_liar() {
    let mut cluster = four();
    let before = cluster.balance("dev0");
    set(&mut cluster, 0, Behaviour::LiesFrom(1));
    set(&mut cluster, 1, Behaviour::LiesFrom(1));
    let mut id = post_child(&mut cluster);
    let mut posted = 1;
    let mixed = |members: Vec<usize>| members.iter().filter(|number| **number < 2).count() == 1;
    while !mixed(committee(&cluster, id)) {
        let tx = cluster.tx("dev0", vec![actions::cancel("dev0", id)]);
        cluster.deliver(vec![tx]);
        id = post_child(&mut cluster);
        posted += 1;
    }
    let job = until(&mut cluster, id, JobState::Failed);
    assert!(job.escalated);
    assert_eq!(job.members.len(), 4);
    assert_eq!(cluster.balance("dev0"), before - posted * FEE - (posted - 1) * (100 + FEE));
    cluster.run(4);
    assert!(slashes(&cluster).is_empty());
    assert_eq!(tokens(&cluster), [STAKE; 4]);
}

#[test]
fn windows_wait_for_time_and_do_not_count_empty_heights() {
    let mut cluster = four();
    set(&mut cluster, 0, Behaviour::Silent);
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&0) {
        until(&mut cluster, id, JobState::Final);
        id = post_child(&mut cluster);
    }
    for _ in 0..10 {
        let report = cluster.block(Plan { restart: true, ..Plan::default() });
        assert!(!report.counted);
    }
    assert_eq!(cluster.job(id).members.len(), 2, "ten empty heights ended no window");
    for _ in 0..4 {
        cluster.block(Plan { step_ms: 1, ..Plan::default() });
    }
    assert_eq!(cluster.job(id).members.len(), 3);
}

#[test]
fn a_block_finalized_three_times_and_late_garbage_change_nothing() {
    let play = |plan: Plan| {
        let mut cluster = four();
        let id = post_child(&mut cluster);
        for _ in 0..12 {
            cluster.block(plan.clone());
        }
        assert_eq!(cluster.job(id).state(), JobState::Final);
        assert_eq!(cluster.balance("author0"), BALANCE - 2 * FEE + 800);
        cluster.transcript.finalize()
    };
    let once = play(Plan::default());
    assert_eq!(once, play(Plan { finalizations: 3, ..Plan::default() }));
    assert_eq!(once, play(Plan { failed_rounds: 2, ..Plan::default() }));
}

#[test]
fn a_garbage_extension_keeps_its_vote_in_the_quorum_and_its_payload_out_of_the_state() {
    let mut cluster = four();
    let id = post_child(&mut cluster);
    let member = committee(&cluster, id)[0];
    let late = BTreeMap::from([(member, vec![0xff; 2000])]);
    // With one of four absent, the garbage vote is what makes the quorum.
    let absent = (0..4).filter(|number| *number != member).take(1).collect();
    cluster.block(Plan { late: late.clone(), absent, ..Plan::default() });
    let report = cluster.block(Plan { late, ..Plan::default() });
    assert!(report.counted);
    let operator = cluster.validators[member].operator.address;
    let job = cluster.job(id);
    let found = job.members.iter().find(|found| found.validator == operator).unwrap();
    assert_eq!(found.state(), MemberState::Asked);
    until(&mut cluster, id, JobState::Final);
}

#[test]
fn equivocating_commitments_bind_the_first_and_are_no_offence() {
    let mut cluster = four();
    cluster.behaviours = vec![Behaviour::Equivocates; cluster.behaviours.len()];
    let id = post_child(&mut cluster);
    for round in 0..12 {
        cluster.block(Plan { failed_rounds: round % 3, ..Plan::default() });
    }
    assert_eq!(cluster.job(id).state(), JobState::Final);
    assert_eq!(paid(&cluster.job(id), PayoutKind::Executor), [3_500; 2]);
    assert!(slashes(&cluster).is_empty());
}
