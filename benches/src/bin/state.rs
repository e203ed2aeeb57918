//! The state store with a million accounts: one JSON line per figure, medians of several blocks.
//!
//! `scripts/bench state [KEYS [FOLDER]]`. The folder decides which
//! disk is measured; without one it is a new folder in the system's temporary one.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{StateRead, Writes};
use lockstep_chain::tree::{Blake3Rule, LeafWrite, Sequential, Tree};
use lockstep_node::store::{Rayon, Store, StoreOptions};

const KEYS: u64 = 1_000_000;
const VALUE_BYTES: usize = 100;
const KEYS_PER_LOAD: u64 = 50_000;
const BLOCKS: u64 = 15;
const UPDATES: [u64; 3] = [1_000, 5_000, 10_000];

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let keys = match arguments.next().map(|keys| keys.parse()) {
        None => KEYS,
        Some(Ok(keys)) if keys >= 10_000 => keys,
        Some(_) => {
            eprintln!("the number of keys is a number of at least 10000");
            std::process::exit(2);
        }
    };
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let temporary = tempfile::tempdir_in(folder).map_err(|e| Fault::Storage(e.to_string()))?;
    tree(keys)?;
    store(keys, temporary.path())
}

fn say(name: &str, value: f64, unit: &str, parameters: serde_json::Value) {
    say_samples(name, vec![value], unit, parameters);
}

/// The median, and the least, which a busy machine disturbs less.
fn say_samples(name: &str, mut samples: Vec<f64>, unit: &str, parameters: serde_json::Value) {
    samples.sort_by(f64::total_cmp);
    let (median, least) = (samples[samples.len() / 2], samples[0]);
    let mut line = serde_json::json!({ "name": name, "value": median, "unit": unit });
    if let (Some(line), serde_json::Value::Object(parameters)) = (line.as_object_mut(), parameters)
    {
        line.extend(parameters);
        if samples.len() > 1 {
            line.insert("least".to_owned(), least.into());
        }
    }
    println!("{line}");
}

fn key(number: u64) -> Vec<u8> {
    let hash = blake3::hash(&number.to_be_bytes());
    [&[0x10], &hash.as_bytes()[..20]].concat()
}

fn value(number: u64, block: u64) -> Vec<u8> {
    let mut bytes = vec![0; VALUE_BYTES];
    let seed = [number.to_be_bytes(), block.to_be_bytes()].concat();
    blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut bytes);
    bytes
}

/// `updates` accounts that are far from each other, others in each block.
fn block(keys: u64, updates: u64, number: u64) -> Writes {
    let account = |n: u64| (n.wrapping_mul(7_919) + number.wrapping_mul(104_729)) % keys;
    (0..updates).map(|n| (key(account(n)), Some(value(account(n), number)))).collect()
}

fn milliseconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let out = work();
    (start.elapsed().as_secs_f64() * 1e3, out)
}

fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The tree alone, in memory.
fn tree(keys: u64) -> Result<(), Fault> {
    let (hash_ms, leaves) = milliseconds(|| {
        let leaf = |n| LeafWrite::new::<Blake3Rule>(&key(n), Some(&value(n, 0)), 0);
        (0..keys).map(leaf).collect::<Vec<_>>()
    });
    say("hash_leaves", hash_ms, "ms", serde_json::json!({ "keys": keys, "threads": 1 }));
    let (build_ms, tree) = milliseconds(|| Tree::<Blake3Rule>::build(&Rayon, leaves));
    let mut tree = tree?;
    say("tree_build", build_ms, "ms", serde_json::json!({ "keys": keys }));
    let bytes = u64::try_from(tree.memory_bytes()).unwrap_or(u64::MAX);
    say("tree_memory", count(bytes) / count(keys), "B/key", serde_json::json!({ "keys": keys }));
    for updates in UPDATES {
        let (mut alone, mut together, mut commits) = (vec![], vec![], vec![]);
        for number in 0..BLOCKS {
            let writes = block(keys, updates, number);
            let (ms, pending) = milliseconds(|| tree.root_after(&Sequential, &writes));
            let root = pending?.root();
            alone.push(ms);
            let (ms, pending) = milliseconds(|| tree.root_after(&Rayon, &writes));
            let pending = pending?;
            assert_eq!(pending.root(), root, "threads changed the root");
            together.push(ms);
            let (ms, done) = milliseconds(|| tree.commit(&Rayon, pending));
            done?;
            commits.push(ms);
        }
        let threads = rayon::current_num_threads();
        let of = |threads| serde_json::json!({ "updates": updates, "threads": threads });
        say_samples("tree_root", alone, "ms", of(1));
        say_samples("tree_root", together, "ms", of(threads));
        say_samples("tree_commit", commits, "ms", of(threads));
    }
    let bytes = u64::try_from(tree.memory_bytes()).unwrap_or(u64::MAX);
    say("tree_memory_after_updates", count(bytes) / count(keys), "B/key", serde_json::json!({}));
    Ok(())
}

