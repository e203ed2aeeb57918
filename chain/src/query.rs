//! Reads: one path per object, by the paths that wallets know or `/lockstep.<module>.v1.Query/<Name>`.
//!
//! An object's answer is exactly the value that the state holds, so its proof speaks for it.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use lockstep_proto::cosmos::auth::v1beta1::{
    BaseAccount, QueryAccountRequest as CosmosAccountRequest, QueryAccountResponse,
};
use lockstep_proto::cosmos::bank::v1beta1::{
    QueryAllBalancesRequest, QueryAllBalancesResponse, QueryBalanceRequest, QueryBalanceResponse,
    QuerySupplyOfRequest, QuerySupplyOfResponse,
};
use lockstep_proto::cosmos::base::abci::v1beta1::{GasInfo, Result as SimulationResult, TxMsgData};
use lockstep_proto::cosmos::base::query::v1beta1::PageResponse;
use lockstep_proto::cosmos::base::v1beta1::Coin;
use lockstep_proto::cosmos::crypto::secp256k1::PubKey;
use lockstep_proto::cosmos::tx::v1beta1::{SimulateRequest, SimulateResponse};
use lockstep_proto::lockstep::chain::v1::QueryInvariantsResponse;
use lockstep_proto::lockstep::job::v1::{
    Job, QueryDutiesRequest, QueryDutiesResponse, QueryJobRequest, QueryJobsRequest,
    QueryJobsResponse,
};
use lockstep_proto::lockstep::member::v1::{Account, QueryAccountRequest};
use lockstep_proto::lockstep::model::v1::{
    QueryAliasRequest, QueryManifestRequest, QueryModelRequest, QueryModelsResponse,
    QueryPossessionRequest, QueryPossessionResponse, QueryVersionRequest,
};
use lockstep_proto::lockstep::staking::v1::{
    QueryDelegationRequest, QuerySlashesResponse, QueryUnbondingsRequest, QueryUnbondingsResponse,
    QueryValidatorRequest, QueryValidatorsResponse,
};
use lockstep_proto::lockstep::trial::v1::{
    QueryTraceNodesRequest, QueryTraceNodesResponse, QueryTrialRequest, QueryTrialsRequest,
    QueryTrialsResponse, QueryVerifiedRequest, QueryVerifiedResponse, Supporter, Trial,
};
use prost::Message;

use crate::address::{self, Address, DENOM};
use crate::error::{
    BAD_FIELD, Fault, MALFORMED, NO_SUCH_JOB, NO_SUCH_MEMBER, NO_SUCH_MODEL, NO_SUCH_VALIDATOR,
    Reject, TxError,
};
use crate::job::Duty;
use crate::limits::QUERY_ITEMS_MAX;
use crate::model::possession;
use crate::state::tables::{
    ACCOUNTS, ALIASES, ARTEFACTS, DELEGATIONS, DUTIES, JOBS, MANIFESTS, MODELS, PARAMS,
    POSSESSIONS, POSSESSIONS_DUE, SLASHES, TIP, TOTALS, TRACE_NODES, TRIALS, UNBONDINGS,
    VALIDATORS, VERIFIED, VERSIONS,
};
use crate::state::{Key, StateRead, Table, Value};
use crate::trial::NOT_ON_TRIAL;
use crate::wire::{any, coin};
use crate::{context, invariants, mempool, model};

/// What a query gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The encoded answer.
    pub value: Vec<u8>,
    /// The state key whose value is exactly [`Answer::value`], where there is one.
    pub key: Option<Vec<u8>>,
}

/// There is no such path.
pub const NO_SUCH_PATH: Reject =
    Reject::new(90, "no such query path; hint: docs/protocol.md lists them");

/// Answers a query from one state.
///
/// # Errors
/// [`TxError::Reject`] where the request is wrong or nothing is found.
pub fn query(state: &dyn StateRead, path: &str, data: &[u8]) -> Result<Answer, TxError> {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    match parts.ok_or(NO_SUCH_PATH)? {
        ("cosmos.auth.v1beta1.Query", "Account") => cosmos_account(state, data),
        ("cosmos.bank.v1beta1.Query", name) => bank(state, name, data),
        ("cosmos.tx.v1beta1.Service", "Simulate") => simulate(state, data),
        ("lockstep.member.v1.Query", "Account") => {
            let request: QueryAccountRequest = decode(data)?;
            let address = address::parse_account(&request.address)?;
            object(state, &ACCOUNTS, &address, NO_SUCH_MEMBER)
        }
        ("lockstep.staking.v1.Query", name) => staking(state, name, data),
        ("lockstep.model.v1.Query", name) => models(state, name, data),
        ("lockstep.job.v1.Query", name) => jobs(state, name, data),
        ("lockstep.trial.v1.Query", name) => trials(state, name, data),
        ("lockstep.chain.v1.Query", name) => chain(state, name),
        _ => Err(NO_SUCH_PATH.into()),
    }
}

