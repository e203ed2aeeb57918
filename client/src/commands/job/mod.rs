//! `lockstep job`.

mod input;
mod post;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use lockstep_client::tx::message;
use lockstep_client::{Error, Result, job};
use serde_json::json;

use super::client;
use super::submit::submit;
use crate::cli::{Globals, Signing};
use crate::console::say;

#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Runs a model on the chain: quotes, posts, waits and prints the results.
    Post(post::Post),
    /// Waits for a job's result, or until it is paid out, and shows it.
    Wait {
        /// Its number.
        id: u64,
        /// How far.
        #[arg(long, value_enum, default_value_t = Goal::Result)]
        until: Goal,
        /// Seconds to wait.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
    },
    /// Shows a job: its life, the commitments, who was paid what.
    Show {
        /// Its number.
        id: u64,
    },
    /// Writes a job's receipt: what it gave, who was paid and the proof, for `lockstep audit verify`.
    Receipt {
        /// Its number.
        id: u64,
        /// The file.
        #[arg(long)]
        out: PathBuf,
    },
    /// Takes a job back before the first commitment.
    Cancel {
        /// Its number.
        id: u64,
        #[command(flatten)]
        signing: Signing,
    },
}

/// How far to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// One answer stands and its output is on the chain.
    Result,
    /// Paid out.
    Final,
}

impl From<Goal> for job::Until {
    fn from(goal: Goal) -> Self {
        match goal {
            Goal::Result => Self::Result,
            Goal::Final => Self::Final,
        }
    }
}

pub(super) async fn run(globals: &Globals, command: Job) -> Result<()> {
    match command {
        Job::Post(command) => post::run(globals, &command).await,
        Job::Wait { id, until, timeout } => {
            let client = client(globals)?;
            let timeout = Duration::from_secs(timeout);
            let job = job::wait(&client, id, until.into(), timeout).await?;
            show::print(globals, &client, &job).await
        }
        Job::Show { id } => {
            let client = client(globals)?;
            let job = lockstep_client::query::job(&client, id).await?;
            show::print(globals, &client, &job).await
        }
        Job::Receipt { id, out } => {
            let receipt = lockstep_client::receipt::fetch(&client(globals)?, id).await?;
            std::fs::write(&out, receipt.encode())
                .map_err(|cause| Error::file("write", &out, cause))?;
            let words =
                format!("{} proves job {id}; `lockstep audit verify` checks it", out.display());
            say(globals.json, &json!({ "job": id, "file": out }), &words);
            Ok(())
        }
        Job::Cancel { id, signing } => {
            let sent = submit(globals, &signing, |from| vec![message::cancel_job(from, id)]);
            sent.await?.report(globals, &format!("job {id} is cancelled"), json!({ "job": id }));
            Ok(())
        }
    }
}
