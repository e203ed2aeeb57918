//! What must never change by accident: bytes of messages and transactions, codes, tables, who may
//! sign what, and the roots of a fixed life of a chain. `UPDATE_GOLDEN=1` writes the files anew.

use std::fmt::Write as _;
use std::path::Path;

use lockstep_chain::envelope::{Unsigned, tx_hash};
use lockstep_chain::state::tables;
use lockstep_chain::tx::{self, KINDS};
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::{JobState, MsgCommitResult, MsgRevealResult};
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_tests::actions;
use lockstep_tests::cluster::{Cluster, Plan};
use lockstep_tests::executor::{self, Behaviour};
use lockstep_tests::genesis::{LOCK, genesis, params};
use lockstep_tests::keys::Account;
use lockstep_vm::hash::Hex;
use prost_types::Any;

/// Compares with a committed file, line by line, so that a difference is easy to see.
fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; hint: UPDATE_GOLDEN=1", path.display()));
    for (number, (kept, made)) in (1..).zip(kept.lines().zip(made.lines())) {
        assert_eq!(kept, made, "{name}, line {number}");
    }
    assert_eq!(kept.lines().count(), made.lines().count(), "{name}");
}

fn signed(message: Any) -> Vec<u8> {
    let unsigned = Unsigned {
        chain_id: "lockstep-golden-1".to_owned(),
        account_number: 7,
        sequence: 42,
        fee: 1_000,
        gas_limit: 1_000_000,
        messages: vec![message],
        memo: "golden".to_owned(),
        timeout_height: 99,
        unordered_until_ms: None,
    };
    unsigned.sign(&Account::named("golden").key)
}

#[test]
fn the_bytes_of_messages_and_transactions_stay() {
    let mut made = String::new();
    for kind in KINDS {
        let message = (kind.example)();
        let tx = signed(message.clone());
        writeln!(made, "{} {} {}", kind.number, kind.name, message.type_url).unwrap();
        writeln!(made, "  message {}", Hex(&message.value)).unwrap();
        writeln!(made, "  tx {}", Hex(&tx)).unwrap();
        writeln!(made, "  tx hash {}", Hex(&tx_hash(&tx))).unwrap();
    }
    assert_eq!(made.lines().count(), 4 * KINDS.len());
    check("messages.txt", &made);
}

#[test]
fn codes_stay() {
    let mut made = String::new();
    for reject in tx::rejects() {
        writeln!(made, "{} {}", reject.code, reject.reason).unwrap();
    }
    check("codes.txt", &made);
}

#[test]
fn tables_stay() {
    let mut made = String::new();
    for (prefix, name) in tables::schema() {
        writeln!(made, "{prefix:#04x} {name}").unwrap();
    }
    check("tables.txt", &made);
}

#[test]
fn who_may_sign_what_stays() {
    let mut made = String::new();
    for kind in KINDS {
        let roles: Vec<_> = kind.roles.iter().map(Role::as_str_name).collect();
        let roles = if roles.is_empty() { "any member".to_owned() } else { roles.join(" ") };
        let fee = if kind.duty { "free within the quota" } else { "fee" };
        writeln!(made, "{}: {roles}, {fee}", kind.name).unwrap();
    }
    check("roles.txt", &made);
}

/// A life of a chain, and the root after each of its blocks.
struct Script {
    cluster: Cluster,
    lines: String,
}

impl Script {
    fn note(&mut self, what: &str) {
        writeln!(self.lines, "{what} {}", Hex(&self.cluster.root())).unwrap();
    }

    fn act(&mut self, what: &str, signer: &str, message: Any) {
        let tx = self.cluster.tx(signer, vec![message]);
        self.cluster.deliver(vec![tx]);
        self.note(what);
    }

    fn pass(&mut self, what: &str, heights: u32) {
        for number in 1..=heights {
            self.cluster.block(Plan::default());
            self.note(&format!("{what} {number}"));
        }
    }

