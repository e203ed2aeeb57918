//! `MsgSend`: moves tokens from the signer to another member.
//!
//! Any member may. Refused: several coins, another denomination, a receiver that is no account,
//! more than the signer holds.

use lockstep_proto::cosmos::bank::v1beta1::{MsgSend, MsgSendResponse};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::bank::{deposit, withdraw};
use crate::context::Context;
use crate::error::{BAD_AMOUNT, Reject, TxError};
use crate::event::Event;
use crate::wire::{amount, any, coin};

pub(super) const KIND: Kind = Kind {
    number: 10,
    name: "send",
    type_url: "/cosmos.bank.v1beta1.MsgSend",
    roles: &[],
    duty: false,
    moves: None,
    rejects: &[],
    decode: decode::<MsgSend, Send>,
    example: || {
        any(&MsgSend {
            from_address: address::account(&[1; 20]),
            to_address: address::account(&[2; 20]),
            amount: alloc::vec![coin(5)],
        })
    },
};

#[derive(Debug)]
pub(crate) struct Send {
    from: Address,
    to: Address,
    amount: u64,
}

impl Action for Send {
    fn signer(&self) -> Address {
        self.from
    }

    fn check(&self) -> Result<(), Reject> {
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        withdraw(ctx, &self.from, self.amount)?;
        deposit(ctx, &self.to, self.amount)?;
        // The name and attributes that wallets look for.
        ctx.emit(
            Event::new("transfer")
                .with("recipient", address::account(&self.to))
                .with("sender", address::account(&self.from))
                .with("amount", alloc::format!("{}{}", self.amount, address::DENOM)),
        );
        ctx.respond(&MsgSendResponse {});
        Ok(())
    }
}

impl TryFrom<MsgSend> for Send {
    type Error = Reject;

    fn try_from(message: MsgSend) -> Result<Self, Reject> {
        let [coin] = message.amount.as_slice() else { return Err(BAD_AMOUNT) };
        Ok(Self {
            from: address::parse_account(&message.from_address)?,
            to: address::parse_account(&message.to_address)?,
            amount: amount(coin)?,
        })
    }
}