/// The tree, RocksDB and the disk.
fn store(keys: u64, folder: &Path) -> Result<(), Fault> {
    let store = Store::open(folder, &StoreOptions::default(), &mut |_| {})?;
    let mut height = 0;
    for from in (0..keys).step_by(usize::try_from(KEYS_PER_LOAD).unwrap_or(usize::MAX)) {
        let to = keys.min(from + KEYS_PER_LOAD);
        store.finalize(height, (from..to).map(|n| (key(n), Some(value(n, 0)))).collect())?;
        store.commit()?;
        height += 1;
    }
    drop(store);
    let (open_ms, store) =
        milliseconds(|| Store::open(folder, &StoreOptions::default(), &mut |_| {}));
    let store = store?;
    say("store_open_with_rebuild", open_ms / 1e3, "s", serde_json::json!({ "keys": keys }));
    reads(&store, keys)?;
    for updates in UPDATES {
        let (mut finalize, mut commit, mut total) = (vec![], vec![], vec![]);
        for number in 0..BLOCKS {
            let writes = block(keys, updates, number + 100);
            let (finalize_ms, done) = milliseconds(|| store.finalize(height, writes));
            done?;
            let (commit_ms, done) = milliseconds(|| store.commit());
            done?;
            height += 1;
            finalize.push(finalize_ms);
            commit.push(commit_ms);
            total.push(finalize_ms + commit_ms);
        }
        let of = serde_json::json!({ "updates": updates });
        say_samples("store_finalize", finalize, "ms", of.clone());
        say_samples("store_commit", commit, "ms", of.clone());
        say_samples("store_total", total, "ms", of);
    }
    proofs(&store, keys)?;
    let sizes = store.sizes()?;
    say("state_files", count(sizes.state_file_bytes) / count(keys), "B/key", serde_json::json!({}));
    Ok(())
}

fn reads(store: &Store, keys: u64) -> Result<(), Fault> {
    let sample: Vec<_> = (0..50_000).map(|n| key(n * 31 % keys)).collect();
    for name in ["read_from_rocksdb", "read_from_cache"] {
        let (ms, found) = milliseconds(|| {
            sample.iter().map(|key| store.get_raw(key)).collect::<Result<Vec<_>, _>>()
        });
        assert!(found?.iter().all(Option::is_some), "an account is missing");
        say(name, ms * 1e3 / count(50_000), "us", serde_json::json!({}));
    }
    let (mut start, mut seen) = (vec![0x10], 0);
    let (ms, done) = milliseconds(|| {
        while let Some((key, _)) = store.next_raw(&start, &[0x11])? {
            start = [key.as_slice(), &[0]].concat();
            seen += 1;
            if seen == 50_000.min(keys) {
                break;
            }
        }
        Ok::<_, Fault>(())
    });
    done?;
    say("scan_step", ms * 1e3 / count(seen), "us", serde_json::json!({}));
    Ok(())
}

fn proofs(store: &Store, keys: u64) -> Result<(), Fault> {
    let fail = |error: lockstep_node::store::HeightError| Fault::Storage(error.to_string());
    let newest = store.height().unwrap_or_default();
    for back in [0, 1, 10] {
        let at = store.at(Some(newest - back)).map_err(fail)?;
        let root = at.app_hash()?;
        let mut samples = vec![];
        for n in 0..20 {
            // Every other key is not there.
            let key = key(n % 2 * keys + n * 977);
            let (ms, proof) = milliseconds(|| at.prove(&key));
            let value = at.get_raw(&key)?;
            let verdict = proof.map_err(fail)?.verify::<Blake3Rule>(&root, &key, value.as_deref());
            assert_eq!(verdict, Ok(()), "a proof does not hold");
            samples.push(ms);
        }
        say_samples("proof", samples, "ms", serde_json::json!({ "heights_back": back }));
    }
    Ok(())
}