fn decode<M: Message + Default>(data: &[u8]) -> Result<M, Reject> {
    M::decode(data).map_err(|_| MALFORMED)
}

fn answer(message: &impl Message) -> Answer {
    Answer { value: message.encode_to_vec(), key: None }
}

/// One value of a table, as it stands there.
fn object<K: Key, V: Value>(
    state: &dyn StateRead,
    table: &Table<K, V>,
    key: &K,
    missing: Reject,
) -> Result<Answer, TxError> {
    let key = table.key(key);
    let value = state.get_raw(&key)?.ok_or(missing)?;
    Ok(Answer { value, key: Some(key) })
}

fn cosmos_account(state: &dyn StateRead, data: &[u8]) -> Result<Answer, TxError> {
    let request: CosmosAccountRequest = decode(data)?;
    let address = address::parse_account(&request.address)?;
    let account: Account = ACCOUNTS.get(state, &address)?.ok_or(NO_SUCH_MEMBER)?;
    let key = (!account.public_key.is_empty()).then(|| any(&PubKey { key: account.public_key }));
    let base = BaseAccount {
        address: request.address,
        pub_key: key,
        account_number: account.number,
        sequence: account.sequence,
    };
    Ok(answer(&QueryAccountResponse { account: Some(any(&base)) }))
}

fn bank(state: &dyn StateRead, name: &str, data: &[u8]) -> Result<Answer, TxError> {
    let balance = |text: &str| -> Result<u64, TxError> {
        let address = address::parse_account(text)?;
        Ok(ACCOUNTS.get(state, &address)?.map_or(0, |account| account.balance))
    };
    match name {
        "Balance" => {
            let request: QueryBalanceRequest = decode(data)?;
            let amount = if request.denom == DENOM { balance(&request.address)? } else { 0 };
            let balance = Coin { denom: request.denom, amount: amount.to_string() };
            Ok(answer(&QueryBalanceResponse { balance: Some(balance) }))
        }
        "AllBalances" => {
            let request: QueryAllBalancesRequest = decode(data)?;
            let amount = balance(&request.address)?;
            let balances = if amount == 0 { Vec::new() } else { alloc::vec![coin(amount)] };
            let total = u64::from(amount != 0);
            let pagination = Some(PageResponse { total, ..PageResponse::default() });
            Ok(answer(&QueryAllBalancesResponse { balances, pagination }))
        }
        "SupplyOf" => {
            let request: QuerySupplyOfRequest = decode(data)?;
            let totals = TOTALS.must(state, &())?;
            let supply = if request.denom == DENOM { totals.supply } else { 0 };
            let amount = Coin { denom: request.denom, amount: supply.to_string() };
            Ok(answer(&QuerySupplyOfResponse { amount: Some(amount) }))
        }
        _ => Err(NO_SUCH_PATH.into()),
    }
}

fn simulate(state: &dyn StateRead, data: &[u8]) -> Result<Answer, TxError> {
    let request: SimulateRequest = decode(data)?;
    let outcome = mempool::simulate(state, &request.tx_bytes)?;
    if outcome.code != 0 {
        let all = crate::tx::rejects();
        let reject = all.into_iter().find(|reject| reject.code == outcome.code);
        return Err(reject.unwrap_or(BAD_FIELD).into());
    }
    let data = TxMsgData::decode(outcome.data.as_slice()).unwrap_or_default();
    Ok(answer(&SimulateResponse {
        gas_info: Some(GasInfo { gas_wanted: outcome.gas_wanted, gas_used: outcome.gas_used }),
        result: Some(SimulationResult {
            data: outcome.data,
            log: String::new(),
            msg_responses: data.msg_responses,
        }),
    }))
}

