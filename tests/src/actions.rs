//! Messages as the tests send them, by names of accounts.

use lockstep_chain::wire::{any, coin};
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::cosmos::crypto::ed25519::PubKey;
use lockstep_proto::cosmos::staking::v1beta1::{
    Description, MsgCreateValidator, MsgDelegate, MsgUndelegate,
};
use lockstep_proto::lockstep::job::v1::{MsgCancelJob, MsgPostJob};
use lockstep_proto::lockstep::member::v1::{MsgGrantRole, MsgRevokeRole, Role};
use lockstep_proto::lockstep::model::v1::{
    MsgPayRoyalty, MsgPublishVersion, MsgRegisterModel, MsgSetAlias, Parent,
};
use prost_types::Any;

use crate::cluster::Cluster;
use crate::genesis::LOCK;
use crate::keys::{Account, Validator};
use crate::model::artefact;

/// A transfer.
#[must_use]
pub fn send(from: &str, to: &str, amount: u64) -> Any {
    any(&MsgSend {
        from_address: Account::named(from).text(),
        to_address: Account::named(to).text(),
        amount: vec![coin(amount)],
    })
}

/// Stake with the validator of a number.
#[must_use]
pub fn delegate(from: &str, validator: usize, amount: u64) -> Any {
    any(&MsgDelegate {
        delegator_address: Account::named(from).text(),
        validator_address: Account::named(&format!("val{validator}")).operator_text(),
        amount: Some(coin(amount)),
    })
}

/// Stake back from the validator of a number.
#[must_use]
pub fn undelegate(from: &str, validator: usize, amount: u64) -> Any {
    any(&MsgUndelegate {
        delegator_address: Account::named(from).text(),
        validator_address: Account::named(&format!("val{validator}")).operator_text(),
        amount: Some(coin(amount)),
    })
}

/// Makes the validator of a number, with so many LOCK.
#[must_use]
pub fn create_validator(number: usize, locks: u64) -> Any {
    let keys = Validator::numbered(number);
    any(&MsgCreateValidator {
        description: Some(Description {
            moniker: format!("validator {number}"),
            ..Description::default()
        }),
        validator_address: keys.operator.operator_text(),
        pubkey: Some(any(&PubKey { key: keys.consensus_key().to_vec() })),
        value: Some(coin(locks * LOCK)),
        ..MsgCreateValidator::default()
    })
}

/// Grants a role, as `council`.
#[must_use]
pub fn grant(account: &str, role: Role, validator: Option<usize>) -> Any {
    let operator = |number| Account::named(&format!("val{number}")).operator_text();
    any(&MsgGrantRole {
        council_member: Account::named("council").text(),
        account: Account::named(account).text(),
        role: role.into(),
        validator: validator.map(operator).unwrap_or_default(),
    })
}

/// Takes a role, as `council`.
#[must_use]
pub fn revoke(account: &str, role: Role) -> Any {
    any(&MsgRevokeRole {
        council_member: Account::named("council").text(),
        account: Account::named(account).text(),
        role: role.into(),
    })
}

/// A new model with parents and their basis points.
#[must_use]
pub fn register(owner: &str, name: &str, price: u64, parents: &[(&str, u32)]) -> Any {
    let parent = |(model, share_bps): &(&str, u32)| Parent {
        model: (*model).to_owned(),
        share_bps: *share_bps,
    };
    any(&MsgRegisterModel {
        owner: Account::named(owner).text(),
        name: name.to_owned(),
        licence: "Apache-2.0".to_owned(),
        price,
        parents: parents.iter().map(parent).collect(),
    })
}

/// A version of the tests' artefact.
#[must_use]
pub fn publish(owner: &str, name: &str) -> Any {
    any(&MsgPublishVersion {
        owner: Account::named(owner).text(),
        model: name.to_owned(),
        manifest: artefact().manifest.clone(),
    })
}

/// Moves an alias.
#[must_use]
pub fn alias(owner: &str, model: &str, alias: &str, number: u32) -> Any {
    any(&MsgSetAlias {
        owner: Account::named(owner).text(),
        model: model.to_owned(),
        alias: alias.to_owned(),
        number,
    })
}

/// A royalty.
#[must_use]
pub fn royalty(payer: &str, model: &str, amount: u64) -> Any {
    any(&MsgPayRoyalty {
        payer: Account::named(payer).text(),
        model: model.to_owned(),
        amount,
        reference: "test".to_owned(),
    })
}

/// A job with inline tokens.
#[must_use]
pub fn job(poster: &str, model: &str, tokens: &[u32]) -> MsgPostJob {
    MsgPostJob {
        poster: Account::named(poster).text(),
        model: model.to_owned(),
        input: lockstep_vm::result::input_bytes(tokens),
        max_fee: 1_000_000_000,
        ..MsgPostJob::default()
    }
}

/// A job whose tokens lie in a blob.
#[must_use]
pub fn blob_job(poster: &str, model: &str, tokens: &[u32]) -> MsgPostJob {
    let bytes = lockstep_vm::result::input_bytes(tokens);
    MsgPostJob {
        input: Vec::new(),
        input_root: lockstep_vm::result::input_root(&bytes).to_vec(),
        input_bytes: u64::try_from(bytes.len()).unwrap_or(0),
        ..job(poster, model, tokens)
    }
}

/// Takes a job back.
#[must_use]
pub fn cancel(poster: &str, job: u64) -> Any {
    any(&MsgCancelJob { poster: Account::named(poster).text(), job })
}

/// A network with the models `base` (price 1000, of `author0`) and `child` (price 10,000, of
/// `author1`, 40 % to `base`), both callable.
#[must_use]
pub fn with_models(genesis: &lockstep_chain::genesis::Genesis) -> Cluster {
    let mut cluster = Cluster::new(genesis);
    let base = cluster.tx("author0", vec![register("author0", "base", 1_000, &[])]);
    let version = cluster.tx("author0", vec![publish("author0", "base")]);
    cluster.deliver(vec![base, version]);
    let child = register("author1", "child", 10_000, &[("base", 4_000)]);
    let txs = cluster.tx("author1", vec![child, publish("author1", "child")]);
    cluster.deliver(vec![txs]);
    cluster.run(2);
    cluster
}
