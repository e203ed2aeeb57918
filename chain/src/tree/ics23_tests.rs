//! The `ics23` crate, which other chains verify with, accepts our proofs under our specification.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use ::ics23::{HashOp, HostFunctionsManager, InnerSpec, LeafOp, LengthOp, ProofSpec};
use prost::Message;

use super::*;
use crate::error::Fault;

/// As `docs/state.md` gives it.
fn specification() -> ProofSpec {
    ProofSpec {
        leaf_spec: Some(LeafOp {
            hash: HashOp::Blake3.into(),
            prehash_key: HashOp::Blake3.into(),
            prehash_value: HashOp::Blake3.into(),
            length: LengthOp::NoPrefix.into(),
            prefix: LEAF_TAG.to_vec(),
        }),
        inner_spec: Some(InnerSpec {
            child_order: vec![0, 1],
            child_size: 32,
            min_prefix_length: 64,
            max_prefix_length: 64,
            empty_child: Blake3Rule::EMPTY.to_vec(),
            hash: HashOp::Blake3.into(),
        }),
        max_depth: 256,
        min_depth: 0,
        prehash_key_before_comparison: true,
    }
}

struct Fixture {
    by_path: BTreeMap<Hash, (Vec<u8>, Vec<u8>)>,
    tree: Tree<Blake3Rule>,
    root: Hash,
}

fn key(number: u32) -> Vec<u8> {
    [&[7], &number.to_be_bytes()[..]].concat()
}

/// The even numbers below twice `count`.
fn fixture(count: u32) -> Fixture {
    // Every third value is empty.
    let value = |n: u32| if n % 3 == 2 { Vec::new() } else { n.to_le_bytes().to_vec() };
    let entries = (0..count).map(|n| (key(2 * n), value(n)));
    let by_path: BTreeMap<_, _> =
        entries.map(|(key, value)| (Blake3Rule::bytes(&key), (key, value))).collect();
    let leaves =
        by_path.values().map(|(k, v)| LeafWrite::new::<Blake3Rule>(k, Some(v), 0)).collect();
    let tree = Tree::build(&Sequential, leaves).unwrap();
    let root = tree.root().unwrap();
    Fixture { by_path, tree, root }
}

impl Fixture {
    fn prove(&self, key: &[u8]) -> Proof {
        let entry = |path: &Hash| self.by_path.get(path).cloned().ok_or(Fault::Corrupt("test"));
        self.tree.prove(None, key, &entry).unwrap()
    }

    fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.by_path.get(&Blake3Rule::bytes(key)).map(|(_, value)| value.as_slice())
    }
}

#[test]
fn the_ics23_crate_accepts_every_proof_and_no_opposite() {
    let specification = specification();
    let (mut members, mut absent) = (0, 0);
    for count in [1, 2, 3, 5, 17, 100, 1_500] {
        let fixture = fixture(count);
        let root = fixture.root.to_vec();
        for number in 0..(2 * count + 20) {
            let key = key(number);
            let bytes = fixture.prove(&key).to_ics23(&key).encode_to_vec();
            let proof: ::ics23::CommitmentProof =
                prost_of_ics23::Message::decode(bytes.as_slice()).unwrap();
            let is_absent = ::ics23::verify_non_membership::<HostFunctionsManager>(
                &proof,
                &specification,
                &root,
                &key,
            );
            let holds = |value: &[u8]| {
                ::ics23::verify_membership::<HostFunctionsManager>(
                    &proof,
                    &specification,
                    &root,
                    &key,
                    value,
                )
            };
            if let Some(value) = fixture.value(&key) {
                let holds = holds(provable(value)) && !holds(b"another");
                assert!(holds && !is_absent, "{number} of {count}");
                members += 1;
            } else {
                assert!(is_absent && !holds(b"another"), "{number} of {count}");
                absent += 1;
            }
            verify_ics23(&bytes, &fixture.root, &key, fixture.value(&key)).unwrap();
        }
    }
    assert_eq!((members, absent), (1_628, 1_628 + 7 * 20));
}

#[test]
fn another_encoding_of_a_proof_is_refused() {
    let fixture = fixture(100);
    let (there, missing) = (key(4), key(5));
    let mut refused = 0;
    for key in [&there, &missing] {
        let value = fixture.value(key);
        let honest = fixture.prove(key).to_ics23(key);
        let bytes = honest.encode_to_vec();
        verify_ics23(&bytes, &fixture.root, key, value).unwrap();
        // Every flipped bit, every truncation, and bytes that protobuf would skip.
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut forged = bytes.clone();
                forged[index] ^= 1 << bit;
                assert!(verify_ics23(&forged, &fixture.root, key, value).is_err());
                refused += 1;
            }
            assert!(verify_ics23(&bytes[..index], &fixture.root, key, value).is_err());
        }
        let unknown = [&bytes[..], &[0x78, 0]].concat();
        assert!(verify_ics23(&unknown, &fixture.root, key, value).is_err());
    }
    assert!(refused > 10_000, "only {refused} forgeries were tried");
}

#[test]
fn a_proof_about_another_key_is_refused() {
    let fixture = fixture(100);
    let bytes = fixture.prove(&key(4)).to_ics23(&key(4)).encode_to_vec();
    let value = fixture.value(&key(4));
    assert_eq!(verify_ics23(&bytes, &fixture.root, &key(6), value), Err(ProofError::Claim));
    let bytes = fixture.prove(&key(5)).to_ics23(&key(5)).encode_to_vec();
    assert_eq!(verify_ics23(&bytes, &fixture.root, &key(7), None), Err(ProofError::Claim));
}
