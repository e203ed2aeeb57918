//! `MsgCreateValidator`: makes the signer a validator with a first stake of its own.
//!
//! A member in the validator role may, once, with an ed25519 consensus key that nobody ever used.

use lockstep_proto::cosmos::crypto::ed25519::PubKey;
use lockstep_proto::cosmos::staking::v1beta1::{
    CommissionRates, Description, MsgCreateValidator, MsgCreateValidatorResponse,
};
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::staking::v1::Validator;
use prost::Name as _;

use super::{Action, Kind, decode};
use crate::address::{self, Address, from_consensus_key};
use crate::bank::withdraw;
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::event::Event;
use crate::limits::{NAME_BYTES_MAX, POWER_UNIT};
use crate::state::tables::{CONSENSUS_KEYS, VALIDATORS};
use crate::wire::{amount, any, canonical, coin};
use crate::{model, staking};

/// The signer runs a validator already.
pub const ALREADY_VALIDATOR: Reject = Reject::new(1100, "the account is a validator already");
/// The consensus key belongs or belonged to a validator.
pub const KEY_TAKEN: Reject =
    Reject::new(1101, "the consensus key was used before; hint: make a new one");
/// The first stake gives no voting power.
pub const STAKE_TOO_SMALL: Reject = Reject::new(1102, "the stake is below 1 LOCK (1000000 ulock)");
/// The operator's address is not the signer's.
pub const NOT_OWN_OPERATOR: Reject =
    Reject::new(1103, "the operator address is not the signer's own");

pub(super) const KIND: Kind = Kind {
    number: 11,
    name: "create_validator",
    type_url: "/cosmos.staking.v1beta1.MsgCreateValidator",
    roles: &[Role::Validator],
    duty: false,
    moves: None,
    rejects: &[ALREADY_VALIDATOR, KEY_TAKEN, STAKE_TOO_SMALL, NOT_OWN_OPERATOR],
    decode: decode::<MsgCreateValidator, CreateValidator>,
    example: || {
        any(&MsgCreateValidator {
            description: Some(Description { moniker: "north".into(), ..Description::default() }),
            commission: Some(CommissionRates {
                rate: "100000000000000000".into(),
                max_rate: "200000000000000000".into(),
                max_change_rate: "10000000000000000".into(),
            }),
            min_self_delegation: "1".into(),
            delegator_address: address::account(&[1; 20]),
            validator_address: address::operator(&[1; 20]),
            pubkey: Some(any(&PubKey { key: [9; 32].to_vec() })),
            value: Some(coin(5_000_000)),
        })
    },
};

#[derive(Debug)]
pub(crate) struct CreateValidator {
    operator: Address,
    consensus_key: [u8; 32],
    moniker: alloc::string::String,
    commission_bps: u32,
    stake: u64,
}

impl Action for CreateValidator {
    fn signer(&self) -> Address {
        self.operator
    }

    fn check(&self) -> Result<(), Reject> {
        if self.moniker.is_empty() || self.moniker.len() > NAME_BYTES_MAX {
            return Err(BAD_FIELD);
        }
        if self.stake < POWER_UNIT {
            return Err(STAKE_TOO_SMALL);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        if VALIDATORS.has(ctx.state, &self.operator)? {
            return Err(ALREADY_VALIDATOR.into());
        }
        let consensus_address = from_consensus_key(&self.consensus_key);
        if CONSENSUS_KEYS.has(ctx.state, &consensus_address)? {
            return Err(KEY_TAKEN.into());
        }
        CONSENSUS_KEYS.put(ctx.state, &consensus_address, &self.operator.to_vec());
        withdraw(ctx, &self.operator, self.stake)?;
        let validator = Validator {
            operator: self.operator.to_vec(),
            consensus_key: self.consensus_key.to_vec(),
            moniker: self.moniker.clone(),
            created_height: ctx.tip.height,
            commission_bps: self.commission_bps,
            ..Validator::default()
        };
        staking::bond(ctx, validator, &self.operator, self.stake)?;
        model::possession::demand_of(ctx, &self.operator)?;
        ctx.emit(
            Event::new("create_validator")
                .with("validator", address::operator(&self.operator))
                .with("amount", self.stake),
        );
        ctx.respond(&MsgCreateValidatorResponse {});
        Ok(())
    }
}

impl TryFrom<MsgCreateValidator> for CreateValidator {
    type Error = Reject;

    fn try_from(message: MsgCreateValidator) -> Result<Self, Reject> {
        let operator = address::parse_operator(&message.validator_address)?;
        // Newer wallets leave the delegator out; where it is given, it is the same account.
        if !message.delegator_address.is_empty()
            && address::parse_account(&message.delegator_address)? != operator
        {
            return Err(NOT_OWN_OPERATOR);
        }
        let key = message.pubkey.ok_or(BAD_FIELD)?;
        if key.type_url != PubKey::type_url() {
            return Err(BAD_FIELD);
        }
        let key: PubKey = canonical(&key.value)?;
        let rate = message.commission.map(|commission| commission.rate).unwrap_or_default();
        Ok(Self {
            operator,
            consensus_key: key.key.try_into().map_err(|_| BAD_FIELD)?,
            moniker: message.description.ok_or(BAD_FIELD)?.moniker,
            commission_bps: commission_bps(&rate)?,
            stake: amount(&message.value.ok_or(BAD_FIELD)?)?,
        })
    }
}

/// A decimal fraction with 18 digits as basis points.
fn commission_bps(rate: &str) -> Result<u32, Reject> {
    if rate.is_empty() {
        return Ok(0);
    }
    let rate: u64 = rate.parse().map_err(|_| BAD_FIELD)?;
    let bps = rate.checked_div(100_000_000_000_000).ok_or(BAD_FIELD)?;
    u32::try_from(bps).ok().filter(|bps| *bps <= 10_000).ok_or(BAD_FIELD)
}
