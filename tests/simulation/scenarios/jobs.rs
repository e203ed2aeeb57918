//! What a job costs, who is paid, and how it ends where nobody disputes it.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_proto::lockstep::job::v1::{JobState, MemberState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::actions::{self, with_models};
use lockstep_tests::cluster::{FEE, Plan};
use lockstep_tests::executor::Behaviour;
use lockstep_tests::genesis::{BALANCE, genesis, params};

use super::books::{Books, FINAL, changes, val};
use super::{STAKE, all_but, committee, four, paid, post, post_child, set, slashes, tokens, until};

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
fn a_copied_commitment_opens_nothing_and_is_never_paid() {
    let mut cluster = four();
    let copier = 1;
    set(&mut cluster, copier, Behaviour::Copies);
    let mut before = Books::of(&cluster);
    let mut id = post_child(&mut cluster);
    while !committee(&cluster, id).contains(&copier) {
        until(&mut cluster, id, JobState::Final);
        before = Books::of(&cluster);
        id = post_child(&mut cluster);
    }
    let honest = committee(&cluster, id).into_iter().find(|number| *number != copier).unwrap();
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
    let name = val(honest);
    let expected = FINAL.into_iter().chain([(name.as_str(), 7_000), ("burned", 100_000)]);
    assert_eq!(before.changes(&cluster), changes(expected));
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
    let before = Books::of(&cluster);
    let id = post_child(&mut cluster);
    for round in 0..12 {
        cluster.block(Plan { failed_rounds: round % 3, ..Plan::default() });
    }
    assert_eq!(cluster.job(id).state(), JobState::Final);
    assert_eq!(paid(&cluster.job(id), PayoutKind::Executor), [3_500; 2]);
    assert!(slashes(&cluster).is_empty());
    let names: Vec<_> = committee(&cluster, id).into_iter().map(val).collect();
    let paid = names.iter().map(|name| (name.as_str(), 3_500));
    assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(paid)));
}
