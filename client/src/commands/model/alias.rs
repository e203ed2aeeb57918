//! `lockstep model alias`.

use clap::Args;
use lockstep_client::Result;
use lockstep_client::tx::message;
use serde_json::json;

use crate::cli::{Globals, Signing};
use crate::commands::submit::submit;

#[derive(Debug, Args)]
pub(crate) struct Alias {
    /// The model's name.
    name: String,
    /// `latest`, `stable` or another name.
    #[arg(value_name = "ALIAS")]
    target: String,
    /// The version's number within the model.
    number: u32,
    #[command(flatten)]
    signing: Signing,
}

pub(super) async fn run(globals: &Globals, command: &Alias) -> Result<()> {
    let Alias { name, target: alias, number, signing } = command;
    let sent =
        submit(globals, signing, |from| vec![message::set_alias(from, name, alias, *number)]);
    let words = format!("{name}:{alias} is version {number}");
    sent.await?.report(globals, &words, json!({ "model": name, "alias": alias, "number": number }));
    Ok(())
}
