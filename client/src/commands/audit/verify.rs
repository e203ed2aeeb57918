//! `lockstep audit verify`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use lockstep_audit::light::Anchor;
use lockstep_audit::receipt::{self, Checked};
use lockstep_audit::recompute::{self, Holdings};
use lockstep_audit::report::Report;
use lockstep_audit::{Stop, amounts};
use lockstep_client::{Error, Result, job};

use super::{Output, apart, stopped};
use crate::cli::Globals;
use crate::commands::trust::Trust;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The file, as `lockstep job receipt` wrote it.
    receipt: PathBuf,
    #[command(flatten)]
    trust: Trust,
    /// Runs the job again and compares the result.
    #[arg(long)]
    recompute: bool,
    /// The model's artefact; fetched from --blobs unless told.
    #[arg(long, requires = "recompute")]
    artefact: Option<PathBuf>,
    /// The job's input where it is a blob; fetched from --blobs unless told.
    #[arg(long, requires = "recompute")]
    input: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(globals: &Globals, arguments: Verify) -> Result<u8> {
    let arguments = Arc::new(arguments);
    let path = &arguments.receipt;
    let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let anchor = arguments.trust.anchor()?;
    let mut report = Report::new("verify", anchor.chain_id.clone().unwrap_or_default());
    match receipt::check(&bytes, &anchor) {
        Ok(checked) => {
            facts(&mut report, &checked);
            let (blobs, asked) = (globals.blobs.clone(), Arc::clone(&arguments));
            let again = apart(move || {
                let run = asked.recompute.then(|| again(&blobs, &asked, &checked));
                (run.transpose(), trusted(&anchor, &checked))
            });
            let (again, trusted) = again.await?;
            let ran = match &again {
                Ok(ran) => ran.is_some(),
                Err(stop) => matches!(stop, Stop::Difference(_)),
            };
            report.fact("recomputed", ran);
            if let Err(stop) = again.and(trusted) {
                stopped(&mut report, stop)?;
            }
        }
        Err(stop) => stopped(&mut report, stop)?,
    }
    arguments.output.show(globals, &report, None)
}

fn facts(report: &mut Report, checked: &Checked) {
    let (signed, job) = (&checked.signed, &checked.job);
    report.chain_id.clone_from(&signed.header.chain_id);
    report.fact("job", job.id);
    report.fact("state", job::state(job.state()));
    report.fact("height", signed.height - 1);
    report.fact("app_hash", hex::encode(signed.app_hash));
    report.fact("header_hash", hex::encode(signed.hash));
    report.fact("validators_hash", hex::encode(&signed.header.validators_hash));
    report.fact("signed_power", signed.power);
    report.fact("total_power", signed.total);
    report.fact("anchored", checked.anchored);
    report.fact("artefact", hex::encode(&checked.version.artefact_root));
    report.fact("result", hex::encode(&job.result_root));
    report.fact("payouts", amounts::payouts(&job.payouts));
}

/// What does not follow from the receipt alone: whether its validators are the network's.
fn trusted(anchor: &Anchor, checked: &Checked) -> lockstep_audit::Result<()> {
    if checked.anchored {
        return Ok(());
    }
    let named = hex::encode(&checked.signed.header.validators_hash);
    let what = if *anchor == Anchor::default() {
        format!("everything is right, if the validators {named} are the network's")
    } else {
        format!("everything is right, but the validators {named} are not those that you trust")
    };
    let hint = "give --genesis, or the hash of the set by --validators-hash with --chain-id: an \
                audit's report and validators whom you trust say it";
    Err(Stop::incomplete(what, hint))
}

/// Runs the job again.
fn again(blobs: &str, arguments: &Verify, checked: &Checked) -> lockstep_audit::Result<()> {
    let (job, version) = (&checked.job, &checked.version);
    let mut holdings = Holdings::new(blobs, None)?;
    if let Some(path) = &arguments.artefact {
        let root = holdings.add_artefact(path)?;
        if root.as_slice() != version.artefact_root {
            let ran = hex::encode(&version.artefact_root);
            let what = format!("the artefact is {}; the job ran {ran}", hex::encode(root));
            return Err(Stop::incomplete(what, "give the model's own artefact by --artefact"));
        }
    }
    if let Some(path) = &arguments.input {
        let bytes = std::fs::read(path).map_err(|cause| Stop::file("read", path, cause))?;
        let root = holdings.add_input(bytes);
        if root.as_slice() != job.input_root {
            let ran = hex::encode(&job.input_root);
            let what = format!("the input is {}; the job ran {ran}", hex::encode(root));
            return Err(Stop::incomplete(what, "give the job's own input by --input"));
        }
    }
    recompute::job(&holdings, version, job)
}
