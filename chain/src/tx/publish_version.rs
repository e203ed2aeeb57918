//! `MsgPublishVersion`: adds an immutable version to a model.
//!
//! The model's owner may. The message carries the artefact's manifest, from which the chain verifies
//! the program (shapes, bounds, cost) and computes the artefact root; the leaves travel outside. The
//! version becomes callable once enough executors have proved that they hold them.

use alloc::string::String;
use alloc::vec::Vec;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::model::v1::{
    Alias, MsgPublishVersion, MsgPublishVersionResponse, Version,
};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::{Context, add};
use crate::error::{OVERFLOW, Reject, TxError};
use crate::event::Event;
use crate::model::artefact::{self, BAD_MANIFEST, BAD_PROGRAM, OUTPUT_TOO_LARGE};
use crate::model::{self, LATEST, name_key, possession};
use crate::state::tables::{ALIASES, ARTEFACTS, MANIFESTS, MODELS, VERSION_NUMBERS, VERSIONS};
use crate::wire::any;

/// The signer does not own the model.
pub const NOT_OWNER: Reject = Reject::new(3100, "the signer does not own the model");

pub(super) const KIND: Kind = Kind {
    number: 31,
    name: "publish_version",
    type_url: "/lockstep.model.v1.MsgPublishVersion",
    roles: &[Role::Publisher],
    duty: false,
    moves: None,
    rejects: &[NOT_OWNER, BAD_MANIFEST, BAD_PROGRAM, OUTPUT_TOO_LARGE],
    decode: decode::<MsgPublishVersion, PublishVersion>,
    example: || {
        any(&MsgPublishVersion {
            owner: address::account(&[1; 20]),
            model: "minilm".into(),
            manifest: artefact::example(),
        })
    },
};

#[derive(Debug)]
pub(crate) struct PublishVersion {
    owner: Address,
    model: String,
    manifest: Vec<u8>,
}

impl Action for PublishVersion {
    fn signer(&self) -> Address {
        self.owner
    }

    fn check(&self) -> Result<(), Reject> {
        artefact::inspect(&self.manifest).map(|_| ())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let mut model = model::by_name(ctx.state, &self.model)?;
        if model.owner != self.owner {
            return Err(NOT_OWNER.into());
        }
        let facts = artefact::inspect(&self.manifest)?;
        let id = ctx.totals(|totals| {
            totals.versions = add(totals.versions, 1)?;
            Ok(totals.versions)
        })?;
        model.versions = model.versions.checked_add(1).ok_or(OVERFLOW)?;
        let version = Version {
            id,
            model: model.id,
            number: model.versions,
            artefact_root: facts.root.to_vec(),
            published_height: ctx.tip.height,
            leaf_count: facts.leaf_count,
            artefact_bytes: facts.bytes,
            tokens_max: facts.tokens_max,
            vocabulary: facts.vocabulary,
            output_values: facts.output_values,
            recipients: model.recipients.clone(),
            callable: false,
            callable_height: 0,
            challenge_seed: lockstep_vm::hash::hash(
                "lockstep/challenge-seed/v1",
                &[&ctx.tip.beacon, &id.to_le_bytes()],
            )
            .to_vec(),
        };
        VERSIONS.put(ctx.state, &id, &version);
        VERSION_NUMBERS.put(ctx.state, &(model.id, version.number), &id);
        MANIFESTS.put(ctx.state, &id, &self.manifest);
        if !ARTEFACTS.has(ctx.state, &facts.root)? {
            ARTEFACTS.put(ctx.state, &facts.root, &id);
        }
        MODELS.put(ctx.state, &model.id, &model);
        let key = (model.id, name_key(LATEST));
        let alias = ALIASES.get(ctx.state, &key)?;
        let alias = alias.unwrap_or_else(|| Alias { name: LATEST.into(), ..Alias::default() });
        model::point(ctx, &key, alias, id);
        possession::demand(ctx, id)?;
        ctx.emit(
            Event::new("publish_version")
                .with("version", id)
                .with("model", model::label(ctx.state, &version)?)
                .with("artefact_root", lockstep_vm::hash::Hex(&facts.root)),
        );
        ctx.respond(&MsgPublishVersionResponse { version: id, number: version.number });
        Ok(())
    }
}

impl TryFrom<MsgPublishVersion> for PublishVersion {
    type Error = Reject;

    fn try_from(message: MsgPublishVersion) -> Result<Self, Reject> {
        Ok(Self {
            owner: address::parse_account(&message.owner)?,
            model: message.model,
            manifest: message.manifest,
        })
    }
}
