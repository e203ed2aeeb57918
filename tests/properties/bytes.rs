//! Bytes from strangers: only one encoding of anything counts, and nothing panics.

use lockstep_chain::envelope::{Envelope, K256, Unsigned};
use lockstep_chain::error::{BAD_SIGNATURE, MALFORMED, NOT_CANONICAL};
use lockstep_chain::tx::KINDS;
use lockstep_chain::wire::any;
use lockstep_chain::{extension, mempool, query};
use lockstep_proto::cosmos::tx::v1beta1::{AuthInfo, TxBody, TxRaw};
use lockstep_proto::lockstep::block::v1::{Commitment, Reveal, VoteExtension};
use lockstep_tests::actions;
use lockstep_tests::cluster::Cluster;
use lockstep_tests::genesis::{genesis, params};
use lockstep_tests::rng::Rng;
use prost::Message as _;

use crate::{fixture, shared};

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let place = if bytes.is_empty() { 0 } else { rng.index(bytes.len()) };
        match rng.below(6) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << rng.below(8),
            1 if !bytes.is_empty() => {
                bytes.remove(place);
            }
            2 if !bytes.is_empty() => bytes.truncate(place),
            3 => bytes.insert(place, rng.bytes(1)[0]),
            4 if !bytes.is_empty() => {
                let copy = bytes[place..].to_vec();
                bytes.extend(copy);
            }
            _ => {
                let more = rng.bytes(3);
                bytes.extend(more);
            }
        }
    }
}

#[test]
fn of_mutated_extensions_only_canonical_ones_within_their_bounds_pass() {
    let mut rng = Rng::new(1);
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..100_000 {
        let count = rng.below(4);
        let whole = VoteExtension {
            commitments: (0..count)
                .map(|job| Commitment { job, attempt: 1, commitment: rng.bytes(32) })
                .collect(),
            reveals: (0..rng.below(3))
                .map(|job| Reveal {
                    job,
                    attempt: 1,
                    salt: rng.bytes(32),
                    result_root: rng.bytes(32),
                })
                .collect(),
            holds: (0..rng.below(5)).map(|_| rng.next()).collect(),
        };
        let mut bytes = whole.encode_to_vec();
        assert!(extension::verify(&bytes));
        mutate(&mut bytes, &mut rng);
        if extension::verify(&bytes) {
            let again = VoteExtension::decode(bytes.as_slice()).unwrap();
            assert_eq!(again.encode_to_vec(), bytes, "a second encoding passes");
            assert!(bytes.len() <= 1024);
            passed += 1;
        } else {
            refused += 1;
        }
    }
    // A flipped bit of a hash gives another canonical extension.
    assert!(passed > 5_000 && refused > 50_000, "{passed} passed, {refused} refused");
}

#[test]
fn every_subset_of_fields_of_an_extension_is_judged_without_a_panic() {
    let mut judged = 0;
    for length in [0, 1, 31, 32, 33, 1024] {
        for subset in 0_u32..64 {
            let has = |bit: u32| subset >> bit & 1 == 1;
            let hash = |bit| if has(bit) { vec![7; length] } else { Vec::new() };
            let whole = VoteExtension {
                commitments: vec![Commitment {
                    job: u64::from(has(0)),
                    attempt: u32::from(has(1)),
                    commitment: hash(2),
                }],
                reveals: vec![Reveal { job: 0, attempt: 0, salt: hash(3), result_root: hash(4) }],
                holds: if has(5) { vec![0] } else { Vec::new() },
            };
            let right = length == 32 && has(2) && has(3) && has(4);
            assert_eq!(extension::verify(&whole.encode_to_vec()), right);
            judged += 1;
        }
    }
    assert_eq!(judged, 6 * 64);
}

