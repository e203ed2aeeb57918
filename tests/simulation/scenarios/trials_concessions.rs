//! Hardware faults: whoever recomputes, sees that it was wrong and says so in time, loses little; the
//! more often, the more.

use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::{JobState, MemberState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_proto::lockstep::trial::v1::MsgConcede;
use lockstep_tests::executor::{Behaviour, Claim};
use lockstep_tests::keys::Account;
use lockstep_tests::party::{Kind, Manner};

use super::books::{Books, FINAL, changes, exec, val};
use super::trials_lies::{HALF, MOVE, PREMIUM};
use super::{
    STAKE, all_but, four, four_with, is_right, made, manner, paid, post_to_two, set, tokens, until,
    verdicts,
};

#[test]
fn a_hardware_fault_that_is_conceded_costs_a_thousandth_or_ten_fees_and_the_fee() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [faulty, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, faulty, Behaviour::LiesOnceFor(id));
    manner(&mut cluster, &exec(faulty), Manner::saying(Claim::Truth));
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert_eq!(made(&cluster, &exec(faulty), Kind::Concede), 1);
    let operator = cluster.validators[faulty].operator.address;
    let member = job.members.iter().find(|member| member.validator == operator).unwrap();
    assert_eq!(member.state(), MemberState::Conceded);
    assert_eq!(paid(&job, PayoutKind::Executor), [7_000], "its fee goes to the other");
    assert_eq!(verdicts(&cluster), [(faulty, Offence::Conceded, STAKE / 1000)]);
    assert_eq!(tokens(&cluster), all_but(faulty, STAKE - STAKE / 1000));
    assert_eq!(cluster.validator(faulty).proven_wrong, 0);
    let name = val(honest);
    let expected = FINAL.into_iter().chain([(name.as_str(), 7_000), ("burned", 100_000)]);
    assert_eq!(before.changes(&cluster), changes(expected), "it was over before anybody moved");
}

#[test]
fn concessions_within_a_year_cost_a_thousandth_then_a_tenth_then_half() {
    let mut cluster = four_with(|params| params.epoch_blocks = 5);
    let faulty = 0;
    manner(&mut cluster, &exec(faulty), Manner::saying(Claim::Truth));
    set(&mut cluster, faulty, Behaviour::LiesFrom(1));
    let mut stake = STAKE;
    for share in [1000, 10, 2, 2] {
        let earlier = verdicts(&cluster).len();
        while verdicts(&cluster).len() == earlier {
            let before = Books::of(&cluster);
            let (id, members) = post_to_two(&mut cluster);
            until(&mut cluster, id, JobState::Final);
            cluster.run(4);
            assert!(is_right(&cluster, id));
            let names = members.map(val);
            let burned = i64::try_from(stake / share).unwrap();
            let expected: [(&str, i64); 3] = match members.iter().position(|it| *it == faulty) {
                Some(at) => [(&names[1 - at], 7_000), ("burned", burned), ("burned", 0)],
                None => [(&names[0], 3_500), (&names[1], 3_500), ("burned", 0)],
            };
            let expected = FINAL.into_iter().chain(expected);
            assert_eq!(before.changes(&cluster), changes(expected));
        }
        let last = verdicts(&cluster).pop().unwrap();
        assert_eq!(last, (faulty, Offence::Conceded, stake / share));
        stake -= stake / share;
        assert_eq!(tokens(&cluster), all_but(faulty, stake));
    }
    assert!(!cluster.validator(faulty).tombstoned);
}

#[test]
fn a_concession_after_the_own_trace_was_posted_is_refused_and_silence_then_costs_half() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, honest]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    until(&mut cluster, id, JobState::OnTrial);
    cluster.run(1);
    assert_eq!(made(&cluster, &exec(liar), Kind::Defend), 1);
    // Now it regrets.
    let name = exec(liar);
    manner(&mut cluster, &name, Manner::saying(Claim::Truth));
    let concede = any(&MsgConcede { executor: Account::named(&name).text(), job: id });
    let tx = cluster.tx(&name, vec![concede]);
    assert_eq!(cluster.outcome_of(tx).code, 5100);
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert!(is_right(&cluster, id));
    assert_eq!(verdicts(&cluster), [(liar, Offence::WrongResult, STAKE / 2)]);
    // One call was enough: nobody opened what was called.
    let gain = PREMIUM + MOVE;
    let (name, liar) = (val(honest), exec(liar));
    let expected = FINAL.into_iter().chain([
        (name.as_str(), 7_000 + gain),
        (liar.as_str(), -1_000),
        ("treasury", 1_000),
        ("burned", HALF - gain),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn where_all_members_concede_others_try_again() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, members) = post_to_two(&mut cluster);
    for (number, member) in (0..).zip(members) {
        set(&mut cluster, member, Behaviour::Invents(number));
        manner(&mut cluster, &exec(member), Manner::saying(Claim::Truth));
    }
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 2);
    cluster.run(25);
    let mut found = verdicts(&cluster);
    found.sort_by_key(|(number, ..)| *number);
    let mut expected = members.map(|number| (number, Offence::Conceded, STAKE / 1000));
    expected.sort_by_key(|(number, ..)| *number);
    assert_eq!(found, expected);
    let names: Vec<_> = (0..4).filter(|n| !members.contains(n)).map(val).collect();
    let paid = names.iter().map(|name| (name.as_str(), 3_500));
    let expected = FINAL.into_iter().chain(paid).chain([("burned", 200_000)]);
    assert_eq!(before.changes(&cluster), changes(expected));
}
