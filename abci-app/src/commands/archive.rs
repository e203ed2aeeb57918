//! `lockstepd archive`: blocks, commits and results in plain files, for audits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use lockstep_audit::archive::{self, Writer};
use lockstep_audit::source::{Inspected, Rpc, Source};
use lockstep_audit::{Stop, comet};

use crate::cometbft;
use crate::home::Home;

/// Heights that are asked for at once.
const FETCH_HEIGHTS: usize = 64;
/// How often new blocks are looked for, and how long one may wait to be written.
const POLL: Duration = Duration::from_millis(500);
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How long a source may be gone while it is followed.
const PATIENCE: Duration = Duration::from_mins(10);

/// Arguments of `lockstepd archive`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Archive {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    write: Option<Write>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks every checksum of an archive.
    Verify {
        /// The archive's folder.
        folder: PathBuf,
    },
}

/// Where blocks come from and go to.
#[derive(Debug, Args)]
struct Write {
    /// The folder of a node: of a running one by its RPC, of a stopped one by `cometbft inspect`.
    #[arg(long, required_unless_present = "rpc", conflicts_with = "rpc")]
    home: Option<PathBuf>,
    /// The RPC address of a node, such as `http://127.0.0.1:26657`.
    #[arg(long)]
    rpc: Option<String>,
    /// The archive's folder; one that is there is continued.
    #[arg(long, required = true)]
    out: PathBuf,
    /// The first height; the first that the node has unless told. An archive that is there goes on
    /// with its next.
    #[arg(long)]
    from: Option<u64>,
    /// The last height; the last that the node has unless told.
    #[arg(long, conflicts_with = "follow")]
    to: Option<u64>,
    /// Goes on with new blocks until ctrl-c.
    #[arg(long)]
    follow: bool,
}

/// Writes or verifies an archive. Returns 0, 10 where it is damaged, 11 where it is incomplete.
///
/// # Errors
/// Where it cannot be done as asked.
pub fn run(arguments: &Archive) -> anyhow::Result<i32> {
    let done = match (&arguments.command, &arguments.write) {
        (Some(Command::Verify { folder }), _) => verify(folder),
        (None, Some(write)) => self::write(write),
        (None, None) => bail!("nothing to do; hint: see lockstepd archive --help"),
    };
    match done {
        Ok(()) => Ok(0),
        Err(Stop::Usage { what, hint }) => Err(anyhow!("{what}\nhint: {hint}")),
        Err(stop) => {
            eprintln!("lockstepd: {stop}");
            Ok(i32::from(stop.exit_code()))
        }
    }
}

fn verify(folder: &Path) -> lockstep_audit::Result<()> {
    let heights = archive::verify(folder, &mut |height| tracing::debug!(height, "verified"))?;
    println!("{heights} heights, every checksum right");
    Ok(())
}

fn write(arguments: &Write) -> lockstep_audit::Result<()> {
    let (mut source, genesis) = open(arguments)?;
    let mut writer = Writer::open(&arguments.out, &genesis)?;
    let stop = Arc::new(AtomicBool::new(false));
    on_signal(&stop).map_err(|cause| Stop::incomplete(cause.to_string(), "try again"))?;
    let copy = Copy {
        from: arguments.from,
        to: arguments.to,
        patience: arguments.follow.then_some(PATIENCE),
        stop: &stop,
    };
    // What was read is written, whatever ended it.
    let ended = copy.run(source.as_mut(), &mut writer);
    writer.flush()?;
    ended?;
    let index = writer.index();
    let (first, last) = index.heights().unwrap_or((0, 0));
    println!("{}: heights {first} to {last} of {}", arguments.out.display(), index.head.chain_id);
    Ok(())
}

/// What is copied into an archive.
struct Copy<'a> {
    from: Option<u64>,
    to: Option<u64>,
    /// Goes on with new blocks, as long as the source answers at least that often.
    patience: Option<Duration>,
    stop: &'a AtomicBool,
}

