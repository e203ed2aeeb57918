//! The tree against `jmt`, against a tree built anew, and its proofs against the `ics23` crate.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use std::eprintln;

use jmt::mock::MockTreeStore;
use jmt::{JellyfishMerkleTree, KeyHash};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::error::Fault;
use crate::state::Writes;

/// `jmt` 0.12 over SHA-256.
pub(super) struct JmtRule;

impl HashRule for JmtRule {
    const EMPTY: Hash = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

    fn bytes(data: &[u8]) -> Hash {
        Sha256::digest(data).into()
    }

    fn leaf(path: &Hash, value: &Hash) -> Hash {
        Sha256::new()
            .chain_update(b"JMT::LeafNode")
            .chain_update(path)
            .chain_update(value)
            .finalize()
            .into()
    }

    fn inner(left: &Hash, right: &Hash) -> Hash {
        let tagged = Sha256::new().chain_update(b"JMT::IntrnalNode");
        tagged.chain_update(left).chain_update(right).finalize().into()
    }
}

/// The first byte of a key is its path: shallow and deep collisions are common.
pub(super) struct CrowdedRule;

impl HashRule for CrowdedRule {
    const EMPTY: Hash = [0; 32];

    fn bytes(data: &[u8]) -> Hash {
        let mut out = [0; 32];
        for (slot, byte) in out.iter_mut().zip(data) {
            *slot = *byte;
        }
        out
    }

    fn leaf(path: &Hash, value: &Hash) -> Hash {
        Blake3Rule::leaf(path, value)
    }

