//! `MsgDelegate`: stakes tokens with a validator.
//!
//! Any member may. Refused: an unknown validator, or one that was removed for good.

use lockstep_proto::cosmos::staking::v1beta1::{MsgDelegate, MsgDelegateResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::bank::withdraw;
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::event::Event;
use crate::staking;
use crate::wire::{amount, any, coin};

/// The validator is out of consensus for good, or all of its stake was slashed.
pub const REMOVED: Reject = Reject::new(1200, "the validator was removed for good");

pub(super) const KIND: Kind = Kind {
    number: 12,
    name: "delegate",
    type_url: "/cosmos.staking.v1beta1.MsgDelegate",
    roles: &[],
    duty: false,
    moves: None,
    rejects: &[REMOVED],
    decode: decode::<MsgDelegate, Delegate>,
    example: || {
        any(&MsgDelegate {
            delegator_address: address::account(&[1; 20]),
            validator_address: address::operator(&[2; 20]),
            amount: Some(coin(1_000_000)),
        })
    },
};

#[derive(Debug)]
pub(crate) struct Delegate {
    delegator: Address,
    operator: Address,
    amount: u64,
}

impl Action for Delegate {
    fn signer(&self) -> Address {
        self.delegator
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let validator = staking::validator(ctx, &self.operator)?;
        if validator.tombstoned || (validator.tokens == 0 && validator.shares > 0) {
            return Err(REMOVED.into());
        }
        withdraw(ctx, &self.delegator, self.amount)?;
        staking::bond(ctx, validator, &self.delegator, self.amount)?;
        ctx.emit(
            Event::new("delegate")
                .with("delegator", address::account(&self.delegator))
                .with("validator", address::operator(&self.operator))
                .with("amount", self.amount),
        );
        ctx.respond(&MsgDelegateResponse {});
        Ok(())
    }
}

impl TryFrom<MsgDelegate> for Delegate {
    type Error = Reject;

    fn try_from(message: MsgDelegate) -> Result<Self, Reject> {
        Ok(Self {
            delegator: address::parse_account(&message.delegator_address)?,
            operator: address::parse_operator(&message.validator_address)?,
            amount: amount(&message.amount.ok_or(BAD_FIELD)?)?,
        })
    }
}
