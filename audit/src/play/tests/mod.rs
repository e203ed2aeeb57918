//! Whole games, over traces of any length.

mod court;
mod real;
mod turn;
mod vast;

use std::time::Duration;

use court::{Court, Made, Party, lie, play, truth};
use lockstep_proto::lockstep::trial::v1::{Supporter, SupporterState, Trial};

use super::{Evidence, Intent, Move, Now, Player, Seat, Window};

const HONEST: u8 = 1;
const LIAR: u8 = 2;
const OTHER: u8 = 3;

/// An honest member and one that revealed what `lie` says, each with its own trace.
fn duel(right: &Made, wrong: &Made) -> (Court, [Party; 2]) {
    let court = Court::open(&[([HONEST; 20], right), ([LIAR; 20], wrong)]);
    let honest = Party::new(HONEST, right.clone(), false, false);
    (court, [honest, Party::new(LIAR, wrong.clone(), false, true)])
}

#[test]
fn honest_wins_wherever_the_lie_stands() {
    for leaves in [2, 3, 200, 257] {
        let right = Made::new(truth(leaves));
        for at in 0..leaves {
            let (mut court, mut parties) = duel(&right, &Made::new(lie(leaves, &[at], "wrong")));
            assert_eq!(play(&mut court, &mut parties), [right.answer().result_root], "{at}");
        }
    }
}

#[test]
fn honest_wins_in_a_trace_of_three_moves_depth() {
    let leaves = 70_000;
    let right = Made::new(truth(leaves));
    for at in [0, 1, 255, 256, 40_000, 65_535, 65_536, 69_998, 69_999] {
        let (mut court, mut parties) = duel(&right, &Made::new(lie(leaves, &[at], "wrong")));
        assert_eq!(play(&mut court, &mut parties), [right.answer().result_root], "{at}");
    }
}

#[test]
fn of_many_lies_the_leftmost_is_refuted() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let all: Vec<u64> = (300..leaves).collect();
    let (mut court, mut parties) = duel(&right, &Made::new(lie(leaves, &all, "wrong")));
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
    assert_eq!(court.trial.supporters[1].state(), SupporterState::Wrong);
    assert_eq!(court.trial.supporters[0].state(), SupporterState::In);
}

#[test]
fn silence_of_the_liar_at_any_move_does_not_help_it() {
    let leaves = 70_000;
    let right = Made::new(truth(leaves));
    let wrong = Made::new(lie(leaves, &[40_000], "wrong"));
    for patience in 0..8 {
        let (mut court, mut parties) = duel(&right, &wrong);
        parties[1].patience = patience;
        assert_eq!(play(&mut court, &mut parties), [right.answer().result_root], "{patience}");
    }
}

#[test]
fn honest_is_taken_anew_after_every_block_and_still_wins() {
    let leaves = 70_000;
    let right = Made::new(truth(leaves));
    let wrong = Made::new(lie(leaves, &[12_345], "wrong"));
    let (mut court, mut parties) = duel(&right, &wrong);
    while court.survivors().is_none() {
        parties[0] = Party::new(HONEST, right.clone(), false, false);
        let moves = parties.iter_mut().flat_map(|party| {
            let account = party.account;
            court.turn(&mut party.seat).into_iter().map(move |(_, it)| (account, it))
        });
        let moves = moves.collect();
        court.block(moves);
    }
    assert_eq!(court.survivors().unwrap(), [right.answer().result_root]);
}

#[test]
fn two_liars_that_differ_refute_each_other_and_the_honest_one_stays() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let (one, two) = (lie(leaves, &[500], "one"), lie(leaves, &[700], "two"));
    let (one, two) = (Made::new(one), Made::new(two));
    let members = [([HONEST; 20], &right), ([LIAR; 20], &one), ([OTHER; 20], &two)];
    let mut court = Court::open(&members);
    let mut parties = [
        Party::new(HONEST, right.clone(), false, false),
        Party::new(LIAR, one.clone(), false, true),
        Party::new(OTHER, two.clone(), false, true),
    ];
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
}

#[test]
fn an_auditor_alone_beats_a_committee_that_agrees_on_a_lie() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let wrong = Made::new(lie(leaves, &[500], "wrong"));
    let mut court = Court::open(&[([LIAR; 20], &wrong), ([OTHER; 20], &wrong)]);
    let mut parties = [
        Party::new(LIAR, wrong.clone(), false, true),
        Party::new(OTHER, wrong.clone(), false, true),
        Party::new(HONEST, right.clone(), true, false),
    ];
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
}

#[test]
fn an_auditor_puts_no_bond_where_an_honest_member_defends() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let (mut court, parties) = duel(&right, &Made::new(lie(leaves, &[500], "wrong")));
    let mut parties = Vec::from(parties);
    parties.push(Party::new(OTHER, right.clone(), true, false));
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
    assert!(court.trial.challenges.is_empty());
}

#[test]
fn an_auditor_steps_in_where_the_honest_member_is_gone() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let (mut court, parties) = duel(&right, &Made::new(lie(leaves, &[500], "wrong")));
    let mut parties = Vec::from(parties);
    parties[0].patience = 0;
    parties.push(Party::new(OTHER, right.clone(), true, false));
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
    assert_eq!(court.trial.challenges.len(), 1);
}

#[test]
fn an_auditor_challenges_at_half_time_what_an_accomplice_leaves_alone() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let (mut court, parties) = duel(&right, &Made::new(lie(leaves, &[500], "wrong")));
    let mut parties = Vec::from(parties);
    // It defends the right answer, and never calls the wrong one.
    parties[0].tame = true;
    parties.push(Party::new(OTHER, right.clone(), true, false));
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
    assert_eq!(court.trial.challenges.len(), 1);
    let states: Vec<_> = court.trial.supporters.iter().map(Supporter::state).collect();
    assert_eq!(states, [SupporterState::In, SupporterState::Wrong]);
}

