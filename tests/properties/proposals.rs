//! What proposers may bring, and what the others must say to it.

use std::cell::Cell;

use lockstep_chain::proposal::{self, Refusal};
use lockstep_proto::lockstep::block::v1::ExtendedCommit;
use lockstep_tests::actions;
use lockstep_tests::keys::Validator;
use lockstep_tests::rng::Rng;
use proptest::prelude::*;
use prost::Message as _;

use crate::{fixture, shared};

/// Does something to an extended commit that CometBFT would never do, or that it may.
fn disturb(commit: &mut ExtendedCommit, rng: &mut Rng) {
    let cluster = shared();
    let count = commit.votes.len();
    match rng.below(12) {
        0 => commit.empty = true,
        1 => commit.round = i32::try_from(rng.next() >> 40).unwrap() - 1_000_000,
        2 => rng.shuffle(&mut commit.votes),
        _ if count == 0 => commit.votes.push(lockstep_proto::lockstep::block::v1::ExtendedVote {
            validator_address: rng.bytes(20),
            extension: rng.bytes(9),
            signature: rng.bytes(64),
        }),
        3 => {
            commit.votes.remove(rng.index(count));
        }
        4 | 5 => {
            let copy = commit.votes[rng.index(count)].clone();
            commit.votes.insert(rng.index(count), copy);
        }
        6 => {
            let place = rng.index(64);
            let vote = rng.index(count);
            if let Some(byte) = commit.votes[vote].signature.get_mut(place) {
                *byte ^= 1;
            }
        }
        7 => {
            let len = rng.index(70);
            commit.votes[rng.index(count)].signature = rng.bytes(len);
        }
        8 => {
            let len = rng.index(2000);
            commit.votes[rng.index(count)].extension = rng.bytes(len);
        }
        9 => {
            let len = rng.index(24);
            commit.votes[rng.index(count)].validator_address = rng.bytes(len);
        }
        10 => {
            // Garbage that its validator has signed.
            let number = rng.index(4);
            let len = rng.index(1500);
            let round = u32::try_from(commit.round.max(0)).unwrap();
            let extension = rng.bytes(len);
            let me = &cluster.validators[number];
            commit.votes.push(cluster.signed_vote(me, cluster.height, round, extension));
        }
        _ => {
            // The vote of a stranger, rightly signed.
            let stranger = Validator::numbered(99);
            commit.votes.push(cluster.signed_vote(&stranger, cluster.height, 0, Vec::new()));
        }
    }
}

fn mempool(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut cluster = None;
    (0..rng.below(6))
        .map(|_| {
            let cluster = cluster.get_or_insert_with(fixture);
            let tx = cluster.tx("dev1", vec![actions::send("dev1", "dev0", 1 + rng.below(9))]);
            match rng.below(4) {
                0 => {
                    let len = rng.index(300);
                    rng.bytes(len)
                }
                1 => vec![0; lockstep_chain::limits::TX_BYTES_MAX + 1],
                _ => tx,
            }
        })
        .collect()
}

#[test]
fn whatever_a_proposer_is_given_the_others_accept_what_it_makes() {
    let cluster = shared();
    let (runs, with_votes, with_txs) = (Cell::new(0_u32), Cell::new(0_u32), Cell::new(0_u32));
    let config = ProptestConfig { cases: 600, ..ProptestConfig::default() };
    proptest!(config, |(seed: u64, disturbances in 0_u32..5, room in 0_u64..6_000)| {
        let mut rng = Rng::new(seed);
        let mut commit = cluster.last_commit.clone().unwrap();
        for _ in 0..disturbances {
            disturb(&mut commit, &mut rng);
        }
        let commit = (!rng.one_in(20)).then_some(commit);
        let txs = if rng.one_in(8) { mempool(&mut rng) } else { Vec::new() };
        let bytes_max = if rng.one_in(2) { room } else { 4 << 20 };
        let height = cluster.height + 1;
        let block = proposal::prepare(cluster.state(), height, bytes_max, commit, &txs).unwrap();
        prop_assert_eq!(proposal::process(cluster.state(), height, &block).unwrap(), Ok(()));
        let size: u64 = block.iter().map(|tx| u64::try_from(tx.len()).unwrap() + 8).sum();
        // The explicit empty commit is 2 bytes; CometBFT never allows less.
        prop_assert!(size <= bytes_max.max(10), "{} of {}", size, bytes_max);
        let injected = ExtendedCommit::decode(block[0].as_slice()).unwrap();
        runs.set(runs.get() + 1);
        with_votes.set(with_votes.get() + u32::from(!injected.empty));
        with_txs.set(with_txs.get() + u32::from(block.len() > 1));
    });
    assert_eq!(runs.get(), 600);
    assert!(with_votes.get() > 100, "{} with votes", with_votes.get());
    assert!(runs.get() - with_votes.get() > 100, "{} with votes", with_votes.get());
    assert!(with_txs.get() > 10, "{} with transactions", with_txs.get());
}

fn judge(injected: Vec<u8>) -> Result<(), Refusal> {
    let cluster = shared();
    proposal::process(cluster.state(), cluster.height + 1, &[injected]).unwrap()
}

