//! `lockstep tx`.

use std::fmt::Write as _;

use clap::Subcommand;
use lockstep_client::amount::Amount;
use lockstep_client::tx::{self, Sent, message};
use lockstep_client::{Error, Result};
use serde_json::json;

use super::client;
use super::submit::submit;
use crate::cli::{Globals, Signing};
use crate::console::{say, to_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Tx {
    /// Sends tokens to another member.
    Send {
        /// `lockstep1…`, or a devnet's account such as `dev1`.
        to: String,
        /// Such as `5lock` or `1200ulock`.
        amount: Amount,
        #[command(flatten)]
        signing: Signing,
    },
    /// Shows a transaction, and waits for it where it is not in a block yet.
    Show {
        /// 64 hex digits.
        hash: String,
        /// Seconds to wait.
        #[arg(long, default_value_t = 0)]
        timeout: u64,
    },
}

pub(super) async fn run(globals: &Globals, command: Tx) -> Result<()> {
    match command {
        Tx::Send { to, amount, signing } => {
            let to = super::query::address(&to)?;
            let sent =
                submit(globals, &signing, |from| vec![message::send(from, &to, amount.0)]).await?;
            sent.report(globals, &format!("sent {amount} to {to}"), json!({}));
            Ok(())
        }
        Tx::Show { hash, timeout } => show(globals, &hash, timeout).await,
    }
}

async fn show(globals: &Globals, text: &str, timeout: u64) -> Result<()> {
    let client = client(globals)?;
    let hash = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let hash = hash
        .ok_or_else(|| Error::usage(format!("`{text}` is no transaction hash"), "64 hex digits"))?;
    let included = match client.tx(&hash).await? {
        Some(included) => included,
        None if timeout == 0 => {
            let what = format!("transaction {text}, which is in no block yet,");
            return Err(Error::Unknown { what, seconds: 0 });
        }
        None => {
            let after_height = client.status().await?.height;
            let timeout = std::time::Duration::from_secs(timeout);
            tx::wait(&client, &Sent { hash, after_height }, timeout).await?
        }
    };
    let mut words = format!(
        "block     {}\ngas       {} used of {}\n",
        included.height, included.gas_used, included.gas_wanted
    );
    for event in &included.events {
        let pairs = event.attributes.iter().map(|it| format!("{}={}", it.key, it.value));
        let pairs = pairs.collect::<Vec<_>>().join(" ");
        let _ = writeln!(words, "event     {} {pairs}", event.kind);
    }
    let value = to_json(&included);
    tx::succeeded(included)?;
    say(globals.json, &value, &words);
    Ok(())
}
