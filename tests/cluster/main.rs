//! Real networks of real processes: CometBFT, lockstepd and executors on this machine.
//!
//! One test at a time: a network of four validators takes both cores of a small machine.

mod audit;
mod receipts;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lockstep_client::rpc::Client;
use lockstep_client::tx::{self, message};
use lockstep_client::wallet::Wallet;
use lockstep_client::{blobs, query};
use lockstep_tests::binary;
use lockstep_tests::network::{Network, wait_held};
use serde_json::Value;
use tokio::sync::Mutex;

/// Held by whichever test runs a network.
static MACHINE: Mutex<()> = Mutex::const_new(());

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The wallet's commands that no other test here sends, each by who may.
fn use_every_command(rpc: &str, operator: &str) {
    let key = "ab".repeat(32);
    let commands: [(&str, &[&str]); 9] = [
        ("author1", &["model", "register", "child", "--licence", "MIT", "--price", "0.001lock"]),
        (
            "author1",
            &[
                "model",
                "register",
                "other",
                "--licence",
                "MIT",
                "--price",
                "1ulock",
                "--parent",
                "tiny=40%",
            ],
        ),
        ("author0", &["model", "alias", "tiny", "stable", "1"]),
        ("dev2", &["royalty", "pay", "tiny:stable", "0.5lock", "--reference", "batch 7"]),
        ("dev2", &["stake", "delegate", operator, "3lock"]),
        ("dev2", &["stake", "undelegate", operator, "1lock"]),
        ("council", &["role", "grant", "dev3", "validator"]),
        ("dev3", &["stake", "create", "50lock", "--consensus-key", &key, "--moniker", "third"]),
        ("council", &["role", "revoke", "dev3", "validator"]),
    ];
    for (from, arguments) in commands {
        let node = ["--node", rpc];
        run(Command::new(binary("lockstep"))
            .args(node)
            .args(arguments)
            .args(["--from", from, "--yes"]));
    }
}

fn model_folder() -> PathBuf {
    std::env::var_os("LOCKSTEP_MINILM").map_or_else(
        || std::env::home_dir().unwrap().join(".cache/lockstep/models/all-MiniLM-L6-v2"),
        PathBuf::from,
    )
}

/// Imports the small model of the repository and publishes it; returns its token ids for a text.
async fn publish_small_model(client: &Client, folder: &Path, service: &str) -> Vec<u32> {
    let artefact = folder.join("tiny.lockstep");
    run(Command::new(binary("lockstep"))
        .args(["model", "import"])
        .arg(repository().join("models/tiny-encoder"))
        .arg("--out")
        .arg(&artefact));
    let owner = Wallet::test_account("author0").unwrap();
    let mut reader = blobs::open(&artefact).unwrap();
    let manifest = reader.manifest().encode().to_vec();
    let options = tx::Options::default();
    for message in [
        message::register_model(&owner, "tiny", "Apache-2.0", 500, &[]),
        message::publish_version(&owner, "tiny", &manifest),
    ] {
        let included = tx::send(client, &owner, vec![message], &options).await.unwrap();
        tx::succeeded(included).unwrap();
    }
    blobs::upload(service, &artefact, |_, _| {}).await.unwrap();
    wait_held(client, query::version(client, "tiny").await.unwrap().id).await.unwrap();
    let tokens_max = reader.manifest().verified().tokens_max();
    let bytes = reader.attachment(lockstep_client::text::ATTACHMENT).unwrap();
    let tokenizer = lockstep_client::text::Tokenizer::new(&bytes, tokens_max).unwrap();
    tokenizer.encode("The cat sat on the mat.").unwrap().ids
}

#[test]
fn the_main_job_runs_end_to_end_and_the_demo_writes_what_it_measured() {
    let _machine = MACHINE.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.json");
    run(Command::new(binary("lockstep-demo"))
        .args(["--json"])
        .arg(&file)
        .arg("--model")
        .arg(model_folder()));
    let seen: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(seen["cometbft"], "0.38.25");
    assert_eq!(seen["validators"], 4);
    assert!(seen["jobs"].as_u64().unwrap() >= 24, "{seen}");
    assert!(seen["cosine"]["min"].as_f64().unwrap() >= 0.995, "{seen}");
    assert!(seen["cosine"]["median"].as_f64().unwrap() >= 0.9995, "{seen}");
    assert!(seen["posted_to_verified"]["blocks_p50"].as_u64().unwrap() >= 4, "{seen}");
    assert_eq!(seen["lies"], 1);
    let slashes = seen["slashes"].as_array().unwrap();
    assert_eq!(slashes.len(), 1, "{seen}");
    // Half of 100,000 LOCK.
    assert_eq!(slashes[0]["amount"], 50_000_000_000_u64);
    assert_eq!(slashes[0]["reason"], "wrong result");
    assert_eq!(seen["supply_exact"], true);
    let payouts = &seen["payouts"];
    let authors = payouts["authors"].as_object().unwrap();
    assert_eq!(authors.len(), 2, "{seen}");
    let parts: u64 =
        ["executors", "treasury", "burn"].iter().map(|k| payouts[k].as_u64().unwrap()).sum();
    let authors: u64 = authors.values().map(|amount| amount.as_u64().unwrap()).sum();
    assert_eq!(payouts["total"].as_u64().unwrap(), parts + authors);
    let hashes = seen["app_hashes"]["hashes"].as_array().unwrap();
    assert_eq!(hashes.len(), 4);
    assert!(hashes.iter().all(|hash| hash == &hashes[0] && hash.as_str().unwrap().len() == 64));
}

