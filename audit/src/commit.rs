//! Whether validators with more than two thirds of the power signed a header.

use ed25519_consensus::{Signature, VerificationKey};
use serde::Serialize;
use tendermint::block::{Commit, CommitSig, Header};
use tendermint::{PublicKey, account, validator, vote};
use tendermint_proto::Protobuf;
use tendermint_proto::v0_38::types::CanonicalVote;

use crate::Compared;
use crate::report::Difference;

/// The power behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// Of those who signed it.
    pub power: u64,
    /// Of all validators.
    pub total: u64,
}

/// Checks that `validators` are those that the header names, that the commit is for it, and that
/// every signature of the commit is right by the rules of ZIP-215, those for no block too.
///
/// # Errors
/// The first thing that is not so, or signatures of two thirds of the power or less.
pub fn verify(header: &Header, commit: &Commit, validators: &validator::Set) -> Compared<Signed> {
    let height = header.height.value();
    let named = header.validators_hash.to_string();
    if validators.hash() != header.validators_hash {
        let found = validators.hash().to_string();
        return Err(Difference::new("the validator set's hash", named, found).at(height).into());
    }
    if commit.height != header.height {
        let found = commit.height.value();
        return Err(Difference::new("the commit's height", height, found).at(height).into());
    }
    let (hash, signed) = (header.hash(), commit.block_id.hash);
    if signed != hash {
        let (hash, signed) = (hash.to_string(), signed.to_string());
        return Err(Difference::new("the hash of the block that was signed", hash, signed)
            .at(height)
            .note("one bit of a header changes its hash")
            .into());
    }
    if commit.signatures.len() != validators.validators().len() {
        let (places, found) = (validators.validators().len(), commit.signatures.len());
        return Err(Difference::new("the places of the commit", places, found).at(height).into());
    }
    let mut power = 0_u64;
    for (place, (validator, vote)) in
        validators.validators().iter().zip(&commit.signatures).enumerate()
    {
        let Some(vote) = Vote::of(vote) else { continue };
        let what = |part: &str| format!("commit.signatures[{place}].{part}");
        if vote.address != validator.address {
            let (must, is) = (validator.address.to_string(), vote.address.to_string());
            return Err(Difference::new(what("validator_address"), must, is).at(height).into());
        }
        let signs = sign_bytes(header, commit, vote.time, vote.for_block);
        if !is_right(&validator.pub_key, vote.signature, &signs) {
            let must = format!("a signature of {}", validator.address);
            let is = hex::encode(vote.signature);
            return Err(Difference::new(what("signature"), must, is).at(height).into());
        }
        if vote.for_block {
            power = power.saturating_add(validator.power());
        }
    }
    let total = validators.total_voting_power().value();
    if u128::from(power) * 3 <= u128::from(total) * 2 {
        let must = format!("more than two thirds of {total}");
        return Err(Difference::new("the power that signed", must, power).at(height).into());
    }
    Ok(Signed { power, total })
}

/// A vote that was cast.
struct Vote<'a> {
    address: account::Id,
    time: tendermint::Time,
    signature: &'a [u8],
    /// And not for nil.
    for_block: bool,
}

impl<'a> Vote<'a> {
    fn of(cast: &'a CommitSig) -> Option<Self> {
        let (for_block, address, time, signature) = match cast {
            CommitSig::BlockIdFlagAbsent => return None,
            CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature } => {
                (true, *validator_address, *timestamp, signature)
            }
            CommitSig::BlockIdFlagNil { validator_address, timestamp, signature } => {
                (false, *validator_address, *timestamp, signature)
            }
        };
        let signature = signature.as_ref().map_or(&[][..], |signature| signature.as_bytes());
        Some(Self { address, time, signature, for_block })
    }
}

/// What a validator signs, for the block or for nil.
pub(crate) fn sign_bytes(
    header: &Header,
    commit: &Commit,
    time: tendermint::Time,
    for_block: bool,
) -> Vec<u8> {
    Protobuf::<CanonicalVote>::encode_length_delimited_vec(vote::CanonicalVote {
        vote_type: vote::Type::Precommit,
        height: commit.height,
        round: commit.round,
        block_id: for_block.then_some(commit.block_id),
        timestamp: Some(time),
        chain_id: header.chain_id.clone(),
    })
}

fn is_right(key: &PublicKey, signature: &[u8], message: &[u8]) -> bool {
    let Some(key) = key.ed25519() else { return false };
    let Ok(key) = VerificationKey::try_from(key.as_bytes()) else { return false };
    let Ok(signature) = Signature::try_from(signature) else { return false };
    key.verify(&signature, message).is_ok()
}
