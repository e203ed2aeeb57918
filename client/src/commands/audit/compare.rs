//! `lockstep audit compare`.

use std::path::PathBuf;

use clap::Args;
use lockstep_audit::compare::{self, Node};
use lockstep_client::Result;

use super::{Output, apart, refused};
use crate::cli::Globals;

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// One node: its RPC address, or its folder while it is stopped.
    a: String,
    /// The other.
    b: String,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(globals: &Globals, arguments: Compare) -> Result<u8> {
    let Compare { a, b, output } = arguments;
    let done = apart(move || {
        let lockstepd = lockstepd();
        let (a, b) = (Node::open(&a, &lockstepd)?, Node::open(&b, &lockstepd)?);
        compare::run(&a, &b)
    })
    .await?;
    match done {
        Ok(report) => output.show(globals, &report, None),
        Err(stop) => refused(globals, "compare", stop, &output),
    }
}

/// The node's program: beside this one, or in the search path.
fn lockstepd() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.with_file_name("lockstepd");
    if beside.is_file() { beside } else { PathBuf::from("lockstepd") }
}