impl Copy<'_> {
    fn run(&self, source: &mut dyn Source, writer: &mut Writer) -> lockstep_audit::Result<()> {
        let mut last = source.heights()?;
        let mut next = writer.next().or(self.from).unwrap_or(last.first);
        let (mut flushed, mut heard) = (Instant::now(), Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            let to = self.to.unwrap_or(last.last);
            let answer = if next <= to {
                let left = usize::try_from(to - next).unwrap_or(FETCH_HEIGHTS).saturating_add(1);
                source.entries(next, left.min(FETCH_HEIGHTS))
            } else if self.patience.is_some() {
                std::thread::sleep(POLL);
                source.heights().map(|heights| {
                    last = heights;
                    Vec::new()
                })
            } else {
                break;
            };
            match answer {
                Ok(entries) => {
                    entries.iter().try_for_each(|entry| writer.append(entry))?;
                    next += entries.len() as u64;
                    heard = Instant::now();
                }
                // A node that restarts is waited for.
                Err(Stop::Incomplete { .. })
                    if self.patience.is_some_and(|patience| heard.elapsed() < patience) =>
                {
                    std::thread::sleep(POLL);
                }
                Err(stop) => return Err(stop),
            }
            if flushed.elapsed() > FLUSH_EVERY {
                writer.flush()?;
                flushed = Instant::now();
            }
        }
        Ok(())
    }
}

/// The source and the genesis file.
fn open(arguments: &Write) -> lockstep_audit::Result<(Box<dyn Source>, Vec<u8>)> {
    if let Some(url) = &arguments.rpc {
        let rpc = Rpc::new(url)?;
        let genesis = rpc.genesis()?;
        return Ok((Box::new(rpc), genesis));
    }
    let Some(folder) = &arguments.home else {
        return Err(Stop::usage("blocks from where?", "--rpc URL or --home DIR"));
    };
    let refused = |cause: anyhow::Error| Stop::usage(format!("{cause:#}"), "see docs/node.md");
    let home = Home::new(folder).map_err(|cause| refused(cause.into()))?;
    let genesis = std::fs::read(home.genesis())
        .with_context(|| format!("cannot read {}", home.genesis().display()))
        .map_err(refused)?;
    comet::GenesisFile::parse(&genesis)?;
    let address = cometbft::addresses(&home).map_err(refused)?.rpc;
    // A node that runs answers; the folder of one that does not is free to be read.
    let mut running = Rpc::new(&format!("http://{address}"))?;
    if running.genesis().is_ok_and(|other| same_chain(&other, &genesis))
        && running.heights().is_ok()
    {
        return Ok((Box::new(running), genesis));
    }
    let program = cometbft::find().map_err(refused)?;
    Ok((Box::new(Inspected::start_with(home.path(), &program)?), genesis))
}

fn same_chain(one: &[u8], other: &[u8]) -> bool {
    let id = |bytes| comet::GenesisFile::parse(bytes).map(|genesis| genesis.id).ok();
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// Sets `stop` on ctrl-c or a termination.
fn on_signal(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            match terminate {
                Ok(mut terminate) => {
                    tokio::select! {
                        _ = tokio::signal::ctrl_c() => {}
                        _ = terminate.recv() => {}
                    }
                }
                Err(_) => drop(tokio::signal::ctrl_c().await),
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use lockstep_audit::sample::Sample;
    use lockstep_audit::source::{Entry, Heights};

    use super::*;

    /// Answers as it was told, and then no more.
    struct Told(Vec<Entry>, VecDeque<Option<u64>>);

    impl Source for Told {
        fn name(&self) -> String {
            "told".into()
        }
        fn heights(&mut self) -> lockstep_audit::Result<Heights> {
            match self.1.pop_front() {
                Some(Some(last)) => Ok(Heights { first: 1, last }),
                _ => Err(Stop::incomplete("gone", "wait")),
            }
        }
        fn entries(&mut self, from: u64, max: usize) -> lockstep_audit::Result<Vec<Entry>> {
            if self.1.pop_front().flatten().is_none() {
                return Err(Stop::incomplete("gone", "wait"));
            }
            let from = usize::try_from(from).unwrap() - 1;
            Ok(self.0.iter().skip(from).take(max).cloned().collect())
        }
    }

    #[test]
    fn a_chain_that_halts_is_followed_and_a_node_that_is_gone_is_not_waited_for_for_ever() {
        let mut chain = Sample::new(2, 4).unwrap();
        (0..2).for_each(|_| chain.block(Vec::new()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), chain.genesis.as_bytes()).unwrap();
        // One block; a halt that is longer than the patience; a block that first cannot be had.
        let answers = [Some(1), Some(1), Some(1), Some(1), Some(1), Some(2), None, Some(2)];
        let mut source = Told(chain.entries.clone(), answers.into());
        let stop = AtomicBool::new(false);
        let patience = Some(Duration::from_millis(1200));
        let copy = Copy { from: None, to: None, patience, stop: &stop };
        let ended = copy.run(&mut source, &mut writer);
        assert!(matches!(ended, Err(Stop::Incomplete { .. })), "{ended:?}");
        assert_eq!(writer.next(), Some(3));
    }
}
