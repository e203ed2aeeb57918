//! What the state says, one function per object.

use lockstep_proto::lockstep::chain::v1::{
    Params, QueryInvariantsRequest, QueryInvariantsResponse, QueryParamsRequest, QueryTipRequest,
    QueryTotalsRequest, Tip, Totals,
};
use lockstep_proto::lockstep::job::v1::{
    Job, QueryJobRequest, QueryJobsRequest, QueryJobsResponse,
};
use lockstep_proto::lockstep::member::v1::{Account, QueryAccountRequest};
use lockstep_proto::lockstep::model::v1::{
    Alias, Model, QueryAliasRequest, QueryManifestRequest, QueryModelRequest, QueryModelsRequest,
    QueryModelsResponse, QueryPossessionRequest, QueryPossessionResponse, QueryVersionRequest,
    Version,
};
use lockstep_proto::lockstep::staking::v1::{
    Delegation, QueryDelegationRequest, QuerySlashesRequest, QuerySlashesResponse,
    QueryUnbondingsRequest, QueryUnbondingsResponse, QueryValidatorRequest, QueryValidatorsRequest,
    QueryValidatorsResponse, Slash, Unbonding, Validator,
};
use lockstep_proto::lockstep::trial::v1::{
    QueryTraceNodesRequest, QueryTraceNodesResponse, QueryTrialRequest, QueryTrialsRequest,
    QueryTrialsResponse, QueryVerifiedRequest, QueryVerifiedResponse, Trial,
};
use prost::Message;

use crate::rpc::Client;
use crate::{Error, Result};

/// Asks `path` with a protobuf request at the last height.
///
/// # Errors
/// [`Error::Rejected`] where there is nothing of the kind; [`Error::Protocol`] where the answer is
/// no `A`.
pub async fn ask<A: Message + Default>(
    client: &Client,
    path: &str,
    request: &impl Message,
) -> Result<A> {
    let answer = client.query(path, &request.encode_to_vec(), None, false).await?;
    A::decode(answer.value.as_slice())
        .map_err(|cause| Error::protocol(client.url(), format!("{path}: {cause}")))
}

/// An account: number, sequence, balance and roles.
///
/// # Errors
/// As [`ask`].
pub async fn account(client: &Client, address: &str) -> Result<Account> {
    let request = QueryAccountRequest { address: address.into() };
    ask(client, "/lockstep.member.v1.Query/Account", &request).await
}

/// A model by name.
///
/// # Errors
/// As [`ask`].
pub async fn model(client: &Client, name: &str) -> Result<Model> {
    let request = QueryModelRequest { name: name.into() };
    ask(client, "/lockstep.model.v1.Query/Model", &request).await
}

/// All models in order of id.
///
/// # Errors
/// As [`ask`].
pub async fn models(client: &Client) -> Result<Vec<Model>> {
    let path = "/lockstep.model.v1.Query/Models";
    let all: QueryModelsResponse = ask(client, path, &QueryModelsRequest {}).await?;
    Ok(all.models)
}

/// The version that `name`, `name:alias` or `name:number` stands for now.
///
/// # Errors
/// As [`ask`].
pub async fn version(client: &Client, model: &str) -> Result<Version> {
    let request = QueryVersionRequest { model: model.into(), ..QueryVersionRequest::default() };
    ask(client, "/lockstep.model.v1.Query/Version", &request).await
}

/// A version by its id.
///
/// # Errors
/// As [`ask`].
pub async fn version_by_id(client: &Client, id: u64) -> Result<Version> {
    let request = QueryVersionRequest { id, ..QueryVersionRequest::default() };
    ask(client, "/lockstep.model.v1.Query/Version", &request).await
}

/// The manifest of a version.
///
/// # Errors
/// As [`ask`].
pub async fn manifest(client: &Client, version: u64) -> Result<Vec<u8>> {
    // As it stands in the state: in protobuf's wrapper of bytes, which `Vec<u8>` decodes.
    ask(client, "/lockstep.model.v1.Query/Manifest", &QueryManifestRequest { version }).await
}

/// Where an alias points and pointed.
///
/// # Errors
/// As [`ask`].
pub async fn alias(client: &Client, model: &str, alias: &str) -> Result<Alias> {
    let request = QueryAliasRequest { model: model.into(), alias: alias.into() };
    ask(client, "/lockstep.model.v1.Query/Alias", &request).await
}

/// Whether a validator has proved to hold a version, and by which leaves it has to.
///
/// # Errors
/// As [`ask`].
pub async fn possession(
    client: &Client,
    version: u64,
    operator: &str,
) -> Result<QueryPossessionResponse> {
    let request = QueryPossessionRequest { version, validator: operator.into() };
    ask(client, "/lockstep.model.v1.Query/Possession", &request).await
}

/// A job.
///
/// # Errors
/// As [`ask`].
pub async fn job(client: &Client, id: u64) -> Result<Job> {
    ask(client, "/lockstep.job.v1.Query/Job", &QueryJobRequest { id }).await
}

