//! `lockstep job show`.

use std::fmt::Write as _;

use lockstep_chain::address;
use lockstep_client::job::{self, Outcome};
use lockstep_client::rpc::Client;
use lockstep_client::{Result, query, render};
use lockstep_proto::lockstep::job::v1::{Job, JobState, Member, MemberState, PayoutKind};

use crate::cli::Globals;
use crate::console::{say, to_json};

pub(super) async fn print(globals: &Globals, client: &Client, job: &Job) -> Result<()> {
    let version = query::version_by_id(client, job.version).await?;
    let outcome = job::outcome(client, job, &version)?;
    let mut value = to_json(job);
    value["state_name"] = job::state(job.state()).into();
    if let Outcome::Values(values) = &outcome {
        value["values"] = to_json(values);
    }
    let text = format!("{}\n{}", summary(job, &outcome), life(job));
    say(globals.json, &value, &text);
    Ok(())
}

/// One line on how a job ended and what it gave.
pub(super) fn summary(job: &Job, outcome: &Outcome) -> String {
    let took = match job.verified_height.checked_sub(job.posted_height) {
        Some(blocks) if job.verified_height > 0 => {
            format!(", verified {blocks} blocks after posting")
        }
        _ => String::new(),
    };
    let gave = match outcome {
        Outcome::Values(values) => {
            let length = values.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>().sqrt();
            let head: Vec<String> = values.iter().take(4).map(|it| format!("{it:.4}")).collect();
            format!(": {} values of length {length:.4}, {} …", values.len(), head.join(" "))
        }
        Outcome::Fault => ": FAULT, a value became infinite; a valid result without values".into(),
        Outcome::None(_) => String::new(),
    };
    format!("job {} is {}{took}{gave}", job.id, job::state(job.state()))
}

/// What happened when.
fn life(job: &Job) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "posted    block {} by {}", job.posted_height, account(&job.poster));
    let _ = writeln!(text, "version   id {}, attempt {}", job.version, job.attempt);
    let charge = render::money(job.posting_charge);
    let (fee, deposit) = (render::money(job.fee), render::money(job.deposit));
    let _ = writeln!(text, "fee       {fee}, deposit {deposit}, posting charge {charge}");
    for member in &job.members {
        let _ = writeln!(text, "member    {}", said(member));
    }
    if job.state() == JobState::OnTrial {
        let _ =
            writeln!(text, "trial     answers are defended and called; see `lockstep query trial`");
    }
    let heights = [
        ("verified", job.verified_height),
        ("delivered", job.delivered_height),
        ("ended", job.ended_height),
    ];
    for (what, height) in heights.into_iter().filter(|(_, height)| *height > 0) {
        let _ = writeln!(text, "{what:<9} block {height}");
    }
    if !job.result_root.is_empty() {
        let _ = writeln!(text, "result    {}", hex::encode(&job.result_root));
    }
    for payout in &job.payouts {
        let to = if payout.account.is_empty() {
            String::new()
        } else {
            format!(" to {}", account(&payout.account))
        };
        let _ = writeln!(
            text,
            "paid      {} {}{to}",
            render::money(payout.amount),
            kind(payout.kind())
        );
    }
    text
}

fn said(member: &Member) -> String {
    let bytes = member.validator.as_slice().try_into().unwrap_or_default();
    let mut text = format!("{} power {}", address::operator(&bytes), member.power);
    if member.committed_height > 0 {
        let _ = write!(text, ", committed in block {}", member.committed_height);
    }
    if member.revealed_height > 0 {
        let root = hex::encode(&member.result_root);
        let root = root.get(..12).unwrap_or(&root);
        let _ = write!(text, ", revealed {root}… in block {}", member.revealed_height);
    }
    match member.state() {
        MemberState::NoShow => text.push_str(", never committed"),
        MemberState::Unrevealed => text.push_str(", never revealed"),
        MemberState::Wrong => text.push_str(", proven wrong"),
        MemberState::Conceded => text.push_str(", conceded"),
        _ => {}
    }
    text
}

fn account(bytes: &[u8]) -> String {
    bytes.try_into().map_or_else(|_| hex::encode(bytes), |bytes| address::account(&bytes))
}

fn kind(kind: PayoutKind) -> &'static str {
    match kind {
        PayoutKind::Executor => "for executing",
        PayoutKind::Author => "for the model",
        PayoutKind::Treasury => "into the treasury",
        PayoutKind::Burn => "burned",
        PayoutKind::Refund => "back",
        PayoutKind::Unspecified => "for nothing known",
    }
}
