//! A node as its processes: real CometBFT, real disk, `kill -9`.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::{Network, eventually, lockstepd, run, runs, signal, words};
use rustix::process::Signal;
use serde_json::json;

#[test]
fn a_validator_that_is_killed_at_any_moment_goes_on_with_the_same_app_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut height = 0;
    // Moments between 0 and 400 ms after a block, so that every part of a block is hit.
    for milliseconds in [7, 90, 170, 260, 390] {
        let mut node = network.start();
        height = network.wait_for(&mut node, height + 3);
        let before: Vec<_> = (1..=height).map(|h| network.app_hash_in_header(h)).collect();
        std::thread::sleep(Duration::from_millis(milliseconds));
        node.kill();

        let mut node = network.start();
        let later = network.wait_for(&mut node, height + 2);
        let after: Vec<_> = (1..=height).map(|h| network.app_hash_in_header(h)).collect();
        assert_eq!(before, after);
        assert!(before[1..].iter().all(|hash| hash.len() == 64), "{before:?}");
        height = later;
        node.kill();
    }
    let home = network.home.display().to_string();
    let check = run(&["check", "--home", &home]);
    assert!(check.status.success(), "{}", words(&check));
    assert!(words(&check).contains("the rebuilt root is the app hash"), "{}", words(&check));
    assert!(height >= 20, "only {height} blocks were made");
}

#[test]
fn children_die_with_a_node_that_is_killed_and_ctrl_c_stops_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut node = network.start();
    network.wait_for(&mut node, 2);
    let cometbft = network.ids()["cometbft"].as_u64().unwrap();
    assert!(runs(cometbft));
    node.kill();
    eventually("CometBFT dies with lockstepd", || !runs(cometbft));

    let mut node = network.start();
    network.wait_for(&mut node, 3);
    let cometbft = network.ids()["cometbft"].as_u64().unwrap();
    assert_eq!(node.stop(), Some(0), "{}", node.log());
    assert!(!runs(cometbft));
    assert!(!network.home.join("run.json").exists());
}

#[test]
fn a_node_ends_with_its_cometbft_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut node = network.start();
    network.wait_for(&mut node, 2);
    signal(u32::try_from(network.ids()["cometbft"].as_u64().unwrap()).unwrap(), Signal::KILL);
    let status = node.process.wait().unwrap();
    assert_eq!(status.code(), Some(lockstep_node::exit::COMETBFT), "{}", node.log());
    assert!(node.log().contains("CometBFT ended"), "{}", node.log());
    let mut node = network.start();
    network.wait_for(&mut node, 4);
}

#[test]
fn a_wrong_or_missing_cometbft_is_refused_with_the_version_and_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("cometbft");
    std::fs::write(&fake, "#!/bin/sh\necho 0.37.15\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (path, needle) in [(fake, "version `0.37.15`"), ("/nowhere/cometbft".into(), "/nowhere")] {
        let output = lockstepd()
            .args(["devnet", "--init-only", "--home"])
            .arg(folder.path().join("net"))
            .env("LOCKSTEP_COMETBFT", path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", words(&output));
        let said = words(&output);
        for needle in [needle, "0.38.25", "go install", "scripts/setup"] {
            assert!(said.contains(needle), "{needle} is not in: {said}");
        }
    }
    assert!(!folder.path().join("net").exists(), "nothing was made");
}

#[test]
fn a_port_in_use_is_named_with_the_setting_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    for (offset, needle) in [(0, "p2p.laddr"), (1, "rpc.laddr"), (2, "http_listen")] {
        let port = network.base_port + offset;
        let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        let mut node = network.start();
        assert_eq!(node.process.wait().unwrap().code(), Some(78), "{}", node.log());
        let log = node.log();
        assert!(log.contains(&port.to_string()) && log.contains(needle), "{log}");
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut node = network.start();
    let height = network.wait_for(&mut node, 2);
    let home = network.home.display().to_string();
    let second = run(&["start", "--no-executor", "--home", &home]);
    assert_eq!(second.status.code(), Some(78), "{}", words(&second));
    assert!(words(&second).contains("is in use by process"), "{}", words(&second));
    network.wait_for(&mut node, height + 2);
    let check = run(&["check", "--home", &home]);
    assert!(check.status.success(), "{}", words(&check));
    let status = run(&["status", "--json", "--home", &home]);
    let report: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(report["moves"], true, "{report}");
}

