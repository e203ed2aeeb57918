//! What the demo found: measured, printed, and returned for `--json`.

use std::time::Instant;

use anyhow::ensure;
use lockstep_client::query;
use lockstep_client::rpc::Client;
use lockstep_proto::lockstep::chain::v1::Totals;
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_tests::network::Network;

use crate::figures::{self, AppHashes, Killed, Memory, Record, Supply};
use crate::jobs::{Posted, embedding};
use crate::texts::{Texts, nearest};

/// How the demo talks.
pub(crate) mod say {
    use lockstep_client::amount::Amount;
    use lockstep_tests::network::Network;

    use crate::figures::SlashRow;

    /// A new part.
    pub(crate) fn step(text: &str) {
        println!("\n== {text}");
    }

    /// Something that happened.
    pub(crate) fn line(text: &str) {
        println!("   {text}");
    }

    /// Who takes part.
    pub(crate) fn network(network: &Network, cometbft: &str) {
        line(&format!("chain {}, CometBFT {cometbft}", network.chain_id));
        for node in &network.nodes {
            line(&format!("{:8} {}  {}", node.moniker, node.operator, node.rpc));
        }
    }

    /// Who lost what.
    pub(crate) fn slashes(rows: &[SlashRow]) {
        for row in rows {
            let amount = Amount(row.amount);
            line(&format!("{} loses {amount} for job {}: {}", row.validator, row.job, row.reason));
        }
    }
}

/// What there is to measure.
pub(crate) struct Run<'a> {
    pub(crate) client: &'a Client,
    pub(crate) network: &'a Network,
    pub(crate) texts: &'a Texts,
    pub(crate) posted: &'a [Posted],
    pub(crate) jobs: &'a [Job],
    pub(crate) before: &'a Totals,
    pub(crate) cometbft: String,
    pub(crate) killed: Killed,
    pub(crate) start: Instant,
}

/// Measures, prints, and checks what must hold.
pub(crate) async fn measure(run: &Run<'_>) -> anyhow::Result<Record> {
    let (_, slashes) = figures::slashes(run.client).await?;
    let latency = figures::latency(run.client, run.jobs).await?;
    say::line(&format!(
        "posted to verified: median {} blocks ({:.2} s), most {}",
        latency.blocks_p50, latency.seconds_p50, latency.blocks_max
    ));
    let cosine = accuracy(run, 0, "minilm")?;
    let cosine_child = accuracy(run, 1, "minilm-smooth")?;
    neighbours(run)?;
    let payouts = figures::payouts(run.jobs);
    pay(run, &payouts);
    let (supply, supply_exact) = supply(run).await?;
    let app_hashes = app_hashes(run).await?;
    let [lockstepd, cometbft, executor] = run.network.memory_peaks(0)?;
    say::line(&format!(
        "memory of one validator at most: lockstepd {} MB, CometBFT {} MB, executor {} MB",
        lockstepd >> 20,
        cometbft >> 20,
        executor >> 20
    ));
    let lies = figures::lies(run.jobs);
    let seconds = run.start.elapsed().as_secs_f64();
    let first = app_hashes.hashes.first();
    let equal = app_hashes.hashes.iter().all(|hash| Some(hash) == first);
    ensure!(equal, "the app hashes differ at height {}", app_hashes.height);
    ensure!(supply_exact, "the supply does not add up");
    ensure!(lies == 1 && slashes.len() == 1, "{lies} lies, {} slashes", slashes.len());
    say::step(&format!("Done in {seconds:.1} s"));
    Ok(Record {
        cometbft: run.cometbft.clone(),
        validators: run.network.nodes.len(),
        texts: run.posted.iter().map(|p| p.text).collect::<std::collections::BTreeSet<_>>().len(),
        jobs: run.jobs.len(),
        cosine,
        cosine_child,
        posted_to_verified: latency,
        lies,
        slashes,
        payouts,
        supply_exact,
        supply,
        killed: Killed {
            validator: run.killed.validator.clone(),
            caught_up_seconds: run.killed.caught_up_seconds,
        },
        app_hashes,
        memory_bytes: Memory { lockstepd, cometbft, executor },
        seconds,
    })
}

/// How near the model's embeddings are to the float reference.
fn accuracy(run: &Run<'_>, model: usize, name: &str) -> anyhow::Result<figures::Cosine> {
    let mut pairs = Vec::new();
    for (posted, job) in run.posted.iter().zip(run.jobs).filter(|(p, _)| p.model == model) {
        pairs.push((embedding(job)?, run.texts.reference[posted.text].clone()));
    }
    let cosine = figures::cosines(&pairs);
    say::line(&format!(
        "{name}: cosine against the float reference at least {:.5}, median {:.5} ({} texts)",
        cosine.min,
        cosine.median,
        pairs.len()
    ));
    Ok(cosine)
}

fn neighbours(run: &Run<'_>) -> anyhow::Result<()> {
    let mut embeddings = Vec::new();
    for (posted, job) in run.posted.iter().zip(run.jobs).filter(|(p, _)| p.model == 0) {
        embeddings.push((posted.text, embedding(job)?));
    }
    say::step("Who is near whom");
    for (a, b, near) in nearest(&embeddings, 5) {
        say::line(&format!("{near:.3}  {:?}  {:?}", run.texts.texts[a], run.texts.texts[b]));
    }
    Ok(())
}

fn pay(run: &Run<'_>, payouts: &figures::Payouts) {
    use lockstep_client::amount::Amount;
    say::step("Who was paid what");
    for node in &run.network.nodes {
        let amount = payouts.by_operator.get(&node.operator).copied().unwrap_or(0);
        say::line(&format!("{:10} {}  (executor)", node.moniker, Amount(amount)));
    }
    for (account, amount) in &payouts.authors {
        say::line(&format!("{account} {}  (author)", Amount(*amount)));
    }
    say::line(&format!("treasury   {}", Amount(payouts.treasury)));
    say::line(&format!("burned     {}", Amount(payouts.burn)));
    say::line(&format!("together   {}", Amount(payouts.total)));
}

/// Supply before = supply after + what was burned, and every pool adds up.
async fn supply(run: &Run<'_>) -> anyhow::Result<(Supply, bool)> {
    let after = query::totals(run.client).await?;
    let broken = query::broken_invariants(run.client).await?;
    for line in &broken {
        say::line(&format!("broken: {line}"));
    }
    let burned = after.burned - run.before.burned;
    let exact = run.before.supply == after.supply + burned && broken.is_empty();
    say::line(&format!(
        "supply before {} = after {} + burned {burned}: {}",
        run.before.supply,
        after.supply,
        if exact { "exact" } else { "WRONG" }
    ));
    Ok((Supply { before: run.before.supply, after: after.supply, burned }, exact))
}

/// The app hash of every node at one height that all have.
async fn app_hashes(run: &Run<'_>) -> anyhow::Result<AppHashes> {
    let mut height = u64::MAX;
    for place in 0..run.network.nodes.len() {
        height = height.min(run.network.client(place)?.status().await?.height);
    }
    let mut hashes = Vec::new();
    for place in 0..run.network.nodes.len() {
        let header = run.network.client(place)?.header(height).await?;
        hashes.push(header.map(|header| hex::encode(header.app_hash)).unwrap_or_default());
    }
    say::line(&format!("app hash at height {height} on every node: {}", hashes[0]));
    Ok(AppHashes { height, hashes })
}
