//! `MsgGrantRole`: gives an account a role; it becomes a member with its first.
//!
//! A council member may. An executor's role names the validator that it works for; a validator has
//! one executor, the last that was granted.

use lockstep_proto::lockstep::member::v1::{MsgGrantRole, MsgGrantRoleResponse, Role};

use super::role_bit;
use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::bank;
use crate::context::Context;
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::event::Event;
use crate::staking;
use crate::state::tables::{ACCOUNTS, VALIDATORS};
use crate::wire::any;

/// The account holds the role already.
pub const ALREADY_GRANTED: Reject = Reject::new(2000, "the account holds the role already");
/// A validator is named without the executor's role, or the other way round.
pub const VALIDATOR_MISMATCH: Reject =
    Reject::new(2001, "name a validator with the executor's role, and with no other");

pub(super) const KIND: Kind = Kind {
    number: 20,
    name: "grant_role",
    type_url: "/lockstep.member.v1.MsgGrantRole",
    roles: &[Role::Council],
    duty: false,
    moves: None,
    rejects: &[ALREADY_GRANTED, VALIDATOR_MISMATCH],
    decode: decode::<MsgGrantRole, GrantRole>,
    example: || {
        any(&MsgGrantRole {
            council_member: address::account(&[1; 20]),
            account: address::account(&[2; 20]),
            role: Role::Developer.into(),
            validator: alloc::string::String::new(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct GrantRole {
    council_member: Address,
    account: Address,
    role: Role,
    validator: Option<Address>,
}

impl Action for GrantRole {
    fn signer(&self) -> Address {
        self.council_member
    }

    fn check(&self) -> Result<(), Reject> {
        if (self.role == Role::Executor) != self.validator.is_some() {
            return Err(VALIDATOR_MISMATCH);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let mut account = bank::open(ctx, &self.account)?;
        let bit = role_bit(self.role);
        if account.roles & bit != 0 {
            return Err(ALREADY_GRANTED.into());
        }
        account.roles |= bit;
        if let Some(operator) = self.validator {
            let mut validator = staking::validator(ctx, &operator)?;
            validator.executor = self.account.to_vec();
            VALIDATORS.put(ctx.state, &operator, &validator);
            account.validator = operator.to_vec();
        }
        ACCOUNTS.put(ctx.state, &self.account, &account);
        ctx.emit(
            Event::new("grant_role")
                .with("account", address::account(&self.account))
                .with("role", self.role.as_str_name()),
        );
        ctx.respond(&MsgGrantRoleResponse {});
        Ok(())
    }
}

/// A role that can be granted.
pub(super) fn role(number: i32) -> Result<Role, Reject> {
    match Role::try_from(number) {
        Ok(Role::Unspecified) | Err(_) => Err(BAD_FIELD),
        Ok(role) => Ok(role),
    }
}

impl TryFrom<MsgGrantRole> for GrantRole {
    type Error = Reject;

    fn try_from(message: MsgGrantRole) -> Result<Self, Reject> {
        let validator = message.validator.as_str();
        Ok(Self {
            council_member: address::parse_account(&message.council_member)?,
            account: address::parse_account(&message.account)?,
            role: role(message.role)?,
            validator: if validator.is_empty() {
                None
            } else {
                Some(address::parse_operator(validator)?)
            },
        })
    }
}
