//! Disputes: three executors lie together, one is honest and wins, and anyone can audit it.
//!
//! The first lie is told by both members of a committee, so nobody in it disagrees: the honest
//! executor, who is no member, challenges it. The second is told by the third liar beside the honest
//! one, whose answers differ. Lies and jobs are chosen before the network starts, from the rule by
//! which committees are formed.

mod audit;
mod game;
mod lies;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use lockstep_client::amount::Amount;
use lockstep_client::rpc::Client;
use lockstep_client::tx::{Options, Sender};
use lockstep_client::wallet::Wallet;
use lockstep_client::{job, model, query};
use lockstep_proto::lockstep::job::v1::{Job, JobState};
use lockstep_proto::lockstep::staking::v1::Offence;
use lockstep_tests::network::Network;
use lockstep_vm::ops::Isa;
use serde::Serialize;

use crate::figures::{self, SlashRow};
use crate::jobs::{self, Poster, embedding};
use crate::models::Recipe;
use crate::report::say;
use crate::texts::Texts;

/// Jobs that are posted; two of them are lied about.
const JOBS: usize = 8;
/// How long verdicts may take: trials, and the delay of verdicts against so much of the power.
const VERDICTS_MAX: Duration = Duration::from_mins(3);

/// What `--dispute --json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    game: game::Figures,
    slashes: Vec<SlashRow>,
    expected_slashes: Vec<SlashRow>,
    /// What the honest validator has less than before, in ulock.
    honest_lost: u64,
    /// Every job gave the bytes that the model gives on this machine, without a chain.
    result_right: bool,
    audit: audit::Passed,
    flipped: audit::Flipped,
    seconds: f64,
}

pub(crate) async fn run(minilm: &Path, home: &Path) -> anyhow::Result<Record> {
    let start = Instant::now();
    let texts = Texts::read()?;
    let plan = lies::Plan::new()?;
    say::step("Four validators start; the executors of three of them lie, and lie together");
    let faults = plan.faults();
    let mut arguments = vec!["--validators", "4"];
    arguments.extend(faults.iter().flat_map(|fault| ["--fault", fault.as_str()]));
    let mut network = Network::start(home, &arguments)?;
    network.wait_height(2).await?;
    let client = network.client(lies::HONEST)?;
    say::network(&network, &client.status().await?.cometbft);

    let recipe = Recipe {
        name: "minilm",
        arguments: &["--activations", "16"],
        parents: vec![],
        price: 2_000,
    };
    let artefact = crate::publish(&client, &network, minilm, home, &[recipe]).await?.remove(0);
    let honest = Balance::of(&client).await?;
    let stakes = lies::stakes(&client).await?;

    say::step("A developer posts jobs; two of them are lied about");
    let ids: Vec<(usize, Vec<u32>)> = {
        let tokenizer = crate::tokenizer(&artefact)?;
        let pick = texts.texts.iter().enumerate().take(JOBS);
        pick.map(|(i, text)| Ok((i, tokenizer.encode(text)?.ids))).collect::<anyhow::Result<_>>()?
    };
    let developer = Wallet::test_account("dev0")?;
    let sender = Sender::new(&client, &developer, Options::default()).await?;
    let asks = Poster { client: &client, sender: &sender, model: 0, name: "minilm" };
    let posted = asks.post(&ids).await?;
    for (job, liars) in plan.lies() {
        say::line(&format!("job {job}: a lie by {}", liars.join(" and ")));
    }

    say::step("The honest executor challenges what is wrong, and the chain recomputes one step");
    let starts = game::watch(&client, &plan).await?;
    let finished = jobs::finish(&client, &posted).await?;
    wait_executed(&client).await?;
    let game = game::measure(&client, &plan, &starts).await?;
    let (_, slashes) = figures::slashes(&client).await?;
    say::slashes(&slashes);
    let expected_slashes = plan.expected(&stakes, &query::params(&client).await?);
    let result_right = right(&artefact, &texts.texts[..JOBS], &finished)?;
    say::line(&format!(
        "every job gave what the model gives here: {}",
        if result_right { "yes" } else { "NO" }
    ));
    let honest_lost = Balance::of(&client).await?.lost_since(&honest);
    say::line(&format!("the honest validator lost {}", Amount(honest_lost)));

    say::step("An auditor replays the chain from its archive");
    let archive = audit::archive(&network, home)?;
    let passed = audit::replay(&network, &archive, home, &artefact)?;
    say::step("One bit of the archive is flipped");
    let flipped = audit::flip(&network, &archive, home)?;
    network.stop()?;

    let record = Record {
        game,
        slashes,
        expected_slashes,
        honest_lost,
        result_right,
        audit: passed,
        flipped,
        seconds: start.elapsed().as_secs_f64(),
    };
    record.check()?;
    say::step(&format!("Done in {:.1} s", record.seconds));
    Ok(record)
}

impl Record {
    fn check(&self) -> anyhow::Result<()> {
        let amounts = |rows: &[SlashRow]| -> Vec<_> {
            let mut rows: Vec<_> =
                rows.iter().map(|r| (r.validator.clone(), r.job, r.amount)).collect();
            rows.sort();
            rows
        };
        let (found, expected) = (amounts(&self.slashes), amounts(&self.expected_slashes));
        ensure!(found == expected, "slashed {found:?}, expected {expected:?}");
        ensure!(self.honest_lost == 0, "the honest validator lost {}", self.honest_lost);
        ensure!(self.result_right, "a job gave another result than the model");
        ensure!(self.audit.exit == 0, "the audit ended with {}", self.audit.exit);
        ensure!(self.flipped.exit == 10, "the flipped bit gave exit {}", self.flipped.exit);
        Ok(())
    }
}

/// What the honest validator and its executor own together.
struct Balance {
    stake: u64,
    free: u64,
}

impl Balance {
    async fn of(client: &Client) -> anyhow::Result<Self> {
        let mut free = 0;
        for role in ["validator", "executor"] {
            let wallet = Wallet::test_account(&format!("{role}{}", lies::HONEST))?;
            free += query::account(client, &wallet.address_text()).await?.balance;
        }
        let stake = query::validator(client, &lies::operator(lies::HONEST)?).await?.tokens;
        Ok(Self { stake, free })
    }

    fn lost_since(&self, before: &Self) -> u64 {
        let (now, before) = (self.stake + self.free, before.stake + before.free);
        before.saturating_sub(now)
    }
}

/// Waits until every recorded verdict was carried out, and the three lies are among them.
async fn wait_executed(client: &Client) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let slashes = query::slashes(client).await?;
        let wrong = slashes.iter().filter(|slash| slash.offence() == Offence::WrongResult).count();
        if wrong >= 3 && slashes.iter().all(|slash| slash.executed) {
            return Ok(());
        }
        if start.elapsed() > VERDICTS_MAX {
            bail!("{wrong} verdicts about lies after {VERDICTS_MAX:?}; see the executors' logs");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether every job's output is what the model gives without any chain.
fn right(artefact: &Path, texts: &[String], jobs: &[Job]) -> anyhow::Result<bool> {
    let expected = model::run(artefact, texts, Isa::best(), 1, &mut |_, _| ())?.rows;
    let mut right = jobs.len() == expected.len();
    for (job, expected) in jobs.iter().zip(expected) {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let same = job.state() == JobState::Final && bits(&embedding(job)?) == bits(&expected);
        if !same {
            say::line(&format!("job {} is {} and WRONG", job.id, job::state(job.state())));
        }
        right &= same;
    }
    Ok(right)
}
