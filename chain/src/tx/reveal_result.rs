//! `MsgRevealResult`: opens a commitment, where a vote extension had no room.
//!
//! A validator's executor may; it is a duty and free of fees.

use lockstep_proto::lockstep::job::v1::{MsgRevealResult, MsgRevealResultResponse};
use lockstep_proto::lockstep::member::v1::Role;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::commitment::Opening;
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::job::executor_of;
use crate::job::phase::{self, WRONG_OPENING};
use crate::state::tables::Hash;
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 43,
    name: "reveal_result",
    type_url: "/lockstep.job.v1.MsgRevealResult",
    roles: &[Role::Executor],
    duty: true,
    moves: None,
    rejects: &[WRONG_OPENING],
    decode: decode::<MsgRevealResult, RevealResult>,
    example: || {
        any(&MsgRevealResult {
            executor: address::account(&[1; 20]),
            job: 7,
            attempt: 1,
            salt: [4; 32].to_vec(),
            result_root: [5; 32].to_vec(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct RevealResult {
    executor: Address,
    job: u64,
    attempt: u32,
    salt: Hash,
    result_root: Hash,
}

impl Action for RevealResult {
    fn signer(&self) -> Address {
        self.executor
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let operator = executor_of(ctx.state, &self.executor)?;
        let Self { attempt, salt, result_root, .. } = self;
        let opening = Opening { attempt: *attempt, salt, result_root };
        phase::reveal(ctx, &operator, self.job, &opening)?;
        ctx.respond(&MsgRevealResultResponse {});
        Ok(())
    }
}

impl TryFrom<MsgRevealResult> for RevealResult {
    type Error = Reject;

    fn try_from(message: MsgRevealResult) -> Result<Self, Reject> {
        Ok(Self {
            executor: address::parse_account(&message.executor)?,
            job: message.job,
            attempt: message.attempt,
            salt: message.salt.try_into().map_err(|_| BAD_FIELD)?,
            result_root: message.result_root.try_into().map_err(|_| BAD_FIELD)?,
        })
    }
}