/// Jobs from an id on, at most 100.
///
/// # Errors
/// As [`ask`].
pub async fn jobs(client: &Client, from: u64, limit: u32) -> Result<Vec<Job>> {
    let request = QueryJobsRequest { from, limit };
    let all: QueryJobsResponse = ask(client, "/lockstep.job.v1.Query/Jobs", &request).await?;
    Ok(all.jobs)
}

/// A validator by operator address.
///
/// # Errors
/// As [`ask`].
pub async fn validator(client: &Client, operator: &str) -> Result<Validator> {
    let request = QueryValidatorRequest { operator: operator.into() };
    ask(client, "/lockstep.staking.v1.Query/Validator", &request).await
}

/// All validators in order of operator address.
///
/// # Errors
/// As [`ask`].
pub async fn validators(client: &Client) -> Result<Vec<Validator>> {
    let path = "/lockstep.staking.v1.Query/Validators";
    let all: QueryValidatorsResponse = ask(client, path, &QueryValidatorsRequest {}).await?;
    Ok(all.validators)
}

/// A delegator's part of a validator's stake.
///
/// # Errors
/// As [`ask`].
pub async fn delegation(client: &Client, delegator: &str, operator: &str) -> Result<Delegation> {
    let request =
        QueryDelegationRequest { delegator: delegator.into(), validator: operator.into() };
    ask(client, "/lockstep.staking.v1.Query/Delegation", &request).await
}

/// Stake on its way back to a delegator, or to all where the address is empty.
///
/// # Errors
/// As [`ask`].
pub async fn unbondings(client: &Client, delegator: &str) -> Result<Vec<Unbonding>> {
    let request = QueryUnbondingsRequest { delegator: delegator.into() };
    let path = "/lockstep.staking.v1.Query/Unbondings";
    let all: QueryUnbondingsResponse = ask(client, path, &request).await?;
    Ok(all.unbondings)
}

/// All verdicts, newest last.
///
/// # Errors
/// As [`ask`].
pub async fn slashes(client: &Client) -> Result<Vec<Slash>> {
    let path = "/lockstep.staking.v1.Query/Slashes";
    let all: QuerySlashesResponse = ask(client, path, &QuerySlashesRequest {}).await?;
    Ok(all.slashes)
}

/// The trial that decides a job now.
///
/// # Errors
/// As [`ask`]; where none is held, a refusal with the chain's code.
pub async fn trial(client: &Client, job: u64) -> Result<Trial> {
    ask(client, "/lockstep.trial.v1.Query/Trial", &QueryTrialRequest { job }).await
}

/// The trials that are held now.
///
/// # Errors
/// As [`ask`].
pub async fn trials(client: &Client) -> Result<QueryTrialsResponse> {
    let (path, mut all) = ("/lockstep.trial.v1.Query/Trials", QueryTrialsResponse::default());
    loop {
        let from = all.trials.last().map_or(0, |trial| trial.job.saturating_add(1));
        let page: QueryTrialsResponse = ask(client, path, &QueryTrialsRequest { from }).await?;
        if page.trials.is_empty() {
            return Ok(QueryTrialsResponse { height: page.height, ..all });
        }
        all.trials.extend(page.trials);
    }
}

/// What was opened below a node of a trace, 32 bytes each; nothing where it was not opened.
///
/// # Errors
/// As [`ask`].
pub async fn trace_nodes(client: &Client, of: &QueryTraceNodesRequest) -> Result<Vec<u8>> {
    let path = "/lockstep.trial.v1.Query/TraceNodes";
    let answer: QueryTraceNodesResponse = ask(client, path, of).await?;
    Ok(answer.nodes)
}

/// Jobs whose answer can still be challenged, from an id on.
///
/// # Errors
/// As [`ask`].
pub async fn verified(client: &Client, from: u64) -> Result<QueryVerifiedResponse> {
    ask(client, "/lockstep.trial.v1.Query/Verified", &QueryVerifiedRequest { from }).await
}

/// The rules that the council may change.
///
/// # Errors
/// As [`ask`].
pub async fn params(client: &Client) -> Result<Params> {
    ask(client, "/lockstep.chain.v1.Query/Params", &QueryParamsRequest {}).await
}

/// Counters and pools.
///
/// # Errors
/// As [`ask`].
pub async fn totals(client: &Client) -> Result<Totals> {
    ask(client, "/lockstep.chain.v1.Query/Totals", &QueryTotalsRequest {}).await
}

/// What the last block left behind.
///
/// # Errors
/// As [`ask`].
pub async fn tip(client: &Client) -> Result<Tip> {
    ask(client, "/lockstep.chain.v1.Query/Tip", &QueryTipRequest {}).await
}

/// The invariants that do not hold; none where the chain is sound.
///
/// # Errors
/// As [`ask`].
pub async fn broken_invariants(client: &Client) -> Result<Vec<String>> {
    let path = "/lockstep.chain.v1.Query/Invariants";
    let all: QueryInvariantsResponse = ask(client, path, &QueryInvariantsRequest {}).await?;
    Ok(all.broken)
}
