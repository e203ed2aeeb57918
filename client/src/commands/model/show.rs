//! `lockstep model show`.

use std::fmt::Write as _;

use lockstep_chain::address;
use lockstep_client::{Error, Result, query, render};
use lockstep_proto::lockstep::model::v1::Recipient;
use serde_json::json;

use crate::cli::Globals;
use crate::commands::client;
use crate::console::{say, to_json};

/// Aliases that most models have; others are found by `lockstep query alias`.
const ALIASES: [&str; 2] = ["latest", "stable"];

pub(super) async fn run(globals: &Globals, name: &str) -> Result<()> {
    let client = client(globals)?;
    let model = query::model(&client, name).await?;
    let mut text = format!(
        "model     {}\nlicence   {}\nprice     {} a job\n",
        model.name,
        model.licence,
        render::money(model.price)
    );
    for parent in &model.parents {
        let _ =
            writeln!(text, "parent    {} gets {}", parent.model, render::percent(parent.share_bps));
    }
    for recipient in &model.recipients {
        let _ = writeln!(text, "pays      {}", paid(recipient));
    }
    let mut versions = Vec::new();
    for number in 1..=model.versions {
        let version = query::version(&client, &format!("{name}:{number}")).await?;
        let state = if version.callable { "callable" } else { "not callable yet" };
        let root = hex::encode(&version.artefact_root);
        let _ = writeln!(
            text,
            "version   {number} (id {}) {state}, {} bytes, {} tokens, root {root}",
            version.id, version.artefact_bytes, version.tokens_max
        );
        versions.push(version);
    }
    let mut aliases = Vec::new();
    for alias in ALIASES {
        match query::alias(&client, name, alias).await {
            Ok(found) => {
                let number =
                    versions.iter().find(|it| it.id == found.version).map_or(0, |it| it.number);
                let _ = writeln!(
                    text,
                    "alias     {alias} is version {number}, moved {} times",
                    found.history.len()
                );
                aliases.push(found);
            }
            Err(Error::Rejected(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let value = json!({
        "model": to_json(&model), "versions": to_json(&versions), "aliases": to_json(&aliases),
    });
    say(globals.json, &value, &text);
    Ok(())
}

fn paid(recipient: &Recipient) -> String {
    let bytes = recipient.account.as_slice().try_into().unwrap_or_default();
    // Weights are parts of 10^9, so this is per cent with two decimals.
    let share = render::percent(recipient.weight / 100_000);
    format!("{share} of the authors' share to {}", address::account(&bytes))
}
