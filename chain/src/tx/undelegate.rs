//! `MsgUndelegate`: takes stake back. It matures later and stays slashable until then.
//!
//! The delegator may. Refused: more than the delegation is worth.

use lockstep_proto::cosmos::staking::v1beta1::{MsgUndelegate, MsgUndelegateResponse};
use prost_types::Timestamp;

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::event::Event;
use crate::staking::{self, unbonding};
use crate::wire::{amount, any, coin};

/// The delegation is worth less.
pub const NOT_ENOUGH_STAKE: Reject = Reject::new(1300, "the delegation is worth less than that");

pub(super) const KIND: Kind = Kind {
    number: 13,
    name: "undelegate",
    type_url: "/cosmos.staking.v1beta1.MsgUndelegate",
    roles: &[],
    duty: false,
    moves: None,
    rejects: &[NOT_ENOUGH_STAKE],
    decode: decode::<MsgUndelegate, Undelegate>,
    example: || {
        any(&MsgUndelegate {
            delegator_address: address::account(&[1; 20]),
            validator_address: address::operator(&[2; 20]),
            amount: Some(coin(1_000_000)),
        })
    },
};

#[derive(Debug)]
pub(crate) struct Undelegate {
    delegator: Address,
    operator: Address,
    amount: u64,
}

impl Action for Undelegate {
    fn signer(&self) -> Address {
        self.delegator
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let validator = staking::validator(ctx, &self.operator)?;
        let validator = staking::unbond(ctx, validator, &self.delegator, self.amount)?;
        let validator = validator.ok_or(NOT_ENOUGH_STAKE)?;
        let at_ms = unbonding::enqueue(ctx, &validator, &self.delegator, self.amount)?;
        ctx.emit(
            Event::new("undelegate")
                .with("delegator", address::account(&self.delegator))
                .with("validator", address::operator(&self.operator))
                .with("amount", self.amount),
        );
        let seconds = i64::try_from(at_ms / 1000).map_err(|_| BAD_FIELD)?;
        ctx.respond(&MsgUndelegateResponse {
            completion_time: Some(Timestamp { seconds, nanos: 0 }),
            amount: Some(coin(self.amount)),
        });
        Ok(())
    }
}

impl TryFrom<MsgUndelegate> for Undelegate {
    type Error = Reject;

    fn try_from(message: MsgUndelegate) -> Result<Self, Reject> {
        Ok(Self {
            delegator: address::parse_account(&message.delegator_address)?,
            operator: address::parse_operator(&message.validator_address)?,
            amount: amount(&message.amount.ok_or(BAD_FIELD)?)?,
        })
    }
}
