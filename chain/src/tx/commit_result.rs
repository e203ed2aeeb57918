//! `MsgCommitResult`: binds an executor to a sealed result, where a vote extension had no room.
//!
//! A validator's executor may; it is a duty and free of fees.

use lockstep_proto::lockstep::job::v1::{MsgCommitResult, MsgCommitResultResponse};
use lockstep_proto::lockstep::member::v1::Role;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::job::executor_of;
use crate::job::phase::{self, NOT_ASKED, WRONG_ATTEMPT, WRONG_PHASE};
use crate::state::tables::Hash;
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 42,
    name: "commit_result",
    type_url: "/lockstep.job.v1.MsgCommitResult",
    roles: &[Role::Executor],
    duty: true,
    moves: None,
    rejects: &[WRONG_PHASE, NOT_ASKED, WRONG_ATTEMPT],
    decode: decode::<MsgCommitResult, CommitResult>,
    example: || {
        any(&MsgCommitResult {
            executor: address::account(&[1; 20]),
            job: 7,
            attempt: 1,
            commitment: [3; 32].to_vec(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct CommitResult {
    executor: Address,
    job: u64,
    attempt: u32,
    commitment: Hash,
}

impl Action for CommitResult {
    fn signer(&self) -> Address {
        self.executor
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let operator = executor_of(ctx.state, &self.executor)?;
        phase::commit(ctx, &operator, self.job, self.attempt, &self.commitment)?;
        ctx.respond(&MsgCommitResultResponse {});
        Ok(())
    }
}

impl TryFrom<MsgCommitResult> for CommitResult {
    type Error = Reject;

    fn try_from(message: MsgCommitResult) -> Result<Self, Reject> {
        Ok(Self {
            executor: address::parse_account(&message.executor)?,
            job: message.job,
            attempt: message.attempt,
            commitment: message.commitment.try_into().map_err(|_| BAD_FIELD)?,
        })
    }
}
