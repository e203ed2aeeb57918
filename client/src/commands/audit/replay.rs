//! `lockstep audit replay`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;
use lockstep_audit::Stop;
use lockstep_audit::recompute::{self, Holdings, Pick};
use lockstep_audit::replay::{self, Ended, Options, Progress};
use lockstep_audit::report::Verdict;
use lockstep_client::Result;

use super::{Chain, Output, apart, bar, refused};
use crate::cli::Globals;
use crate::console::{self, note};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    chain: Chain,
    /// Saves the recomputed state in this folder and goes on from there the next time.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Runs jobs again that were paid for an answer, so many percent of them or `all`, and compares
    /// the results. Everybody picks the same ones.
    #[arg(long, value_name = "N%|all", value_parser = percent)]
    recompute: Option<u8>,
    /// Folder with artefacts for --recompute; what it lacks is fetched from --blobs.
    #[arg(long)]
    artefacts: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn percent(text: &str) -> std::result::Result<u8, String> {
    if text == "all" {
        return Ok(100);
    }
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|number| *number <= 100).ok_or_else(|| "0% to 100%, or all".to_owned())
}

pub(super) async fn run(globals: &Globals, arguments: Replay) -> Result<u8> {
    let options =
        Options { to: arguments.chain.to, state: arguments.state.clone(), ..Options::default() };
    let options = Arc::new(options);
    let stop = Arc::clone(&options);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            note("ends after what it is at; ctrl-c again ends it at once");
            stop.stop.store(true, Ordering::Relaxed);
        }
        // Whoever is waited for may never answer. What is saved is written under another name first.
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(Verdict::Incomplete.exit_code().into());
        }
    });
    let start = Instant::now();
    let Replay { chain, recompute, artefacts, output, .. } = arguments;
    let blobs = globals.blobs.clone();
    let done = apart(move || -> lockstep_audit::Result<_> {
        let genesis = chain.genesis()?;
        // Before the hours of a replay: a folder that is not there.
        let holdings = recompute.map(|percent| -> lockstep_audit::Result<_> {
            let mut holdings = Holdings::new(&blobs, None)?;
            artefacts.map_or(Ok(()), |folder| holdings.add_folder(&folder))?;
            Ok((percent, holdings))
        });
        let holdings = holdings.transpose()?;
        let mut source = chain.source()?;
        let bar = bar("replay");
        let mut show = |progress: Progress| {
            bar.set_length(progress.last);
            bar.set_position(progress.height);
        };
        let mut ended = replay::run(&genesis, source.as_mut(), &options, &mut [], &mut show)?;
        bar.finish_and_clear();
        let seconds = start.elapsed().as_secs_f64();
        if let Some((percent, holdings)) = holdings
            && ended.report.verdict == Verdict::Pass
        {
            run_jobs(&mut ended, percent, &holdings, &options.stop)?;
        }
        Ok((ended, seconds))
    })
    .await?;
    let (Ended { report, hint, txs, .. }, seconds) = match done {
        Ok(ended) => ended,
        Err(stop) => return refused(globals, "replay", stop, &output),
    };
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
    output.show(globals, &report, Some((txs, seconds)))
}

/// Runs jobs again after all blocks were found right.
fn run_jobs(
    ended: &mut Ended,
    percent: u8,
    holdings: &Holdings,
    stop: &AtomicBool,
) -> lockstep_audit::Result<()> {
    let bar = console::bar("recompute", false);
    let Ended { report, ledger, .. } = &mut *ended;
    let last_block = ledger.position().block_id.as_ref().map_or(&[][..], |id| &id.hash);
    let pick = Pick { percent, last_block, stop };
    let done = ledger.with_state(|state| {
        recompute::jobs(report, state, pick, holdings, &mut |job, last| {
            bar.set_length(last);
            bar.set_position(job);
        })
    });
    bar.finish_and_clear();
    match done {
        Ok(()) => {}
        Err(Stop::Difference(difference)) => report.differs(*difference),
        Err(Stop::Incomplete { what, hint }) => {
            report.lacks(what);
            ended.hint = Some(hint);
        }
        Err(usage) => return Err(usage),
    }
    Ok(())
}
