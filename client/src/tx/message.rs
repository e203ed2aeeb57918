//! Messages, made from plain values.

use lockstep_chain::wire::{any, coin};
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::cosmos::staking::v1beta1::{MsgDelegate, MsgUndelegate};
use lockstep_proto::lockstep::job::v1::{MsgCancelJob, MsgPostJob};
use lockstep_proto::lockstep::member::v1::{MsgGrantRole, MsgRevokeRole, Role};
use lockstep_proto::lockstep::model::v1::{
    MsgPayRoyalty, MsgPublishVersion, MsgRegisterModel, MsgSetAlias, Parent,
};
pub use prost_types::Any;

use crate::wallet::Wallet;

/// Moves `ulock` to another member.
#[must_use]
pub fn send(from: &Wallet, to: &str, ulock: u64) -> Any {
    any(&MsgSend {
        from_address: from.address_text(),
        to_address: to.into(),
        amount: vec![coin(ulock)],
    })
}

/// Stakes `ulock` with a validator.
#[must_use]
pub fn delegate(from: &Wallet, operator: &str, ulock: u64) -> Any {
    any(&MsgDelegate {
        delegator_address: from.address_text(),
        validator_address: operator.into(),
        amount: Some(coin(ulock)),
    })
}

/// Takes stake back.
#[must_use]
pub fn undelegate(from: &Wallet, operator: &str, ulock: u64) -> Any {
    any(&MsgUndelegate {
        delegator_address: from.address_text(),
        validator_address: operator.into(),
        amount: Some(coin(ulock)),
    })
}

/// Gives a role; `operator` is for executors alone, else empty.
#[must_use]
pub fn grant_role(council: &Wallet, account: &str, role: Role, operator: &str) -> Any {
    any(&MsgGrantRole {
        council_member: council.address_text(),
        account: account.into(),
        role: role.into(),
        validator: operator.into(),
    })
}

/// Takes a role.
#[must_use]
pub fn revoke_role(council: &Wallet, account: &str, role: Role) -> Any {
    any(&MsgRevokeRole {
        council_member: council.address_text(),
        account: account.into(),
        role: role.into(),
    })
}

/// Creates a model; `parents` are names with their share in basis points.
#[must_use]
pub fn register_model(
    owner: &Wallet,
    name: &str,
    licence: &str,
    price: u64,
    parents: &[(String, u32)],
) -> Any {
    let parent =
        |(model, share_bps): &(String, u32)| Parent { model: model.clone(), share_bps: *share_bps };
    any(&MsgRegisterModel {
        owner: owner.address_text(),
        name: name.into(),
        licence: licence.into(),
        price,
        parents: parents.iter().map(parent).collect(),
    })
}

/// Adds a version to a model.
#[must_use]
pub fn publish_version(owner: &Wallet, model: &str, manifest: &[u8]) -> Any {
    any(&MsgPublishVersion {
        owner: owner.address_text(),
        model: model.into(),
        manifest: manifest.into(),
    })
}

/// Points an alias at a version's number.
#[must_use]
pub fn set_alias(owner: &Wallet, model: &str, alias: &str, number: u32) -> Any {
    any(&MsgSetAlias {
        owner: owner.address_text(),
        model: model.into(),
        alias: alias.into(),
        number,
    })
}

/// Pays a model's authors for use off the chain.
#[must_use]
pub fn pay_royalty(payer: &Wallet, model: &str, ulock: u64, reference: &str) -> Any {
    any(&MsgPayRoyalty {
        payer: payer.address_text(),
        model: model.into(),
        amount: ulock,
        reference: reference.into(),
    })
}

/// Asks for a run on inline token ids.
#[must_use]
pub fn post_job(poster: &Wallet, model: &str, ids: &[u32], max_fee: u64) -> Any {
    any(&MsgPostJob {
        poster: poster.address_text(),
        model: model.into(),
        input: ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
        max_fee,
        ..MsgPostJob::default()
    })
}

/// Takes a job back.
#[must_use]
pub fn cancel_job(poster: &Wallet, job: u64) -> Any {
    any(&MsgCancelJob { poster: poster.address_text(), job })
}
