//! Folders that another program wrote or that something damaged.

use std::path::Path;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{StateRead as _, Writes};
use rocksdb::{ColumnFamilyDescriptor, DB, Options};

use super::database::{Family, META_FORMAT};
use super::encoding::{history_key, history_prefix, history_start, split_history_key};
use super::{Store, StoreOptions};

fn open(folder: &Path) -> Result<Store, Fault> {
    Store::open(folder, &StoreOptions::default(), &mut |_| {})
}

fn filled(folder: &Path) {
    let store = open(folder).unwrap();
    let writes: Writes = (0_u8..100).map(|n| (vec![1, n], Some(vec![n; 40]))).collect();
    store.finalize(0, writes).unwrap();
    store.commit().unwrap();
}

#[test]
fn a_folder_of_a_newer_format_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    {
        let mut options = Options::default();
        options.create_missing_column_families(true);
        let names = DB::list_cf(&options, folder.path().join("db")).unwrap();
        let families = names.into_iter().chain(["from_the_future".to_owned()]);
        let families = families.map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
        let db = DB::open_cf_descriptors(&options, folder.path().join("db"), families).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), META_FORMAT, 2_u32.to_be_bytes()).unwrap();
    }
    let refusal = open(folder.path()).unwrap_err().to_string();
    assert!(refusal.contains("has format 2; this lockstepd reads format 1"), "{refusal}");
    assert!(refusal.contains("hint: use the newer lockstepd"), "{refusal}");
}

#[test]
fn state_that_does_not_have_the_committed_app_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let store = open(folder.path()).unwrap();
    store.database.put_synced(Family::State, &[1, 50], b"another value").unwrap();
    drop(store);
    let refusal = open(folder.path()).unwrap_err().to_string();
    assert!(refusal.contains("does not have the committed app hash"), "{refusal}");
    assert!(refusal.contains("hint: "), "{refusal}");
}

#[test]
fn a_damaged_state_opens_to_be_read_and_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let store = open(folder.path()).unwrap();
    store.database.put_synced(Family::State, &[1, 50], b"another value").unwrap();
    drop(store);
    let options = StoreOptions { read_only: true, ..StoreOptions::default() };
    let store = Store::open(folder.path(), &options, &mut |_| {}).unwrap();
    assert_ne!(store.root().unwrap(), store.app_hash());
    let at = store.at(None).unwrap();
    assert_eq!(at.get_raw(&[1, 50]).unwrap().unwrap(), b"another value");
    assert_eq!(at.changes().unwrap().len(), 100);
    assert!(store.database.put_synced(Family::State, &[1, 51], b"x").is_err());
}

#[test]
fn history_keys_keep_the_order_of_keys_and_of_heights_the_newest_first() {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for a in [0_u8, 1, 0xfe, 0xff] {
        keys.push(vec![a]);
        for b in [0_u8, 1, 0xff] {
            keys.push(vec![a, b]);
            keys.extend([0_u8, 1, 0xff].map(|c| vec![a, b, c]));
        }
    }
    keys.sort();
    let mut encoded = Vec::new();
    for key in &keys {
        for height in [u64::MAX, 256, 255, 1, 0] {
            let bytes = history_key(history_prefix(key), height);
            let (prefix, back, at) = split_history_key(&bytes).unwrap();
            assert_eq!((prefix, &back, at), (&history_prefix(key)[..], key, height));
            for other in &keys {
                assert_eq!(key < other, bytes < history_start(other), "{key:?} {other:?}");
            }
            encoded.push(bytes);
        }
    }
    assert_eq!(encoded.len(), 4 * (1 + 3 * 4) * 5);
    assert!(encoded.is_sorted());
    for bad in [&b""[..], &[0; 8], &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(split_history_key(bad).is_err());
    }
}

#[test]
fn the_tree_rebuilt_at_start_reports_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let writes: Writes =
        (0_u32..20_000).map(|n| (n.to_be_bytes().to_vec(), Some(vec![1]))).collect();
    let hash = store.finalize(0, writes).unwrap();
    store.commit().unwrap();
    drop(store);
    let mut seen = Vec::new();
    let options = StoreOptions::default();
    let store = Store::open(folder.path(), &options, &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(store.app_hash(), hash);
    assert_eq!(seen.iter().map(|progress| progress.keys).collect::<Vec<_>>(), [16_384, 20_000]);
    assert!(seen.iter().all(|progress| progress.keys_about >= 20_000));
}
