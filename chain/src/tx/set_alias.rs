//! `MsgSetAlias`: points `latest`, `stable` or another name at a version of the model.
//!
//! The model's owner may. Jobs pin their version when they are posted, so none changes its model in
//! flight; every earlier target is remembered.

use alloc::string::String;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::model::v1::{Alias, MsgSetAlias, MsgSetAliasResponse};

use super::publish_version::NOT_OWNER;
use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{NO_SUCH_MODEL, Reject, TxError};
use crate::event::Event;
use crate::model::{self, name_key};
use crate::state::tables::{ALIASES, VERSION_NUMBERS};
use crate::wire::any;

/// The alias points there already.
pub const UNCHANGED: Reject = Reject::new(3200, "the alias points at this version already");
/// The signer does not own the model.
pub const NOT_THE_OWNER: Reject = Reject::new(3201, NOT_OWNER.reason);

pub(super) const KIND: Kind = Kind {
    number: 32,
    name: "set_alias",
    type_url: "/lockstep.model.v1.MsgSetAlias",
    roles: &[Role::Publisher],
    duty: false,
    moves: None,
    rejects: &[UNCHANGED, NOT_THE_OWNER],
    decode: decode::<MsgSetAlias, SetAlias>,
    example: || {
        any(&MsgSetAlias {
            owner: address::account(&[1; 20]),
            model: "minilm".into(),
            alias: "stable".into(),
            number: 1,
        })
    },
};

#[derive(Debug)]
pub(crate) struct SetAlias {
    owner: Address,
    model: String,
    alias: String,
    number: u32,
}

impl Action for SetAlias {
    fn signer(&self) -> Address {
        self.owner
    }

    fn check(&self) -> Result<(), Reject> {
        // Starts with a letter, so it never looks like a number.
        model::check_name(&self.alias)
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let model = model::by_name(ctx.state, &self.model)?;
        if model.owner != self.owner {
            return Err(NOT_THE_OWNER.into());
        }
        let version = VERSION_NUMBERS.get(ctx.state, &(model.id, self.number))?;
        let version = version.ok_or(NO_SUCH_MODEL)?;
        let key = (model.id, name_key(&self.alias));
        let alias = ALIASES.get(ctx.state, &key)?;
        let alias = alias.unwrap_or_else(|| Alias { name: self.alias.clone(), ..Alias::default() });
        if alias.version == version {
            return Err(UNCHANGED.into());
        }
        model::point(ctx, &key, alias, version);
        ctx.emit(
            Event::new("set_alias")
                .with("model", &self.model)
                .with("alias", &self.alias)
                .with("number", self.number),
        );
        ctx.respond(&MsgSetAliasResponse {});
        Ok(())
    }
}

impl TryFrom<MsgSetAlias> for SetAlias {
    type Error = Reject;

    fn try_from(message: MsgSetAlias) -> Result<Self, Reject> {
        Ok(Self {
            owner: address::parse_account(&message.owner)?,
            model: message.model,
            alias: message.alias,
            number: message.number,
        })
    }
}
