//! Models, versions and aliases as their transactions made them: what a call costs, and whom it
//! pays.

use std::collections::BTreeMap;

use lockstep_chain::address::Address;
use lockstep_proto::lockstep::model::v1::{
    MsgPublishVersion, MsgRegisterModel, MsgSetAlias, Recipient,
};
use lockstep_vm::artefact::Manifest;

use crate::amounts::{WEIGHTS, share};

/// What publishing points at the new version.
const LATEST: &str = "latest";

#[derive(Debug, Clone)]
struct Model {
    price: u64,
    recipients: Vec<Recipient>,
    /// Ids, by number less one.
    versions: Vec<u64>,
    aliases: BTreeMap<String, u64>,
}

/// A version.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) price: u64,
    pub(super) recipients: Vec<Recipient>,
    manifest: Manifest,
}

impl Version {
    /// What a run on so many tokens costs, without deposit and posting charge.
    pub(super) fn fee(&self, tokens: u32, compute_price: u64) -> u64 {
        let macs = u128::from(self.manifest.verified().cost(tokens).macs);
        let compute = (macs * u128::from(compute_price)).div_ceil(1_000_000);
        self.price.saturating_add(u64::try_from(compute).unwrap_or(u64::MAX))
    }
}

/// Everything that was registered.
#[derive(Debug, Clone, Default)]
pub(super) struct Models {
    models: BTreeMap<String, Model>,
    versions: Vec<Version>,
}

impl Models {
    /// `None` where a parent is not known.
    pub(super) fn register(&mut self, owner: &Address, message: &MsgRegisterModel) -> Option<()> {
        let mut weights: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut left = WEIGHTS;
        for parent in &message.parents {
            for recipient in &self.models.get(&parent.model)?.recipients {
                let part = share(recipient.weight.into(), parent.share_bps.into(), 10_000);
                let part = part.min(left);
                *weights.entry(recipient.account.clone()).or_default() += part;
                left -= part;
            }
        }
        *weights.entry(owner.to_vec()).or_default() += left;
        weights.retain(|_, weight| *weight > 0);
        let recipient = |(account, weight): (Vec<u8>, u64)| {
            Some(Recipient { account, weight: u32::try_from(weight).ok()? })
        };
        let recipients = weights.into_iter().map(recipient).collect::<Option<_>>()?;
        let model = Model {
            price: message.price,
            recipients,
            versions: Vec::new(),
            aliases: BTreeMap::new(),
        };
        self.models.insert(message.name.clone(), model);
        Some(())
    }

    /// `None` where the model is not known or the manifest is none.
    pub(super) fn publish(&mut self, message: &MsgPublishVersion) -> Option<()> {
        let model = self.models.get_mut(&message.model)?;
        self.versions.push(Version {
            price: model.price,
            recipients: model.recipients.clone(),
            manifest: Manifest::decode(&message.manifest).ok()?,
        });
        let id = u64::try_from(self.versions.len()).ok()?;
        model.versions.push(id);
        model.aliases.insert(LATEST.to_owned(), id);
        Some(())
    }

    /// `None` where there is no such version.
    pub(super) fn set_alias(&mut self, message: &MsgSetAlias) -> Option<()> {
        let model = self.models.get_mut(&message.model)?;
        let id = *model.versions.get(usize::try_from(message.number.checked_sub(1)?).ok()?)?;
        model.aliases.insert(message.alias.clone(), id);
        Some(())
    }

    /// The version that `name`, `name:alias` or `name:number` stands for now, with its id.
    pub(super) fn resolve(&self, text: &str) -> Option<(u64, &Version)> {
        let (name, which) = text.split_once(':').unwrap_or((text, LATEST));
        let model = self.models.get(name)?;
        let id = match which.parse::<u32>() {
            Ok(number) => *model.versions.get(usize::try_from(number.checked_sub(1)?).ok()?)?,
            Err(_) => *model.aliases.get(which)?,
        };
        Some((id, self.version(id)?))
    }

    pub(super) fn version(&self, id: u64) -> Option<&Version> {
        self.versions.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use lockstep_chain::model::artefact::example;
    use lockstep_proto::lockstep::model::v1::Parent;

    use super::*;

    fn model(name: &str, parents: &[(&str, u32)]) -> MsgRegisterModel {
        let parent = |(model, share_bps): &(&str, u32)| Parent {
            model: (*model).into(),
            share_bps: *share_bps,
        };
        MsgRegisterModel {
            name: name.into(),
            price: 7,
            parents: parents.iter().map(parent).collect(),
            ..MsgRegisterModel::default()
        }
    }

    fn publish(model: &str) -> MsgPublishVersion {
        let model = model.into();
        MsgPublishVersion { model, manifest: example(), ..MsgPublishVersion::default() }
    }

    /// One model with one version.
    pub(in super::super) fn with_one_version(owner: &Address) -> Models {
        let mut models = Models::default();
        models.register(owner, &model("one", &[])).unwrap();
        models.publish(&publish("one")).unwrap();
        models
    }

    #[test]
    fn names_stand_for_what_transactions_made_of_them() {
        let mut models = with_one_version(&[1; 20]);
        models.publish(&publish("one")).unwrap();
        let alias = MsgSetAlias { model: "one".into(), number: 1, ..MsgSetAlias::default() };
        models.set_alias(&MsgSetAlias { alias: "stable".into(), ..alias }).unwrap();
        let ids = ["one", "one:latest", "one:1", "one:stable"]
            .map(|name| models.resolve(name).map(|(id, _)| id));
        assert_eq!(ids, [Some(2), Some(2), Some(1), Some(1)]);
        assert!(
            ["two", "one:3", "one:0", "one:beta"].iter().all(|it| models.resolve(it).is_none())
        );
    }

    #[test]
    fn a_child_pays_its_parents_their_shares_and_weights_add_up() {
        let mut models = with_one_version(&[1; 20]);
        models.register(&[2; 20], &model("two", &[("one", 3_333)])).unwrap();
        models.register(&[3; 20], &model("three", &[("two", 5_000), ("one", 1)])).unwrap();
        models.publish(&publish("three")).unwrap();
        let (_, version) = models.resolve("three").unwrap();
        let weights: Vec<_> = version.recipients.iter().map(|r| (r.account[0], r.weight)).collect();
        assert_eq!(weights, [(1, 166_750_000), (2, 333_350_000), (3, 499_900_000)]);
        // The example multiplies nothing.
        assert_eq!(version.fee(4, 1_000_000), 7);
        assert!(models.register(&[4; 20], &model("four", &[("none", 1)])).is_none());
    }
}
