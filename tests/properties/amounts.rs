//! Every amount at the ends of its range, and what a failed transaction may leave behind.

use std::collections::BTreeSet;

use lockstep_chain::envelope::Unsigned;
use lockstep_chain::state::tables::{ACCOUNTS, TIP};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::MsgPostJob;
use lockstep_tests::actions;
use lockstep_tests::genesis::BALANCE;

use crate::fixture;

const ENDS: [u64; 9] =
    [0, 1, BALANCE - 1, BALANCE, 1 << 62, (1 << 62) + 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];

#[test]
fn amounts_at_the_ends_of_their_range_stop_no_node_and_break_no_invariant() {
    let mut cluster = fixture();
    let (mut good, mut bad) = (0, 0);
    for amount in ENDS {
        let small = u32::try_from(amount).unwrap_or(u32::MAX);
        let name = format!("model-{amount}");
        let job = || actions::job("dev1", "child", &[1]);
        let blob = || actions::blob_job("dev1", "child", &[1]);
        let messages = [
            ("dev0", actions::send("dev0", "dev1", amount)),
            ("dev0", actions::send("dev0", "dev0", amount)),
            ("delegator", actions::delegate("delegator", 1, amount)),
            ("delegator", actions::undelegate("delegator", 1, amount)),
            ("council", actions::royalty("council", "child", amount)),
            ("author0", actions::register("author0", &name, amount, &[])),
            ("author1", actions::register("author1", "share", 1, &[("base", small)])),
            ("author1", actions::alias("author1", "child", "stable", small)),
            ("dev1", any(&MsgPostJob { max_fee: amount, ..job() })),
            ("dev1", any(&MsgPostJob { deadline_blocks: amount, ..job() })),
            ("dev1", any(&MsgPostJob { input_bytes: amount, ..blob() })),
            ("dev1", any(&MsgPostJob { input_bytes: amount, ..job() })),
            ("dev1", actions::cancel("dev1", amount)),
            ("val5", actions::create_validator(5, amount / 1_000_000)),
        ];
        for (signer, message) in messages {
            let tx = cluster.tx(signer, vec![message]);
            // Past the mempool and the proposer, which would drop most of them.
            if cluster.forced(tx).code == 0 {
                good += 1;
            } else {
                bad += 1;
            }
        }
    }
    cluster.run(30);
    assert!(good > 10 && bad > 60, "{good} good, {bad} bad");
}

#[test]
fn envelopes_at_the_ends_of_their_range_stop_no_node() {
    let mut cluster = fixture();
    let mut refused = 0;
    for end in ENDS {
        let changes: [&dyn Fn(&mut Unsigned); 6] = [
            &|tx| tx.fee = end,
            &|tx| tx.gas_limit = end,
            &|tx| tx.timeout_height = end,
            &|tx| tx.account_number = end,
            &|tx| tx.sequence = end,
            &|tx| {
                tx.sequence = 0;
                tx.unordered_until_ms = Some(end);
            },
        ];
        for change in changes {
            let mut tx = cluster.unsigned("dev0", vec![actions::send("dev0", "dev1", 1)]);
            change(&mut tx);
            let signed = tx.sign(&cluster.keys("dev0").key);
            // Past the mempool and the proposer, as a hostile proposer would.
            refused += u32::from(cluster.forced(signed).code != 0);
        }
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_failed_transaction_leaves_its_fee_and_sequence_and_nothing_else() {
    let mut cluster = fixture();
    let failing = [
        ("dev0", vec![actions::send("dev0", "dev1", 5), actions::send("dev0", "dev1", u64::MAX)]),
        ("author0", vec![actions::register("author0", "base", 1, &[])]),
        ("delegator", vec![actions::delegate("delegator", 7, 5)]),
        ("dev1", vec![actions::cancel("dev1", 1)]),
    ];
    let mut compared = 0;
    for (signer, messages) in failing {
        let address = cluster.keys(signer).address;
        let before = cluster.account(signer);
        let supply = cluster.totals().supply;
        let tx = cluster.tx(signer, messages);
        let quiet = cluster.dry(&[]);
        let with = cluster.dry(std::slice::from_ref(&tx));
        let treasury = cluster.keys("treasury").address;
        let allowed = [ACCOUNTS.key(&address), ACCOUNTS.key(&treasury), TIP.key(&())];
        let extra: BTreeSet<_> = with
            .iter()
            .filter(|(key, value)| quiet.get(*key) != Some(value))
            .map(|(key, _)| key.clone())
            .collect();
        assert!(extra.iter().all(|key| allowed.contains(key)), "{signer}");
        let outcome = cluster.outcome_of(tx);
        assert_ne!(outcome.code, 0);
        let after = cluster.account(signer);
        assert_eq!(after.sequence, before.sequence + 1);
        assert_eq!(after.balance, before.balance - 1_000);
        assert!(cluster.totals().supply <= supply);
        compared += 1;
    }
    assert_eq!(compared, 4);
}

#[test]
fn a_transaction_without_gas_for_its_messages_does_not_run_them() {
    let mut cluster = fixture();
    let message = actions::send("dev0", "dev1", 5);
    let mut tx = cluster.unsigned("dev0", vec![message; 64]);
    tx.gas_limit = 100_000;
    let signed = tx.sign(&cluster.keys("dev0").key);
    let outcome = cluster.outcome_of(signed);
    assert_eq!(outcome.code, 15);
    // It stops at the message that went over the limit.
    assert!(outcome.gas_used < 110_000, "{}", outcome.gas_used);
}
