//! Says what a transaction does before it is signed: amounts, names, fee and network.
//!
//! It reads the bytes that will be signed, not what they were made from, so a fault in making them
//! shows. Golden vectors: `tests/data/signing.txt`, one entry per kind of message.

use std::fmt::Write as _;

use lockstep_chain::envelope::Unsigned;
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::cosmos::base::v1beta1::Coin;
use lockstep_proto::cosmos::crypto::ed25519::PubKey;
use lockstep_proto::cosmos::staking::v1beta1::{MsgCreateValidator, MsgDelegate, MsgUndelegate};
use lockstep_proto::lockstep::job::v1::{
    MsgCancelJob, MsgCommitResult, MsgDeliverOutput, MsgPostJob, MsgRevealResult,
};
use lockstep_proto::lockstep::member::v1::{MsgGrantRole, MsgRevokeRole, Role};
use lockstep_proto::lockstep::model::v1::{
    MsgPayRoyalty, MsgProvePossession, MsgPublishVersion, MsgRegisterModel, MsgSetAlias,
};
use lockstep_proto::lockstep::staking::v1::MsgCancelVerdict;
use lockstep_proto::lockstep::trial::v1::{
    MsgCallNode, MsgChallenge, MsgConcede, MsgDefend, MsgOpenNode, MsgProveStep,
};
use prost::{DecodeError, Message, Name};
use prost_types::Any;

use crate::amount::Amount;
use crate::{Error, Result};

/// The whole transaction, one line per fact.
///
/// # Errors
/// Where a message is of a kind that this program does not know: it must not be signed blindly.
pub fn transaction(unsigned: &Unsigned, signer: &str) -> Result<String> {
    let mut text = format!("network   {}\nsigner    {signer}\n", unsigned.chain_id);
    for (number, any) in (1..).zip(&unsigned.messages) {
        let lines = message(any)?;
        let mut lines = lines.lines();
        let _ = writeln!(text, "{number:<9} {}", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "          {line}");
        }
    }
    let _ = writeln!(text, "fee       {} for {} gas", money(unsigned.fee), unsigned.gas_limit);
    if !unsigned.memo.is_empty() {
        let _ = writeln!(text, "memo      {:?} (public)", unsigned.memo);
    }
    let _ = match unsigned.unordered_until_ms {
        Some(until_ms) => writeln!(text, "valid     until {until_ms} ms Unix time, in any order"),
        None if unsigned.timeout_height != 0 => {
            writeln!(text, "valid     up to block {}", unsigned.timeout_height)
        }
        None => writeln!(text, "sequence  {}", unsigned.sequence),
    };
    Ok(text)
}

/// One message in words; further lines hold details.
///
/// # Errors
/// Where its kind is unknown or its bytes are malformed.
pub fn message(any: &Any) -> Result<String> {
    let malformed = |cause: DecodeError| {
        let what = format!("a malformed {}: {cause}", any.type_url);
        Error::usage(what, "do not sign it")
    };
    let known: [fn(&Any) -> Option<Words>; 5] =
        [money_words, member_words, model_words, job_words, trial_words];
    match known.iter().find_map(|words| words(any)) {
        Some(words) => words.map_err(malformed),
        None => Err(Error::usage(
            format!("an unknown message {}", any.type_url),
            "do not sign what cannot be shown; is this program older than the chain?",
        )),
    }
}

type Words = Result<String, DecodeError>;

/// The words of `any` if it is an `M`.
fn words<M: Message + Name + Default>(any: &Any, say: fn(&M) -> String) -> Option<Words> {
    (any.type_url == M::type_url()).then(|| M::decode(any.value.as_slice()).map(|it| say(&it)))
}

