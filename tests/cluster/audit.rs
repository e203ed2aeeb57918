//! A real chain is archived, replayed, damaged and compared, by the commands of an auditor.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_chain::state::{StateRead as _, Writes};
use lockstep_node::store::{Store, StoreOptions};
use lockstep_proto::lockstep::member::v1::Account;
use lockstep_tests::binary;
use lockstep_tests::network::Network;
use prost::Message as _;
use serde_json::Value;

use super::{MACHINE, publish_small_model, run};

fn audit(arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(binary("lockstep"));
    let output: Output = command.args(["--json", "audit"]).args(arguments).output().unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("audit {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code(), said)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The longest file of an archive that holds blocks.
fn segment(archive: &Path) -> PathBuf {
    let files = std::fs::read_dir(archive).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "blocks")).max().unwrap()
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Adds a block to a stopped node's state that gives an account so much.
fn diverge(home: &Path, balance: u64) -> u64 {
    let store = Store::open(&home.join("data"), &StoreOptions::default(), &mut |_| {}).unwrap();
    let (height, start, end) = (store.height().unwrap() + 1, [0x10], [0x11]);
    let (key, value) = store.next_raw(&start, &end).unwrap().unwrap();
    assert_eq!(key, ACCOUNTS.key(&key[1..].try_into().unwrap()));
    let account = Account { balance, ..Account::decode(value.as_slice()).unwrap() };
    store.finalize(height, Writes::from([(key, Some(account.encode_to_vec()))])).unwrap();
    store.commit().unwrap()
}

#[tokio::test]
async fn a_real_chain_is_archived_replayed_and_compared() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let arguments = ["--validators", "2", "--base-port", "27300"];
    let mut network = Network::start(&at("net"), &arguments).unwrap();
    let client = network.client(0).unwrap();
    network.wait_height(2).await.unwrap();
    let ids = publish_small_model(&client, folder.path(), &network.nodes[0].blobs).await;
    let rpc = network.nodes[0].rpc.clone();
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    run(Command::new(binary("lockstep"))
        .args(["--node", &rpc, "--blobs", &network.nodes[0].blobs, "job", "post"])
        .args(["--model", "tiny", "--ids", &ids])
        .args(["--from", "dev0", "--yes", "--until", "final"]));
    let home = network.nodes[0].home.clone();
    let genesis = home.join("cometbft/config/genesis.json");

    // From the running node, in two steps.
    let archive = at("archive");
    let write = |arguments: &[&str]| {
        run(Command::new(binary("lockstepd"))
            .args(["archive", "--out", text(&archive)])
            .args(arguments));
    };
    write(&["--rpc", &rpc, "--to", "5"]);
    write(&["--rpc", &rpc]);
    run(Command::new(binary("lockstepd")).args(["archive", "verify", text(&archive)]));
    let replay = |blocks: &str, more: &[&str]| {
        audit(&[&["replay", "--genesis", text(&genesis), "--blocks", blocks], more].concat())
    };
    let reports = [at("one"), at("two")];
    let recompute = ["--recompute", "all", "--artefacts", text(folder.path())];
    let (code, straight) =
        replay(text(&archive), &[&recompute[..], &["--report", text(&reports[0])]].concat());
    assert_eq!(code, Some(0), "{straight}");
    assert!(straight["facts"]["jobs_recomputed"].as_u64().unwrap() >= 1, "{straight}");
    let last = straight["facts"]["last_height"].as_u64().unwrap();
    assert!(last > 5 && straight["facts"]["txs"].as_u64().unwrap() > 3, "{straight}");

    // Interrupted, and from the node itself: the same report.
    let (state, last_text) = (at("state"), last.to_string());
    let kept = ["--state", text(&state)];
    assert_eq!(replay(&rpc, &[&kept[..], &["--to", "4"]].concat()).0, Some(0));
    let more = [&kept[..], &["--to", &last_text], &recompute, &["--report", text(&reports[1])]];
    let (code, resumed) = replay(&rpc, &more.concat());
    assert_eq!((code, &resumed["report_hash"]), (Some(0), &straight["report_hash"]));
    let [one, two] = reports.map(|folder| std::fs::read(folder.join("report.json")).unwrap());
    assert_eq!(one, two);

    network.stop().unwrap();
    // From the folder of the node that no longer runs.
    let (code, stopped) = replay(text(&home), &["--to", &last_text]);
    assert_eq!((code, &stopped["verdict"]), (Some(0), &Value::from("pass")), "{stopped}");
    let file = segment(&archive);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, flipped) = replay(text(&archive), &[]);
    assert_eq!(code, Some(10), "{flipped}");
    let height = flipped["difference"]["height"].as_u64().unwrap();
    assert!((1..=last).contains(&height), "{flipped}");

    compare(&network, folder.path());
}

/// Nodes that agree, and copies of one that do not.
fn compare(network: &Network, folder: &Path) {
    let homes: Vec<&str> = network.nodes.iter().map(|node| text(&node.home)).collect();
    let (code, same) = audit(&["compare", homes[0], homes[1]]);
    assert_eq!(code, Some(0), "{same}");
    let [a, b] = [folder.join("a"), folder.join("b")];
    copy(&network.nodes[0].home, &a);
    copy(&network.nodes[0].home, &b);
    let heights = [diverge(&a, 5), diverge(&b, 7)];
    assert_eq!(heights[0], heights[1]);
    let (code, parted) = audit(&["compare", text(&a), text(&b)]);
    assert_eq!(code, Some(10), "{parted}");
    let difference = &parted["difference"];
    assert_eq!(difference["height"], heights[0], "{parted}");
    assert!(difference["key"].as_str().unwrap().starts_with("accounts/lockstep1"), "{parted}");
    assert_eq!(difference["expected"]["balance"], 5, "{parted}");
    assert_eq!(difference["found"]["balance"], 7, "{parted}");
    // The queries of a wallet work on the folder of a node that does not run, too.
    let mut served = Command::new(binary("lockstepd"))
        .args(["inspect", "--home", homes[0], "--listen", "127.0.0.1:27390"])
        .spawn()
        .unwrap();
    let ask = || {
        let mut command = Command::new(binary("lockstep"));
        command.args(["--node", "http://127.0.0.1:27390", "--json", "query", "params"]);
        command.output().unwrap()
    };
    let start = std::time::Instant::now();
    let mut answer = ask();
    while !answer.status.success() && start.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        answer = ask();
    }
    run(Command::new("kill").arg(served.id().to_string()));
    served.wait().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
}