    /// Commitments, then reveals, as transactions: the votes carry none.
    fn by_transaction(&mut self, job: u64) {
        self.cluster.behaviours.fill(Behaviour::Dead);
        for (what, heights) in [("commit_result", 0), ("reveal_result", 0)] {
            let mut txs = Vec::new();
            for me in self.cluster.validators.clone() {
                let state = self.cluster.state();
                let offers = executor::offers(state, &[], &me, Behaviour::Honest, 0);
                let commitments = offers.commitments.into_iter().map(|item| {
                    any(&MsgCommitResult {
                        executor: me.executor.text(),
                        job: item.job,
                        attempt: item.attempt,
                        commitment: item.commitment,
                    })
                });
                let reveals = offers.reveals.into_iter().map(|item| {
                    any(&MsgRevealResult {
                        executor: me.executor.text(),
                        job: item.job,
                        attempt: item.attempt,
                        salt: item.salt,
                        result_root: item.result_root,
                    })
                });
                let messages: Vec<_> = commitments.chain(reveals).collect();
                if !messages.is_empty() {
                    let unsigned = self.cluster.unsigned(&me.executor.name, messages);
                    txs.push(Unsigned { fee: 0, ..unsigned }.sign(&me.executor.key));
                }
            }
            assert_eq!(txs.len(), 2, "both members");
            self.cluster.deliver(txs);
            self.note(what);
            self.pass("quiet", heights);
        }
        assert_eq!(self.cluster.job(job).state(), JobState::Verified);
        self.cluster.behaviours.fill(Behaviour::Honest);
    }
}

#[test]
fn the_roots_of_a_fixed_life_stay() {
    let genesis = genesis(&[100, 50, 60, 70], params());
    let mut script = Script { cluster: Cluster::new(&genesis), lines: String::new() };
    script.note("genesis");
    script.pass("quiet", 1);
    script.act("send", "dev0", actions::send("dev0", "dev1", 123));
    script.act("register_model", "author0", actions::register("author0", "base", 1_000, &[]));
    script.act("publish_version", "author0", actions::publish("author0", "base"));
    script.pass("possession", 2);
    let child = actions::register("author1", "child", 10_000, &[("base", 4_000)]);
    script.act("register_model", "author1", child);
    script.act("publish_version", "author1", actions::publish("author1", "child"));
    script.pass("possession", 2);
    script.act("set_alias", "author1", actions::alias("author1", "child", "stable", 1));
    script.act("pay_royalty", "dev1", actions::royalty("dev1", "child:stable", 777));
    script.act("post_job", "dev0", any(&actions::job("dev0", "child:1", &[0, 1, 2, 3])));
    script.pass("job by votes", 9);
    assert_eq!(script.cluster.job(1).state(), JobState::Final);
    script.act("post_job", "dev0", any(&actions::job("dev0", "base", &[3])));
    script.by_transaction(2);
    script.pass("delivery", 5);
    assert_eq!(script.cluster.job(2).state(), JobState::Final);
    script.act("post_job", "dev0", any(&actions::blob_job("dev0", "base", &[2; 8])));
    script.act("cancel_job", "dev0", actions::cancel("dev0", 3));
    script.act("grant_role", "council", actions::grant("newcomer", Role::Developer, None));
    script.act("revoke_role", "council", actions::revoke("newcomer", Role::Developer));
    script.act("create_validator", "val4", actions::create_validator(4, 30));
    script.act("delegate", "delegator", actions::delegate("delegator", 4, 5 * LOCK));
    script.act("undelegate", "delegator", actions::undelegate("delegator", 4, 2 * LOCK));
    script.cluster.behaviours[1] = Behaviour::LiesFrom(4);
    for _ in 0..3 {
        script.act("post_job", "dev1", any(&actions::job("dev1", "child", &[1])));
        script.pass("trial", 12);
    }
    assert!(script.cluster.totals().slashes > 0);
    check("roots.txt", &script.lines);
}
