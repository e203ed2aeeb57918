//! Standing behind an answer, or admitting that it is wrong: both before the deadline to defend.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, MemberState, RunStatus};
use lockstep_proto::lockstep::trial::v1::{SupporterState, Trace};
use lockstep_vm::artefact::Manifest;
use lockstep_vm::hash::Hex;
use lockstep_vm::merkle;
use lockstep_vm::result::Status;
use lockstep_vm::trace::{Layout, last_leaf};

use super::fall::{self, Blame};
use super::open::{TOO_MANY, member_of, support};
use super::{answer_of, get, keep, party};
use crate::address::{self, Address};
use crate::commitment;
use crate::context::Context;
use crate::error::{Fault, Reject, TxError};
use crate::event::Event;
use crate::job;
use crate::state::tables::{Hash, MANIFESTS, TRACE_NODES, VERSIONS};

/// Traces and concessions came too late.
pub const TOO_LATE: Reject =
    Reject::new(4701, "the trial takes no more traces and concessions; hint: its deadline passed");
/// Status and output root give none of the answers on trial.
pub const NO_SUCH_RESULT: Reject =
    Reject::new(4702, "status and output root give no answer that is on trial");
/// Nodes, last leaf and root do not belong together.
pub const BAD_TRACE: Reject =
    Reject::new(4703, "the nodes or the last leaf do not lead to the root of the steps");
/// One trace for each account and answer.
pub const DEFENDED_ALREADY: Reject =
    Reject::new(4704, "the account has posted a trace of this answer already");
/// The account revealed nothing that stands, or has defended it.
pub const NOTHING_TO_CONCEDE: Reject =
    Reject::new(5100, "the account stands behind no revealed answer that it has not defended");

/// What a trace claims.
#[derive(Debug, Clone)]
pub struct Claim {
    /// How the run ended.
    pub status: RunStatus,
    /// With the status, the answer.
    pub output_root: Hash,
    /// The root of the trace.
    pub steps_root: Hash,
    /// From the last leaf upward.
    pub last_path: Vec<Hash>,
    /// Eight levels below the root.
    pub nodes: Vec<Hash>,
}

/// Posts the trace of an answer; returns its number.
///
/// # Errors
/// Where the trial takes none now, the claim does not hold together, or the account cannot pay.
pub fn defend(
    ctx: &mut Context<'_, '_>,
    signer: &Address,
    id: u64,
    claim: &Claim,
) -> Result<u32, TxError> {
    let job = job::get(ctx.state, id)?;
    let mut trial = get(ctx.state, id)?;
    if trial.defend_over {
        return Err(TOO_LATE.into());
    }
    let version = VERSIONS.must(ctx.state, &job.version)?;
    let root = commitment::result_root(&version, &job, claim.status, &claim.output_root)?;
    let answer = answer_of(&trial, &root).ok_or(NO_SUCH_RESULT)?;
    let account = party(ctx, &trial, signer)?;
    if trial.traces.iter().any(|t| t.account == account && t.answer == answer) {
        return Err(DEFENDED_ALREADY.into());
    }
    let number = u32::try_from(trial.traces.len()).map_err(|_| TOO_MANY)?;
    let leaves = leaves(ctx, &job)?;
    if !holds(claim, leaves) {
        return Err(BAD_TRACE.into());
    }
    support(ctx, &mut trial, signer, &account, answer)?;
    trial.traces.push(Trace {
        account: account.to_vec(),
        answer,
        steps_root: claim.steps_root.to_vec(),
        leaves,
        posted_height: ctx.tip.height,
        fallen: false,
        moves: 1,
    });
    let key = (id, number, merkle::height(leaves), 0);
    TRACE_NODES.put(ctx.state, &key, &claim.nodes.concat());
    ctx.emit(
        Event::new("defended")
            .with("job", id)
            .with("trace", number)
            .with("defender", address::account(&account))
            .with("result_root", Hex(&root)),
    );
    keep(ctx, job, &trial)?;
    Ok(number)
}

/// Whether the nodes fold to the root, and its last leaf says what the answer says.
pub(super) fn holds(claim: &Claim, leaves: u64) -> bool {
    let status = match claim.status {
        RunStatus::Halted => Status::Halted,
        RunStatus::Fault => Status::Fault,
        RunStatus::Unspecified => return false,
    };
    let top = merkle::fold(leaves, merkle::height(leaves), 0, &claim.nodes);
    let Some(last) = leaves.checked_sub(1) else { return false };
    let leaf = last_leaf(leaves, status, &claim.output_root);
    top.is_some_and(|top| merkle::root_of_top(leaves, &top) == claim.steps_root)
        && merkle::verify_many(&claim.steps_root, leaves, &[(last, leaf)], &claim.last_path)
}

/// The manifest of a version.
///
/// # Errors
/// A fault where the state is corrupt.
pub(super) fn manifest(ctx: &Context<'_, '_>, version: u64) -> Result<Manifest, TxError> {
    let bytes = MANIFESTS.must(ctx.state, &version)?;
    Ok(Manifest::decode(&bytes).map_err(|_| Fault::Corrupt("manifests"))?)
}

/// The number of leaves of a job's trace.
///
/// # Errors
/// A fault where the state is corrupt.
pub(super) fn leaves(ctx: &Context<'_, '_>, job: &Job) -> Result<u64, TxError> {
    let manifest = manifest(ctx, job.version)?;
    Ok(Layout::new(manifest.verified(), tokens(job)?).leaf_count())
}

/// The number of token ids in a job's input.
///
/// # Errors
/// A fault where it does not fit.
pub(super) fn tokens(job: &Job) -> Result<u32, Fault> {
    u32::try_from(job.input_bytes / 4).map_err(|_| Fault::Invariant("a job has too many tokens"))
}

/// Admits that the answer that the signer's validator revealed is wrong.
///
/// # Errors
/// Where there is nothing to concede, or it is too late.
pub fn concede(ctx: &mut Context<'_, '_>, signer: &Address, id: u64) -> Result<(), TxError> {
    let mut job = job::get(ctx.state, id)?;
    let mut trial = get(ctx.state, id)?;
    if trial.defend_over {
        return Err(TOO_LATE.into());
    }
    let account = party(ctx, &trial, signer)?;
    let defended = trial.traces.iter().any(|trace| trace.account == account);
    let found = trial.supporters.iter_mut().find(|supporter| {
        supporter.account == account
            && !supporter.validator.is_empty()
            && supporter.state() == SupporterState::In
    });
    let Some(found) = found.filter(|_| !defended) else { return Err(NOTHING_TO_CONCEDE.into()) };
    found.set_state(SupporterState::Conceded);
    let supporter = found.clone();
    member_of(&mut job, &supporter)?.set_state(MemberState::Conceded);
    let winners = fall::charge_so_far(ctx, &mut trial, supporter.answer)?;
    fall::find_against(ctx, &mut job, &supporter, &Blame::conceded(winners))?;
    ctx.emit(Event::new("conceded").with("job", id).with("executor", address::account(&account)));
    keep(ctx, job, &trial)
}
