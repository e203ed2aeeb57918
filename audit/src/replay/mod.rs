//! Recomputes a chain from genesis on, and compares all that its blocks say of it.
//!
//! One thread reads ahead. Of each batch of blocks, hashes and signatures are computed on all cores
//! while the batch before is executed.

mod check;
mod evidence;
mod explain;
mod ledger;
mod position;
mod prepare;
mod saved;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use lockstep_chain::block::{Block, Outcome};
use lockstep_chain::state::MemoryState;
use prost::Message as _;

pub use evidence::Times;
pub(crate) use ledger::fault;
pub use ledger::{Ledger, Rayon};
pub use position::{Counts, Position};

use crate::comet::GenesisFile;
use crate::report::Report;
use crate::source::{Entry, Source};
use crate::{Result, Stop};

/// Blocks that are handled together, at most.
const BATCH_BLOCKS: usize = 256;
/// Bytes of them, about: a full block is a batch of its own, small ones come together, so that all
/// threads have something to share.
const BATCH_BYTES: usize = 2 << 20;
/// How often the state is saved, if that takes little of the time.
const SAVE_EVERY: Duration = Duration::from_mins(1);

/// How to replay.
#[derive(Debug, Default)]
pub struct Options {
    /// The last height; what the source has unless told.
    pub to: Option<u64>,
    /// Where the state is saved, to go on from later.
    pub state: Option<PathBuf>,
    /// Set by a signal: saves the state and ends.
    pub stop: AtomicBool,
}

/// A block that was executed and found right, before its writes are applied.
#[derive(Debug, Clone, Copy)]
pub struct Executed<'a> {
    /// The block.
    pub block: &'a Block<'a>,
    /// What it does.
    pub outcome: &'a Outcome,
    /// The state before it.
    pub before: &'a MemoryState,
}

/// What else is to be done with each block.
pub trait Observer: Send {
    /// Sees a block.
    ///
    /// # Errors
    /// What is to stop the audit.
    fn block(&mut self, executed: &Executed<'_>) -> Result<()>;
}

/// How far a replay is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The last height that was recomputed.
    pub height: u64,
    /// The last height there will be.
    pub last: u64,
    /// Transactions since genesis.
    pub txs: u64,
}

/// How a replay ended.
#[derive(Debug)]
pub struct Ended {
    /// What was found.
    pub report: Report,
    /// What to do where it is incomplete.
    pub hint: Option<String>,
    /// Transactions that were executed in this run, without the extended commits.
    pub txs: u64,
    /// The chain as far as it was recomputed.
    pub ledger: Ledger,
}

/// Replays a chain.
///
/// # Errors
/// Only where it cannot begin: whatever comes later is in the report.
pub fn run(
    genesis: &GenesisFile,
    source: &mut dyn Source,
    options: &Options,
    observers: &mut [&mut dyn Observer],
    progress: &mut dyn FnMut(Progress),
) -> Result<Ended> {
    let saved = options.state.as_deref().map(|folder| saved::load(folder, genesis)).transpose()?;
    let mut ledger = match saved.flatten() {
        Some(ledger) => ledger,
        None => Ledger::genesis(genesis)?,
    };
    let before = ledger.position().counts.txs;
    let ended = follow(&mut ledger, source, options, observers, progress);
    // Whatever differs must be met again by the next run.
    let differs = matches!(ended, Err(Stop::Difference(_))) || ledger.in_doubt();
    let folder = options.state.as_deref().filter(|_| !differs);
    let kept = folder.map_or(Ok(()), |folder| saved::save(folder, &ledger));
    let mut report = Report::new("replay", genesis.chain_id.clone());
    facts(&mut report, ledger.position());
    let mut hint = None;
    match ended.and(kept) {
        Ok(()) => {}
        Err(Stop::Difference(mut difference)) => {
            let of_root = ["header.app_hash", ledger::ROOT].contains(&difference.what.as_str());
            if let Some(url) = source.node().filter(|_| of_root) {
                explain::root(&mut difference, &url, &ledger);
            }
            report.differs(*difference);
        }
        Err(Stop::Incomplete { what, hint: todo }) => {
            report.lacks(what);
            hint = Some(todo);
        }
        Err(usage) => return Err(usage),
    }
    let txs = ledger.position().counts.txs - before;
    Ok(Ended { report, hint, txs, ledger })
}

fn facts(report: &mut Report, position: &Position) {
    let counts = position.counts;
    report.fact("first_height", position.initial_height);
    report.fact("last_height", position.height);
    report.fact("blocks", counts.blocks);
    report.fact("txs", counts.txs);
    report.fact("txs_failed", counts.txs_failed);
    report.fact("votes", counts.votes);
    report.fact("bytes_written", counts.bytes_written);
    report.fact("app_hash", hex::encode(position.app_hash));
    let hash = position.block_id.as_ref().map(|id| hex::encode(&id.hash));
    report.fact("block_hash", hash);
    // Of the block after the last: the receipts that are made now are signed by them.
    report.fact("validators_hash", hex::encode(position.signing.hash()));
    report.fact("genesis", hex::encode(position.genesis));
}