#[test]
fn one_honest_executor_beats_three_liars_and_the_audit_finds_a_flipped_bit() {
    let _machine = MACHINE.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.json");
    run(Command::new(binary("lockstep-demo"))
        .args(["--dispute", "--json"])
        .arg(&file)
        .arg("--model")
        .arg(model_folder()));
    let seen: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(seen["game"]["games"], 3, "{seen}");
    assert!(seen["game"]["witness_bytes"].as_u64().unwrap() <= 128 << 10, "{seen}");
    let sorted = |name: &str| {
        let rows = seen[name].as_array().unwrap().iter().map(ToString::to_string);
        rows.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(sorted("slashes"), sorted("expected_slashes"));
    assert_eq!(sorted("slashes").len(), 3, "{seen}");
    assert_eq!(seen["honest_lost"], 0);
    assert_eq!(seen["result_right"], true);
    assert_eq!(seen["audit"]["exit"], 0);
    assert!(seen["audit"]["heights"].as_u64().unwrap() > 20, "{seen}");
    assert_eq!(seen["audit"]["report_hash"].as_str().unwrap().len(), 64);
    assert_eq!(seen["flipped"]["exit"], 10);
    assert!(seen["flipped"]["height"].as_u64().unwrap() > 0, "{seen}");
    assert!(seen["flipped"]["key"].is_string(), "{seen}");
}

#[tokio::test]
async fn stock_cosmjs_reads_signs_sends_and_posts_a_job() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("net");
    let arguments = ["--validators", "2", "--base-port", "27100"];
    let mut network = Network::start(&home, &arguments).unwrap();
    let client = network.client(0).unwrap();
    network.wait_height(2).await.unwrap();
    let ids = publish_small_model(&client, folder.path(), &network.nodes[0].blobs).await;
    let script = repository().join("tests/cosmjs");
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&script));
    let output = run(Command::new("node")
        .arg("devnet.mjs")
        .current_dir(&script)
        .env("LOCKSTEP_RPC", &network.nodes[0].rpc)
        .env("LOCKSTEP_MNEMONIC", "test test test test test test test test test test test junk")
        .env("LOCKSTEP_RECIPIENT", Wallet::test_account("dev1").unwrap().address_text())
        .env("LOCKSTEP_MODEL", "tiny:latest")
        .env("LOCKSTEP_TOKENS", serde_json::to_string(&ids).unwrap()));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["chain_id"], "lockstep-devnet");
    assert!(seen["job"]["output_values"].as_u64().unwrap() > 0, "{seen}");
    // What the README shows next.
    let rpc = &network.nodes[0].rpc;
    let status = run(Command::new(binary("lockstep")).args(["--node", rpc, "status"]));
    let words = String::from_utf8(status.stdout).unwrap();
    assert!(words.contains("lockstep-devnet") && words.contains("CometBFT 0.38.25"), "{words}");
    use_every_command(rpc, &network.nodes[0].operator);
    assert!(query::broken_invariants(&client).await.unwrap().is_empty());
    network.stop().unwrap();
}

#[tokio::test]
async fn a_node_that_joins_later_replays_the_chain_to_the_same_app_hash() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("net");
    let arguments = ["--validators", "4", "--base-port", "27200"];
    let mut network = Network::start(&home, &arguments).unwrap();
    let client = network.client(0).unwrap();
    network.wait_height(2).await.unwrap();
    let ids = publish_small_model(&client, folder.path(), &network.nodes[0].blobs).await;
    let developer = Wallet::test_account("dev0").unwrap();
    let job = message::post_job(&developer, "tiny", &ids, 1_000_000);
    let included = tx::send(&client, &developer, vec![job], &tx::Options::default()).await.unwrap();
    let height = tx::succeeded(included).unwrap().height + 20;
    network.wait_height(height).await.unwrap();

    let late = folder.path().join("late");
    let peers = network.peers().unwrap();
    run(Command::new(binary("lockstepd"))
        .args(["init", "--chain-id", "lockstep-devnet", "--moniker", "late"])
        .args(["--p2p", "127.0.0.1:27290", "--rpc", "127.0.0.1:27291"])
        .args(["--http", "127.0.0.1:27292", "--blobs", "127.0.0.1:27293"])
        .arg("--home")
        .arg(&late)
        .arg("--genesis")
        .arg(network.nodes[0].home.join("cometbft/config/genesis.json"))
        .arg("--peers")
        .arg(&peers));
    let _node = network.start_other(&late).unwrap();
    let joined = Client::new("http://127.0.0.1:27291").unwrap();
    let start = Instant::now();
    let header = loop {
        assert!(start.elapsed() < Duration::from_mins(1), "the late node did not catch up");
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Ok(Some(header)) = joined.header(height).await {
            break header;
        }
    };
    let expected = client.header(height).await.unwrap().unwrap();
    assert_eq!(header.app_hash, expected.app_hash);
    // Its own state, not only its copy of the header.
    let after = joined.status().await.unwrap();
    assert!(after.height >= height);
    assert!(query::broken_invariants(&joined).await.unwrap().is_empty());
    network.stop().unwrap();
}
