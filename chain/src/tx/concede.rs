//! `MsgConcede`: admits, before the deadline to defend it, that a revealed answer is wrong.
//!
//! The executor of the member that revealed it may, where it has posted no trace; it is a duty and free
//! of fees.

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{MsgConcede, MsgConcedeResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{Reject, TxError};
use crate::trial::defend::{self, NOTHING_TO_CONCEDE};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 51,
    name: "concede",
    type_url: "/lockstep.trial.v1.MsgConcede",
    roles: &[Role::Executor],
    duty: true,
    moves: Some(1),
    rejects: &[NOTHING_TO_CONCEDE],
    decode: decode::<MsgConcede, Concede>,
    example: || any(&MsgConcede { executor: address::account(&[1; 20]), job: 7 }),
};

#[derive(Debug)]
pub(crate) struct Concede {
    executor: Address,
    job: u64,
}

impl Action for Concede {
    fn signer(&self) -> Address {
        self.executor
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        defend::concede(ctx, &self.executor, self.job)?;
        ctx.respond(&MsgConcedeResponse {});
        Ok(())
    }
}

impl TryFrom<MsgConcede> for Concede {
    type Error = Reject;

    fn try_from(message: MsgConcede) -> Result<Self, Reject> {
        Ok(Self { executor: address::parse_account(&message.executor)?, job: message.job })
    }
}
