//! `lockstep audit verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_audit::light::Anchor;
use lockstep_audit::receipt::{self, Checked};
use lockstep_audit::report::Report;
use lockstep_audit::{Stop, amounts, recompute};
use lockstep_client::blobs::Blobs;
use lockstep_client::{Error, Result, blobs, job};

use super::{Output, apart, stopped};
use crate::cli::Globals;
use crate::commands::trust::Trust;

/// `verify` waits for nobody, so it holds no more than this of a blob.
const ARTEFACT_BYTES_MAX: usize = 8 << 30;

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
    let path = &arguments.receipt;
    let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let anchor = arguments.trust.anchor()?;
    let mut report = Report::new("verify", anchor.chain_id.clone().unwrap_or_default());
    match receipt::check(&bytes, &anchor) {
        Ok(checked) => {
            facts(&mut report, &checked);
            if let Err(stop) = beyond(globals, &arguments, &anchor, &checked).await? {
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

/// What does not follow from the receipt alone.
async fn beyond(
    globals: &Globals,
    arguments: &Verify,
    anchor: &Anchor,
    checked: &Checked,
) -> Result<lockstep_audit::Result<()>> {
    if arguments.recompute
        && let Err(stop) = again(globals, arguments, checked).await?
    {
        return Ok(Err(stop));
    }
    if checked.anchored {
        return Ok(Ok(()));
    }
    let named = hex::encode(&checked.signed.header.validators_hash);
    let what = if *anchor == Anchor::default() {
        format!("everything is right, if the validators {named} are the network's")
    } else {
        format!("everything is right, but the validators {named} are not those that you trust")
    };
    let hint = "give --genesis, or the hash of the set by --validators-hash: an audit's report and \
                validators whom you trust say it";
    Ok(Err(Stop::incomplete(what, hint)))
}

/// Runs the job again.
async fn again(
    globals: &Globals,
    arguments: &Verify,
    checked: &Checked,
) -> Result<lockstep_audit::Result<()>> {
    let service = Blobs::new(&globals.blobs)?;
    let (job, version) = (checked.job.clone(), checked.version.clone());
    let input = match (&arguments.input, job.input.is_empty()) {
        (_, false) => None,
        (Some(path), true) => {
            Some(std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?)
        }
        (None, true) => Some(service.fetch(&job.input_root, blobs::INPUT_BYTES_MAX).await?),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let artefact = match &arguments.artefact {
        Some(path) => Artefact::File(path.clone()),
        None => Artefact::Bytes(service.fetch(&version.artefact_root, ARTEFACT_BYTES_MAX).await?),
    };
    apart(move || match artefact {
        Artefact::File(path) => {
            let mut reader = open(&path)?;
            recompute::job(&job, &version, &mut reader, input.as_deref(), threads)
        }
        Artefact::Bytes(bytes) => {
            let reader = lockstep_vm::artefact::Reader::new(std::io::Cursor::new(bytes));
            let mut reader = reader.map_err(|cause| {
                Stop::incomplete(format!("no artefact: {cause}"), "give another --blobs")
            })?;
            recompute::job(&job, &version, &mut reader, input.as_deref(), threads)
        }
    })
    .await
}

enum Artefact {
    File(PathBuf),
    Bytes(Vec<u8>),
}

fn open(
    path: &Path,
) -> lockstep_audit::Result<lockstep_vm::artefact::Reader<std::io::BufReader<std::fs::File>>> {
    blobs::open(path).map_err(|cause| {
        let hint = cause.hint().unwrap_or_default();
        Stop::usage(cause.to_string(), hint)
    })
}
