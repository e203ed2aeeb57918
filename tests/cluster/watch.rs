//! An auditor against all validators.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_audit::play::Evidence as _;
use lockstep_audit::recompute::Holdings;
use lockstep_client::job::{self, Until};
use lockstep_client::query;
use lockstep_client::tx::{self, message};
use lockstep_client::wallet::Wallet;
use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::binary;
use lockstep_tests::network::Network;
use serde_json::Value;

use super::{MACHINE, publish_small_model, run};

/// How long the games and the execution of their verdicts may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Ends with its owner, also where a test fails.
struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_auditor_without_stake_fells_the_lie_of_all_validators_and_is_paid() {
    let _machine = MACHINE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("net");
    let mut arguments = vec!["--validators", "4", "--base-port", "27300"];
    let all = ["0:wrong-output:1", "1:wrong-output:1", "2:wrong-output:1", "3:wrong-output:1"];
    arguments.extend(all.iter().flat_map(|fault| ["--fault", fault]));
    let mut network = Network::start(&home, &arguments).unwrap();
    let client = network.client(0).unwrap();
    network.wait_height(2).await.unwrap();
    let ids = publish_small_model(&client, folder.path(), &network.nodes[0].blobs).await;
    let auditor = Wallet::test_account("auditor").unwrap();
    let before = query::account(&client, &auditor.address_text()).await.unwrap().balance;

    let log = folder.path().join("watch.jsonl");
    let watch = Command::new(binary("lockstep"))
        .args(["--json", "--node", &network.nodes[0].rpc, "--blobs", &network.nodes[0].blobs])
        .args(["audit", "watch", "--from", "auditor", "--artefacts"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut watch = Watcher(watch);
    let developer = Wallet::test_account("dev0").unwrap();
    let post = message::post_job(&developer, "tiny", &ids, 1_000_000);
    let sent = tx::send(&client, &developer, vec![post], &tx::Options::default()).await.unwrap();
    tx::succeeded(sent).unwrap();
    let job = job::wait(&client, 1, Until::Final, PATIENCE).await.unwrap();
    assert_eq!(job.state(), JobState::Final, "{job:?}");

    // What the poster gets is what the model gives, and the auditor brought it.
    let version = query::version_by_id(&client, job.version).await.unwrap();
    let (mut holdings, again) =
        (Holdings::new(&network.nodes[0].blobs, Some(1)).unwrap(), job.clone());
    holdings.add_artefact(&folder.path().join("tiny.lockstep")).unwrap();
    let own = tokio::task::spawn_blocking(move || {
        let run = holdings.run(&version, &again).unwrap();
        (run.answer().result_root.to_vec(), run.output().to_vec())
    });
    assert_eq!(own.await.unwrap(), (job.result_root.clone(), job.output.clone()));
    let earners: Vec<_> = job.earners.iter().map(|it| it.account.clone()).collect();
    assert_eq!(earners, [auditor.address()]);
    let after = query::account(&client, &auditor.address_text()).await.unwrap().balance;

    // Who stood by the lie is slashed for it; more than a third of the power waits first.
    let start = Instant::now();
    let slashes = loop {
        let slashes = query::slashes(&client).await.unwrap();
        if !slashes.is_empty() && slashes.iter().all(|slash| slash.executed) {
            break slashes;
        }
        assert!(start.elapsed() < PATIENCE, "{slashes:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(slashes.iter().all(|slash| slash.offence() == Offence::WrongResult), "{slashes:?}");
    assert!(slashes.len() >= 2, "both members of the committee stood by it: {slashes:?}");
    assert!(after > before, "from {before} to {after}");

    run(Command::new("kill").args(["-INT", &watch.0.id().to_string()]));
    assert_eq!(watch.0.wait().unwrap().code(), Some(10));
    let log = std::fs::read_to_string(&log).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in ["recomputed", "move", "trial_ended", "delivered", "end"] {
        assert!(events.iter().any(|it| it["event"] == event), "no {event} in {log}");
    }
    network.stop().unwrap();
}
