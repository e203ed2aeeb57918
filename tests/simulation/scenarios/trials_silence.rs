//! Silence at each move: whoever is to move and does not, loses what stands on that move, and nobody
//! else does.

use lockstep_proto::lockstep::job::v1::{JobState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::cluster::Cluster;
use lockstep_tests::executor::{Behaviour, Claim};
use lockstep_tests::party::{Kind, Manner};

use super::books::{Books, FINAL, changes, exec, val};
use super::trials_lies::{BOND, HALF, MOVE, PREMIUM};
use super::{
    STAKE, all_but, committee, four, is_right, made, manner, paid, post_to_two, set, tokens, until,
    verdicts,
};

/// A liar on the committee falls silent where it would make such a move in its defence; gives what the
/// honest member is paid beside its fee.
fn silent_liar(kinds: &[Kind]) -> (Cluster, i64) {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    manner(&mut cluster, &exec(liar), Manner::mute(kinds));
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 1);
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000]);
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    assert_eq!(tokens(&cluster), all_but(liar, STAKE / 2));
    let changed = before.changes(&cluster);
    let gain = changed[&val(honest)] - 7_000;
    let name = val(honest);
    let expected =
        FINAL.into_iter().chain([(name.as_str(), 7_000 + gain), ("burned", HALF - gain)]);
    assert_eq!(changed, changes(expected));
    (cluster, gain)
}

#[test]
fn a_liar_that_posts_no_trace_is_proven_wrong_at_the_deadline() {
    let (cluster, gain) = silent_liar(&[Kind::Defend]);
    assert_eq!(gain, 0, "nobody had to move against it");
    assert!(cluster.played.iter().all(|it| it.kind != Kind::Refute));
}

#[test]
fn a_liar_that_does_not_open_what_was_called_loses_its_trace() {
    let (cluster, gain) = silent_liar(&[Kind::Open]);
    assert_eq!(gain, PREMIUM + MOVE, "one call was enough");
    assert!(cluster.played.iter().all(|it| it.kind != Kind::Refute));
}

#[test]
fn a_liar_that_makes_no_move_at_all_is_proven_wrong_all_the_same() {
    let all = [Kind::Defend, Kind::Open, Kind::Prove, Kind::FirstCall, Kind::Call, Kind::Refute];
    let (_, gain) = silent_liar(&all);
    assert_eq!(gain, 0);
}

#[test]
fn a_defender_that_does_not_prove_a_called_leaf_loses_even_where_it_is_right() {
    // The auditor calls a leaf of a right trace, and nobody proves it.
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, members) = post_to_two(&mut cluster);
    for number in members {
        manner(&mut cluster, &exec(number), Manner::mute(&[Kind::Prove]));
    }
    let liar = Manner { watches: true, ..Manner::saying(Claim::Lie(3)) };
    manner(&mut cluster, "auditor0", liar);
    let job = until(&mut cluster, id, JobState::Final);
    // The auditor's own answer fell, too: both members called and refuted its trace.
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 2);
    assert!(committee(&cluster, id).iter().all(|number| !members.contains(number)));
    cluster.run(25);
    let mut found = verdicts(&cluster);
    found.sort_by_key(|(number, ..)| *number);
    let mut expected = members.map(|number| (number, Offence::WrongResult, STAKE / 2));
    expected.sort_by_key(|(number, ..)| *number);
    assert_eq!(found, expected, "silence after one's own defence");
    // The auditor felled two traces and lost its bond on its own answer, which both members had called
    // and one refuted.
    let felled = PREMIUM + 2 * MOVE;
    let mut members = members;
    members.sort_unstable();
    let others: Vec<_> = committee(&cluster, id).into_iter().map(val).collect();
    let names = members.map(val);
    let expected = FINAL.into_iter().chain([
        ("auditor0", 2 * felled - BOND - 1_000),
        ("treasury", 1_000),
        (names[0].as_str(), PREMIUM / 2 + 2 * MOVE),
        (names[1].as_str(), PREMIUM / 2 + MOVE),
        (others[0].as_str(), 3_500),
        (others[1].as_str(), 3_500),
        ("burned", 2 * (HALF - felled) + BOND - PREMIUM - 3 * MOVE),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

/// An honest member falls silent as a challenger; gives the members.
fn silent_challenger(kinds: &[Kind]) -> (Cluster, u64, [usize; 2], Books) {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, silent]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    manner(&mut cluster, &exec(silent), Manner::mute(kinds));
    until(&mut cluster, id, JobState::Final);
    cluster.run(25);
    assert!(is_right(&cluster, id));
    (cluster, id, [liar, silent], before)
}

#[test]
fn a_member_that_never_calls_the_other_trace_leaves_it_standing_and_others_try_again() {
    for kinds in [vec![Kind::FirstCall], vec![Kind::Call, Kind::Refute]] {
        let (cluster, id, members, before) = silent_challenger(&kinds);
        assert_eq!(cluster.job(id).attempt, 2, "both answers survived");
        assert_eq!(verdicts(&cluster), []);
        assert_eq!(tokens(&cluster), [STAKE; 4]);
        let others = committee(&cluster, id);
        assert!(others.iter().all(|number| !members.contains(number)));
        let names: Vec<_> = others.iter().map(|number| val(*number)).collect();
        let paid = names.iter().map(|name| (name.as_str(), 3_500));
        assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(paid)));
    }
}

#[test]
fn where_a_member_never_calls_the_other_trace_an_auditor_does_and_the_liar_is_slashed() {
    // The member has a part in the win where it has called, and none where it has not.
    for (kinds, shares) in
        [(vec![Kind::FirstCall, Kind::Refute], 1), (vec![Kind::Call, Kind::Refute], 2)]
    {
        let mut cluster = four();
        let before = Books::of(&cluster);
        let (id, [liar, silent]) = post_to_two(&mut cluster);
        set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
        manner(&mut cluster, &exec(silent), Manner::mute(&kinds));
        manner(&mut cluster, "auditor0", Manner::watching());
        let job = until(&mut cluster, id, JobState::Final);
        cluster.run(4);
        assert!(is_right(&cluster, id));
        assert_eq!(job.attempt, 1);
        assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
        assert_eq!(made(&cluster, "auditor0", Kind::Challenge), 1);
        let share = PREMIUM / shares;
        let name = val(silent);
        let expected = FINAL.into_iter().chain([
            (name.as_str(), 7_000 + (shares - 1) * (share + MOVE)),
            ("auditor0", share + (3 - shares) * MOVE - 1_000),
            ("treasury", 1_000),
            ("burned", HALF - PREMIUM - 2 * MOVE),
        ]);
        assert_eq!(before.changes(&cluster), changes(expected));
        assert_eq!(cluster.totals().bonds, 0);
    }
}

#[test]
fn where_a_member_is_silent_an_auditor_with_a_bond_fells_the_lie() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, silent]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    let all = [Kind::Defend, Kind::Open, Kind::Prove, Kind::FirstCall, Kind::Call, Kind::Refute];
    manner(&mut cluster, &exec(silent), Manner::mute(&all));
    manner(&mut cluster, "auditor0", Manner::watching());
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 1);
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    // Its bonds, for the challenge and for the answer that it defended, came back.
    let (name, gain) = (val(silent), PREMIUM + 2 * MOVE);
    let expected = FINAL.into_iter().chain([
        (name.as_str(), 7_000),
        ("auditor0", gain - 1_000),
        ("treasury", 1_000),
        ("burned", HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
    assert_eq!(cluster.totals().bonds, 0);
}
