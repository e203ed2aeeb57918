//! Jobs: what one will cost, waiting for its result, and checking that result.

use std::time::{Duration, Instant};

use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState, RunStatus};
use lockstep_proto::lockstep::model::v1::{Model, Version};
use lockstep_vm::artefact::Manifest;
use lockstep_vm::result::result_root;
use serde::Serialize;

use crate::rpc::Client;
use crate::{Error, Result, npy, query};

/// How often a node is asked how a job is doing.
const POLL: Duration = Duration::from_millis(100);

/// Everything that a price follows from, asked for once.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The model.
    pub model: Model,
    /// The version that is pinned.
    pub version: Version,
    /// The rules.
    pub params: Params,
    /// The program and its limits.
    pub manifest: Manifest,
}

/// What a job will cost, in ulock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Tokens of the input.
    pub tokens: u32,
    /// What the authors ask.
    pub model_price: u64,
    /// What computing costs.
    pub compute: u64,
    /// Both together.
    pub fee: u64,
    /// Comes back when the job ends.
    pub deposit: u64,
    /// Burned.
    pub posting_charge: u64,
}

impl Offer {
    /// Asks for model, version, rules and program.
    ///
    /// # Errors
    /// [`Error::Rejected`] where there is no such model, version or alias.
    pub async fn of(client: &Client, name: &str) -> Result<Self> {
        let version = query::version(client, name).await?;
        let bare = name.split_once(':').map_or(name, |(bare, _)| bare);
        let model = query::model(client, bare).await?;
        let bytes = query::manifest(client, version.id).await?;
        let manifest = Manifest::decode(&bytes)
            .map_err(|cause| Error::protocol(client.url(), cause.to_string()))?;
        if manifest.root().as_slice() != version.artefact_root {
            return Err(Error::protocol(client.url(), "a manifest of another artefact"));
        }
        Ok(Self { model, version, params: query::params(client).await?, manifest })
    }

    /// The price of a run on so many tokens.
    ///
    /// # Errors
    /// Where the model takes fewer tokens.
    pub fn quote(&self, tokens: u32) -> Result<Quote> {
        let tokens_max = self.version.tokens_max;
        if tokens == 0 || tokens > tokens_max {
            let what = format!("an input of {tokens} tokens; the model takes 1 to {tokens_max}");
            return Err(Error::usage(what, "cut the input, or choose another model"));
        }
        let macs = self.manifest.verified().cost(tokens).macs;
        let compute = u128::from(macs) * u128::from(self.params.compute_price);
        let compute = u64::try_from(compute.div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let fee = self.model.price.saturating_add(compute);
        let deposit = u128::from(fee) * u128::from(self.params.deposit_bps) / 10_000;
        Ok(Quote {
            tokens,
            model_price: self.model.price,
            compute,
            fee,
            deposit: u64::try_from(deposit).unwrap_or(u64::MAX),
            posting_charge: self.params.posting_charge,
        })
    }
}

/// How far to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// One answer stands and its output is on the chain.
    Result,
    /// Paid out.
    Final,
}

/// Waits until a job has come so far, or has ended otherwise.
///
/// # Errors
/// [`Error::Unknown`] after the timeout; [`Error::Rejected`] where there is no such job.
pub async fn wait(client: &Client, id: u64, until: Until, timeout: Duration) -> Result<Job> {
    let start = Instant::now();
    loop {
        match query::job(client, id).await {
            Ok(job) if reached(&job, until) => return Ok(job),
            // A node that restarts is waited for.
            Ok(_) | Err(Error::Unreachable { .. } | Error::Protocol { .. }) => {}
            Err(error) => return Err(error),
        }
        if start.elapsed() >= timeout {
            let what = format!("the end of job {id}");
            return Err(Error::Unknown { what, seconds: timeout.as_secs() });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn reached(job: &Job, until: Until) -> bool {
    let delivered = job.state() == JobState::Verified && job.delivered_height > 0;
    is_terminal(job.state()) || (until == Until::Result && delivered)
}

/// Whether nothing more happens to a job in this state.
#[must_use]
pub fn is_terminal(state: JobState) -> bool {
    use JobState::{Cancelled, Expired, Failed, Final, Unavailable};
    matches!(state, Final | Expired | Unavailable | Failed | Cancelled)
}

/// What a job gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Its values.
    Values(Vec<f32>),
    /// An infinity or a NaN came up: a valid result without values.
    Fault,
    /// Nothing, because of how it ended.
    None(JobState),
}

/// Checks that a job's output is the one that its result root binds to version and input, and
/// reads it.
///
/// # Errors
/// Where the node's answer contradicts itself.
pub fn outcome(client: &Client, job: &Job, version: &Version) -> Result<Outcome> {
    if !matches!(job.state(), JobState::Verified | JobState::Final) || job.delivered_height == 0 {
        return Ok(Outcome::None(job.state()));
    }
    let wrong = || {
        Error::protocol(
            client.url(),
            format!("job {} with an output that does not lead to its result root", job.id),
        )
    };
    let artefact = version.artefact_root.as_slice().try_into().map_err(|_| wrong())?;
    let output = (job.status() != RunStatus::Fault).then_some(job.output.as_slice());
    // A blob's bytes are not in the job, so only inline inputs can be checked from it alone.
    if !job.input.is_empty() {
        let root = result_root(artefact, &job.input, b"", output);
        if root.as_slice() != job.result_root {
            return Err(wrong());
        }
    }
    Ok(match output {
        Some(bytes) => Outcome::Values(npy::values(bytes)?),
        None => Outcome::Fault,
    })
}

/// A state as the command line spells it.
#[must_use]
pub fn state(state: JobState) -> String {
    state.as_str_name().trim_start_matches("JOB_STATE_").replace('_', " ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(output: &[u8], root: &[u8; 32]) -> Job {
        Job {
            state: JobState::Verified.into(),
            delivered_height: 5,
            input: vec![1, 0, 0, 0],
            output: output.to_vec(),
            result_root: root.to_vec(),
            status: RunStatus::Halted.into(),
            ..Job::default()
        }
    }

    #[test]
    fn an_output_that_does_not_lead_to_the_result_root_is_not_believed() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let version = Version { artefact_root: vec![7; 32], ..Version::default() };
        let output = 1.5_f32.to_le_bytes();
        let root = result_root(&[7; 32], &[1, 0, 0, 0], b"", Some(&output));
        let right = outcome(&client, &job(&output, &root), &version).unwrap();
        assert_eq!(right, Outcome::Values(vec![1.5]));
        let wrong = outcome(&client, &job(&2.5_f32.to_le_bytes(), &root), &version);
        assert!(matches!(wrong, Err(Error::Protocol { .. })));
    }

    #[test]
    fn a_job_that_ended_badly_is_not_waited_for() {
        let ended = Job { state: JobState::Expired.into(), ..Job::default() };
        assert!(reached(&ended, Until::Result) && reached(&ended, Until::Final));
        let verified = Job { state: JobState::Verified.into(), ..Job::default() };
        assert!(!reached(&verified, Until::Result));
        let delivered = Job { delivered_height: 4, ..verified };
        assert!(reached(&delivered, Until::Result) && !reached(&delivered, Until::Final));
    }
}
