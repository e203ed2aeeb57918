//! `lockstep job post`.

use std::path::PathBuf;

use clap::Args;
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::limits::INLINE_BYTES_MAX;
use lockstep_chain::wire::any;
use lockstep_client::amount::Amount;
use lockstep_client::blobs::Blobs;
use lockstep_client::job::{self, Offer, Outcome, Quote};
use lockstep_client::tx::{self, Sender, Sent};
use lockstep_client::{Error, Result, npy, render};
use lockstep_proto::lockstep::job::v1::{Job, MsgPostJob, MsgPostJobResponse};
use lockstep_vm::result::{input_bytes, input_root};
use serde_json::json;

use super::input::Input;
use super::{Goal, show};
use crate::cli::{Globals, Signing};
use crate::commands::{client, submit};
use crate::console::{self, bar, note, say, to_json};

#[derive(Debug, Args)]
pub(crate) struct Post {
    /// `name` (its newest version), `name:alias` or `name:number`.
    #[arg(long)]
    model: String,
    #[command(flatten)]
    input: Input,
    /// What each job may cost at most; the quoted price unless told.
    #[arg(long)]
    max_fee: Option<Amount>,
    /// Writes the values: `.npy`, f32, one row per job.
    #[arg(long, value_name = "FILE.npy")]
    out: Option<PathBuf>,
    /// Takes the tokenizer from this artefact instead of the blob service.
    #[arg(long)]
    artefact: Option<PathBuf>,
    /// How far to wait.
    #[arg(long, value_enum, default_value_t = Goal::Result)]
    until: Goal,
    #[command(flatten)]
    signing: Signing,
}

/// A job before it is sent.
struct Planned {
    input: Vec<u8>,
    quote: Quote,
    unsigned: Unsigned,
}

pub(super) async fn run(globals: &Globals, command: &Post) -> Result<()> {
    let client = client(globals)?;
    let offer = Offer::of(&client, &command.model).await?;
    let inputs = command.input.ids(globals, &offer, command.artefact.as_ref()).await?;
    let wallet = submit::wallet(globals, &command.signing)?;
    let sender = submit::sender(globals, &command.signing, &wallet).await?;
    let planned = plan(command, &offer, &sender, &inputs).await?;
    show_plan(&planned, &wallet.address_text())?;
    if !command.signing.yes {
        console::confirm(&format!("sign and send {}?", planned.len()))?;
    }
    let sent = send(&sender, &planned).await?;
    if command.signing.no_wait {
        let hashes: Vec<String> = sent.iter().map(|sent| hex::encode(sent.hash)).collect();
        say(globals.json, &json!({ "hashes": hashes }), &hashes.join("\n"));
        return Ok(());
    }
    let ids = included(globals, &sender, &planned, &sent).await?;
    let jobs = results(command, &sender, &ids).await?;
    print(globals, command, &sender, &offer, &jobs)
}

async fn plan(
    command: &Post,
    offer: &Offer,
    sender: &Sender,
    inputs: &[Vec<u32>],
) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for ids in inputs {
        let quote = offer.quote(u32::try_from(ids.len()).unwrap_or(u32::MAX))?;
        let input = input_bytes(ids);
        let inline = input.len() <= INLINE_BYTES_MAX;
        let message = MsgPostJob {
            poster: sender.wallet().address_text(),
            model: command.model.clone(),
            input: if inline { input.clone() } else { Vec::new() },
            input_root: if inline { Vec::new() } else { input_root(&input).to_vec() },
            input_bytes: if inline { 0 } else { u64::try_from(input.len()).unwrap_or(u64::MAX) },
            max_fee: command.max_fee.map_or(quote.fee, |fee| fee.0),
            ..MsgPostJob::default()
        };
        let unsigned = sender.prepare(vec![any(&message)]).await?;
        planned.push(Planned { input, quote, unsigned });
    }
    Ok(planned)
}