fn staking(state: &dyn StateRead, name: &str, data: &[u8]) -> Result<Answer, TxError> {
    match name {
        "Validator" => {
            let request: QueryValidatorRequest = decode(data)?;
            let operator = address::parse_operator(&request.operator)?;
            object(state, &VALIDATORS, &operator, NO_SUCH_VALIDATOR)
        }
        "Validators" => {
            let all = VALIDATORS.scan(state, &(), QUERY_ITEMS_MAX)?;
            let validators = all.into_iter().map(|(_, validator)| validator).collect();
            Ok(answer(&QueryValidatorsResponse { validators }))
        }
        "Delegation" => {
            let request: QueryDelegationRequest = decode(data)?;
            let operator = address::parse_operator(&request.validator)?;
            let delegator = address::parse_account(&request.delegator)?;
            object(state, &DELEGATIONS, &(operator, delegator), NO_SUCH_VALIDATOR)
        }
        "Unbondings" => {
            let request: QueryUnbondingsRequest = decode(data)?;
            let whose = match request.delegator.as_str() {
                "" => None,
                text => Some(address::parse_account(text)?),
            };
            let all = UNBONDINGS.scan(state, &(), usize::MAX)?.into_iter().map(|(_, entry)| entry);
            let own = all.filter(|entry| whose.is_none_or(|whose| entry.delegator == whose));
            let unbondings = own.take(QUERY_ITEMS_MAX).collect();
            Ok(answer(&QueryUnbondingsResponse { unbondings }))
        }
        "Slashes" => {
            let all = SLASHES.scan(state, &(), usize::MAX)?;
            let skip = all.len().saturating_sub(QUERY_ITEMS_MAX);
            let slashes = all.into_iter().skip(skip).map(|(_, slash)| slash).collect();
            Ok(answer(&QuerySlashesResponse { slashes }))
        }
        _ => Err(NO_SUCH_PATH.into()),
    }
}

fn models(state: &dyn StateRead, name: &str, data: &[u8]) -> Result<Answer, TxError> {
    match name {
        "Model" => {
            let request: QueryModelRequest = decode(data)?;
            let model = model::by_name(state, &request.name)?;
            object(state, &MODELS, &model.id, NO_SUCH_MODEL)
        }
        "Models" => {
            let all = MODELS.scan(state, &(), QUERY_ITEMS_MAX)?;
            let models = all.into_iter().map(|(_, model)| model).collect();
            Ok(answer(&QueryModelsResponse { models }))
        }
        "Version" => {
            let request: QueryVersionRequest = decode(data)?;
            let id = if request.id != 0 {
                request.id
            } else if request.artefact_root.is_empty() {
                model::resolve(state, &request.model)?.id
            } else {
                let root = request.artefact_root.try_into().map_err(|_| BAD_FIELD)?;
                ARTEFACTS.get(state, &root)?.ok_or(NO_SUCH_MODEL)?
            };
            object(state, &VERSIONS, &id, NO_SUCH_MODEL)
        }
        "Manifest" => {
            let request: QueryManifestRequest = decode(data)?;
            object(state, &MANIFESTS, &request.version, NO_SUCH_MODEL)
        }
        "Alias" => {
            let request: QueryAliasRequest = decode(data)?;
            let model = model::by_name(state, &request.model)?;
            object(state, &ALIASES, &(model.id, model::name_key(&request.alias)), NO_SUCH_MODEL)
        }
        "Possession" => {
            let request: QueryPossessionRequest = decode(data)?;
            let operator = address::parse_operator(&request.validator)?;
            let version = VERSIONS.get(state, &request.version)?.ok_or(NO_SUCH_MODEL)?;
            let leaves = context::params(state)?.possession_leaves;
            Ok(answer(&QueryPossessionResponse {
                proved: POSSESSIONS.has(state, &(version.id, operator))?,
                leaves: possession::challenge(&version, &operator, leaves),
            }))
        }
        _ => Err(NO_SUCH_PATH.into()),
    }
}

fn jobs(state: &dyn StateRead, name: &str, data: &[u8]) -> Result<Answer, TxError> {
    match name {
        "Job" => {
            let request: QueryJobRequest = decode(data)?;
            object(state, &JOBS, &request.id, NO_SUCH_JOB)
        }
        "Jobs" => {
            let request: QueryJobsRequest = decode(data)?;
            let limit = if request.limit == 0 { 100 } else { request.limit.min(100) };
            let mut jobs = Vec::new();
            for id in request.from.max(1)..request.from.max(1).saturating_add(limit.into()) {
                let Some(job) = JOBS.get(state, &id)? else { break };
                jobs.push(job);
            }
            Ok(answer(&QueryJobsResponse { jobs }))
        }
        "Duties" => {
            let request: QueryDutiesRequest = decode(data)?;
            let operator = address::parse_operator(&request.validator)?;
            Ok(answer(&duties(state, &operator)?))
        }
        _ => Err(NO_SUCH_PATH.into()),
    }
}