    fn inner(left: &Hash, right: &Hash) -> Hash {
        Blake3Rule::inner(left, right)
    }
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn apply(state: &mut State, writes: &Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

fn rebuilt<R: HashRule>(state: &State) -> Tree<R> {
    let leaves =
        state.iter().map(|(key, value)| LeafWrite::new::<R>(key, Some(value), 0)).collect();
    Tree::build(&Sequential, leaves).unwrap()
}

fn write<R: HashRule>(tree: &mut Tree<R>, writes: &Writes) -> Hash {
    let pending = tree.root_after(&Sequential, writes).unwrap();
    let root = pending.root();
    tree.commit(&Sequential, pending).unwrap();
    assert_eq!(tree.root().unwrap(), root);
    root
}

fn proof<R: HashRule>(
    tree: &Tree<R>,
    pending: Option<&PendingUpdate>,
    state: &State,
    key: &[u8],
) -> Proof {
    tree.prove(pending, key, &|path| {
        let found = state.iter().find(|(key, _)| R::bytes(key) == *path);
        found
            .map(|(key, value)| (key.clone(), value.clone()))
            .ok_or(Fault::Invariant("the tree names a leaf that is not there"))
    })
    .unwrap()
}

/// Blocks of writes over few keys, so that replacements and deletions are common.
fn blocks(keys: u16) -> impl Strategy<Value = Vec<Writes>> {
    let value =
        prop_oneof![2 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Some), 1 => Just(None)];
    let block = prop::collection::btree_map(
        (0..keys).prop_map(|key| key.to_be_bytes().to_vec()),
        value,
        0..40,
    );
    prop::collection::vec(block, 1..8)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn with_the_rule_of_jmt_every_root_is_that_of_jmt() {
    let compared = Cell::new(0_u32);
    proptest!(config(200), |(blocks in blocks(300))| {
        let store = MockTreeStore::default();
        let oracle = JellyfishMerkleTree::<_, Sha256>::new(&store);
        let mut tree = Tree::<JmtRule>::default();
        for (version, writes) in (0_u64..).zip(&blocks) {
            let set = writes.iter().map(|(key, value)| (KeyHash::with::<Sha256>(key), value.clone()));
            let (root, batch) = oracle.put_value_set(set, version).unwrap();
            store.write_tree_update_batch(batch).unwrap();
            prop_assert_eq!(write(&mut tree, writes), root.0);
            compared.set(compared.get() + 1);
        }
    });
    eprintln!("{} roots compared", compared.get());
    assert!(compared.get() >= 500, "only {} roots were compared", compared.get());
}

fn updates_equal_rebuilding<R: HashRule>(keys: u16, cases: u32) -> u32 {
    let compared = Cell::new(0_u32);
    proptest!(config(cases), |(blocks in blocks(keys))| {
        let mut tree = Tree::<R>::default();
        let mut state = State::new();
        for writes in &blocks {
            let before = state.clone();
            let pending = tree.root_after(&Sequential, writes).unwrap();
            let names = |found: Vec<(u32, Hash)>| {
                let mut keys: Vec<_> = found.into_iter().map(|(position, path)| {
                    let key = writes.keys().nth(usize::try_from(position).unwrap()).unwrap();
                    assert_eq!(R::bytes(key), path);
                    key.clone()
                }).collect();
                keys.sort();
                keys
            };
            let inserted: Vec<_> = writes.iter()
                .filter(|(key, value)| value.is_some() && !before.contains_key(*key))
                .map(|(key, _)| key.clone()).collect();
            let removed: Vec<_> = writes.iter()
                .filter(|(key, value)| value.is_none() && before.contains_key(*key))
                .map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(names(pending.inserted().collect()), inserted);
            prop_assert_eq!(names(pending.removed().collect()), removed);
            apply(&mut state, writes);
            let root = write(&mut tree, writes);
            prop_assert_eq!(root, pending.root());
            prop_assert_eq!(root, rebuilt::<R>(&state).root().unwrap());
            prop_assert_eq!(tree.leaf_count(), state.len());
            compared.set(compared.get() + 1);
        }
    });
    compared.get()
}

#[test]
fn a_tree_after_updates_is_the_tree_built_from_the_whole_state() {
    let compared = updates_equal_rebuilding::<Blake3Rule>(200, 150)
        + updates_equal_rebuilding::<CrowdedRule>(60, 150);
    assert!(compared >= 700, "only {compared} roots were compared");
}

#[test]
fn every_key_has_a_proof_that_holds_for_its_own_claim_only() {
    let checked = Cell::new(0_u32);
    proptest!(config(40), |(blocks in blocks(120))| {
        let mut tree = Tree::<Blake3Rule>::default();
        let mut state = State::new();
        for writes in &blocks {
            apply(&mut state, writes);
            let pending = tree.root_after(&Sequential, writes).unwrap();
            let root = pending.root();
            for key in (0_u16..120).map(|key| key.to_be_bytes().to_vec()) {
                let proof = proof(&tree, Some(&pending), &state, &key);
                let value = state.get(&key).map(Vec::as_slice);
                prop_assert_eq!(proof.verify::<Blake3Rule>(&root, &key, value), Ok(()));
                let opposite = if value.is_some() { None } else { Some(&b"x"[..]) };
                prop_assert!(proof.verify::<Blake3Rule>(&root, &key, opposite).is_err());
                prop_assert!(proof.verify::<Blake3Rule>(&[7; 32], &key, value).is_err());
                checked.set(checked.get() + 1);
            }
            tree.commit(&Sequential, pending).unwrap();
        }
    });
    assert!(checked.get() >= 5_000, "only {} proofs were checked", checked.get());
}

#[test]
fn neighbours_with_a_leaf_between_them_prove_no_absence() {
    let mut refused = 0;
    for crowd in [3_u16, 10, 100] {
        let state: State = (0..crowd).map(|key| (key.to_be_bytes().to_vec(), vec![1])).collect();
        let tree = rebuilt::<Blake3Rule>(&state);
        let root = tree.root().unwrap();
        let mut by_path: Vec<_> =
            state.keys().map(|key| (Blake3Rule::bytes(key), key.clone())).collect();
        by_path.sort();
        let leaf = |key: &[u8]| match proof(&tree, None, &state, key) {
            Proof::Present(leaf) => leaf,
            Proof::Absent { .. } => panic!("the key is there"),
        };
        for triple in by_path.windows(3) {
            let [(_, before), (_, key), (_, after)] = triple else { unreachable!() };
            let forged = [
                (Some(leaf(before)), Some(leaf(after))),
                (Some(leaf(before)), None),
                (None, Some(leaf(after))),
                (None, None),
            ];
            for (left, right) in forged {
                let forged = Proof::Absent { left, right };
                let verdict = forged.verify::<Blake3Rule>(&root, key, None);
                assert_eq!(verdict, Err(ProofError::Neighbours));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4 * (1 + 8 + 98));
}

#[test]
fn every_changed_byte_of_a_proof_breaks_it() {
    let state: State = (0_u16..200).map(|key| (key.to_be_bytes().to_vec(), vec![1, 2])).collect();
    let tree = rebuilt::<Blake3Rule>(&state);
    let root = tree.root().unwrap();
    let key = 7_u16.to_be_bytes();
    let Proof::Present(honest) = proof(&tree, None, &state, &key) else { panic!("it is there") };
    let mut broken = 0;
    for index in 0..honest.siblings.len() {
        for byte in 0..32 {
            let mut forged = honest.clone();
            forged.siblings[index][byte] ^= 1;
            let verdict = Proof::Present(forged).verify::<Blake3Rule>(&root, &key, Some(&[1, 2]));
            assert_eq!(verdict, Err(ProofError::Root));
            broken += 1;
        }
    }
    assert!(broken >= 7 * 32);
    for forged in [
        LeafProof { siblings: honest.siblings[1..].to_vec(), ..honest.clone() },
        LeafProof { siblings: [honest.siblings.clone(), vec![[0; 32]]].concat(), ..honest.clone() },
    ] {
        let verdict = Proof::Present(forged).verify::<Blake3Rule>(&root, &key, Some(&[1, 2]));
        assert_eq!(verdict, Err(ProofError::Root));
    }
}

#[test]
fn hashes_made_several_at_a_time_are_those_of_plain_blake3() {
    for count in 0_u8..70 {
        let pairs: Vec<Pair> = (0..count).map(|n| [[n; 32], Blake3Rule::bytes(&[n])]).collect();
        for (many, tag) in [
            (Blake3Rule::leaves as fn(&[Pair], &mut Vec<Hash>), LEAF_TAG),
            (Blake3Rule::inners, INNER_TAG),
        ] {
            let mut out = vec![[9; 32]; 3];
            many(&pairs, &mut out);
            let plain: Vec<Hash> = pairs
                .iter()
                .map(|pair| *blake3::hash(&[&tag[..], pair.as_flattened()].concat()).as_bytes())
                .collect();
            assert_eq!(out, plain);
        }
    }
    let pair = [[1; 32], [2; 32]];
    let mut out = Vec::new();
    Blake3Rule::leaves(&[pair], &mut out);
    assert_eq!(out, [Blake3Rule::leaf(&pair[0], &pair[1])]);
    Blake3Rule::inners(&[pair], &mut out);
    assert_eq!(out, [Blake3Rule::inner(&pair[0], &pair[1])]);
}

#[test]
fn an_update_of_an_older_tree_is_refused() {
    let mut tree = Tree::<Blake3Rule>::default();
    let writes = Writes::from([(vec![1], Some(vec![1]))]);
    let older = tree.root_after(&Sequential, &writes).unwrap();
    write(&mut tree, &Writes::from([(vec![2], Some(vec![2]))]));
    assert!(tree.prove(Some(&older), &[1], &|_| Err(Fault::Invariant("unused"))).is_err());
    assert!(tree.commit(&Sequential, older).is_err());
    assert_eq!(tree.leaf_count(), 1);
}

#[test]
fn one_key_twice_in_a_whole_state_is_a_fault() {
    let leaf = LeafWrite::new::<Blake3Rule>(b"key", Some(b"value"), 0);
    assert!(Tree::<Blake3Rule>::build(&Sequential, vec![leaf, leaf]).is_err());
}

#[test]
fn the_empty_tree_and_the_tree_of_one_leaf_have_the_documented_roots() {
    let mut tree = Tree::<Blake3Rule>::default();
    assert_eq!(tree.root().unwrap(), [0; 32]);
    let absent = Proof::Absent { left: None, right: None };
    assert_eq!(proof(&tree, None, &State::new(), b"k"), absent);
    assert_eq!(absent.verify::<Blake3Rule>(&[0; 32], b"k", None), Ok(()));

    let root = write(&mut tree, &Writes::from([(b"k".to_vec(), Some(b"v".to_vec()))]));
    let mut image = LEAF_TAG.to_vec();
    image.extend(blake3::hash(b"k").as_bytes());
    image.extend(blake3::hash(b"v").as_bytes());
    assert_eq!(root, *blake3::hash(&image).as_bytes());
    assert_eq!(write(&mut tree, &Writes::from([(b"k".to_vec(), None)])), [0; 32]);
    assert!(LEAF_TAG.starts_with(b"lockstep/state/leaf/v1\0"));
    assert!(INNER_TAG.starts_with(b"lockstep/state/inner/v1\0"));
}

#[test]
fn a_tree_that_shrinks_and_grows_again_reuses_its_memory() {
    let fill: Writes =
        (0_u32..5_000).map(|key| (key.to_be_bytes().to_vec(), Some(vec![1]))).collect();
    let half: Writes = fill.keys().step_by(2).map(|key| (key.clone(), None)).collect();
    let mut tree = Tree::<Blake3Rule>::default();
    let root = write(&mut tree, &fill);
    write(&mut tree, &half);
    assert_eq!(write(&mut tree, &fill), root);
    let once = tree.memory_bytes();
    for _ in 0..20 {
        write(&mut tree, &half);
        write(&mut tree, &fill);
    }
    assert!(tree.memory_bytes() <= once * 2, "{} against {once}", tree.memory_bytes());
}
