//! `lockstep audit`: recomputes the chain. Ends with 0 where all is right, 10 at a difference, 11
//! where the audit could not be carried through.

mod books;
mod compare;
mod replay;
mod verify;
mod watch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use lockstep_audit::Stop;
use lockstep_audit::books::statement::Kind;
use lockstep_audit::comet::GenesisFile;
use lockstep_audit::report::Report;
use lockstep_audit::source::{self, Source};
use lockstep_client::{Error, Result};

use crate::cli::Globals;
use crate::console::{note, say, to_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Recomputes every block from genesis on and compares all that the chain says of it.
    Replay(replay::Replay),
    /// Runs verified jobs again as they come, challenges wrong answers with a bond, and plays the
    /// trials that follow.
    Watch(watch::Watch),
    /// Checks a job's receipt, without a network: signatures, proof, result and amounts.
    Verify(verify::Verify),
    /// Counts all money from the transactions and from the state.
    Supply(books::Books),
    /// Counts what was held for jobs, and where it went, from the transactions and from the state.
    Escrow(books::Books),
    /// Counts what models earned for whom, from the transactions and from the state.
    Royalties(books::Books),
    /// Counts stake, what is on its way back and what was taken, from the transactions and from the
    /// state.
    Stake(books::Books),
    /// Compares the states of two nodes: the first height at which they part, then the keys.
    Compare(compare::Compare),
}

/// What is replayed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Chain {
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
}

impl Chain {
    /// The genesis file.
    fn genesis(&self) -> lockstep_audit::Result<GenesisFile> {
        let bytes = std::fs::read(&self.genesis).map_err(|cause| {
            let what = format!("cannot read {}: {cause}", self.genesis.display());
            Stop::usage(what, "check the path")
        })?;
        GenesisFile::parse(&bytes)
    }

    /// Where the blocks come from.
    fn source(&self) -> lockstep_audit::Result<Box<dyn Source>> {
        source::open(&self.blocks)
    }
}

/// Where a report goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// Writes `report.json`, the same bytes on every machine, and `report.html` into this folder.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// Does what was asked for; the exit code of the program.
pub(super) async fn run(globals: &Globals, command: Audit) -> Result<u8> {
    match command {
        Audit::Replay(arguments) => replay::run(globals, arguments).await,
        Audit::Watch(arguments) => watch::run(globals, arguments).await,
        Audit::Verify(arguments) => verify::run(globals, arguments).await,
        Audit::Supply(arguments) => books::run(globals, Kind::Supply, arguments).await,
        Audit::Escrow(arguments) => books::run(globals, Kind::Escrow, arguments).await,
        Audit::Royalties(arguments) => books::run(globals, Kind::Royalties, arguments).await,
        Audit::Stake(arguments) => books::run(globals, Kind::Stake, arguments).await,
        Audit::Compare(arguments) => compare::run(globals, arguments).await,
    }
}

/// Runs an audit where it may wait and compute, which threads of the async runtime must not.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|cause| Error::usage(format!("the audit broke off: {cause}"), "report this bug"))
}

/// What stopped something that is no audit with a report.
fn unable(stop: Stop) -> Error {
    match stop {
        Stop::Usage { what, hint } | Stop::Incomplete { what, hint } => Error::usage(what, hint),
        Stop::Difference(difference) => Error::usage(difference.to_string(), "see docs/audit.md"),
    }
}

/// Puts what stopped an audit into its report, unless it could not begin at all.
fn stopped(report: &mut Report, stop: Stop) -> Result<()> {
    match stop {
        Stop::Difference(difference) => report.differs(*difference),
        Stop::Incomplete { what, hint } => {
            note(&format!("hint: {hint}"));
            report.lacks(what);
        }
        Stop::Usage { what, hint } => return Err(Error::usage(what, hint)),
    }
    Ok(())
}

/// Heights, their rate, and how long it will take.
fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(what);
    let template = "{msg} [{bar:40}] {pos}/{len} blocks, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// The end of an audit that stopped before it had a report.
fn refused(globals: &Globals, audit: &'static str, stop: Stop, output: &Output) -> Result<u8> {
    let mut report = Report::new(audit, "");
    stopped(&mut report, stop)?;
    output.show(globals, &report, None)
}

impl Output {
    /// Writes and shows a report, and beside it, where something was executed, how many transactions
    /// in how many seconds. Returns the exit code.
    ///
    /// # Errors
    /// Where the report cannot be written.
    fn show(&self, globals: &Globals, report: &Report, rate: Option<(u64, f64)>) -> Result<u8> {
        if let Some(folder) = &self.report {
            let write = |name: &str, text: &str| {
                let path = folder.join(name);
                std::fs::write(&path, text).map_err(|cause| Error::file("write", &path, cause))
            };
            std::fs::create_dir_all(folder).map_err(|cause| Error::file("make", folder, cause))?;
            write("report.json", &report.to_json())?;
            write("report.html", &report.to_html())?;
        }
        let mut value = to_json(report);
        value["report_hash"] = report.hash().into();
        value["exit"] = report.verdict.exit_code().into();
        if let Some((txs, seconds)) = rate {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 in any run")]
            let per_second = txs as f64 / seconds.max(1e-9);
            value["seconds"] = seconds.into();
            value["tx_per_s"] = per_second.round().into();
            note(&format!("{txs} transactions in {seconds:.1} s, {per_second:.0} a second"));
        }
        say(globals.json, &value, &report.table());
        Ok(report.verdict.exit_code())
    }
}