fn follow(
    ledger: &mut Ledger,
    source: &mut dyn Source,
    options: &Options,
    observers: &mut [&mut dyn Observer],
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let from = ledger.position().height + 1;
    let heights = source.heights()?;
    let last = options.to.unwrap_or(heights.last);
    if last < from {
        // Nothing new: everything up to `last` was recomputed before, if anything was.
        return reached(ledger, last);
    }
    if heights.first > from {
        let what = format!("block {from} is needed; the first there is {}", heights.first);
        return Err(Stop::incomplete(what, "use a source that has every block"));
    }
    let stop = || options.stop.load(Ordering::Relaxed);
    let done = std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(1);
        let until = last.min(heights.last);
        scope.spawn(move || {
            let mut next = from;
            while next <= until {
                let (batches, failed) = match fetch(source, next, until) {
                    Ok(entries) => {
                        next += entries.len() as u64;
                        (cut(entries).into_iter().map(Ok).collect(), false)
                    }
                    Err(stop) => (vec![Err(stop)], true),
                };
                // Nobody listens any more after a difference.
                if batches.into_iter().any(|batch| sender.send(batch).is_err()) || failed {
                    break;
                }
            }
        });
        execute(ledger, &batches, options, observers, &mut |height, txs| {
            progress(Progress { height, last, txs });
        })
    });
    done?;
    if stop() {
        return Err(Stop::incomplete("interrupted", "run it again with the same --state"));
    }
    ledger.last_doubt()?;
    reached(ledger, last)
}

/// An audit that did not end at the last height, or saw no block at all, shows nothing.
fn reached(ledger: &Ledger, last: u64) -> Result<()> {
    let height = ledger.position().height;
    if ledger.position().counts.blocks == 0 {
        return Err(Stop::incomplete("no block was audited", "use a source that has blocks"));
    }
    if height < last {
        let what = format!("the blocks end with {height}; {last} is needed");
        return Err(Stop::incomplete(what, "use a source that has every block"));
    }
    if height > last {
        let what =
            format!("the saved state is of height {height}, the audit was to end with {last}");
        return Err(Stop::incomplete(what, "use another --state, or a source with more blocks"));
    }
    Ok(())
}

/// Cuts what a source gave at once into batches: while one is executed, the next one is prepared.
fn cut(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = BATCH_BYTES;
    for entry in entries {
        if bytes >= BATCH_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += entry.block.encoded_len();
        if let Some(batch) = batches.last_mut() {
            batch.push(entry);
        }
    }
    batches
}

/// Blocks that follow each other: enough for a batch, and more where the source gives more at once.
fn fetch(source: &mut dyn Source, from: u64, last: u64) -> Result<Vec<Entry>> {
    let mut batch: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_BLOCKS && bytes < BATCH_BYTES {
        let next = from + batch.len() as u64;
        if next > last {
            break;
        }
        let left = usize::try_from(last - next).unwrap_or(usize::MAX).saturating_add(1);
        let room = left.min(BATCH_BLOCKS - batch.len());
        match source.entries(next, room) {
            Ok(entries) => {
                bytes += entries.iter().map(|entry| entry.block.encoded_len()).sum::<usize>();
                batch.extend(entries);
            }
            // Those before it come first; then it is met again.
            Err(_) if !batch.is_empty() => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(batch)
}

fn execute(
    ledger: &mut Ledger,
    batches: &Receiver<Result<Vec<Entry>>>,
    options: &Options,
    observers: &mut [&mut dyn Observer],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let stop = || options.stop.load(Ordering::Relaxed);
    let to = options.to.unwrap_or(u64::MAX);
    let mut save = SaveTimer::new();
    let first = batches.recv().ok().transpose()?;
    let mut batch = prepare::batch(&ledger.known, first.unwrap_or_default());
    while !batch.blocks.is_empty() && !stop() {
        let next = batches.recv().ok();
        let known = Arc::clone(&ledger.known);
        let (done, prepared) = rayon::join(
            || ledger.execute(&batch, to, observers, &stop),
            || next.map(|entries| entries.map(|entries| prepare::batch(&known, entries))),
        );
        done?;
        let position = ledger.position();
        progress(position.height, position.counts.txs);
        if let Some(folder) = options.state.as_ref().filter(|_| !ledger.in_doubt()) {
            save.tick(|| saved::save(folder, ledger))?;
        }
        batch = prepared.transpose()?.unwrap_or_default();
    }
    Ok(())
}

/// When to save: every minute, and so that it takes at most a twentieth of the time.
struct SaveTimer {
    since: Instant,
    took: Duration,
}

impl SaveTimer {
    fn new() -> Self {
        Self { since: Instant::now(), took: Duration::ZERO }
    }

    fn tick(&mut self, save: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.since.elapsed() < SAVE_EVERY.max(self.took * 20) {
            return Ok(());
        }
        let start = Instant::now();
        save()?;
        *self = Self { since: Instant::now(), took: start.elapsed() };
        Ok(())
    }
}
