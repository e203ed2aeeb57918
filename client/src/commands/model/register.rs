//! `lockstep model register`.

use clap::Args;
use lockstep_client::amount::Amount;
use lockstep_client::tx::message;
use lockstep_client::{Error, Result};
use serde_json::json;

use crate::cli::{Globals, Signing};
use crate::commands::submit::submit;

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// 3 to 64 lower-case letters, digits, `-` and `.`; for ever unique.
    name: String,
    /// An SPDX identifier or a short name.
    #[arg(long)]
    licence: String,
    /// What a job pays to the authors' side at least, such as `0.01lock`.
    #[arg(long)]
    price: Amount,
    /// A model that this one was derived from, and its share of what this one earns:
    /// `minilm=20%`. May come several times.
    #[arg(long = "parent", value_name = "NAME=SHARE%", value_parser = parent)]
    parents: Vec<Parent>,
    #[command(flatten)]
    signing: Signing,
}

/// A name and basis points.
type Parent = (String, u32);

fn parent(text: &str) -> Result<Parent> {
    let wrong = || {
        let what = format!("`{text}` is no parent with a share");
        Error::usage(what, "NAME=SHARE%, such as minilm=20% or minilm=12.5%")
    };
    let (name, share) = text.split_once('=').ok_or_else(wrong)?;
    let share = share.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = share.split_once('.').unwrap_or((share, ""));
    if part.len() > 2 || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let bps: u32 = format!("{whole}{part:0<2}").parse().map_err(|_| wrong())?;
    if bps == 0 || bps > 10_000 || name.is_empty() {
        return Err(wrong());
    }
    Ok((name.to_owned(), bps))
}

pub(super) async fn run(globals: &Globals, command: &Register) -> Result<()> {
    let Register { name, licence, price, parents, signing } = command;
    let sent = submit(globals, signing, |from| {
        vec![message::register_model(from, name, licence, price.0, parents)]
    });
    let words =
        format!("registered {name}; `lockstep model publish {name} ARTEFACT` adds a version");
    sent.await?.report(globals, &words, json!({ "model": name }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_per_cent_with_two_decimals_at_most() {
        assert_eq!(parent("minilm=20%").unwrap(), ("minilm".into(), 2000));
        assert_eq!(parent("minilm=12.5%").unwrap(), ("minilm".into(), 1250));
        assert_eq!(parent("minilm=100%").unwrap(), ("minilm".into(), 10_000));
        for bad in ["minilm", "minilm=20", "=20%", "m=0%", "m=101%", "m=-1%", "m=1.234%", "m=%"] {
            assert!(parent(bad).is_err(), "{bad}");
        }
    }
}
