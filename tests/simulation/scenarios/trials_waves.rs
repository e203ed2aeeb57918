//! More than a third of the power found wrong within an epoch: verdicts wait, and the council may cancel
//! what it names.

use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::staking::v1::{MsgCancelVerdict, Offence};
use lockstep_tests::cluster::Cluster;
use lockstep_tests::executor::{Behaviour, Claim};
use lockstep_tests::keys::Account;
use lockstep_tests::party::Manner;
use prost_types::Any;

use super::books::{Books, FINAL, changes, exec, val};
use super::trials_lies::{HALF, MOVE, PREMIUM};
use super::{STAKE, four, is_right, manner, post_to_two, set, slashes, tokens, until, verdicts};

fn cancel(who: &str, slash: u64) -> Any {
    any(&MsgCancelVerdict {
        council_member: Account::named(who).text(),
        slash,
        reason: "a fault of the driver, see the minutes".to_owned(),
    })
}

/// All executors say the same wrong thing, as where a driver is at fault, and an auditor sees it.
fn driver_fault() -> (Cluster, Books, [usize; 2]) {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, members) = post_to_two(&mut cluster);
    cluster.behaviours.fill(Behaviour::LiesOnceFor(id));
    manner(&mut cluster, "auditor0", Manner::watching());
    until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert!(slashes(&cluster).iter().all(|slash| slash.wave && !slash.executed));
    (cluster, before, members)
}

#[test]
fn verdicts_against_more_than_a_third_of_the_power_wait_and_are_executed() {
    let (mut cluster, before, members) = driver_fault();
    let decided = slashes(&cluster).iter().map(|slash| slash.decided_height).max().unwrap();
    while cluster.height < decided + 19 {
        cluster.run(1);
        assert_eq!(tokens(&cluster), [STAKE; 4]);
    }
    cluster.run(2);
    let found = verdicts(&cluster);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|it| members.contains(&it.0) && it.2 == STAKE / 2));
    let gain = 2 * (PREMIUM + 2 * MOVE);
    let expected = FINAL.into_iter().chain([
        ("auditor0", 7_000 + gain - 1_000),
        ("treasury", 1_000),
        ("burned", 2 * HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn the_council_cancels_one_verdict_of_a_wave_and_the_other_is_executed() {
    let (mut cluster, before, members) = driver_fault();
    let first = slashes(&cluster)[0].clone();
    let tx = cluster.tx("dev0", vec![cancel("dev0", first.id)]);
    assert_ne!(cluster.outcome_of(tx).code, 0, "dev0 is not of the council");
    let tx = cluster.tx("council", vec![cancel("council", first.id)]);
    cluster.deliver(vec![tx]);
    let again = cluster.tx("council2", vec![cancel("council2", first.id)]);
    assert_eq!(cluster.outcome_of(again).code, 5201);
    cluster.run(30);
    let found = verdicts(&cluster);
    let amounts: Vec<_> = found.iter().map(|it| it.2).collect();
    assert_eq!(amounts, [0, STAKE / 2]);
    let spared = found[0].0;
    assert_eq!(cluster.validator(spared).tokens, STAKE);
    assert_eq!(cluster.validator(spared).proven_wrong, 0);
    let other = members.into_iter().find(|number| *number != spared).unwrap();
    assert_eq!(cluster.validator(other).tokens, STAKE / 2);
    assert!(slashes(&cluster)[0].cancelled && !slashes(&cluster)[0].executed);
    // Whoever found it out is paid from the verdict that was executed. The council paid two fees.
    let gain = PREMIUM + 2 * MOVE;
    let expected = FINAL.into_iter().chain([
        ("auditor0", 7_000 + gain - 1_000),
        ("council", -1_000),
        ("council2", -1_000),
        ("treasury", 3_000),
        ("burned", HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn a_single_verdict_cannot_be_cancelled() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    while slashes(&cluster).is_empty() {
        cluster.run(1);
    }
    let tx = cluster.tx("council", vec![cancel("council", 1)]);
    assert_eq!(cluster.outcome_of(tx).code, 5202);
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    let (name, gain) = (val(honest), PREMIUM + 2 * MOVE);
    let expected = FINAL.into_iter().chain([
        (name.as_str(), 7_000 + gain),
        ("council", -1_000),
        ("treasury", 1_000),
        ("burned", HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn a_driver_fault_that_is_conceded_costs_little_and_waits_too() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, members) = post_to_two(&mut cluster);
    for number in members {
        manner(&mut cluster, &exec(number), Manner::saying(Claim::Truth));
        set(&mut cluster, number, Behaviour::LiesOnceFor(id));
    }
    manner(&mut cluster, "auditor0", Manner::watching());
    until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert!(slashes(&cluster).iter().all(|slash| slash.wave && !slash.executed));
    cluster.run(25);
    let found = verdicts(&cluster);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|it| it.1 == Offence::Conceded && it.2 == STAKE / 1000));
    let expected = FINAL.into_iter().chain([
        ("auditor0", 7_000 - 1_000),
        ("treasury", 1_000),
        ("burned", 2 * 100_000),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected), "it was over before anybody moved");
}
