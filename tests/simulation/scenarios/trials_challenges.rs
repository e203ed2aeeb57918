//! Challenges of right answers: they cost their bond and a few blocks, and change nothing.

use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::{JobState, PayoutKind};
use lockstep_proto::lockstep::trial::v1::MsgChallenge;
use lockstep_tests::cluster::{Cluster, Plan};
use lockstep_tests::executor::{Behaviour, Claim};
use lockstep_tests::keys::Account;
use lockstep_tests::party::{Kind, Manner};
use prost_types::Any;

use super::books::{Books, Changes, FINAL, changes, exec, val};
use super::trials_lies::{BOND, HALF, MOVE, PREMIUM};
use super::{
    STAKE, committee, four, is_right, made, manner, paid, post_child, post_to_two, refused, set,
    tokens, until, verdicts,
};

/// A challenge of the answer that stands.
pub(super) fn challenge(cluster: &Cluster, who: &str, job: u64) -> Any {
    any(&MsgChallenge {
        challenger: Account::named(who).text(),
        job,
        result_root: cluster.job(job).result_root,
        own_result_root: Vec::new(),
    })
}

#[test]
fn a_challenge_that_is_never_played_costs_its_bond_and_the_answer_stands() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, members) = post_to_two(&mut cluster);
    let verified = until(&mut cluster, id, JobState::Verified);
    let message = challenge(&cluster, "auditor0", id);
    let tx = cluster.tx("auditor0", vec![message]);
    cluster.deliver(vec![tx]);
    assert_eq!(cluster.job(id).state(), JobState::OnTrial);
    assert_eq!(cluster.totals().bonds, 5_000_000);
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.verified_height, verified.verified_height, "it stood all the time");
    assert_eq!(paid(&job, PayoutKind::Executor), [3_500; 2]);
    assert_eq!(verdicts(&cluster), []);
    assert_eq!((tokens(&cluster), cluster.totals().bonds), (vec![STAKE; 4], 0));
    // Both members had posted a trace, which is a move each.
    let names = members.map(val);
    let expected = FINAL.into_iter().chain([
        (names[0].as_str(), 3_500 + MOVE),
        (names[1].as_str(), 3_500 + MOVE),
        ("auditor0", -BOND - 1_000),
        ("treasury", 1_000),
        ("burned", BOND - 2 * MOVE),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn a_false_challenger_that_plays_to_the_end_loses_both_its_bonds() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, mut members) = post_to_two(&mut cluster);
    members.sort_unstable();
    let liar = Manner { watches: true, ..Manner::saying(Claim::Lie(3)) };
    manner(&mut cluster, "auditor0", liar);
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 1);
    assert_eq!(paid(&job, PayoutKind::Executor), [3_500; 2]);
    assert_eq!(verdicts(&cluster), []);
    assert_eq!(tokens(&cluster), [STAKE; 4]);
    assert_eq!(before.changes(&cluster), lost_by("auditor0", members));
}

/// A false challenger has lost both its bonds, for the challenge and for its own answer.
fn lost_by(who: &str, [refuted, called]: [usize; 2]) -> Changes {
    let names = [val(refuted), val(called)];
    // Of each member's trace a node was opened and a leaf proved; both called the false one, which the
    // first of them refuted.
    let defence = 3 * MOVE;
    changes(FINAL.into_iter().chain([
        (who, -2 * BOND - 1_000),
        ("treasury", 1_000),
        (names[0].as_str(), 3_500 + defence + PREMIUM / 2 + 2 * MOVE),
        (names[1].as_str(), 3_500 + defence + PREMIUM / 2 + MOVE),
        ("burned", 2 * BOND - 2 * defence - PREMIUM - 3 * MOVE),
    ]))
}

#[test]
fn an_executor_outside_the_committee_that_challenges_falsely_loses_bonds_and_no_stake() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, mut members) = post_to_two(&mut cluster);
    members.sort_unstable();
    let outside = (0..4).find(|number| !members.contains(number)).unwrap();
    let liar = Manner { watches: true, ..Manner::saying(Claim::Lie(1)) };
    manner(&mut cluster, &exec(outside), liar);
    until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(verdicts(&cluster), []);
    assert_eq!(tokens(&cluster), [STAKE; 4]);
    assert_eq!(before.changes(&cluster), lost_by(&exec(outside), members));
}

#[test]
fn a_wrong_witness_refutes_nothing_and_the_trace_stands() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [liar, spoiler]) = post_to_two(&mut cluster);
    set(&mut cluster, liar, Behaviour::LiesOnceFor(id));
    let spoils = Manner { spoils_witnesses: true, ..Manner::default() };
    manner(&mut cluster, &exec(spoiler), spoils.clone());
    // The liar calls nothing, so that the other's trace stands, too.
    manner(&mut cluster, &exec(liar), Manner::mute(&[Kind::FirstCall]));
    let job = until(&mut cluster, id, JobState::Final);
    cluster.run(25);
    assert_eq!(refused(&cluster, &exec(spoiler), Kind::Refute), [5001, 5001], "it tried again");
    assert!(is_right(&cluster, id));
    assert_eq!(job.attempt, 2, "both answers survived");
    assert_eq!(verdicts(&cluster), []);
    let names: Vec<_> = committee(&cluster, id).into_iter().map(val).collect();
    let paid = names.iter().map(|name| (name.as_str(), 3_500));
    assert_eq!(before.changes(&cluster), changes(FINAL.into_iter().chain(paid)));
}