#[test]
fn half_of_the_time_counts_heights_and_what_tracing_takes() {
    let defend = Window { blocks: 8, ms: 1_000 };
    let trial =
        Trial { defend_counter: 8, defend_time_ms: 60_000, trace_ms: 59_000, ..Trial::default() };
    let half_over =
        |clock, time_ms| Now { clock, time_ms, defend, ..Now::default() }.is_half_over(&trial);
    assert!(!half_over(4, 29_999) && !half_over(3, 30_000) && half_over(4, 30_000));
}

#[test]
fn an_auditor_brings_its_answer_once_and_none_where_the_trace_may_come_too_late() {
    let slow = Made { tracing: Duration::from_millis(1), ..Made::new(truth(10)) };
    let (one, two) = (Made::new(lie(10, &[5], "one")), Made::new(lie(10, &[5], "two")));
    let mut court = Court::open(&[([LIAR; 20], &one), ([HONEST; 20], &two)]);
    let brought = |court: &Court| {
        let moves = court.turn(&mut Party::new(OTHER, slow.clone(), true, false).seat);
        let brought = |(_, it): &(Intent, Move)| matches!(it, Move::Challenge { own: Some(_), .. });
        moves.iter().map(brought).collect::<Vec<_>>()
    };
    assert_eq!(brought(&court), [true, false]);
    court.height = 4;
    assert_eq!(brought(&court), [false, false]);
}

#[test]
fn whoever_recomputes_another_answer_than_it_revealed_concedes_and_does_nothing_else() {
    let right = Made::new(truth(10));
    let wrong = Made::new(lie(10, &[5], "wrong"));
    let court = Court::open(&[([LIAR; 20], &wrong), ([HONEST; 20], &right)]);
    let account = [LIAR; 20];
    let player = Player { account, operator: None, bonds: true, stubborn: false };
    let mut seat = Seat::new(player, right);
    let moves = court.turn(&mut seat);
    assert_eq!(moves, [(Intent::Concede, Move::Concede)]);
}

#[test]
fn a_bogus_trace_of_the_right_answer_falls_and_the_answer_stays() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let mut bogus = truth(leaves);
    bogus[400] = [7; 32];
    let wrong = Made::new(lie(leaves, &[500], "wrong"));
    let bogus = Made::new(bogus);
    let members = [([HONEST; 20], &right), ([LIAR; 20], &wrong), ([OTHER; 20], &bogus)];
    let mut court = Court::open(&members);
    let mut parties = [
        Party::new(HONEST, right.clone(), false, false),
        Party::new(LIAR, wrong.clone(), false, true),
        Party::new(OTHER, bogus.clone(), false, true),
    ];
    assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
    let states: Vec<_> = court.trial.supporters.iter().map(Supporter::state).collect();
    assert_eq!(states, [SupporterState::In, SupporterState::Wrong, SupporterState::Wrong]);
}

#[test]
fn a_move_is_made_once_and_again_when_it_did_not_help() {
    let right = Made::new(truth(10));
    let (mut court, mut parties) = duel(&right, &Made::new(lie(10, &[5], "wrong")));
    let seat = &mut parties[0].seat;
    let defends = |moves: &[(Intent, Move)]| moves.iter().any(|(it, _)| *it == Intent::Defend);
    assert!(defends(&court.turn(seat)));
    let mut again = Vec::new();
    for _ in 0..5 {
        court.block(Vec::new());
        again.push(defends(&court.turn(seat)));
    }
    assert_eq!(again, [false, false, false, true, false]);
}

#[test]
fn lists_that_do_not_lead_to_the_root_are_not_believed() {
    let leaves = 1000;
    let right = Made::new(truth(leaves));
    let wrong = Made::new(lie(leaves, &[500], "wrong"));
    let (mut court, mut parties) = duel(&right, &wrong);
    let moves = court.turn(&mut parties[1].seat);
    court.block(moves.into_iter().map(|(_, it)| ([LIAR; 20], it)).collect());
    let turn = parties[0].seat.turn(&court.trial, &court.now());
    let [node] = turn.missing[..] else { panic!("{:?}", turn.missing) };
    let mut bytes = wrong.open(node.level, node.position).unwrap().concat();
    bytes[0] ^= 1;
    let error = parties[0].seat.put(&court.trial, &court.now(), node, &bytes).unwrap_err();
    assert!(error.to_string().contains("ask another node"), "{error}");
}

#[test]
fn a_new_executor_of_a_member_goes_on_where_the_old_one_stopped() {
    let right = Made::new(truth(10));
    let wrong = Made::new(lie(10, &[5], "wrong"));
    let court = Court::open(&[([HONEST; 20], &right), ([LIAR; 20], &wrong)]);
    let operator = Some([HONEST; 20]);
    let player = Player { account: [OTHER; 20], operator, bonds: false, stubborn: false };
    let moves = court.turn(&mut Seat::new(player, right));
    assert!(matches!(moves[..], [(Intent::Defend, _)]), "{moves:?}");
}

#[test]
fn a_seat_forgets_what_was_opened_in_another_trial_of_the_job() {
    let right = Made::new(truth(1000));
    let mut honest = Party::new(HONEST, right.clone(), false, false);
    for (began, at) in [(5, 300), (90, 700)] {
        let wrong = Made::new(lie(1000, &[at], "wrong"));
        let (mut court, [_, liar]) = duel(&right, &wrong);
        court.trial.started_height = began;
        let mut parties = [honest, liar];
        assert_eq!(play(&mut court, &mut parties), [right.answer().result_root]);
        [honest, _] = parties;
    }
}
