//! `lockstep audit`: recomputes the chain. Ends with 0 where all is right, 10 at a difference, 11
//! where the audit could not be carried through.

mod replay;

use clap::Subcommand;
use lockstep_audit::Stop;
use lockstep_audit::report::{Report, Verdict};
use lockstep_client::{Error, Result};

use crate::cli::Globals;
use crate::console::{note, say, to_json};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Recomputes every block from genesis on and compares all that the chain says of it.
    Replay(replay::Replay),
}

/// Does what was asked for; the exit code of the program.
pub(super) async fn run(globals: &Globals, command: Audit) -> Result<u8> {
    match command {
        Audit::Replay(arguments) => replay::run(globals, arguments).await,
    }
}

/// Runs an audit where it may wait and compute, which threads of the async runtime must not.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> lockstep_audit::Result<T> + Send + 'static,
) -> Result<lockstep_audit::Result<T>> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|cause| Error::usage(format!("the audit broke off: {cause}"), "report this bug"))
}

/// Puts what stopped an audit into its report, unless it could not begin at all.
fn stopped(report: &mut Report, stop: Stop) -> Result<()> {
    match stop {
        Stop::Difference(difference) => report.differs(*difference),
        Stop::Incomplete { what, hint } => {
            note(&format!("incomplete: {what}\nhint: {hint}"));
            report.lacks(what);
        }
        Stop::Usage { what, hint } => return Err(Error::usage(what, hint)),
    }
    Ok(())
}

/// Shows a report; the exit code that goes with it.
fn show(globals: &Globals, report: &Report) -> u8 {
    let facts = report.facts.iter().map(|(name, value)| format!("{name:<22} {value}\n"));
    let end = match (report.verdict, &report.difference) {
        (Verdict::Difference, Some(difference)) => format!("DIFFERENCE: {difference}"),
        (Verdict::Incomplete, _) => "INCOMPLETE".to_owned(),
        _ => "PASS".to_owned(),
    };
    let words = format!("{}report {}\n{end}\n", facts.collect::<String>(), report.hash());
    let mut value = to_json(report);
    value["report_hash"] = report.hash().into();
    say(globals.json, &value, &words);
    report.verdict.exit_code()
}
