//! `lockstep audit replay`.

use std::path::PathBuf;

use clap::Args;
use lockstep_audit::report::Report;
use lockstep_audit::source::{Rpc, Source as _};
use lockstep_audit::{Stop, source};
use lockstep_client::Result;

use super::{apart, show, stopped};
use crate::cli::Globals;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The genesis file that you trust.
    #[arg(long)]
    genesis: PathBuf,
    /// Where the blocks are: the address of a node's RPC.
    #[arg(long)]
    blocks: String,
}

pub(super) async fn run(globals: &Globals, arguments: Replay) -> Result<u8> {
    let mut report = Report::new("replay", "");
    let done = apart(move || heights(&arguments)).await?;
    match done {
        Ok(heights) => report.lacks(format!("heights {} to {} wait", heights.first, heights.last)),
        Err(stop) => stopped(&mut report, stop)?,
    }
    Ok(show(globals, &report))
}

fn heights(arguments: &Replay) -> lockstep_audit::Result<source::Heights> {
    std::fs::metadata(&arguments.genesis)
        .map_err(|cause| Stop::file("read", &arguments.genesis, cause))?;
    Rpc::new(&arguments.blocks)?.heights()
}
