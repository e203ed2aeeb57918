//! Who comes in the last moment, leaves in the middle, or plays twice at once.

use lockstep_audit::play::{Claim as Proof, Move};
use lockstep_chain::state::tables::{TIP, TRIALS};
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::actions;
use lockstep_tests::cluster::Cluster;
use lockstep_tests::executor::{self, Behaviour, Claim};
use lockstep_tests::keys::Account;
use lockstep_tests::party::{Kind, Manner};
use lockstep_tests::story::story;
use prost_types::Any;

use super::books::{Books, FINAL, changes, val};
use super::trials_challenges::challenge;
use super::trials_lies::{BOND, HALF, MOVE, PREMIUM};
use super::{
    STAKE, committee, four, is_right, made, manner, post_to_two, set, tokens, until, verdicts,
};

#[test]
fn a_challenger_that_falls_silent_in_the_middle_of_a_game_loses_its_bond_and_not_its_answer() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    for number in liars {
        set(&mut cluster, number, Behaviour::LiesOnceFor(id));
    }
    let silent = Manner { watches: true, ..Manner::mute(&[Kind::Call, Kind::Refute]) };
    manner(&mut cluster, "auditor0", silent);
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(25);
    assert_eq!(made(&cluster, "auditor0", Kind::FirstCall), 2);
    // Its right answer was defended and stands, as the lie does: others try again.
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 2);
    assert_eq!(verdicts(&cluster), []);
    assert_eq!((tokens(&cluster), cluster.totals().bonds), (vec![STAKE; 4], 0));
    // Of each liar's trace a node was opened: two moves, which the challenge's bond pays.
    let names: Vec<_> = liars.into_iter().chain(committee(&cluster, id)).map(val).collect();
    let expected = FINAL.into_iter().chain([
        ("auditor0", -BOND - 1_000),
        ("treasury", 1_000),
        (names[0].as_str(), 2 * MOVE),
        (names[1].as_str(), 2 * MOVE),
        (names[2].as_str(), 3_500),
        (names[3].as_str(), 3_500),
        ("burned", BOND - 4 * MOVE),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

/// A lie on trial of which the right answer is not said until this height before traces are taken no
/// more: before block 0 of it would be too late.
fn brought_late(blocks_left: u64) -> (Cluster, Books, u64, u32) {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    for number in liars {
        set(&mut cluster, number, Behaviour::LiesOnceFor(id));
    }
    until(&mut cluster, id, JobState::Verified);
    let message = challenge(&cluster, "auditor1", id);
    let tx = cluster.tx("auditor1", vec![message]);
    cluster.deliver(vec![tx]);
    let left = |cluster: &Cluster| {
        let trial = TRIALS.must(cluster.state(), &id).unwrap();
        trial.defend_counter.saturating_sub(TIP.must(cluster.state(), &()).unwrap().trial_clock)
    };
    while left(&cluster) > blocks_left {
        cluster.run(1);
    }
    let messages = right_answer(&cluster, id);
    let tx = cluster.tx("auditor0", messages);
    let code = cluster.outcome_of(tx).code;
    (cluster, before, id, code)
}

/// The challenge of a lie, with the right answer and its trace.
fn right_answer(cluster: &Cluster, id: u64) -> Vec<Any> {
    let job = cluster.job(id);
    let own = story(&executor::tokens(&job), Claim::Truth, None);
    let answer = job.result_root.try_into().unwrap();
    let own = Some(Proof::of(&own).unwrap());
    Move::Challenge { answer, own }.messages(&Account::named("auditor0").address, id)
}

#[test]
fn an_answer_that_is_brought_in_the_last_block_for_traces_wins() {
    let (mut cluster, before, id, code) = brought_late(1);
    assert_eq!(code, 0);
    manner(&mut cluster, "auditor0", Manner::watching());
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(25);
    assert!(is_right(&cluster, id));
    assert_eq!((job.attempt, job.earners.len()), (1, 1));
    assert_eq!(verdicts(&cluster).len(), 2);
    // Who challenged and never called has its bond back, since the answer fell.
    let gain = 2 * (PREMIUM + 2 * MOVE);
    let expected = FINAL.into_iter().chain([
        ("auditor0", 7_000 + gain - 1_000),
        ("auditor1", -1_000),
        ("treasury", 2_000),
        ("burned", 2 * HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn an_answer_that_is_brought_a_block_too_late_costs_its_fee_and_no_bond() {
    let (cluster, before, _, code) = brought_late(0);
    assert_eq!(code, 4600);
    let posted = [("dev0", -21_100), ("treasury", 3_000)];
    let expected = [("auditor0", -1_000), ("auditor1", -BOND - 1_000)].into_iter().chain(posted);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn one_auditor_wins_two_trials_at_once() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let first = cluster.totals().jobs + 1;
    cluster.behaviours.fill(Behaviour::LiesFrom(first));
    let post = lockstep_chain::wire::any(&actions::job("dev0", "child", &[1, 2, 3]));
    let txs = (0..2).map(|_| cluster.tx("dev0", vec![post.clone()])).collect();
    cluster.deliver(txs);
    manner(&mut cluster, "auditor0", Manner::watching());
    let jobs = [first, first + 1];
    let on_trial =
        |cluster: &Cluster| jobs.iter().all(|id| cluster.job(*id).state() == JobState::OnTrial);
    while !on_trial(&cluster) {
        cluster.run(1);
        assert!(cluster.height < 100);
    }
    for id in jobs {
        until(&mut cluster, id, JobState::Final);
        assert!(is_right(&cluster, id));
    }
    cluster.run(25);
    // Who was a member of both has lost the second half, too.
    let mut found = verdicts(&cluster);
    found.sort_unstable_by_key(|(number, ..)| *number);
    let mut liars: Vec<_> = jobs.iter().flat_map(|id| committee(&cluster, *id)).collect();
    liars.sort_unstable();
    let wrong = |number| (number, Offence::WrongResult, STAKE / 2);
    assert_eq!(found, liars.into_iter().map(wrong).collect::<Vec<_>>());
    let gain = 4 * (PREMIUM + 2 * MOVE);
    let expected = FINAL.into_iter().chain(FINAL).chain([
        ("auditor0", 2 * 7_000 + gain - 2_000),
        ("treasury", 2_000),
        ("burned", 4 * HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
    assert_eq!(cluster.totals().bonds, 0);
}
