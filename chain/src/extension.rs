//! Vote extensions: how commitments and reveals ride on votes.
//!
//! Outputs never ride in votes. `extend` acts on the last committed state alone, never on the block
//! that is being voted on. An item that breaks a rule is ignored in execution; its vote stays, since
//! the votes make the quorum.

use alloc::vec::Vec;

use lockstep_proto::lockstep::block::v1::{Commitment, ExtendedCommit, Reveal, VoteExtension};
use lockstep_proto::lockstep::job::v1::{JobState, MemberState};
use prost::Message as _;

use crate::address::Address;
use crate::bank::address_of;
use crate::commitment::Opening;
use crate::context::Context;
use crate::error::{Fault, TxError};
use crate::job::phase;
use crate::job::{in_commit_phase, in_reveal_phase, present};
use crate::limits::EXTENSION_BYTES_MAX;
use crate::state::StateRead;
use crate::state::tables::{CONSENSUS_KEYS, JOBS};
use crate::wire::canonical;

/// Decodes an extension in its one encoding, within its bounds.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<VoteExtension> {
    if bytes.len() > EXTENSION_BYTES_MAX {
        return None;
    }
    let extension: VoteExtension = canonical(bytes).ok()?;
    let fine =
        extension.commitments.iter().all(is_commitment) && extension.reveals.iter().all(is_reveal);
    fine.then_some(extension)
}

fn is_commitment(item: &Commitment) -> bool {
    item.commitment.len() == 32
}

fn is_reveal(item: &Reveal) -> bool {
    item.salt.len() == 32 && item.result_root.len() == 32
}

/// Whether another validator's extension may be voted for. Needs no state, so that every validator
/// says the same.
#[must_use]
pub fn verify(bytes: &[u8]) -> bool {
    decode(bytes).is_some()
}

/// Picks from everything that the executor offers what the committed state asks for and what fits;
/// reveals come first, since a phase waits for them.
///
/// # Errors
/// Only a failing store.
pub fn extend(
    state: &dyn StateRead,
    operator: &Address,
    offers: &VoteExtension,
) -> Result<Vec<u8>, Fault> {
    let mut picked = VoteExtension::default();
    for item in offers.reveals.iter().filter(|item| is_reveal(item)) {
        if asked(state, operator, item.job, item.attempt, MemberState::Committed)? {
            picked.reveals.push(item.clone());
            if picked.encoded_len() > EXTENSION_BYTES_MAX {
                picked.reveals.pop();
                break;
            }
        }
    }
    for item in offers.commitments.iter().filter(|item| is_commitment(item)) {
        if asked(state, operator, item.job, item.attempt, MemberState::Asked)? {
            picked.commitments.push(item.clone());
            if picked.encoded_len() > EXTENSION_BYTES_MAX {
                picked.commitments.pop();
                break;
            }
        }
    }
    for job in &offers.holds {
        let waits = JOBS.get(state, job)?.is_some_and(|found| {
            found.state() == JobState::AwaitingInput
                && !found.holders.iter().any(|holder| holder == operator)
        });
        if waits {
            picked.holds.push(*job);
            if picked.encoded_len() > EXTENSION_BYTES_MAX {
                picked.holds.pop();
                break;
            }
        }
    }
    let bytes = picked.encode_to_vec();
    // What other validators would refuse must never be signed.
    Ok(if verify(&bytes) { bytes } else { Vec::new() })
}

fn asked(
    state: &dyn StateRead,
    operator: &Address,
    job: u64,
    attempt: u32,
    wanted: MemberState,
) -> Result<bool, Fault> {
    let Some(job) = JOBS.get(state, &job)? else { return Ok(false) };
    let phase = match wanted {
        MemberState::Asked => in_commit_phase(&job),
        _ => in_reveal_phase(&job),
    };
    Ok(phase
        && job.attempt == attempt
        && present(&job).any(|m| m.validator == operator && m.state() == wanted))
}

/// Applies every extension of an extended commit, in order of consensus address.
///
/// # Errors
/// Only a fault; whatever is refused is ignored.
pub fn apply(ctx: &mut Context<'_, '_>, commit: &ExtendedCommit) -> Result<(), TxError> {
    for vote in &commit.votes {
        let Ok(address) = Address::try_from(vote.validator_address.as_slice()) else { continue };
        let Some(operator) = CONSENSUS_KEYS.get(ctx.state, &address)? else { continue };
        let operator = address_of(&operator)?;
        let Some(extension) = decode(&vote.extension) else { continue };
        apply_one(ctx, &operator, &extension)?;
    }
    Ok(())
}

fn apply_one(
    ctx: &mut Context<'_, '_>,
    operator: &Address,
    extension: &VoteExtension,
) -> Result<(), TxError> {
    for item in &extension.commitments {
        let Ok(commitment) = item.commitment.as_slice().try_into() else { continue };
        ignore_refusal(phase::commit(ctx, operator, item.job, item.attempt, commitment))?;
    }
    for item in &extension.reveals {
        let Ok(salt) = item.salt.as_slice().try_into() else { continue };
        let Ok(result_root) = item.result_root.as_slice().try_into() else { continue };
        let opening = Opening { attempt: item.attempt, salt, result_root };
        ignore_refusal(phase::reveal(ctx, operator, item.job, &opening))?;
    }
    for job in &extension.holds {
        ignore_refusal(phase::hold(ctx, operator, *job))?;
    }
    Ok(())
}

/// Every function of `phase` checks before it writes, so a refusal has left nothing behind.
fn ignore_refusal(result: Result<(), TxError>) -> Result<(), TxError> {
    match result {
        Ok(()) | Err(TxError::Reject(_)) => Ok(()),
        Err(TxError::Fault(fault)) => Err(fault.into()),
    }
}
