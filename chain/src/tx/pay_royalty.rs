//! `MsgPayRoyalty`: pays a model's lineage for use off the chain.
//!
//! Any member may. The whole amount goes to the recipients of the version; what rounding leaves goes
//! to the treasury.

use alloc::string::String;

use lockstep_proto::lockstep::model::v1::{MsgPayRoyalty, MsgPayRoyaltyResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::bank::{address_of, deposit, withdraw};
use crate::context::Context;
use crate::error::{BAD_AMOUNT, Reject, TOO_LARGE, TxError};
use crate::event::Event;
use crate::limits::{REFERENCE_BYTES_MAX, SUPPLY_MAX};
use crate::model::{self, lineage};
use crate::wire::any;

pub(super) const KIND: Kind = Kind {
    number: 34,
    name: "pay_royalty",
    type_url: "/lockstep.model.v1.MsgPayRoyalty",
    roles: &[],
    duty: false,
    moves: None,
    rejects: &[],
    decode: decode::<MsgPayRoyalty, PayRoyalty>,
    example: || {
        any(&MsgPayRoyalty {
            payer: address::account(&[1; 20]),
            model: "minilm".into(),
            amount: 1000,
            reference: "batch of 2026-11".into(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct PayRoyalty {
    payer: Address,
    model: String,
    amount: u64,
    reference: String,
}

impl Action for PayRoyalty {
    fn signer(&self) -> Address {
        self.payer
    }

    fn check(&self) -> Result<(), Reject> {
        if self.amount == 0 || self.amount > SUPPLY_MAX {
            return Err(BAD_AMOUNT);
        }
        if self.reference.len() > REFERENCE_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let version = model::resolve(ctx.state, &self.model)?;
        withdraw(ctx, &self.payer, self.amount)?;
        let (payouts, rest) = lineage::pay(ctx, &version.recipients, self.amount)?;
        deposit(ctx, &address_of(&ctx.params.treasury)?, rest)?;
        let mut event = Event::new("pay_royalty")
            .with("model", model::label(ctx.state, &version)?)
            .with("payer", address::account(&self.payer))
            .with("amount", self.amount)
            .with("reference", &self.reference);
        for payout in &payouts {
            let account = address_of(&payout.account)?;
            event = event.with("recipient", address::account(&account));
            event = event.with("paid", payout.amount);
        }
        ctx.emit(event);
        ctx.respond(&MsgPayRoyaltyResponse {});
        Ok(())
    }
}

impl TryFrom<MsgPayRoyalty> for PayRoyalty {
    type Error = Reject;

    fn try_from(message: MsgPayRoyalty) -> Result<Self, Reject> {
        Ok(Self {
            payer: address::parse_account(&message.payer)?,
            model: message.model,
            amount: message.amount,
            reference: message.reference,
        })
    }
}
