//! `MsgDeliverOutput`: hands in the output behind the agreed result.
//!
//! The executor of the first member that was right may, after its window every other, and whoever brought
//! the answer into a trial; it is a duty and free of fees. The chain recomputes the result root.

use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{MsgDeliverOutput, MsgDeliverOutputResponse, RunStatus};
use lockstep_proto::lockstep::member::v1::Role;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::job::phase::{self, WRONG_OUTPUT};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 44,
    name: "deliver_output",
    type_url: "/lockstep.job.v1.MsgDeliverOutput",
    roles: &[Role::Executor, Role::Auditor],
    duty: true,
    moves: None,
    rejects: &[WRONG_OUTPUT],
    decode: decode::<MsgDeliverOutput, DeliverOutput>,
    example: || {
        any(&MsgDeliverOutput {
            executor: address::account(&[1; 20]),
            job: 7,
            status: RunStatus::Halted.into(),
            output: vec![0; 16],
        })
    },
};

#[derive(Debug)]
pub(crate) struct DeliverOutput {
    executor: Address,
    job: u64,
    status: RunStatus,
    output: Vec<u8>,
}

impl Action for DeliverOutput {
    fn signer(&self) -> Address {
        self.executor
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        phase::deliver(ctx, &self.executor, self.job, self.status, &self.output)?;
        ctx.respond(&MsgDeliverOutputResponse {});
        Ok(())
    }
}

impl TryFrom<MsgDeliverOutput> for DeliverOutput {
    type Error = Reject;

    fn try_from(message: MsgDeliverOutput) -> Result<Self, Reject> {
        Ok(Self {
            executor: address::parse_account(&message.executor)?,
            job: message.job,
            status: RunStatus::try_from(message.status).map_err(|_| BAD_FIELD)?,
            output: message.output,
        })
    }
}
