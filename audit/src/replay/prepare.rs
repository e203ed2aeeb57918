//! What can be computed of blocks before it is their turn, on all cores: hashes and signatures.

use std::collections::BTreeMap;
use std::sync::RwLock;

use lockstep_chain::envelope::{Envelope, Verifier as _};
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::ACCOUNTS;
use rayon::iter::{IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use tendermint_proto::v0_38::types::{Block, BlockIdFlag, Commit, PartSetHeader};

use crate::comet::{self, Hash, ValidatorSet};
use crate::signatures::{Libsecp256k1, RightTxs, RightVotes, TxSignature, VoteSignature};
use crate::source::Entry;

/// What other threads may know of the chain while blocks are executed. It may be older than the
/// block at hand: then a signature is checked in its turn.
#[derive(Debug)]
pub(super) struct Known {
    /// The committed state.
    pub(super) state: RwLock<MemoryState>,
    /// The key of each consensus address.
    pub(super) signers: RwLock<BTreeMap<[u8; 20], [u8; 32]>>,
    /// The network.
    pub(super) chain_id: String,
}

impl Known {
    pub(super) fn learn(&self, set: &ValidatorSet) {
        let mut signers = write(&self.signers);
        for signer in set.signers() {
            signers.insert(signer.address(), signer.key);
        }
    }
}

/// A lock whose holder panicked holds what it held: nothing here is changed in steps.
pub(super) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// As [`read`].
pub(super) fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A block and what was computed of it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) entry: Entry,
    /// Of its header.
    pub(super) hash: Hash,
    pub(super) data_hash: Hash,
    pub(super) last_commit_hash: Hash,
    pub(super) evidence_hash: Hash,
    pub(super) parts: PartSetHeader,
}

/// Blocks that follow each other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) blocks: Vec<Prepared>,
    pub(super) txs: RightTxs,
    pub(super) votes: RightVotes,
}

/// Computes what can be.
pub(super) fn batch(known: &Known, entries: Vec<Entry>) -> Batch {
    let (txs, votes) = rayon::join(|| right_txs(known, &entries), || right_votes(known, &entries));
    let blocks = entries.into_par_iter().map(prepared).collect();
    Batch { blocks, txs, votes }
}

fn prepared(entry: Entry) -> Prepared {
    let block = &entry.block;
    let none = Vec::new();
    let txs = block.data.as_ref().map_or(&none, |data| &data.txs);
    Prepared {
        hash: block.header.as_ref().map_or([0; 32], comet::header_hash),
        data_hash: comet::data_hash(txs),
        last_commit_hash: last_commit_hash(block),
        evidence_hash: comet::evidence_hash(&block.evidence.clone().unwrap_or_default()),
        parts: comet::part_set_header(block),
        entry,
    }
}

/// What `last_commit_hash` has to be.
fn last_commit_hash(block: &Block) -> [u8; 32] {
    let none = Vec::new();
    let signatures = block.last_commit.as_ref().map_or(&none, |commit| &commit.signatures);
    comet::commit_hash(signatures)
}

fn right_txs(known: &Known, entries: &[Entry]) -> RightTxs {
    let txs = entries.iter().filter_map(|entry| entry.block.data.as_ref());
    // The first is no transaction but the extended commit.
    let txs: Vec<&Vec<u8>> = txs.flat_map(|data| data.txs.iter().skip(1)).collect();
    let right = txs.into_par_iter().filter_map(|tx| {
        let envelope = Envelope::decode(tx).ok()?;
        let number = {
            let state = read(&known.state);
            ACCOUNTS.get(&*state, &envelope.signer).ok()??.number
        };
        let one = TxSignature {
            key: envelope.public_key,
            digest: envelope.digest(&known.chain_id, number),
            signature: envelope.signature().try_into().ok()?,
        };
        Libsecp256k1.verify(&one.key, &one.digest, &one.signature).then_some(one)
    });
    right.collect::<Vec<_>>().into_iter().collect()
}

fn right_votes(known: &Known, entries: &[Entry]) -> RightVotes {
    let mut before: Option<&Commit> = None;
    let mut commits = Vec::new();
    for entry in entries {
        let last = entry.block.last_commit.as_ref().filter(|last| before != Some(*last));
        commits.extend(last);
        commits.push(&entry.commit);
        before = Some(&entry.commit);
    }
    let signers = read(&known.signers);
    let votes: Vec<_> = commits
        .par_iter()
        .flat_map_iter(|commit| {
            let there = |flag: i32| flag != i32::from(BlockIdFlag::Absent);
            commit.signatures.iter().filter(move |vote| there(vote.block_id_flag)).filter_map(
                |vote| {
                    let address = <[u8; 20]>::try_from(vote.validator_address.as_slice()).ok()?;
                    Some(VoteSignature {
                        key: *signers.get(&address)?,
                        message: comet::sign_bytes(&known.chain_id, commit, vote),
                        signature: vote.signature.clone(),
                    })
                },
            )
        })
        .collect();
    drop(signers);
    RightVotes::check(&votes)
}
