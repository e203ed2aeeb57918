//! `lockstep audit replay`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::Args;
use lockstep_audit::comet::GenesisFile;
use lockstep_audit::replay::{self, Ended, Options, Progress};
use lockstep_audit::{Stop, source};
use lockstep_client::Result;

use super::{Output, apart, bar, refused};
use crate::cli::Globals;
use crate::console::note;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The genesis file that you trust.
    #[arg(long)]
    genesis: PathBuf,
    /// Where the blocks are: the folder or address of an archive, the address of a node's RPC, or
    /// the folder of a stopped node.
    #[arg(long)]
    blocks: String,
    /// The last height; all that there are unless told.
    #[arg(long)]
    to: Option<u64>,
    /// Saves the recomputed state in this folder and goes on from there the next time.
    #[arg(long)]
    state: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(globals: &Globals, arguments: Replay) -> Result<u8> {
    let options =
        Options { to: arguments.to, state: arguments.state.clone(), ..Options::default() };
    let options = Arc::new(options);
    let stop = Arc::clone(&options);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop.store(true, Ordering::Relaxed);
        }
    });
    let start = Instant::now();
    let (genesis, blocks) = (arguments.genesis, arguments.blocks);
    let done = apart(move || {
        let bytes = std::fs::read(&genesis).map_err(|cause| {
            Stop::usage(format!("cannot read {}: {cause}", genesis.display()), "check the path")
        })?;
        let genesis = GenesisFile::parse(&bytes)?;
        let mut source = source::open(&blocks)?;
        let bar = bar("replay");
        let mut show = |progress: Progress| {
            bar.set_length(progress.last);
            bar.set_position(progress.height);
        };
        let ended = replay::run(&genesis, source.as_mut(), &options, &mut [], &mut show);
        bar.finish_and_clear();
        ended
    })
    .await?;
    let Ended { report, hint, txs, .. } = match done {
        Ok(ended) => ended,
        Err(stop) => return refused(globals, "replay", stop, &arguments.output),
    };
    let seconds = start.elapsed().as_secs_f64();
    if let Some(hint) = hint {
        note(&format!("hint: {hint}"));
    }
    arguments.output.show(globals, &report, Some((txs, seconds)))
}