#[test]
fn mutated_and_random_transactions_never_panic_and_decode_in_one_encoding_alone() {
    let mut cluster = fixture();
    let mut seeds: Vec<_> =
        KINDS.iter().map(|kind| cluster.tx("dev0", vec![(kind.example)()])).collect();
    seeds.push(cluster.tx("dev0", vec![actions::send("dev0", "dev1", 5)]));
    let mut rng = Rng::new(2);
    let (mut decoded, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let mut bytes = rng.pick(&seeds).clone();
        if rng.one_in(10) {
            let len = rng.index(400);
            bytes = rng.bytes(len);
        }
        if rng.one_in(3) && !bytes.is_empty() {
            let place = rng.index(bytes.len());
            bytes[place] ^= 1 << rng.below(8);
        } else {
            mutate(&mut bytes, &mut rng);
        }
        match Envelope::decode(&bytes) {
            Ok(_) => {
                let raw = TxRaw::decode(bytes.as_slice()).unwrap();
                assert_eq!(raw.encode_to_vec(), bytes);
                let body = TxBody::decode(raw.body_bytes.as_slice()).unwrap();
                assert_eq!(body.encode_to_vec(), raw.body_bytes);
                let auth = AuthInfo::decode(raw.auth_info_bytes.as_slice()).unwrap();
                assert_eq!(auth.encode_to_vec(), raw.auth_info_bytes);
                decoded += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(decoded > 100 && refused > 30_000, "{decoded} decoded, {refused} refused");
}

#[test]
fn a_mutated_transaction_never_gets_through() {
    let mut cluster = fixture();
    let tx = cluster.tx("dev0", vec![actions::send("dev0", "dev1", 5)]);
    assert_eq!(mempool::check_tx(cluster.state(), &tx, &K256).unwrap().code, 0);
    let mut rng = Rng::new(3);
    let mut mutants = 0;
    for _ in 0..3_000 {
        let mut bytes = tx.clone();
        mutate(&mut bytes, &mut rng);
        if bytes == tx {
            continue;
        }
        assert_ne!(mempool::check_tx(cluster.state(), &bytes, &K256).unwrap().code, 0);
        mutants += 1;
    }
    assert!(mutants > 2_000);
}

/// Ways to write the same message in other bytes.
fn other_encodings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let unknown = [bytes, &[0xa2, 0x3f, 0x01, 0x61][..]].concat();
    let zero = [bytes, &[0xa0, 0x3f, 0x00][..]].concat();
    let trailing = [bytes, &[0][..]].concat();
    // The first field again at the end: the last one counts, or they are merged.
    let (tag, rest) = bytes.split_first().unwrap();
    assert_eq!(tag & 7, 2, "a length-delimited field comes first");
    let mut reader = rest;
    let length = prost::encoding::decode_varint(&mut reader).unwrap();
    let varint = rest.len() - reader.len();
    let end = 1 + varint + usize::try_from(length).unwrap();
    let first = &bytes[..end];
    let duplicate = [bytes, first].concat();
    let reordered = [&bytes[end..], first].concat();
    // The length in one byte more than it needs.
    let mut long = bytes[..=varint].to_vec();
    long[varint] |= 0x80;
    long.push(0);
    long.extend(&bytes[1 + varint..]);
    vec![unknown, zero, trailing, duplicate, reordered, long]
}

#[test]
fn a_second_encoding_of_any_layer_is_refused() {
    let mut cluster = fixture();
    let unsigned = cluster.unsigned("dev0", vec![actions::send("dev0", "dev1", 5)]);
    // With a memo, so that the body has two fields to be put in another order.
    let tx = Unsigned { memo: "note".to_owned(), ..unsigned }.sign(&cluster.keys("dev0").key);
    let raw = TxRaw::decode(tx.as_slice()).unwrap();
    let layers = [
        other_encodings(&tx),
        other_encodings(&raw.body_bytes)
            .into_iter()
            .map(|body_bytes| TxRaw { body_bytes, ..raw.clone() }.encode_to_vec())
            .collect(),
        other_encodings(&raw.auth_info_bytes)
            .into_iter()
            .map(|auth_info_bytes| TxRaw { auth_info_bytes, ..raw.clone() }.encode_to_vec())
            .collect(),
        other_encodings(&actions::send("dev0", "dev1", 5).value)
            .into_iter()
            .map(|value| {
                let mut message = actions::send("dev0", "dev1", 5);
                message.value = value;
                cluster.tx("dev0", vec![message])
            })
            .collect(),
    ];
    let mut refused = 0;
    for bytes in layers.into_iter().flatten() {
        let error = Envelope::decode(&bytes).unwrap_err();
        assert!([MALFORMED, NOT_CANONICAL].contains(&error), "{error}");
        refused += 1;
    }
    assert_eq!(refused, 4 * 6);
}

#[test]
fn a_signature_with_high_s_is_refused() {
    /// The order of secp256k1.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36,
        0x41, 0x41,
    ];
    let mut cluster = fixture();
    let mut tried = 0;
    for amount in 1..20 {
        let tx = cluster.tx("dev0", vec![actions::send("dev0", "dev1", amount)]);
        let mut raw = TxRaw::decode(tx.as_slice()).unwrap();
        let s = &mut raw.signatures[0][32..];
        let mut borrow = 0_i16;
        for place in (0..32).rev() {
            let difference = i16::from(ORDER[place]) - i16::from(s[place]) - borrow;
            borrow = i16::from(difference < 0);
            s[place] = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        let refused = mempool::check_tx(cluster.state(), &raw.encode_to_vec(), &K256).unwrap();
        assert_eq!(refused.code, BAD_SIGNATURE.code);
        assert_eq!(mempool::check_tx(cluster.state(), &tx, &K256).unwrap().code, 0);
        tried += 1;
    }
    assert_eq!(tried, 19);
}

#[test]
fn no_transaction_of_one_chain_is_good_on_another() {
    let genesis = genesis(&[100, 100, 100], params());
    let mut one = Cluster::named(&genesis, "lockstep-one-1");
    let other = Cluster::named(&genesis, "lockstep-two-1");
    let messages = [
        ("dev0", actions::send("dev0", "dev1", 5)),
        ("delegator", actions::delegate("delegator", 0, 5)),
        ("author0", actions::register("author0", "base", 1, &[])),
        ("val3", actions::create_validator(3, 5)),
        ("council", actions::revoke("dev1", lockstep_proto::lockstep::member::v1::Role::Developer)),
    ];
    let count = messages.len();
    let mut refused = 0;
    for (signer, message) in messages {
        let tx = one.tx(signer, vec![message]);
        assert_eq!(mempool::check_tx(one.state(), &tx, &K256).unwrap().code, 0, "{signer}");
        let there = mempool::check_tx(other.state(), &tx, &K256).unwrap();
        assert_eq!(there.code, BAD_SIGNATURE.code);
        refused += 1;
    }
    assert_eq!(refused, count);
}

#[test]
fn queries_of_random_bytes_never_panic() {
    let cluster = shared();
    let paths = [
        "/cosmos.auth.v1beta1.Query/Account",
        "/cosmos.bank.v1beta1.Query/Balance",
        "/cosmos.bank.v1beta1.Query/AllBalances",
        "/cosmos.bank.v1beta1.Query/SupplyOf",
        "/cosmos.tx.v1beta1.Service/Simulate",
        "/lockstep.member.v1.Query/Account",
        "/lockstep.staking.v1.Query/Validator",
        "/lockstep.staking.v1.Query/Validators",
        "/lockstep.staking.v1.Query/Delegation",
        "/lockstep.staking.v1.Query/Unbondings",
        "/lockstep.staking.v1.Query/Slashes",
        "/lockstep.model.v1.Query/Model",
        "/lockstep.model.v1.Query/Models",
        "/lockstep.model.v1.Query/Version",
        "/lockstep.model.v1.Query/Manifest",
        "/lockstep.model.v1.Query/Alias",
        "/lockstep.model.v1.Query/Possession",
        "/lockstep.job.v1.Query/Job",
        "/lockstep.job.v1.Query/Jobs",
        "/lockstep.job.v1.Query/Duties",
        "/lockstep.chain.v1.Query/Params",
        "/lockstep.chain.v1.Query/Totals",
        "/lockstep.chain.v1.Query/Tip",
        "/lockstep.chain.v1.Query/Invariants",
        "/nothing",
        "",
    ];
    let mut rng = Rng::new(4);
    let mut seed = any(&actions::job("dev0", "child", &[1])).value;
    let mut asked = 0;
    for round in 0..100 {
        for path in paths {
            mutate(&mut seed, &mut rng);
            seed.truncate(200);
            let data = if round == 0 { &[][..] } else { &seed };
            let answer = query::query(cluster.state(), path, data);
            assert!(!matches!(answer, Err(lockstep_chain::error::TxError::Fault(_))), "{path}");
            asked += 1;
        }
    }
    assert_eq!(asked, 100 * paths.len());
}
