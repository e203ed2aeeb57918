//! Receipts and books of a real network.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lockstep_audit::light::Anchor;
use lockstep_audit::{Stop, receipt};
use lockstep_client::job::{self, Until};
use lockstep_client::tx::{self, message};
use lockstep_client::wallet::Wallet;
use lockstep_tests::binary;
use lockstep_tests::network::Network;
use serde_json::Value;

use super::{MACHINE, publish_small_model, run};

/// How the audit ended, and its JSON.
fn audit(arguments: &[&str]) -> (i32, Value) {
    let Output { status, stdout, stderr } = Command::new(binary("lockstep"))
        .args(["audit", "--json"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report = serde_json::from_slice(&stdout);
    let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&stderr)));
    (status.code().unwrap(), report)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_receipt_is_verified_offline_recomputed_and_refused_where_a_byte_is_flipped() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("net");
    let mut network =
        Network::start(&home, &["--validators", "2", "--base-port", "27300"]).unwrap();
    let client = network.client(0).unwrap();
    network.wait_height(2).await.unwrap();
    let ids = publish_small_model(&client, folder.path(), &network.nodes[0].blobs).await;
    let developer = Wallet::test_account("dev0").unwrap();
    let post = message::post_job(&developer, "tiny", &ids, 1_000_000);
    let pay = message::pay_royalty(&developer, "tiny", 12_345, "for the test");
    let options = tx::Options::default();
    tx::succeeded(tx::send(&client, &developer, vec![post, pay], &options).await.unwrap()).unwrap();
    job::wait(&client, 1, Until::Final, Duration::from_mins(2)).await.unwrap();

    let file = folder.path().join("receipt.json");
    let rpc = network.nodes[0].rpc.clone();
    let genesis = network.nodes[0].home.join("cometbft/config/genesis.json");
    run(Command::new(binary("lockstep"))
        .args(["--node", &rpc, "job", "receipt", "1", "--out"])
        .arg(&file));
    for what in ["supply", "escrow", "royalties", "stake"] {
        let (exit, report) = audit(&[what, "--genesis", text(&genesis), "--blocks", &rpc]);
        assert_eq!((exit, &report["verdict"]), (0, &"pass".into()), "{what}: {report}");
        let lines = report["facts"][what].as_array().unwrap();
        assert!(lines.iter().any(|line| line["booked"].as_u64() > Some(0)), "{report}");
    }
    // Two proofs of the state, one by what is trusted from the genesis on.
    let proved = run(Command::new(binary("lockstep"))
        .args(["--node", &rpc, "--json", "query", "--prove", "job", "1", "--genesis"])
        .arg(&genesis));
    let proved: Value = serde_json::from_slice(&proved.stdout).unwrap();
    assert_eq!(proved["proof"]["anchored"], true, "{proved}");
    network.stop().unwrap();

    // From here on nobody is asked.
    let start = Instant::now();
    let (exit, report) = audit(&["verify", text(&file), "--genesis", text(&genesis)]);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((exit, &report["facts"]["state"]), (0, &"final".into()), "{report}");
    assert_eq!(report["facts"]["recomputed"], false, "{report}");
    // The set of validators alone is that of the network which is named beside it.
    let (set, chain) = (&report["facts"]["validators_hash"], &report["chain_id"]);
    for (chain, must) in [(chain.as_str().unwrap(), 0), ("another", 10)] {
        let set = ["--validators-hash", set.as_str().unwrap(), "--chain-id", chain];
        let (exit, report) = audit(&[&["verify", text(&file)], &set[..]].concat());
        assert_eq!(exit, must, "{report}");
    }
    let (exit, report) = audit(&["verify", text(&file)]);
    assert_eq!((exit, &report["verdict"]), (11, &"incomplete".into()), "{report}");
    let artefact = folder.path().join("tiny.lockstep");
    let again = ["--recompute", "--artefact", text(&artefact), "--genesis", text(&genesis)];
    let (exit, report) = audit(&[&["verify", text(&file)], &again[..]].concat());
    assert_eq!((exit, &report["facts"]["recomputed"]), (0, &true.into()), "{report}");
    let bytes = std::fs::read(&file).unwrap();
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1 << (at % 8);
        let end = receipt::check(&wrong, &Anchor::default());
        assert!(matches!(end, Err(Stop::Difference(_))), "byte {at}");
    }
    let mut wrong = bytes;
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    std::fs::write(&file, wrong).unwrap();
    let (exit, report) = audit(&["verify", text(&file), "--genesis", text(&genesis)]);
    assert_eq!((exit, &report["verdict"]), (10, &"difference".into()), "{report}");
}
