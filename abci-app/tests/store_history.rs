//! Every retained height reads as it was, with proofs, whatever is committed, pruned or reopened.

use std::cell::Cell;
use std::path::Path;

use lockstep_chain::state::{MemoryState, StateRead, Writes};
use lockstep_chain::tree::{Blake3Rule, Hash};
use lockstep_node::store::{At, HeightError, Store, StoreOptions};
use proptest::prelude::*;

const KEYS: [&[u8]; 12] = [
    &[1],
    &[1, 0],
    &[1, 0, 0],
    &[1, 0, 1],
    &[1, 0xff],
    &[1, 0xff, 0],
    &[2],
    &[2, 0, 0xff],
    &[2, 1],
    &[3, 0, 0, 0, 0, 0, 0, 0, 7],
    &[3, 0, 0, 0, 0, 0, 0, 1, 0],
    &[0xfe, 0xff],
];

fn open(folder: &Path, retained_heights: u64) -> Store {
    let options = StoreOptions { retained_heights, ..StoreOptions::default() };
    Store::open(folder, &options, &mut |_| {}).unwrap()
}

fn blocks() -> impl Strategy<Value = Vec<Writes>> {
    let value = prop_oneof![
        3 => prop::collection::vec(1_u8.., 0..20).prop_map(Some),
        2 => Just(None),
    ];
    let key = prop::sample::select(KEYS.to_vec()).prop_map(<[u8]>::to_vec);
    prop::collection::vec(prop::collection::btree_map(key, value, 0..8), 2..14)
}

/// Compares every key and every range with the model. Returns how many answers were compared.
fn same(found: &dyn StateRead, model: &MemoryState) -> u32 {
    let mut compared = 0;
    for key in KEYS {
        assert_eq!(found.get_raw(key).unwrap(), model.get_raw(key).unwrap(), "{key:?}");
        for end in KEYS {
            let (next, wanted) = (found.next_raw(key, end), model.next_raw(key, end));
            assert_eq!(next.unwrap(), wanted.unwrap(), "{key:?} to {end:?}");
            compared += 1;
        }
    }
    compared
}

fn proofs_hold(at: &At<'_>, model: &MemoryState, app_hash: &Hash) {
    assert_eq!(at.app_hash().unwrap(), *app_hash);
    for key in KEYS {
        let proof = at.prove(key).unwrap();
        let value = model.0.get(key).map(Vec::as_slice);
        assert_eq!(proof.verify::<Blake3Rule>(app_hash, key, value), Ok(()), "{key:?}");
    }
}

#[test]
fn every_retained_height_reads_as_it_was_with_proofs() {
    let compared = Cell::new(0);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() };
    proptest!(config, |(blocks in blocks(), retained in 0_u64..6, reopen in 0_usize..14)| {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path(), retained);
        let mut models = vec![];
        let mut model = MemoryState::default();
        for (index, writes) in blocks.iter().enumerate() {
            let height = u64::try_from(index).unwrap();
            let app_hash = store.finalize(height, writes.clone()).unwrap();
            same(&store, &model);
            store.commit().unwrap();
            model.apply(writes.clone());
            models.push((model.clone(), app_hash));
            let kept = store.at(Some(height)).unwrap();
            store.prune(u64::MAX).unwrap();
            same(&kept, &model);
            drop(kept);
            if index == reopen {
                drop(store);
                store = open(folder.path(), retained);
            }
            prop_assert_eq!(store.app_hash(), app_hash);
            same(&store, &model);
        }
        let newest = store.height().unwrap();
        let oldest = if retained == 0 { 0 } else { newest.saturating_sub(retained - 1) };
        for (height, (model, app_hash)) in (0_u64..).zip(&models) {
            if height < oldest {
                prop_assert_eq!(
                    store.at(Some(height)).unwrap_err(),
                    HeightError::Pruned { asked: height, oldest }
                );
                continue;
            }
            let at = store.at(Some(height)).unwrap();
            compared.set(compared.get() + same(&at, model));
            proofs_hold(&at, model, app_hash);
        }
        prop_assert_eq!(
            store.at(Some(newest + 1)).unwrap_err(),
            HeightError::NotYet { asked: newest + 1, newest }
        );
    });
    assert!(compared.get() >= 8_000, "only {} answers were compared", compared.get());
}

#[test]
fn a_view_stays_as_it_is_while_blocks_are_committed_and_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 2);
    let block = |n: u8| Writes::from([(vec![1], Some(vec![9, n])), (vec![2, n], Some(vec![]))]);
    let mut model = MemoryState::default();
    let mut hash = [0; 32];
    for n in 0_u8..3 {
        hash = store.finalize(n.into(), block(n)).unwrap();
        store.commit().unwrap();
        model.apply(block(n));
    }
    let view = store.at(None).unwrap();
    for n in 3_u8..9 {
        store.finalize(n.into(), block(n)).unwrap();
        store.commit().unwrap();
    }
    assert_eq!(store.prune(u64::MAX).unwrap(), 7);
    same(&view, &model);
    assert_eq!((view.height(), view.app_hash().unwrap()), (2, hash));
    // Its proofs need the tree, which has gone on too far.
    assert_eq!(view.prove(&[1]).unwrap_err(), HeightError::Pruned { asked: 2, oldest: 7 });
}

#[test]
fn reading_ranges_sees_each_commit_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 0);
    let mut model = MemoryState::default();
    for height in 0_u16..30 {
        let writes: Writes = (0..40_u16)
            .map(|n| {
                let value = ((n * 7 + height) % 3 != 0).then(|| height.to_be_bytes().to_vec());
                ([&[5], &(n * 3 + height % 4).to_be_bytes()[..]].concat(), value)
            })
            .collect();
        store.finalize(height.into(), writes.clone()).unwrap();
        store.commit().unwrap();
        model.apply(writes);
        let mut start = vec![5];
        let mut seen = 0;
        while let Some((key, value)) = store.next_raw(&start, &[6]).unwrap() {
            assert_eq!(model.next_raw(&start, &[6]).unwrap(), Some((key.clone(), value)));
            start = [key.as_slice(), &[0]].concat();
            seen += 1;
        }
        assert_eq!(seen, model.0.len());
    }
}