/// The extended commit that an honest proposer injects.
fn honest() -> ExtendedCommit {
    let cluster = shared();
    let commit = cluster.last_commit.clone();
    let block =
        proposal::prepare(cluster.state(), cluster.height + 1, 4 << 20, commit, &[]).unwrap();
    let commit = ExtendedCommit::decode(block[0].as_slice()).unwrap();
    assert_eq!(commit.votes.len(), 4);
    commit
}

fn changed(change: impl FnOnce(&mut ExtendedCommit)) -> Result<(), Refusal> {
    let mut commit = honest();
    change(&mut commit);
    judge(commit.encode_to_vec())
}

#[test]
fn an_extended_commit_that_is_not_what_was_signed_is_refused() {
    let cluster = shared();
    assert_eq!(judge(honest().encode_to_vec()), Ok(()));
    assert_eq!(changed(|c| c.votes.swap(0, 1)), Err(Refusal::Unordered));
    let twice = changed(|c| c.votes.insert(1, c.votes[0].clone()));
    assert_eq!(twice, Err(Refusal::Unordered));
    assert_eq!(changed(|c| c.round = 1), Err(Refusal::BadSignature));
    assert_eq!(changed(|c| c.empty = true), Err(Refusal::NotEmpty));
    assert_eq!(changed(|c| c.votes.truncate(1)), Err(Refusal::NoQuorum));
    assert_eq!(changed(|c| c.votes.clear()), Err(Refusal::NoQuorum));
    for place in 0..64 {
        for vote in 0..4 {
            let broken = changed(|c| c.votes[vote].signature[place] ^= 0x10);
            assert_eq!(broken, Err(Refusal::BadSignature));
        }
    }
    assert_eq!(changed(|c| c.votes[2].extension.push(0)), Err(Refusal::BadSignature));
    let stranger = Validator::numbered(99);
    let vote = cluster.signed_vote(&stranger, cluster.height, 0, Vec::new());
    let with_stranger = changed(|c| {
        c.votes.push(vote);
        c.votes.sort_by(|a, b| a.validator_address.cmp(&b.validator_address));
    });
    assert_eq!(with_stranger, Err(Refusal::Stranger));
    // Signed for the height before, or the one after.
    for height in [cluster.height - 1, cluster.height + 1] {
        let vote =
            |number: usize| cluster.signed_vote(&cluster.validators[number], height, 0, Vec::new());
        let replayed = changed(|c| {
            c.votes = (0..4).map(vote).collect();
            c.votes.sort_by(|a, b| a.validator_address.cmp(&b.validator_address));
        });
        assert_eq!(replayed, Err(Refusal::BadSignature));
    }
}

#[test]
fn a_quorum_is_more_than_two_thirds_of_the_chains_own_powers() {
    let cluster = shared();
    // Powers 100, 50, 60, 70 of 280: more than 186.67 is needed.
    let mut subsets = 0;
    for subset in 0_u32..16 {
        let mut power = 0;
        let mut commit = honest();
        for (number, stake) in [100_u64, 50, 60, 70].iter().enumerate() {
            let address = cluster.validators[number].consensus_address();
            if subset >> number & 1 == 1 {
                power += stake;
            } else {
                commit.votes.retain(|vote| vote.validator_address != address);
            }
        }
        let expected = if 3 * power > 2 * 280 { Ok(()) } else { Err(Refusal::NoQuorum) };
        assert_eq!(judge(commit.encode_to_vec()), expected, "{subset:04b}");
        subsets += 1;
    }
    assert_eq!(subsets, 16);
}

#[test]
fn powers_cannot_be_given_in_a_proposal() {
    // A fourth field of a vote, as if it were its power: every vote claims 1000.
    let commit = honest();
    let mut bytes = Vec::new();
    for vote in &commit.votes[..1] {
        let mut vote = vote.encode_to_vec();
        vote.extend([0x20, 0xe8, 0x07]);
        bytes.push(0x1a);
        prost::encoding::encode_varint(u64::try_from(vote.len()).unwrap(), &mut bytes);
        bytes.extend(vote);
    }
    assert_eq!(ExtendedCommit::decode(bytes.as_slice()).unwrap().votes.len(), 1);
    assert_eq!(judge(bytes), Err(Refusal::Malformed));
}

#[test]
fn the_first_block_has_no_votes_and_a_block_without_a_commit_is_refused() {
    let cluster = lockstep_tests::cluster::Cluster::new(&lockstep_tests::genesis::genesis(
        &[10],
        lockstep_tests::genesis::params(),
    ));
    let vote = cluster.signed_vote(&cluster.validators[0], 1, 0, Vec::new());
    let commit = ExtendedCommit { empty: false, round: 0, votes: vec![vote] };
    let judged = proposal::process(cluster.state(), 1, &[commit.encode_to_vec()]).unwrap();
    assert_eq!(judged, Err(Refusal::NotEmpty));
    assert_eq!(proposal::process(cluster.state(), 1, &[]).unwrap(), Err(Refusal::Malformed));
    let block = proposal::prepare(cluster.state(), 1, 4 << 20, Some(commit), &[]).unwrap();
    assert!(ExtendedCommit::decode(block[0].as_slice()).unwrap().empty);
}
