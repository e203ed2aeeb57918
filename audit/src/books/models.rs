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
