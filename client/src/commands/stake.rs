//! `lockstep stake`.

use std::fmt::Write as _;

use clap::Subcommand;
use lockstep_chain::address;
use lockstep_chain::wire::{any, coin};
use lockstep_client::amount::Amount;
use lockstep_client::tx::message;
use lockstep_client::{Error, Result, query, render};
use lockstep_proto::cosmos::crypto::ed25519::PubKey;
use lockstep_proto::cosmos::staking::v1beta1::{CommissionRates, Description, MsgCreateValidator};
use serde_json::json;

use super::client;
use super::submit::submit;
use crate::cli::{Globals, Signing};
use crate::console::{say, to_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Stake {
    /// Makes the signer a validator with a first stake.
    Create {
        /// Such as `100lock`.
        amount: Amount,
        /// The consensus key in hex or Base64 (`pub_key.value` in `priv_validator_key.json`).
        #[arg(long)]
        consensus_key: String,
        /// What others call it.
        #[arg(long)]
        moniker: String,
        #[command(flatten)]
        signing: Signing,
    },
    /// Stakes tokens with a validator.
    Delegate {
        /// `lockstepvaloper1…`, or a devnet's `validator0`.
        validator: String,
        /// Such as `5lock`.
        amount: Amount,
        #[command(flatten)]
        signing: Signing,
    },
    /// Takes stake back; it matures later and stays slashable until then.
    Undelegate {
        /// `lockstepvaloper1…`, or a devnet's `validator0`.
        validator: String,
        /// Such as `5lock`.
        amount: Amount,
        #[command(flatten)]
        signing: Signing,
    },
    /// Shows where an account's stake is and what is on its way back.
    Show {
        /// `lockstep1…`, or a devnet's account.
        account: String,
    },
}

pub(super) async fn run(globals: &Globals, command: Stake) -> Result<()> {
    match command {
        Stake::Create { amount, consensus_key, moniker, signing } => {
            let key = consensus_key_bytes(&consensus_key)?;
            let create = |from: &lockstep_client::wallet::Wallet| {
                let operator = address::operator(&from.address());
                any(&MsgCreateValidator {
                    description: Some(Description {
                        moniker: moniker.clone(),
                        ..Description::default()
                    }),
                    commission: Some(CommissionRates::default()),
                    min_self_delegation: "1".into(),
                    delegator_address: from.address_text(),
                    validator_address: operator,
                    pubkey: Some(any(&PubKey { key: key.clone() })),
                    value: Some(coin(amount.0)),
                })
            };
            let sent = submit(globals, &signing, |from| vec![create(from)]).await?;
            sent.report(
                globals,
                &format!("validator {moniker:?} has {amount} at stake"),
                json!({}),
            );
        }
        Stake::Delegate { validator, amount, signing } => {
            let to = super::query::operator(&validator)?;
            let sent =
                submit(globals, &signing, |from| vec![message::delegate(from, &to, amount.0)])
                    .await?;
            sent.report(globals, &format!("staked {amount} with {to}"), json!({}));
        }
        Stake::Undelegate { validator, amount, signing } => {
            let of = super::query::operator(&validator)?;
            let sent =
                submit(globals, &signing, |from| vec![message::undelegate(from, &of, amount.0)]);
            let words = format!("{amount} of stake with {of} is on its way back");
            sent.await?.report(globals, &words, json!({}));
        }
        Stake::Show { account } => show(globals, &account).await?,
    }
    Ok(())
}

async fn show(globals: &Globals, account: &str) -> Result<()> {
    let client = client(globals)?;
    let owner = super::query::address(account)?;
    let mut rows = Vec::new();
    let mut text = String::new();
    for validator in query::validators(&client).await? {
        let bytes = validator.operator.as_slice().try_into().unwrap_or_default();
        let operator = address::operator(&bytes);
        let Ok(delegation) = query::delegation(&client, &owner, &operator).await else { continue };
        // A share is worth its part of the validator's tokens, which slashes shrink.
        let worth = u128::from(delegation.shares) * u128::from(validator.tokens)
            / u128::from(validator.shares.max(1));
        let worth = u64::try_from(worth).unwrap_or(u64::MAX);
        let _ = writeln!(
            text,
            "staked    {} with {} {operator}",
            render::money(worth),
            validator.moniker
        );
        rows.push(json!({ "validator": operator, "shares": delegation.shares, "ulock": worth }));
    }
    let unbondings = query::unbondings(&client, &owner).await?;
    for it in &unbondings {
        let amount = render::money(it.amount);
        let _ = writeln!(text, "returning {amount} from block {} on", it.mature_height);
    }
    if text.is_empty() {
        text.push_str("no stake");
    }
    let value = json!({ "delegations": rows, "unbondings": to_json(&unbondings) });
    say(globals.json, &value, &text);
    Ok(())
}

fn consensus_key_bytes(text: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    let decoded = hex::decode(text)
        .ok()
        .or_else(|| base64::engine::general_purpose::STANDARD.decode(text).ok());
    decoded.filter(|bytes| bytes.len() == 32).ok_or_else(|| {
        let what = format!("`{text}` is no ed25519 key");
        Error::usage(what, "32 bytes in hex or Base64: `pub_key.value` in priv_validator_key.json")
    })
}
