//! `MsgRevokeRole`: takes a role from an account; without any it is no member.
//!
//! A council member may, but not from the last council member: nobody could admit anyone again.

use lockstep_proto::lockstep::member::v1::{MsgRevokeRole, MsgRevokeRoleResponse, Role};

use super::grant_role::role;
use super::role_bit;
use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{NO_SUCH_MEMBER, Reject, TxError};
use crate::event::Event;
use crate::state::tables::{ACCOUNTS, VALIDATORS};
use crate::wire::any;

/// The account does not hold the role.
pub const NOT_GRANTED: Reject = Reject::new(2100, "the account does not hold the role");
/// A council member takes its own seat.
pub const OWN_SEAT: Reject =
    Reject::new(2101, "a council member cannot remove itself; hint: another one can");

pub(super) const KIND: Kind = Kind {
    number: 21,
    name: "revoke_role",
    type_url: "/lockstep.member.v1.MsgRevokeRole",
    roles: &[Role::Council],
    duty: false,
    moves: None,
    rejects: &[NOT_GRANTED, OWN_SEAT],
    decode: decode::<MsgRevokeRole, RevokeRole>,
    example: || {
        any(&MsgRevokeRole {
            council_member: address::account(&[1; 20]),
            account: address::account(&[2; 20]),
            role: Role::Developer.into(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct RevokeRole {
    council_member: Address,
    account: Address,
    role: Role,
}

impl Action for RevokeRole {
    fn signer(&self) -> Address {
        self.council_member
    }

    fn check(&self) -> Result<(), Reject> {
        // So one council member is always left: the one that signs.
        if self.role == Role::Council && self.account == self.council_member {
            return Err(OWN_SEAT);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let mut account = ACCOUNTS.get(ctx.state, &self.account)?.ok_or(NO_SUCH_MEMBER)?;
        let bit = role_bit(self.role);
        if account.roles & bit == 0 {
            return Err(NOT_GRANTED.into());
        }
        account.roles &= !bit;
        if self.role == Role::Executor {
            // A genesis may list an executor that works for nobody.
            if let Ok(operator) = Address::try_from(account.validator.as_slice()) {
                let mut validator = VALIDATORS.must(ctx.state, &operator)?;
                if validator.executor == self.account {
                    validator.executor.clear();
                    VALIDATORS.put(ctx.state, &operator, &validator);
                }
            }
            account.validator.clear();
        }
        ACCOUNTS.put(ctx.state, &self.account, &account);
        ctx.emit(
            Event::new("revoke_role")
                .with("account", address::account(&self.account))
                .with("role", self.role.as_str_name()),
        );
        ctx.respond(&MsgRevokeRoleResponse {});
        Ok(())
    }
}

impl TryFrom<MsgRevokeRole> for RevokeRole {
    type Error = Reject;

    fn try_from(message: MsgRevokeRole) -> Result<Self, Reject> {
        Ok(Self {
            council_member: address::parse_account(&message.council_member)?,
            account: address::parse_account(&message.account)?,
            role: role(message.role)?,
        })
    }
}