#[test]
fn a_home_folder_with_a_very_long_path_works() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("x".repeat(120)).join("y".repeat(60));
    let network = Network::new(&deep);
    let mut node = network.start();
    network.wait_for(&mut node, 2);
    let short = std::fs::read_to_string(network.home.join("abci.sock.path")).unwrap();
    assert!(short.len() < 108, "{short}");
    assert_eq!(node.stop(), Some(0));
    let private = std::path::Path::new(short.trim_end()).parent().unwrap().to_owned();
    std::fs::remove_dir_all(private).unwrap();
}

#[test]
fn a_folder_of_another_chain_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let mut node = network.start();
    network.wait_for(&mut node, 2);
    assert_eq!(node.stop(), Some(0));
    let path = network.home.join("cometbft/config/genesis.json");
    let genesis = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, genesis.replace("lockstep-devnet", "lockstep-devnet-2")).unwrap();
    let mut node = network.start();
    assert_eq!(node.process.wait().unwrap().code(), Some(78));
    assert!(node.log().contains("belongs to chain `lockstep-devnet`"), "{}", node.log());
    std::fs::write(&path, genesis).unwrap();
    let mut node = network.start();
    network.wait_for(&mut node, 4);
}

#[test]
fn init_checks_the_genesis_and_never_touches_a_folder_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::new(folder.path());
    let genesis = network.home.join("cometbft/config/genesis.json").display().to_string();
    let home = folder.path().join("mine").display().to_string();
    let init = |chain: &str, genesis: &str, home: &str| {
        let fixed = ["init", "--moniker", "m", "--chain-id", chain];
        run(&[&fixed[..], &["--genesis", genesis, "--home", home]].concat())
    };
    let output = init("another-chain", &genesis, &home);
    assert_eq!(output.status.code(), Some(78));
    assert!(words(&output).contains("chain_id is `lockstep-devnet`"), "{}", words(&output));

    let text = std::fs::read_to_string(&genesis).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    file["chain_id"] = json!("production-1");
    let copy = folder.path().join("copy.json").display().to_string();
    std::fs::write(&copy, file.to_string()).unwrap();
    let output = init("production-1", &copy, &home);
    assert!(words(&output).contains("known to everybody"), "{}", words(&output));
    let window = file["app_state"]["params"]["trial_move_blocks"].take();
    file["app_state"]["params"]["trial_move_blocks"] = json!(12);
    std::fs::write(&copy, file.to_string()).unwrap();
    let output = init("production-1", &copy, &home);
    assert!(words(&output).contains("trial_move_blocks is 12"), "{}", words(&output));
    assert!(words(&output).contains("at least 13"), "{}", words(&output));
    file["app_state"]["params"]["trial_move_blocks"] = window;

    file["chain_id"] = json!("lockstep-devnet");
    file["consensus_params"]["abci"]["vote_extensions_enable_height"] = json!("0");
    std::fs::write(&copy, file.to_string()).unwrap();
    let output = init("lockstep-devnet", &copy, &home);
    assert!(words(&output).contains("vote_extensions_enable_height"), "{}", words(&output));
    assert!(!std::path::Path::new(&home).exists(), "nothing was made");

    let output = init("lockstep-devnet", &genesis, &home);
    assert!(output.status.success(), "{}", words(&output));
    let key = std::path::Path::new(&home).join("executor/executor.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&key).unwrap();
    let output = init("lockstep-devnet", &genesis, &home);
    assert!(words(&output).contains("is the folder of a node already"), "{}", words(&output));
    assert_eq!(std::fs::read(&key).unwrap(), before);
}
