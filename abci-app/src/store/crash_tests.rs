//! A process that dies at any point leaves a store that is of one height, whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lockstep_chain::state::Writes;
use lockstep_chain::tree::{Blake3Rule, Hash, LeafWrite, Sequential, Tree};

use super::{Store, StoreOptions};

const FOLDER: &str = "LOCKSTEP_TEST_STORE";
const ABORT_AT: &str = "LOCKSTEP_TEST_ABORT_AT";
const BLOCKS: u64 = 120;

fn open(folder: &Path) -> Store {
    Store::open(folder, &StoreOptions::default(), &mut |_| {}).unwrap()
}

/// 64 writes over 300 keys, a quarter of them deletions.
fn block(height: u64) -> Writes {
    let write = |n: u64| {
        let hash = blake3::hash(&[height.to_be_bytes(), n.to_be_bytes()].concat());
        let [low, high, kind, ..] = *hash.as_bytes();
        let key = (u16::from_be_bytes([low, high]) % 300).to_be_bytes().to_vec();
        (key, (kind >= 64).then(|| hash.as_bytes().repeat(3)))
    };
    (0..64).map(write).collect()
}

/// The app hash after each height, computed without any store.
fn app_hashes(blocks: u64) -> Vec<Hash> {
    let mut state = BTreeMap::new();
    let mut out = Vec::new();
    for height in 0..=blocks {
        for (key, value) in block(height) {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        let leaf = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            LeafWrite::new::<Blake3Rule>(key, Some(value.as_slice()), 0)
        };
        let tree = Tree::<Blake3Rule>::build(&Sequential, state.iter().map(leaf).collect());
        out.push(tree.unwrap().root().unwrap());
    }
    out
}

#[test]
#[ignore = "the crash tests run it as their child"]
fn child_commits_blocks_until_it_dies() {
    let store = open(Path::new(&std::env::var_os(FOLDER).unwrap()));
    let next = store.height().map_or(0, |height| height + 1);
    for height in next..=BLOCKS {
        // Other proposals of the height first, as consensus may decide on a later round.
        for other in 1..=height % 5 {
            store.finalize(height, block(1_000 + other)).unwrap();
        }
        store.finalize(height, block(height)).unwrap();
        store.commit().unwrap();
        say(&format!("committed {height}"));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).unwrap();
}

fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("store::crash_tests::{test}"), "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn start(folder: &Path, abort_at: Option<&str>) -> Child {
    let mut command = child("child_commits_blocks_until_it_dies");
    command.env(FOLDER, folder);
    if let Some(point) = abort_at {
        command.env(ABORT_AT, point);
    }
    command.spawn().unwrap()
}

/// The last height that the child said it had committed.
fn last_committed(child: &mut Child, lines_max: usize) -> Option<u64> {
    let out = BufReader::new(child.stdout.as_mut().unwrap());
    let heights = out.lines().map_while(Result::ok);
    heights
        .filter_map(|line| line.strip_prefix("committed ").map(|h| h.parse().unwrap()))
        .take(lines_max)
        .last()
}

#[test]
fn a_death_between_finalize_block_and_commit_or_inside_commit_leaves_one_whole_height() {
    let expected = app_hashes(BLOCKS);
    let folder = tempfile::tempdir().unwrap();
    let mut deaths = 0_u64;
    let mut next = 0;
    for _ in 0..4 {
        for (point, written) in [("before-write", 0), ("after-write", 1), ("after-commit", 1)] {
            let mut child = start(folder.path(), Some(point));
            assert_eq!(last_committed(&mut child, usize::MAX), None);
            assert!(!child.wait().unwrap().success());
            deaths += 1;
            next += written;
            let store = open(folder.path());
            assert_eq!(store.height(), u64::checked_sub(next, 1), "after {point}");
            if let Some(height) = store.height() {
                assert_eq!(store.app_hash(), expected[usize::try_from(height).unwrap()]);
            }
        }
    }
    assert_eq!(deaths, 12);
}

#[test]
fn a_kill_at_any_moment_loses_no_committed_block() {
    let expected = app_hashes(BLOCKS);
    let folder = tempfile::tempdir().unwrap();
    let mut committed = None;
    let mut kills = 0_u32;
    while committed < Some(BLOCKS) {
        let mut child = start(folder.path(), None);
        // Some blocks, then a moment that falls anywhere in the next one.
        let said = last_committed(&mut child, 4);
        std::thread::sleep(Duration::from_micros(u64::from(kills) * 97 % 2_000));
        child.kill().unwrap();
        child.wait().unwrap();
        committed = committed.max(said);
        kills += 1;
        let store = open(folder.path());
        let height = store.height();
        assert!(height >= committed, "{height:?} after {committed:?} was committed");
        committed = height;
        let height = usize::try_from(height.unwrap()).unwrap();
        assert_eq!(store.app_hash(), expected[height]);
        assert_eq!(store.at(None).unwrap().app_hash().unwrap(), expected[height]);
    }
    assert!(kills >= 12, "only {kills} kills");
}

#[test]
#[ignore = "the test of a full disk runs it as its child"]
fn child_fills_its_disk() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let folder = Path::new(&folder);
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let store = open(&folder.join("store"));
    let big = |height: u64| -> Writes {
        let value = |n: u64| blake3::hash(&[height.to_be_bytes(), n.to_be_bytes()].concat());
        (0..2_000_u64)
            .map(|n| (n.to_be_bytes().to_vec(), Some(value(n).as_bytes().to_vec())))
            .collect()
    };
    let mut hashes = Vec::new();
    let failure = loop {
        let height = u64::try_from(hashes.len()).unwrap();
        let hash = store.finalize(height, big(height)).unwrap();
        match store.commit() {
            Ok(_) => hashes.push(hash),
            Err(fault) => break fault.to_string(),
        }
        assert!(hashes.len() < 2_000, "the disk never filled");
    };
    assert!(failure.contains("the disk is full; make room"), "{failure}");
    drop(store);
    fs::remove_file(&ballast).unwrap();
    let store = open(&folder.join("store"));
    let height = usize::try_from(store.height().unwrap()).unwrap();
    assert!(height + 1 >= hashes.len(), "{height} of {}", hashes.len());
    if height < hashes.len() {
        assert_eq!(store.app_hash(), hashes[height]);
    }
    let next = u64::try_from(height).unwrap() + 1;
    store.finalize(next, big(next)).unwrap();
    store.commit().unwrap();
    say(&format!("survived at {next}"));
}

/// Needs a mount of its own, so a user namespace (or root): as on the development machines.
#[test]
fn a_full_disk_is_a_clear_fault_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inner = child("child_fills_its_disk");
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=48m tmpfs \"$LOCKSTEP_TEST_STORE\" && exec \"$0\" \"$@\"")
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(FOLDER, folder.path());
    let output = command.output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success() && out.contains("survived at "), "{out}\n{err}");
}
