//! Wrong answers, and wrong traces of right ones: whoever posts them loses, alone.

use lockstep_proto::lockstep::job::v1::{JobState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::executor::{Behaviour, Claim};
use lockstep_tests::party::{Kind, Manner};

use super::books::{Books, FINAL, changes, exec, val};
use super::{
    STAKE, all_but, committee, four, is_right, made, manner, paid, post_to_two, refused, set,
    tokens, until, verdicts,
};

/// What a winner gets beside the costs of its moves: ten fees of the job.
pub(super) const PREMIUM: i64 = 100_000;
/// What a move costs.
pub(super) const MOVE: i64 = 1_000;
/// What a challenge costs, and the support of an answer without stake.
pub(super) const BOND: i64 = 5_000_000;
/// Half of a stake, in the books.
pub(super) const HALF: i64 = 50_000_000;

#[test]
fn one_liar_of_two_is_refuted_at_one_step_and_loses_half_its_stake() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 1);
    assert_eq!(made(&cluster, &exec(honest), Kind::Refute), 1);
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000], "the liar is not paid");
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    assert_eq!(tokens(&cluster), all_but(liar, STAKE / 2));
    let gain = PREMIUM + 2 * MOVE;
    let winner = (val(honest), 7_000 + gain);
    let expected =
        FINAL.into_iter().chain([(winner.0.as_str(), winner.1), ("burned", HALF - gain)]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn a_liar_loses_half_once_then_everything_and_its_seat_and_nobody_else_loses() {
    let mut cluster = four();
    set(&mut cluster, 0, Behaviour::LiesFrom(1));
    let mut convicted = 0;
    while convicted < 2 {
        let before = Books::of(&cluster);
        let (id, members) = post_to_two(&mut cluster);
        let was_member = members.contains(&0);
        until(&mut cluster, id, JobState::Final);
        cluster.run(4);
        assert!(is_right(&cluster, id));
        convicted += usize::from(was_member);
        // The second time it loses the other half.
        let (gain, burned) = (PREMIUM + 2 * MOVE, HALF - PREMIUM - 2 * MOVE);
        let names = members.map(val);
        let of = |number: usize| match (was_member, members[number]) {
            (true, 0) => 0,
            (true, _) => 7_000 + gain,
            (false, _) => 3_500,
        };
        let expected = FINAL.into_iter().chain([
            (names[0].as_str(), of(0)),
            (names[1].as_str(), of(1)),
            ("burned", if was_member { burned } else { 0 }),
        ]);
        assert_eq!(before.changes(&cluster), changes(expected));
        if convicted == 1 {
            assert_eq!(tokens(&cluster), all_but(0, STAKE / 2));
            assert_eq!(cluster.validator(0).power, 50);
        }
    }
    let expected = [(0, Offence::WrongResult, STAKE / 2); 2];
    assert_eq!(verdicts(&cluster), expected, "the rest is what the first half left");
    assert_eq!(tokens(&cluster), all_but(0, 0));
    assert!(cluster.validator(0).tombstoned);
    assert_eq!(cluster.validator(0).power, 0);
    cluster.run(1);
    assert_eq!(cluster.sets[&(cluster.height + 1)].len(), 3);
}

#[test]
fn three_colluding_liars_of_four_lose_to_the_one_honest_executor() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    let honest = (0..4).find(|number| !liars.contains(number)).unwrap();
    let idle = (0..4).find(|number| *number != honest && !liars.contains(number)).unwrap();
    for number in [liars[0], liars[1], idle] {
        set(&mut cluster, number, Behaviour::LiesFrom(id));
    }
    manner(&mut cluster, &exec(honest), Manner::watching());
    // Both members say the same; it stands until the honest one recomputes it.
    until(&mut cluster, id, JobState::Verified);
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!((job.attempt, job.earners.len()), (1, 1));
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000]);
    // More than a third of the power: execution waits.
    assert_eq!(tokens(&cluster), [STAKE; 4]);
    cluster.run(25);
    let mut expected =
        [(liars[0], Offence::WrongResult, STAKE / 2), (liars[1], Offence::WrongResult, STAKE / 2)];
    expected.sort_by_key(|(number, ..)| *number);
    let mut found = verdicts(&cluster);
    found.sort_by_key(|(number, ..)| *number);
    assert_eq!(found, expected);
    // Both traces were alike: one proof fells each.
    let gain = 2 * (PREMIUM + 2 * MOVE);
    let name = exec(honest);
    let expected = FINAL.into_iter().chain([
        (name.as_str(), 7_000 + gain - 1_000),
        ("treasury", 1_000),
        ("burned", 2 * HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn an_auditor_without_stake_wins_against_all_validators() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    cluster.behaviours.fill(Behaviour::LiesFrom(id));
    manner(&mut cluster, "auditor0", Manner::watching());
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.earners.len(), 1);
    assert_eq!(made(&cluster, "auditor0", Kind::Deliver), 1);
    cluster.run(25);
    let mut found = verdicts(&cluster);
    found.sort_by_key(|(number, ..)| *number);
    let mut expected = liars.map(|number| (number, Offence::WrongResult, STAKE / 2));
    expected.sort_by_key(|(number, ..)| *number);
    assert_eq!(found, expected, "those who said nothing of this job have not lied");
    let gain = 2 * (PREMIUM + 2 * MOVE);
    let expected = FINAL.into_iter().chain([
        ("auditor0", 7_000 + gain - 1_000),
        ("treasury", 1_000),
        ("burned", 2 * HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn two_wrong_answers_that_play_each_other_both_fall_and_others_try_again() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    set(&mut cluster, liars[0], Behaviour::Invents(0));
    set(&mut cluster, liars[1], Behaviour::Invents(1));
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 2);
    let honest = committee(&cluster, id);
    assert!(honest.iter().all(|number| !liars.contains(number)));
    cluster.run(25);
    let mut found = verdicts(&cluster);
    found.sort_by_key(|(number, ..)| *number);
    let mut expected = liars.map(|number| (number, Offence::WrongResult, STAKE / 2));
    expected.sort_by_key(|(number, ..)| *number);
    assert_eq!(found, expected);
    // Each has refuted the other, and is paid for that.
    let gain = PREMIUM + 2 * MOVE;
    let names = [val(liars[0]), val(liars[1]), val(honest[0]), val(honest[1])];
    let expected = FINAL.into_iter().chain([
        (names[0].as_str(), gain),
        (names[1].as_str(), gain),
        (names[2].as_str(), 3_500),
        (names[3].as_str(), 3_500),
        ("burned", 2 * (HALF - gain)),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn two_liars_who_leave_each_other_alone_win_nothing_but_a_new_attempt() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    for (number, liar) in (0..).zip(liars) {
        set(&mut cluster, liar, Behaviour::Invents(number));
        manner(&mut cluster, &exec(liar), Manner::mute(&[Kind::FirstCall]));
    }
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 2);
    cluster.run(25);
    assert_eq!(verdicts(&cluster), [], "two answers survived, so neither was proven wrong");
    let honest = committee(&cluster, id);
    let names = [val(honest[0]), val(honest[1])];
    let paid = names.iter().map(|name| (name.as_str(), 3_500));
    assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(paid)));
}

#[test]
fn a_wrong_trace_of_a_right_answer_falls_and_the_answer_stands_with_the_other() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [clumsy, honest]) = post_to_two(&mut cluster);
    manner(&mut cluster, &exec(clumsy), Manner { bogus: Some(9), ..Manner::default() });
    // Somebody who doubts the right answer, for a wrong one.
    let liar = Manner { watches: true, ..Manner::saying(Claim::Lie(3)) };
    manner(&mut cluster, "auditor0", liar);
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 1);
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000], "whose trace was wrong is not paid");
    cluster.run(4);
    assert_eq!(verdicts(&cluster), [(clumsy, Offence::WrongResult, STAKE / 2)]);
    assert_eq!(tokens(&cluster), all_but(clumsy, STAKE / 2));
    assert_eq!(made(&cluster, "auditor0", Kind::Refute), 1);
    // The auditor is paid for the trace that it felled. It loses the bond of its challenge, since the
    // answer stands, to the two moves that defended it; and the bond on its own answer: both members had
    // called that trace, and one of them proved it wrong.
    let felled = PREMIUM + 2 * MOVE;
    let half = PREMIUM / 2;
    let names = [val(clumsy), val(honest)];
    let expected = FINAL.into_iter().chain([
        ("auditor0", felled - 2 * BOND - 1_000),
        ("treasury", 1_000),
        (names[0].as_str(), half + 2 * MOVE),
        (names[1].as_str(), 7_000 + half + 5 * MOVE),
        ("burned", HALF - felled + 2 * BOND - PREMIUM - 7 * MOVE),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn a_right_trace_posted_for_a_wrong_answer_is_refused_and_the_answer_falls_undefended() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    manner(&mut cluster, &exec(liar), Manner { borrows_trace: true, ..Manner::default() });
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    let codes = refused(&cluster, &exec(liar), Kind::Defend);
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == 4703), "{codes:?}");
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    let name = val(honest);
    let expected = FINAL.into_iter().chain([(name.as_str(), 7_000), ("burned", HALF)]);
    assert_eq!(before.changes(&cluster), changes(expected), "nobody had to move against it");
}