fn show_plan(planned: &[Planned], signer: &str) -> Result<()> {
    let Some(first) = planned.first() else {
        return Err(Error::usage("no input", "--text, --texts or --ids"));
    };
    let quote = first.quote;
    note(&render::transaction(&first.unsigned, signer)?);
    note(&format!(
        "quote     {} to the authors' side + {} for computing {} tokens; deposit {}, posting charge {}",
        render::money(quote.model_price),
        render::money(quote.compute),
        quote.tokens,
        render::money(quote.deposit),
        render::money(quote.posting_charge),
    ));
    if planned.len() > 1 {
        let sum = |part: fn(&Planned) -> u64| planned.iter().map(part).fold(0, u64::saturating_add);
        note(&format!(
            "and {} more like it; in all {} for jobs, {} of deposits, {} of posting charges, {} of fees",
            planned.len() - 1,
            render::money(sum(|it| it.quote.fee)),
            render::money(sum(|it| it.quote.deposit)),
            render::money(sum(|it| it.quote.posting_charge)),
            render::money(sum(|it| it.unsigned.fee)),
        ));
    }
    Ok(())
}

/// Sends all in order without waiting in between.
async fn send(sender: &Sender, planned: &[Planned]) -> Result<Vec<Sent>> {
    let mut sent = Vec::new();
    for (number, job) in (1..).zip(planned) {
        match sender.broadcast(job.unsigned.clone()).await {
            Ok(one) => sent.push(one),
            // Those before it are on their way: stopping without a word would hide them.
            Err(error) => {
                for earlier in &sent {
                    note(&format!("sent before the refusal: {}", hex::encode(earlier.hash)));
                }
                note(&format!("stopped at job {number} of {}", planned.len()));
                return Err(error);
            }
        }
    }
    Ok(sent)
}

/// Waits for the blocks, and uploads what did not fit into them; the jobs' numbers.
async fn included(
    globals: &Globals,
    sender: &Sender,
    planned: &[Planned],
    sent: &[Sent],
) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    for (job, sent) in planned.iter().zip(sent) {
        let included = sender.wait(sent).await?;
        let answer: MsgPostJobResponse = tx::response(&included, 0)?;
        if job.input.len() > INLINE_BYTES_MAX {
            let root = input_root(&job.input);
            Blobs::new(&globals.blobs)?.upload_input(&root, job.input.clone()).await?;
        }
        ids.push(answer.job);
    }
    Ok(ids)
}

async fn results(command: &Post, sender: &Sender, ids: &[u64]) -> Result<Vec<Job>> {
    let progress = bar("verified", false);
    progress.set_length(u64::try_from(ids.len()).unwrap_or(0));
    let mut jobs = Vec::new();
    for id in ids {
        let until = command.until.into();
        let job = job::wait(sender.client(), *id, until, command.signing.timeout()).await;
        progress.inc(1);
        jobs.push(job.inspect_err(|_| progress.finish_and_clear())?);
    }
    progress.finish_and_clear();
    Ok(jobs)
}

fn print(
    globals: &Globals,
    command: &Post,
    sender: &Sender,
    offer: &Offer,
    jobs: &[Job],
) -> Result<()> {
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    let mut values = Vec::new();
    let mut without = 0_usize;
    for job in jobs {
        let outcome = job::outcome(sender.client(), job, &offer.version)?;
        lines.push(show::summary(job, &outcome));
        let mut value = to_json(job);
        value["state_name"] = job::state(job.state()).into();
        match outcome {
            Outcome::Values(row) => {
                value["values"] = to_json(&row);
                rows.push(row);
            }
            Outcome::Fault | Outcome::None(_) => without += 1,
        }
        values.push(value);
    }
    if let Some(path) = &command.out {
        if without > 0 {
            let what = format!(
                "{without} of {} jobs gave no values, so {} was not written",
                jobs.len(),
                path.display()
            );
            note(&lines.join("\n"));
            return Err(Error::usage(what, "`lockstep job show NUMBER` says why"));
        }
        npy::write(path, &rows)?;
    }
    say(globals.json, &json!({ "jobs": values }), &lines.join("\n"));
    Ok(())
}