fn money_words(any: &Any) -> Option<Words> {
    words(any, |it: &MsgSend| format!("send {} to {}", coins(&it.amount), it.to_address))
        .or_else(|| words(any, create_validator))
        .or_else(|| {
            words(any, |it: &MsgDelegate| {
                let amount = coins(it.amount.as_slice());
                format!("stake {amount} with validator {}", it.validator_address)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgUndelegate| {
                let amount = coins(it.amount.as_slice());
                format!("take {amount} of stake back from validator {}", it.validator_address)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgPayRoyalty| {
                let amount = money(it.amount);
                format!("pay {amount} to the authors of {}\nfor {:?}", it.model, it.reference)
            })
        })
}

fn create_validator(it: &MsgCreateValidator) -> String {
    let key = it.pubkey.as_ref().and_then(|key| PubKey::decode(key.value.as_slice()).ok());
    let key = key.map_or_else(|| "none".into(), |key| hex::encode(key.key));
    let moniker = it.description.as_ref().map_or("", |it| &it.moniker);
    let stake = coins(it.value.as_slice());
    format!(
        "become validator {moniker:?} with a stake of {stake}\noperator {}\nconsensus key {key}",
        it.validator_address
    )
}

fn member_words(any: &Any) -> Option<Words> {
    words(any, |it: &MsgGrantRole| {
        let mut text = format!("give {} the role {}", it.account, role(it.role));
        if !it.validator.is_empty() {
            let _ = write!(text, "\nto work for validator {}", it.validator);
        }
        text
    })
    .or_else(|| {
        words(any, |it: &MsgRevokeRole| {
            format!("take the role {} from {}", role(it.role), it.account)
        })
    })
}

fn model_words(any: &Any) -> Option<Words> {
    words(any, |it: &MsgRegisterModel| {
        let mut text = format!(
            "register model {} under licence {:?}, price {} a job",
            it.name,
            it.licence,
            money(it.price)
        );
        for parent in &it.parents {
            let share = percent(parent.share_bps);
            let _ = write!(text, "\n{share} of what it earns goes to its parent {}", parent.model);
        }
        text
    })
    .or_else(|| words(any, publish_version))
    .or_else(|| {
        words(any, |it: &MsgSetAlias| {
            format!("point {}:{} at version {}", it.model, it.alias, it.number)
        })
    })
    .or_else(|| {
        words(any, |it: &MsgProvePossession| {
            let leaves = it.leaves.len();
            format!("prove possession of version id {} by {leaves} leaves", it.version)
        })
    })
}

fn publish_version(it: &MsgPublishVersion) -> String {
    let root = lockstep_vm::hash::hash("lockstep/artefact/v1", &[&it.manifest]);
    format!(
        "publish a version of model {}\nartefact root {}\nmanifest of {} bytes",
        it.model,
        hex::encode(root),
        it.manifest.len()
    )
}

fn job_words(any: &Any) -> Option<Words> {
    words(any, post_job)
        .or_else(|| words(any, |it: &MsgCancelJob| format!("cancel job {}", it.job)))
        .or_else(|| {
            words(any, |it: &MsgCommitResult| {
                let commitment = hex::encode(&it.commitment);
                format!("commit to a result of job {} attempt {}\n{commitment}", it.job, it.attempt)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgRevealResult| {
                let root = hex::encode(&it.result_root);
                format!(
                    "reveal the result of job {} attempt {}\nresult root {root}",
                    it.job, it.attempt
                )
            })
        })
        .or_else(|| {
            words(any, |it: &MsgDeliverOutput| {
                format!("deliver the output of job {}, {} bytes", it.job, it.output.len())
            })
        })
}

fn trial_words(any: &Any) -> Option<Words> {
    words(any, challenge)
        .or_else(|| {
            words(any, |it: &MsgDefend| {
                let root = hex::encode(&it.steps_root);
                format!("defend an answer to job {} by the trace\n{root}", it.job)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgCallNode| {
                let node = node(it.trace, it.level, it.position);
                format!("call {node} in the trial of job {}", it.job)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgOpenNode| {
                let node = node(it.trace, it.level, it.position);
                format!("open {node} in the trial of job {}", it.job)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgProveStep| {
                let node = node(it.trace, 0, it.position);
                format!("prove {node} in the trial of job {}", it.job)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgConcede| {
                format!("concede that an answer to job {} is wrong", it.job)
            })
        })
        .or_else(|| {
            words(any, |it: &MsgCancelVerdict| {
                format!("cancel verdict {}\nbecause {:?}", it.slash, it.reason)
            })
        })
}

fn challenge(it: &MsgChallenge) -> String {
    let own = match it.own_result_root.as_slice() {
        [] => "for a bond".into(),
        own => format!("for two bonds, since it says instead\n{}", hex::encode(own)),
    };
    format!("challenge an answer to job {}\n{}\n{own}", it.job, hex::encode(&it.result_root))
}

/// A node of a trace; those of the lowest level are its leaves.
fn node(trace: u32, level: u32, position: u64) -> String {
    match level {
        0 => format!("leaf {position} of trace {trace}"),
        _ => format!("node {position} of level {level} of trace {trace}"),
    }
}

fn post_job(it: &MsgPostJob) -> String {
    let input = if it.input_root.is_empty() {
        format!("{} tokens inline", it.input.len() / 4)
    } else {
        format!("{} tokens in blob {}", it.input_bytes / 4, hex::encode(&it.input_root))
    };
    let deadline = match it.deadline_blocks {
        0 => String::new(),
        blocks => format!("\nfirst commitment within {blocks} blocks"),
    };
    let fee = money(it.max_fee);
    format!(
        "run model {} on {input}\nfor at most {fee}, and a deposit that comes back{deadline}",
        it.model
    )
}

/// An amount for people, with the exact number behind it.
#[must_use]
pub fn money(ulock: u64) -> String {
    format!("{} ({ulock} ulock)", Amount(ulock))
}

/// Basis points as per cent.
#[must_use]
pub fn percent(bps: u32) -> String {
    let (whole, part) = (bps / 100, bps % 100);
    if part == 0 { format!("{whole} %") } else { format!("{whole}.{part:02} %") }
}

fn coins(coins: &[Coin]) -> String {
    let one = |coin: &Coin| match (coin.denom.as_str(), coin.amount.parse()) {
        (lockstep_chain::address::DENOM, Ok(ulock)) => money(ulock),
        _ => format!("{} {}", coin.amount, coin.denom),
    };
    if coins.is_empty() {
        "nothing".into()
    } else {
        coins.iter().map(one).collect::<Vec<_>>().join(" + ")
    }
}

/// A role as the command line spells it.
#[must_use]
pub fn role(role: i32) -> String {
    let name = Role::try_from(role).map_or("ROLE_UNKNOWN", |role| role.as_str_name());
    name.trim_start_matches("ROLE_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run with `LOCKSTEP_BLESS=1` to write the file anew, and read the difference.
    #[test]
    fn every_kind_of_message_is_said_in_the_words_of_the_golden_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/signing.txt");
        let mut text = String::new();
        for kind in lockstep_chain::tx::KINDS {
            let unsigned = Unsigned {
                chain_id: "lockstep-1".into(),
                account_number: 7,
                sequence: 3,
                fee: 2500,
                gas_limit: 100_000,
                messages: vec![(kind.example)()],
                memo: "thanks".into(),
                ..Unsigned::default()
            };
            let shown = transaction(&unsigned, "lockstep1signer").unwrap();
            let _ = writeln!(text, "== {} {}\n{shown}", kind.number, kind.name);
        }
        if std::env::var_os("LOCKSTEP_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn an_unknown_message_is_not_shown_as_if_it_were_understood() {
        let any = Any { type_url: "/cosmos.gov.v1.MsgVote".into(), value: vec![] };
        let unsigned = Unsigned { messages: vec![any], ..Unsigned::default() };
        let refused = transaction(&unsigned, "lockstep1signer").unwrap_err();
        assert!(refused.to_string().contains("MsgVote"), "{refused}");
    }
}
