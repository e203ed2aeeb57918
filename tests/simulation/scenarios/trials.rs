//! Who wins a trial, and what it costs the loser.

use lockstep_proto::lockstep::job::v1::{JobState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::cluster::Plan;
use lockstep_tests::executor::Behaviour;

use super::{STAKE, all_but, committee, four, paid, post_child, set, slashes, tokens, until};

#[test]
#[ignore = "needs executors that defend their answers"]
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
