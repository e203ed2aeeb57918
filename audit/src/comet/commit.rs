//! Commits: the votes for a block.

use std::cmp::Ordering;

use ed25519_consensus::{Signature, VerificationKey};
use prost::Message as _;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::{
    BlockIdFlag, CanonicalBlockId, CanonicalPartSetHeader, CanonicalVote, Commit, CommitSig,
    PartSetHeader, SignedMsgType, Vote,
};

use super::set::{Signer, ValidatorSet};
use crate::Compared;
use crate::report::Difference;

/// Checks the signature of a vote: the signer, the message, the signature. May remember verdicts.
pub trait Signatures {
    /// Whether `signature` over `message` was made by `key`, by the rules of ZIP-215.
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool;
}

/// One after another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zip215;

impl Signatures for Zip215 {
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) =
            (VerificationKey::try_from(*key), Signature::try_from(signature))
        else {
            return false;
        };
        key.verify(&signature, message).is_ok()
    }
}

/// What the vote at `place` of a commit was signed over.
#[must_use]
pub fn sign_bytes(chain_id: &str, commit: &Commit, vote: &CommitSig) -> Vec<u8> {
    let for_block = vote.block_id_flag == i32::from(BlockIdFlag::Commit);
    let vote = Vote {
        r#type: SignedMsgType::Precommit.into(),
        height: commit.height,
        round: commit.round,
        block_id: commit.block_id.clone().filter(|_| for_block),
        timestamp: vote.timestamp,
        ..Vote::default()
    };
    vote_sign_bytes(chain_id, &vote)
}

/// What a vote was signed over. A vote for no block has no block id there.
#[must_use]
pub fn vote_sign_bytes(chain_id: &str, vote: &Vote) -> Vec<u8> {
    let id = super::block_id(vote.block_id.as_ref());
    let parts = id.part_set_header.unwrap_or_default();
    let for_block = !id.hash.is_empty() || parts != PartSetHeader::default();
    let block_id = CanonicalBlockId {
        hash: id.hash,
        part_set_header: Some(CanonicalPartSetHeader { total: parts.total, hash: parts.hash }),
    };
    CanonicalVote {
        r#type: vote.r#type,
        height: vote.height,
        round: vote.round.into(),
        block_id: Some(block_id).filter(|_| for_block),
        timestamp: Some(vote.timestamp.unwrap_or_default()),
        chain_id: chain_id.to_owned(),
    }
    .encode_length_delimited_to_vec()
}

/// Every vote that is there must be right, and more than two thirds of the power must be for the
/// block; returns that power. `name` is what to call the commit.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_commit(
    name: &str,
    chain_id: &str,
    commit: &Commit,
    set: &ValidatorSet,
    signatures: &dyn Signatures,
) -> Compared<u64> {
    let wrong = |field: &str, expected: serde_json::Value, found: serde_json::Value| {
        Err(Box::new(Difference::new(format!("{name}.{field}"), expected, found)))
    };
    if commit.round < 0 {
        return wrong("round", "0 or more".into(), commit.round.into());
    }
    let signers = set.signers();
    if commit.signatures.len() != signers.len() {
        return wrong("signatures", signers.len().into(), commit.signatures.len().into());
    }
    let mut power = 0_u64;
    for (place, (vote, signer)) in commit.signatures.iter().zip(signers).enumerate() {
        match judge(chain_id, commit, vote, signer, signatures) {
            Ok(Cast::ForBlock) => power = power.saturating_add(signer.power),
            Ok(Cast::Other) => {}
            Err(Misvote { field, expected, found }) => {
                return wrong(&format!("signatures[{place}].{field}"), expected, found);
            }
        }
    }
    let total = set.total();
    if !lockstep_chain::staking::power::exceeds(power, total, 2, 3) {
        return wrong("power", format!("more than 2/3 of {total}").into(), power.into());
    }
    Ok(power)
}

enum Cast {
    ForBlock,
    Other,
}

/// What is wrong with a vote.
#[derive(Debug, Clone, PartialEq)]
struct Misvote {
    field: &'static str,
    expected: serde_json::Value,
    found: serde_json::Value,
}

fn judge(
    chain_id: &str,
    commit: &Commit,
    vote: &CommitSig,
    signer: &Signer,
    signatures: &dyn Signatures,
) -> Result<Cast, Misvote> {
    let wrong = |field, expected: &str, found: String| {
        Err(Misvote { field, expected: expected.into(), found: found.into() })
    };
    let flag = BlockIdFlag::try_from(vote.block_id_flag).unwrap_or(BlockIdFlag::Unknown);
    let kind = match flag {
        BlockIdFlag::Unknown => {
            return wrong("block_id_flag", "1, 2 or 3", vote.block_id_flag.to_string());
        }
        BlockIdFlag::Absent => return absent(vote),
        BlockIdFlag::Commit => Cast::ForBlock,
        BlockIdFlag::Nil => Cast::Other,
    };
    let address = signer.address();
    if vote.validator_address != address {
        let found = hex::encode(&vote.validator_address);
        return wrong("validator_address", &hex::encode(address), found);
    }
    if !signatures.verify(&signer.key, &sign_bytes(chain_id, commit, vote), &vote.signature) {
        let expected = format!("a signature of {} over this vote", hex::encode(address));
        return wrong("signature", &expected, hex::encode(&vote.signature));
    }
    Ok(kind)
}

/// A vote that did not come has no parts; CometBFT writes its time as that of the year 1.
fn absent(vote: &CommitSig) -> Result<Cast, Misvote> {
    const YEAR_1: i64 = -62_135_596_800;
    let time = Some(Timestamp { seconds: YEAR_1, nanos: 0 });
    let parts = [
        ("validator_address", !vote.validator_address.is_empty()),
        ("timestamp", vote.timestamp != time),
        ("signature", !vote.signature.is_empty()),
    ];
    match parts.iter().find(|(_, there)| *there) {
        None => Ok(Cast::Other),
        Some((field, _)) => Err(Misvote {
            field,
            expected: "nothing, for the vote is absent".into(),
            found: "something".into(),
        }),
    }
}

/// The time of a block: the median of the times of the votes for the block before, by power.
#[must_use]
pub fn median_time(commit: &Commit, set: &ValidatorSet) -> Option<Timestamp> {
    let mut times: Vec<(Timestamp, u64)> = Vec::new();
    let mut total = 0_u64;
    for (vote, signer) in commit.signatures.iter().zip(set.signers()) {
        if vote.block_id_flag != i32::from(BlockIdFlag::Absent) {
            times.push((vote.timestamp?, signer.power));
            total = total.saturating_add(signer.power);
        }
    }
    times.sort_by(|(a, _), (b, _)| earlier(a, b));
    let mut middle = total / 2;
    for (time, power) in times {
        if middle <= power {
            return Some(time);
        }
        middle -= power;
    }
    None
}

/// In order of time.
#[must_use]
pub fn earlier(a: &Timestamp, b: &Timestamp) -> Ordering {
    (a.seconds, a.nanos).cmp(&(b.seconds, b.nanos))
}