#[test]
fn a_trace_that_is_right_up_to_the_answer_is_refuted_at_its_last_leaf() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    manner(&mut cluster, &exec(liar), Manner { bogus: Some(u64::MAX), ..Manner::default() });
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    let (name, gain) = (val(honest), PREMIUM + 2 * MOVE);
    let won = [(name.as_str(), 7_000 + gain), ("burned", HALF - gain)];
    assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(won)));
}

#[test]
fn a_lie_at_any_leaf_is_found() {
    for leaf in [0, 1, 100, 255, 256, 300] {
        let mut cluster = four();
        let before = Books::of(&cluster);
        let (id, [liar, honest]) = post_to_two(&mut cluster);
        set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
        manner(&mut cluster, &exec(liar), Manner { bogus: Some(leaf), ..Manner::default() });
        until(&mut cluster, id, JobState::Final);
        cluster.run(4);
        assert!(is_right(&cluster, id), "leaf {leaf}");
        assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)], "leaf {leaf}");
        let (name, gain) = (val(honest), PREMIUM + 2 * MOVE);
        let won = [(name.as_str(), 7_000 + gain), ("burned", HALF - gain)];
        assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(won)), "leaf {leaf}");
    }
}

#[test]
fn a_fault_is_an_answer_and_whoever_denies_it_is_refuted() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let job = lockstep_tests::actions::job("dev0", "child", &[1, 4]);
    let id = super::post(&mut cluster, &job);
    let [liar, honest] = committee(&cluster, id).try_into().unwrap();
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert!(job.output.is_empty());
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    let (name, gain) = (val(honest), PREMIUM + 2 * MOVE);
    let won = [(name.as_str(), 7_000 + gain), ("burned", HALF - gain)];
    assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(won)));
}
