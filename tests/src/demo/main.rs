//! The main job, end to end, or disputes: `demo [--dispute] [--json FILE] [--home DIR]`.
//!
//! Four validators on this machine, a real model and one derived from it, jobs with texts, a liar that
//! is slashed, a validator that is killed and comes back, and everyone paid. Every figure that it
//! prints or writes is measured in the run.

mod crash;
mod dispute;
mod figures;
mod jobs;
mod models;
mod report;
mod texts;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Parser;
use lockstep_client::rpc::Client;
use lockstep_client::text::Tokenizer;
use lockstep_client::tx::{Options, Sender};
use lockstep_client::wallet::Wallet;
use lockstep_client::{blobs, query};
use lockstep_tests::network::{Network, wait_held};

use crate::jobs::{Posted, Poster};
use crate::models::Recipe;
use crate::report::say;
use crate::texts::Texts;

/// Which validator lies, by place; and about the how-manieth job that it is asked to run.
const LIAR: usize = 3;
const LIE: u32 = 2;
/// Which validator is killed. Not the liar: with its half stake the other two would have no quorum.
const VICTIM: usize = 1;
/// Texts for the first model, for the child model, and those posted while the victim is down.
const FIRST: usize = 20;
const CHILD: usize = 10;
const DURING: usize = 8;

#[derive(Debug, Parser)]
#[command(about = "Four validators, two models, a liar and a crash")]
struct Arguments {
    /// Show disputes instead: three liars against one honest executor, and the audit.
    #[arg(long)]
    dispute: bool,
    /// Also write what was seen, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the network lies; a new temporary folder unless told.
    #[arg(long)]
    home: Option<PathBuf>,
    /// The model's folder.
    #[arg(long, env = "LOCKSTEP_MINILM")]
    model: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let temporary = tempfile::tempdir()?;
    let home = arguments.home.clone().unwrap_or_else(|| temporary.path().join("net"));
    let record = if arguments.dispute {
        serde_json::to_value(dispute::run(&arguments.model, &home).await?)?
    } else {
        serde_json::to_value(run(&arguments.model, &home).await?)?
    };
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&record)?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn run(model: &Path, home: &Path) -> anyhow::Result<figures::Record> {
    let start = Instant::now();
    let texts = Texts::read()?;
    say::step("Four validators start, each CometBFT + lockstepd + executor");
    let fault = format!("{LIAR}:wrong-output:nth:{LIE}");
    let mut network = Network::start(home, &["--validators", "4", "--fault", &fault])?;
    network.wait_height(2).await?;
    let client = network.client(0)?;
    let cometbft = client.status().await?.cometbft;
    let before = query::totals(&client).await?;
    say::network(&network, &cometbft);

    say::step("Two models are imported, registered by their authors and published");
    let recipes = recipes();
    let artefacts = publish(&client, &network, model, home, &recipes).await?;

    say::step("A developer posts jobs");
    let developer = Wallet::test_account("dev0")?;
    let sender = Sender::new(&client, &developer, Options::default()).await?;
    let tokenizer = tokenizer(&artefacts[0])?;
    let ids = |from: usize, count: usize| -> anyhow::Result<Vec<(usize, Vec<u32>)>> {
        let pick = texts.texts.iter().enumerate().skip(from).take(count);
        pick.map(|(i, text)| Ok((i, tokenizer.encode(text)?.ids))).collect()
    };
    let asks = |model: usize| Poster {
        client: &client,
        sender: &sender,
        model,
        name: recipes[model].name,
    };
    let mut posted: Vec<Posted> = asks(0).post(&ids(0, FIRST)?).await?;
    posted.extend(asks(1).post(&ids(0, CHILD)?).await?);
    say::line(&format!("{} jobs posted; one validator lies about one of them", posted.len()));

    say::step("The lie is found and slashed");
    jobs::wait_slashed(&client).await?;
    let (_, rows) = figures::slashes(&client).await?;
    say::slashes(&rows);

    say::step("An honest validator is killed with -9 while jobs run, and comes back");
    let more = ids(FIRST, DURING)?;
    let late = asks(0);
    let during = late.post(&more);
    let mut crasher = network.crasher();
    let (during, crash) = tokio::join!(during, crash::kill_and_return(&mut crasher, VICTIM));
    network.adopt(crasher);
    posted.extend(during?);
    let killed = crash?;
    say::line(&format!(
        "{} had caught up {:.1} s later",
        killed.validator, killed.caught_up_seconds
    ));

    say::step("Every job is paid out");
    let jobs = jobs::finish(&client, &posted).await?;
    let record = report::measure(&report::Run {
        client: &client,
        network: &network,
        texts: &texts,
        posted: &posted,
        jobs: &jobs,
        before: &before,
        cometbft,
        killed,
        start,
    })
    .await?;
    network.stop()?;
    Ok(record)
}

/// The first model, and its child with 8-bit activations and smoothing vectors.
fn recipes() -> [Recipe<'static>; 2] {
    let calibration = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/calibration.json");
    let parent = ("minilm".to_owned(), 4_000);
    [
        Recipe {
            name: "minilm",
            arguments: &["--activations", "16"],
            parents: vec![],
            price: 2_000,
        },
        Recipe {
            name: "minilm-smooth",
            arguments: Box::leak(Box::new(["--activations", "8", "--smoothing", calibration])),
            parents: vec![parent],
            price: 1_000,
        },
    ]
}

async fn publish(
    client: &Client,
    network: &Network,
    model: &Path,
    home: &Path,
    recipes: &[Recipe<'_>],
) -> anyhow::Result<Vec<PathBuf>> {
    ensure!(
        model.join("model.safetensors").exists(),
        "no model in {}; hint: scripts/setup fetches it",
        model.display()
    );
    let mut artefacts = Vec::new();
    let mut versions = Vec::new();
    for (recipe, author) in recipes.iter().zip(["author0", "author1"]) {
        let start = Instant::now();
        let artefact = models::import(model, home, recipe)?;
        let seconds = start.elapsed().as_secs_f64();
        let owner = Wallet::test_account(author)?;
        let service = &network.nodes[0].blobs;
        versions.push(models::publish(client, &owner, recipe, &artefact, service).await?);
        say::line(&format!("{} by {author}: imported in {seconds:.1} s, published", recipe.name));
        artefacts.push(artefact);
    }
    for (version, recipe) in versions.into_iter().zip(recipes) {
        let start = Instant::now();
        wait_held(client, version).await?;
        let seconds = start.elapsed().as_secs_f64();
        say::line(&format!(
            "{} is callable: every executor holds it ({seconds:.1} s more)",
            recipe.name
        ));
    }
    Ok(artefacts)
}

fn tokenizer(artefact: &Path) -> anyhow::Result<Tokenizer> {
    let mut reader = blobs::open(artefact)?;
    let tokens_max = reader.manifest().verified().tokens_max();
    let bytes = reader.attachment(lockstep_client::text::ATTACHMENT)?;
    Ok(Tokenizer::new(&bytes, tokens_max)?)
}
