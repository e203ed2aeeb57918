//! `lockstep royalty`.

use clap::Subcommand;
use lockstep_client::Result;
use lockstep_client::amount::Amount;
use lockstep_client::tx::message;
use serde_json::json;

use super::submit::submit;
use crate::cli::{Globals, Signing};

#[derive(Debug, Subcommand)]
pub(crate) enum Royalty {
    /// Pays a model's authors, and those of the models that it was derived from.
    Pay {
        /// `name`, `name:alias` or `name:number`.
        model: String,
        /// Such as `5lock`.
        amount: Amount,
        /// What it is for, at most 256 bytes; public.
        #[arg(long)]
        reference: String,
        #[command(flatten)]
        signing: Signing,
    },
}

pub(super) async fn run(globals: &Globals, command: Royalty) -> Result<()> {
    let Royalty::Pay { model, amount, reference, signing } = command;
    let sent = submit(globals, &signing, |from| {
        vec![message::pay_royalty(from, &model, amount.0, &reference)]
    });
    sent.await?.report(globals, &format!("paid {amount} to the authors of {model}"), json!({}));
    Ok(())
}
