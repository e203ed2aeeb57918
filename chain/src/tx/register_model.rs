//! `MsgRegisterModel`: creates a model with an owner, a licence, a price and its parents.
//!
//! A publisher may. Parents are models that exist, each at most once, together at most 10,000 basis
//! points; what the model pays is fixed here, once for ever.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::model::v1::{
    Model, MsgRegisterModel, MsgRegisterModelResponse, Parent,
};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::{Context, add};
use crate::error::{BAD_FIELD, Reject, TxError};
use crate::event::Event;
use crate::limits::{LINEAGE_DEPTH_MAX, NAME_BYTES_MAX, PARENTS_MAX, SUPPLY_MAX};
use crate::model::{self, lineage, name_key};
use crate::state::tables::{MODEL_NAMES, MODELS};
use crate::wire::any;

/// The name is in use.
pub const NAME_TAKEN: Reject = Reject::new(3000, "a model of this name exists already");
/// Too many parents, one twice, or shares over 10,000 basis points.
pub const BAD_PARENTS: Reject =
    Reject::new(3001, "bad parents; hint: at most 16, each once, shares from 1 to 10000 in total");
/// The lineage is too deep or pays too many accounts.
pub const LINEAGE_TOO_LARGE: Reject =
    Reject::new(3002, "the lineage is deeper than 16 generations or pays more than 256 accounts");

pub(super) const KIND: Kind = Kind {
    number: 30,
    name: "register_model",
    type_url: "/lockstep.model.v1.MsgRegisterModel",
    roles: &[Role::Publisher],
    duty: false,
    moves: None,
    rejects: &[NAME_TAKEN, BAD_PARENTS, LINEAGE_TOO_LARGE],
    decode: decode::<MsgRegisterModel, RegisterModel>,
    example: || {
        any(&MsgRegisterModel {
            owner: address::account(&[1; 20]),
            name: "minilm-smooth".into(),
            licence: "Apache-2.0".into(),
            price: 1000,
            parents: vec![Parent { model: "minilm".into(), share_bps: 4000 }],
        })
    },
};

#[derive(Debug)]
pub(crate) struct RegisterModel {
    owner: Address,
    name: String,
    licence: String,
    price: u64,
    parents: Vec<Parent>,
}

impl Action for RegisterModel {
    fn signer(&self) -> Address {
        self.owner
    }

    fn check(&self) -> Result<(), Reject> {
        model::check_name(&self.name)?;
        if self.licence.is_empty() || self.licence.len() > NAME_BYTES_MAX || self.price > SUPPLY_MAX
        {
            return Err(BAD_FIELD);
        }
        let names: BTreeSet<&str> = self.parents.iter().map(|p| p.model.as_str()).collect();
        let shares: u64 = self.parents.iter().map(|p| u64::from(p.share_bps)).sum();
        if self.parents.len() > PARENTS_MAX
            || names.len() != self.parents.len()
            || self.parents.iter().any(|parent| parent.share_bps == 0)
            || shares > 10_000
        {
            return Err(BAD_PARENTS);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        if MODEL_NAMES.has(ctx.state, &name_key(&self.name))? {
            return Err(NAME_TAKEN.into());
        }
        let mut parents = Vec::new();
        let mut depth = 0;
        for parent in &self.parents {
            let found = model::by_name(ctx.state, &parent.model)?;
            depth = depth.max(found.depth.saturating_add(1));
            parents.push((found, parent.share_bps));
        }
        if depth > LINEAGE_DEPTH_MAX {
            return Err(LINEAGE_TOO_LARGE.into());
        }
        let recipients = lineage::flatten(&self.owner, &parents)?.ok_or(LINEAGE_TOO_LARGE)?;
        let id = ctx.totals(|totals| {
            totals.models = add(totals.models, 1)?;
            Ok(totals.models)
        })?;
        let model = Model {
            id,
            name: self.name.clone(),
            owner: self.owner.to_vec(),
            licence: self.licence.clone(),
            price: self.price,
            parents: self.parents.clone(),
            versions: 0,
            registered_height: ctx.tip.height,
            depth,
            recipients,
        };
        MODELS.put(ctx.state, &id, &model);
        MODEL_NAMES.put(ctx.state, &name_key(&self.name), &id);
        ctx.emit(
            Event::new("register_model")
                .with("model", &self.name)
                .with("owner", address::account(&self.owner)),
        );
        ctx.respond(&MsgRegisterModelResponse { model: id });
        Ok(())
    }
}

impl TryFrom<MsgRegisterModel> for RegisterModel {
    type Error = Reject;

    fn try_from(message: MsgRegisterModel) -> Result<Self, Reject> {
        Ok(Self {
            owner: address::parse_account(&message.owner)?,
            name: message.name,
            licence: message.licence,
            price: message.price,
            parents: message.parents,
        })
    }
}
