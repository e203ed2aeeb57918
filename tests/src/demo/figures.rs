//! What the demo measured, as `--json` writes it.

use std::collections::BTreeMap;

use lockstep_client::rpc::Client;
use lockstep_client::{Result, query};
use lockstep_proto::lockstep::job::v1::{Job, JobState, PayoutKind};
use lockstep_proto::lockstep::staking::v1::{Offence, Slash};
use serde::Serialize;

/// The whole record.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) cometbft: String,
    pub(crate) validators: usize,
    pub(crate) texts: usize,
    pub(crate) jobs: usize,
    /// Of the first model, against the float reference.
    pub(crate) cosine: Cosine,
    /// Of the child model.
    pub(crate) cosine_child: Cosine,
    pub(crate) posted_to_verified: Latency,
    /// Wrong reveals that were included.
    pub(crate) lies: usize,
    pub(crate) slashes: Vec<SlashRow>,
    pub(crate) payouts: Payouts,
    pub(crate) supply_exact: bool,
    pub(crate) supply: Supply,
    pub(crate) killed: Killed,
    pub(crate) app_hashes: AppHashes,
    /// Peaks of the first validator's processes.
    pub(crate) memory_bytes: Memory,
    pub(crate) seconds: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cosine {
    pub(crate) min: f64,
    pub(crate) median: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) blocks_p50: u64,
    pub(crate) blocks_max: u64,
    pub(crate) seconds_p50: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct SlashRow {
    pub(crate) validator: String,
    pub(crate) job: u64,
    pub(crate) reason: String,
    pub(crate) amount: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Payouts {
    pub(crate) executors: u64,
    /// By account.
    pub(crate) authors: BTreeMap<String, u64>,
    pub(crate) treasury: u64,
    pub(crate) burn: u64,
    pub(crate) total: u64,
    #[serde(skip)]
    pub(crate) by_operator: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Supply {
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) burned: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Killed {
    pub(crate) validator: String,
    pub(crate) caught_up_seconds: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) lockstepd: u64,
    pub(crate) cometbft: u64,
    pub(crate) executor: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct AppHashes {
    pub(crate) height: u64,
    pub(crate) hashes: Vec<String>,
}

/// The middle of a list; of the upper two where the number is even.
pub(crate) fn median<T: PartialOrd + Copy>(values: &[T]) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    sorted.get(sorted.len() / 2).copied()
}

/// Cosine of two vectors, in f64.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Smallest and middle cosine of pairs of vectors.
pub(crate) fn cosines(pairs: &[(Vec<f32>, Vec<f32>)]) -> Cosine {
    let all: Vec<f64> = pairs.iter().map(|(a, b)| cosine(a, b)).collect();
    let min = all.iter().copied().fold(f64::INFINITY, f64::min);
    Cosine { min, median: median(&all).unwrap_or(f64::NAN) }
}

/// Blocks and seconds of block time from posting to verdict.
pub(crate) async fn latency(client: &Client, jobs: &[Job]) -> Result<Latency> {
    let mut times = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut seconds = Vec::new();
    for job in jobs {
        for height in [job.posted_height, job.verified_height] {
            if let std::collections::btree_map::Entry::Vacant(entry) = times.entry(height) {
                entry.insert(block_seconds(client, height).await?);
            }
        }
        blocks.push(job.verified_height - job.posted_height);
        seconds.push(times[&job.verified_height] - times[&job.posted_height]);
    }
    Ok(Latency {
        blocks_p50: median(&blocks).unwrap_or(0),
        blocks_max: blocks.iter().copied().max().unwrap_or(0),
        seconds_p50: median(&seconds).unwrap_or(f64::NAN),
    })
}

/// Block time as seconds since 1970.
async fn block_seconds(client: &Client, height: u64) -> Result<f64> {
    let header = client.header(height).await?;
    let time = header.and_then(|header| header.time);
    // Seconds since 1970 are below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let seconds = time.map(|time| time.seconds as f64 + f64::from(time.nanos) * 1e-9);
    Ok(seconds.unwrap_or(f64::NAN))
}

/// Who was paid what by the jobs that are final.
pub(crate) fn payouts(jobs: &[Job]) -> Payouts {
    let mut sums = Payouts::default();
    for payout in jobs.iter().filter(|j| j.state() == JobState::Final).flat_map(|j| &j.payouts) {
        let account = payout.account.as_slice().try_into().ok();
        let operator =
            || account.map(|a| lockstep_chain::address::operator(&a)).unwrap_or_default();
        let name = || account.map(|a| lockstep_chain::address::account(&a)).unwrap_or_default();
        match payout.kind() {
            PayoutKind::Executor => {
                sums.executors += payout.amount;
                *sums.by_operator.entry(operator()).or_default() += payout.amount;
            }
            PayoutKind::Author => *sums.authors.entry(name()).or_default() += payout.amount,
            PayoutKind::Treasury => sums.treasury += payout.amount,
            PayoutKind::Burn => sums.burn += payout.amount,
            PayoutKind::Refund | PayoutKind::Unspecified => continue,
        }
        sums.total += payout.amount;
    }
    sums
}

/// Reveals of an answer other than the one that stands.
pub(crate) fn lies(jobs: &[Job]) -> usize {
    let wrong = |job: &Job| {
        let revealed = job.members.iter().filter(|member| member.revealed_height > 0);
        revealed.filter(|member| member.result_root != job.result_root).count()
    };
    jobs.iter().map(wrong).sum()
}

/// Slashes as rows.
pub(crate) async fn slashes(client: &Client) -> Result<(Vec<Slash>, Vec<SlashRow>)> {
    let slashes = query::slashes(client).await?;
    let row = |slash: &Slash| SlashRow {
        validator: slash
            .validator
            .as_slice()
            .try_into()
            .map(|operator| lockstep_chain::address::operator(&operator))
            .unwrap_or_default(),
        job: slash.job,
        reason: match slash.offence() {
            Offence::WrongResult => "wrong result",
            Offence::NoReveal => "no reveal",
            Offence::NoShow => "no show",
            Offence::Equivocation => "equivocation",
            Offence::Conceded => "conceded",
            Offence::Unspecified => "unspecified",
        }
        .to_owned(),
        amount: slash.amount,
    };
    let rows = slashes.iter().map(row).collect();
    Ok((slashes, rows))
}
