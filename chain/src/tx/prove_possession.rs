//! `MsgProvePossession`: shows the leaves of an artefact that the chain asks this validator for.
//!
//! A validator's executor may; it is a duty and free of fees. Refused: other leaves than asked for,
//! a leaf that does not lead to the artefact's root.

use alloc::vec;
use alloc::vec::Vec;

use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::model::v1::{
    LeafProof, MsgProvePossession, MsgProvePossessionResponse,
};

use super::{Action, Kind, decode};
use crate::address::{self, Address};
use crate::context::Context;
use crate::error::{NO_SUCH_MODEL, Reject, TOO_LARGE, TxError};
use crate::event::Event;
use crate::job::executor_of;
use crate::model::{artefact, possession};
use crate::state::tables::{MANIFESTS, POSSESSIONS, VERSIONS};
use crate::wire::any;

/// Possession stands already.
pub const PROVED_ALREADY: Reject = Reject::new(3300, "possession stands proved already");
/// Other leaves than the chain asks for.
pub const OTHER_LEAVES: Reject =
    Reject::new(3301, "these are not the leaves asked for; hint: query Possession");
/// A leaf does not lead to the artefact's root.
pub const WRONG_LEAF: Reject = Reject::new(3302, "a leaf does not lead to the artefact's root");

pub(super) const KIND: Kind = Kind {
    number: 33,
    name: "prove_possession",
    type_url: "/lockstep.model.v1.MsgProvePossession",
    roles: &[Role::Executor],
    duty: true,
    moves: None,
    rejects: &[PROVED_ALREADY, OTHER_LEAVES, WRONG_LEAF],
    decode: decode::<MsgProvePossession, ProvePossession>,
    example: || {
        any(&MsgProvePossession {
            executor: address::account(&[1; 20]),
            version: 1,
            leaves: vec![LeafProof { index: 0, leaf: vec![1, 2, 3], path: vec![] }],
        })
    },
};

#[derive(Debug)]
pub(crate) struct ProvePossession {
    executor: Address,
    version: u64,
    leaves: Vec<LeafProof>,
}

impl Action for ProvePossession {
    fn signer(&self) -> Address {
        self.executor
    }

    fn check(&self) -> Result<(), Reject> {
        if u32::try_from(self.leaves.len()).map_or(true, |n| n > possession::LEAVES_MAX) {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    fn apply(&self, ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
        let operator = executor_of(ctx.state, &self.executor)?;
        let mut version = VERSIONS.get(ctx.state, &self.version)?.ok_or(NO_SUCH_MODEL)?;
        if POSSESSIONS.has(ctx.state, &(version.id, operator))? {
            return Err(PROVED_ALREADY.into());
        }
        let asked = possession::challenge(&version, &operator, ctx.params.possession_leaves);
        if !self.leaves.iter().map(|proof| proof.index).eq(asked) {
            return Err(OTHER_LEAVES.into());
        }
        let manifest = MANIFESTS.must(ctx.state, &version.id)?;
        for proof in &self.leaves {
            if !artefact::leaf_is_in(&manifest, proof)? {
                return Err(WRONG_LEAF.into());
            }
        }
        possession::record(ctx, &mut version, &operator)?;
        ctx.emit(
            Event::new("prove_possession")
                .with("version", version.id)
                .with("validator", address::operator(&operator)),
        );
        ctx.respond(&MsgProvePossessionResponse {});
        Ok(())
    }
}

impl TryFrom<MsgProvePossession> for ProvePossession {
    type Error = Reject;

    fn try_from(message: MsgProvePossession) -> Result<Self, Reject> {
        Ok(Self {
            executor: address::parse_account(&message.executor)?,
            version: message.version,
            leaves: message.leaves,
        })
    }
}
