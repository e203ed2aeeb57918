//! What a data folder refuses, and what `FinalizeBlock` and `Commit` promise.

use std::path::Path;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{StateRead, Writes};
use lockstep_node::store::{HeightError, Store, StoreOptions};

fn open(folder: &Path) -> Result<Store, Fault> {
    Store::open(folder, &StoreOptions::default(), &mut |_| {})
}

fn block(n: u8) -> Writes {
    (0_u8..50).map(|key| (vec![1, key, n % 3], Some(vec![n, key]))).collect()
}

#[test]
fn a_second_opener_is_told_which_process_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let refusal = open(folder.path()).unwrap_err().to_string();
    let holder = format!("is in use by process {} (", std::process::id());
    assert!(refusal.contains(&holder), "{refusal}");
    assert!(refusal.contains(&folder.path().display().to_string()), "{refusal}");
    assert!(refusal.contains("\nhint: stop that process"), "{refusal}");
    drop(store);
    open(folder.path()).unwrap();
}

#[test]
fn a_folder_of_another_chain_is_refused_with_both_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!(store.chain_id().unwrap(), None);
    store.bind_chain("alpha-1").unwrap();
    store.bind_chain("alpha-1").unwrap();
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.chain_id().unwrap().as_deref(), Some("alpha-1"));
    let refusal = store.bind_chain("beta-1").unwrap_err().to_string();
    assert!(refusal.contains("belongs to chain `alpha-1`, not to `beta-1`\nhint: "), "{refusal}");
}

#[test]
fn finalize_block_one_to_five_times_before_commit_equals_once() {
    let mut hashes = Vec::new();
    for times in 1..=5_u8 {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        for height in 0_u8..6 {
            for other in 1..times {
                store.finalize(height.into(), block(100 + other)).unwrap();
            }
            let before = store.app_hash();
            let hash = store.finalize(height.into(), block(height)).unwrap();
            assert_eq!(store.app_hash(), before, "nothing changes before Commit");
            assert_eq!(store.get_raw(&[1, 100, 0]).unwrap(), None);
            assert_eq!(store.commit().unwrap(), u64::from(height));
            assert_eq!(store.app_hash(), hash);
        }
        drop(store);
        hashes.push(open(folder.path()).unwrap().app_hash());
    }
    assert_eq!(hashes.len(), 5);
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

#[test]
fn heights_follow_each_other_and_commit_needs_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!((store.height(), store.app_hash()), (None, [0; 32]));
    assert_eq!(store.at(None).unwrap_err(), HeightError::NoState);
    assert!(store.commit().is_err());
    store.finalize(0, block(0)).unwrap();
    store.commit().unwrap();
    assert!(store.commit().is_err(), "one block is committed once");
    // A chain may start at any height.
    store.finalize(7, block(1)).unwrap();
    store.commit().unwrap();
    for wrong in [0, 6, 7, 9, u64::MAX] {
        let refusal = store.finalize(wrong, block(2)).unwrap_err().to_string();
        assert!(refusal.contains("does not follow the last committed height (7)"), "{refusal}");
    }
    store.finalize(8, block(2)).unwrap();
    store.commit().unwrap();
    assert_eq!(store.height(), Some(8));
}

#[test]
fn init_chain_again_gives_the_same_genesis_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let hash = store.finalize(0, block(0)).unwrap();
    store.commit().unwrap();
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.finalize(0, block(0)).unwrap(), hash);
    store.commit().unwrap();
    assert_eq!((store.height(), store.app_hash()), (Some(0), hash));
    let refusal = store.finalize(0, block(1)).unwrap_err().to_string();
    assert!(refusal.contains("another genesis state\nhint: "), "{refusal}");
}

#[test]
fn the_write_that_the_tree_cannot_tell_from_an_empty_value_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for (key, value) in [(vec![1], vec![0]), (vec![], vec![1])] {
        assert!(store.finalize(0, Writes::from([(key, Some(value))])).is_err());
    }
    store.finalize(0, Writes::from([(vec![1], Some(vec![]))])).unwrap();
    store.commit().unwrap();
    assert_eq!(store.get_raw(&[1]).unwrap(), Some(vec![]));
}

#[test]
fn sizes_are_those_of_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.finalize(0, block(0)).unwrap();
    assert_eq!(store.sizes().unwrap().keys, 0);
    store.commit().unwrap();
    let sizes = store.sizes().unwrap();
    assert_eq!((sizes.keys, sizes.cached_entries), (50, 50));
    assert!(sizes.tree_bytes >= 50 * 100 && sizes.cache_bytes >= 50 * 100);
}

#[test]
fn a_folder_that_cannot_be_made_is_a_clear_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let refusal = open(&folder.path().join("file/data")).unwrap_err().to_string();
    assert!(refusal.contains("cannot create the data folder"), "{refusal}");
}
