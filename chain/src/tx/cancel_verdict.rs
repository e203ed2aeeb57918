//! `MsgCancelVerdict`: cancels a verdict of a wave, whose execution waits so that it can be looked at.
//!
//! A council member may that works for none of the validators that stand accused.

use alloc::string::{String, ToString as _};

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::staking::v1::{MsgCancelVerdict, MsgCancelVerdictResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::limits::REFERENCE_BYTES_MAX;
use crate::staking::wave::{self, ACCUSED, NO_SUCH_VERDICT, NOT_A_WAVE, TOO_LATE};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 52,
    name: "cancel_verdict",
    type_url: "/lockstep.staking.v1.MsgCancelVerdict",
    roles: &[Role::Council],
    duty: false,
    moves: None,
    rejects: &[NO_SUCH_VERDICT, TOO_LATE, NOT_A_WAVE, ACCUSED],
    decode: decode::<MsgCancelVerdict, CancelVerdict>,
    example: || {
        any(&MsgCancelVerdict {
            council_member: address::account(&[1; 20]),
            slash: 3,
            reason: "a fault of the driver 570.1".to_string(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct CancelVerdict {
    council_member: Address,
    slash: u64,
    reason: String,
}

impl Action for CancelVerdict {
    fn signer(&self) -> Address {
        self.council_member
    }

    fn check(&self) -> Result<(), Reject> {
        let fine = !self.reason.is_empty() && self.reason.len() <= REFERENCE_BYTES_MAX;
        if fine { Ok(()) } else { Err(BAD_FIELD) }
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        wave::cancel(ctx, &self.council_member, self.slash, &self.reason)?;
        ctx.respond(&MsgCancelVerdictResponse {});
        Ok(())
    }
}

impl TryFrom<MsgCancelVerdict> for CancelVerdict {
    type Error = Reject;

    fn try_from(message: MsgCancelVerdict) -> Result<Self, Reject> {
        Ok(Self {
            council_member: address::parse_account(&message.council_member)?,
            slash: message.slash,
            reason: message.reason,
        })
    }
}
