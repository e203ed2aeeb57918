//! What a watcher needs, however it is reached: a node, models and inputs, and a key.

use std::future::Future;

use lockstep_audit::play::{Answer, Court, Evidence, PlayError};
use lockstep_chain::address::Address;
use lockstep_client::Error;
use lockstep_proto::lockstep::chain::v1::{Params, Tip};
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::trial::v1::Trial;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error("{0}{hint}", hint = .0.hint().map(|hint| format!("; hint: {hint}")).unwrap_or_default())]
    Client(#[from] Error),
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error(transparent)]
    Audit(#[from] lockstep_audit::Stop),
    /// No money is staked on a machine that cannot decide.
    #[error(
        "two runs here gave {one} and {other}: nothing was challenged; hint: this machine is faulty, \
         test its memory and its processor"
    )]
    Faulty { one: String, other: String },
}

/// A job that was run again.
pub(super) struct Again<E> {
    pub(super) run: E,
    /// f32 little endian; empty after a FAULT.
    pub(super) output: Vec<u8>,
}

/// A node, models and inputs, and a key.
pub(super) trait Bench: Court<Error = WatchError> + Send + 'static {
    /// What a job that was run again leaves.
    type Run: Evidence + 'static;

    /// Who signs.
    fn account(&self) -> Address;

    /// What the last block left behind.
    fn tip(&self) -> impl Future<Output = Result<Tip, WatchError>> + Send;

    /// The rules.
    fn params(&self) -> impl Future<Output = Result<Params, WatchError>> + Send;

    /// The trials that are held.
    fn trials(&self) -> impl Future<Output = Result<Vec<Trial>, WatchError>> + Send;

    /// The jobs with an answer that is not paid yet.
    fn verified(&self) -> impl Future<Output = Result<Vec<Job>, WatchError>> + Send;

    /// One job.
    fn job(&self, id: u64) -> impl Future<Output = Result<Job, WatchError>> + Send;

    /// Runs a job again.
    fn recompute(
        &self,
        job: &Job,
    ) -> impl Future<Output = Result<Again<Self::Run>, WatchError>> + Send;

    /// Runs a job once more, from the start: what came of it.
    fn confirm(
        &self,
        job: &Job,
        first: Answer,
    ) -> impl Future<Output = Result<Answer, WatchError>> + Send;

    /// Hands in the output behind an own answer.
    fn deliver(
        &self,
        job: u64,
        status: i32,
        output: Vec<u8>,
    ) -> impl Future<Output = Result<(), WatchError>> + Send;
}