#[test]
fn a_wrong_witness_proves_nothing_and_another_supporter_brings_a_right_one() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, [spoiler, honest]) = post_to_two(&mut cluster);
    manner(
        &mut cluster,
        &exec(spoiler),
        Manner { spoils_witnesses: true, mute: [Kind::Refute].into(), ..Manner::default() },
    );
    let liar = Manner { watches: true, ..Manner::saying(Claim::Lie(3)) };
    manner(&mut cluster, "auditor0", liar);
    until(&mut cluster, id, JobState::Final);
    cluster.run(4);
    assert_eq!(refused(&cluster, &exec(spoiler), Kind::Prove), [5001]);
    assert!(is_right(&cluster, id));
    assert_eq!(verdicts(&cluster), []);
    assert_eq!(made(&cluster, &exec(honest), Kind::Prove), 2, "of its own trace, and of the other");
    assert_eq!(before.changes(&cluster), lost_by("auditor0", [honest, spoiler]));
}

#[test]
fn challenge_spam_costs_a_bond_for_each_and_cannot_keep_a_job_from_its_end() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, members) = post_to_two(&mut cluster);
    until(&mut cluster, id, JobState::Verified);
    let spammers = ["auditor0", "auditor1", "auditor2"];
    let mut rounds = 0;
    while cluster.job(id).state() != JobState::Final {
        let mut txs = Vec::new();
        if cluster.job(id).state() == JobState::Verified && rounds < 3 {
            rounds += 1;
            for who in spammers {
                let message = challenge(&cluster, who, id);
                txs.push(cluster.tx(who, vec![message.clone()]));
                // A second one for the same answer is refused.
                txs.push(cluster.tx(who, vec![message]));
            }
        }
        cluster.block(Plan { txs, ..Plan::default() });
        assert!(cluster.height < 200);
    }
    assert!(is_right(&cluster, id));
    assert_eq!(rounds, 3);
    assert_eq!(cluster.job(id).attempt, 1);
    assert_eq!(verdicts(&cluster), []);
    assert_eq!((tokens(&cluster), cluster.totals().bonds), (vec![STAKE; 4], 0));
    // Each member posts its trace in each round, and is paid for that move alone.
    let names = members.map(val);
    let expected = FINAL.into_iter().chain([
        (names[0].as_str(), 3_500 + 3 * MOVE),
        (names[1].as_str(), 3_500 + 3 * MOVE),
        ("auditor0", 3 * (-BOND - 2_000)),
        ("auditor1", 3 * (-BOND - 2_000)),
        ("auditor2", 3 * (-BOND - 2_000)),
        ("treasury", 18_000),
        ("burned", 9 * BOND - 6 * MOVE),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
}

#[test]
fn several_challengers_of_one_lie_share_the_premium_and_lose_nothing() {
    let mut cluster = four();
    let before = Books::of(&cluster);
    let (id, liars) = post_to_two(&mut cluster);
    cluster.behaviours.fill(Behaviour::LiesFrom(id));
    for who in ["auditor0", "auditor1", "auditor2"] {
        manner(&mut cluster, who, Manner::watching());
    }
    let job = until(&mut cluster, id, JobState::Final);
    assert!(is_right(&cluster, id));
    assert_eq!(job.earners.len(), 1, "who came first brought the answer");
    cluster.run(25);
    assert_eq!(verdicts(&cluster).len(), 2);
    assert!(verdicts(&cluster).iter().all(|it| liars.contains(&it.0)));
    // In each of two verdicts a third of the premium, and what the moves cost: the first one refutes.
    let third = PREMIUM / 3;
    let others = 2 * (third + MOVE) - 1_000;
    let expected = FINAL.into_iter().chain([
        ("auditor0", 7_000 + 2 * (third + 2 * MOVE) - 1_000),
        ("auditor1", others),
        ("auditor2", others),
        ("treasury", 3_000),
        ("burned", 2 * (HALF - 3 * third - 4 * MOVE)),
    ]);
    assert_eq!(before.changes(&cluster), changes(expected));
    assert_eq!(cluster.totals().bonds, 0);
}

#[test]
fn a_challenge_after_the_window_is_refused_and_takes_no_bond() {
    let mut cluster = four();
    let id = post_child(&mut cluster);
    until(&mut cluster, id, JobState::Final);
    let message = challenge(&cluster, "auditor0", id);
    let tx = cluster.tx("auditor0", vec![message]);
    assert_eq!(cluster.outcome_of(tx).code, 4600);
    assert_eq!(cluster.totals().bonds, 0);
    // Nor may anyone without the role.
    let id = post_child(&mut cluster);
    until(&mut cluster, id, JobState::Verified);
    let message = challenge(&cluster, "dev1", id);
    let tx = cluster.tx("dev1", vec![message]);
    assert_ne!(cluster.outcome_of(tx).code, 0);
    assert_eq!(committee(&cluster, id).len(), 2);
    assert_eq!(cluster.job(id).state(), JobState::Verified);
}