/// What a validator's executor has to do now.
///
/// # Errors
/// Only a failing store.
pub fn duties(state: &dyn StateRead, operator: &Address) -> Result<QueryDutiesResponse, Fault> {
    let of = |duty: Duty| -> Result<Vec<Job>, Fault> {
        let due = DUTIES.scan(state, &(*operator, duty.number()), QUERY_ITEMS_MAX)?;
        due.into_iter().map(|(_, job)| JOBS.must(state, &job)).collect()
    };
    let possess = POSSESSIONS_DUE.scan(state, operator, QUERY_ITEMS_MAX)?;
    let tip = context::tip(state)?;
    Ok(QueryDutiesResponse {
        height: tip.height,
        trial_clock: tip.trial_clock,
        trials: trials_of(state, operator)?,
        commit: of(Duty::Commit)?,
        reveal: of(Duty::Reveal)?,
        deliver: of(Duty::Deliver)?,
        hold: of(Duty::Hold)?,
        possess: possess.into_iter().map(|((_, version), _)| version).collect(),
    })
}

/// The jobs on trial that a validator's executor has a part in, or may still take one.
fn trials_of(state: &dyn StateRead, operator: &Address) -> Result<Vec<u64>, Fault> {
    let executor = VALIDATORS.get(state, operator)?.map(|validator| validator.executor);
    let executor = executor.unwrap_or_default();
    let concerned = |trial: &Trial| {
        let supports = |s: &Supporter| s.validator == operator || s.account == executor;
        !trial.defend_over
            || trial.supporters.iter().any(supports)
            || trial.challenges.iter().any(|challenge| challenge.account == executor)
    };
    // All of them: whoever does not hear of its own trial loses it.
    let running = TRIALS.scan(state, &(), usize::MAX)?.into_iter();
    Ok(running.filter(|(_, trial)| concerned(trial)).map(|(job, _)| job).collect())
}

fn trials(state: &dyn StateRead, name: &str, data: &[u8]) -> Result<Answer, TxError> {
    let height = context::tip(state)?.height;
    match name {
        "Trial" => {
            let request: QueryTrialRequest = decode(data)?;
            object(state, &TRIALS, &request.job, NOT_ON_TRIAL)
        }
        "Trials" => {
            let request: QueryTrialsRequest = decode(data)?;
            let running = TRIALS.scan_from(state, &request.from, QUERY_ITEMS_MAX)?;
            let trials = running.into_iter().map(|(_, trial)| trial).collect();
            Ok(answer(&QueryTrialsResponse { height, trials }))
        }
        "TraceNodes" => {
            let request: QueryTraceNodesRequest = decode(data)?;
            let key = (request.job, request.trace, request.level, request.position);
            let nodes = TRACE_NODES.get(state, &key)?.unwrap_or_default();
            Ok(answer(&QueryTraceNodesResponse { nodes }))
        }
        "Verified" => {
            let request: QueryVerifiedRequest = decode(data)?;
            let found = VERIFIED.scan_from(state, &request.from, QUERY_ITEMS_MAX)?;
            let jobs = found.into_iter().map(|(_, id)| JOBS.must(state, &id));
            Ok(answer(&QueryVerifiedResponse { height, jobs: jobs.collect::<Result<_, _>>()? }))
        }
        _ => Err(NO_SUCH_PATH.into()),
    }
}

fn chain(state: &dyn StateRead, name: &str) -> Result<Answer, TxError> {
    let missing = NO_SUCH_PATH;
    match name {
        "Params" => object(state, &PARAMS, &(), missing),
        "Totals" => object(state, &TOTALS, &(), missing),
        "Tip" => object(state, &TIP, &(), missing),
        "Invariants" => {
            let broken = invariants::broken(state)?;
            Ok(answer(&QueryInvariantsResponse { broken }))
        }
        _ => Err(NO_SUCH_PATH.into()),
    }
}
