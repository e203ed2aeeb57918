//! `lockstep query`.

use clap::{Args, Subcommand};
use lockstep_chain::address as bech32;
use lockstep_chain::state::tables::{
    ACCOUNTS, DELEGATIONS, JOBS, MODELS, PARAMS, TIP, TOTALS, TRIALS, VALIDATORS, VERSIONS,
};
use lockstep_client::wallet::{Wallet, test_index};
use lockstep_client::{Error, Result, proof, query, render};
use lockstep_proto::lockstep::chain::v1 as chain;
use lockstep_proto::lockstep::job::v1 as job;
use lockstep_proto::lockstep::member::v1 as member;
use lockstep_proto::lockstep::model::v1 as model;
use lockstep_proto::lockstep::staking::v1 as staking;
use lockstep_proto::lockstep::trial::v1 as trial;
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};

use super::client;
use super::trust::Trust;
use crate::cli::Globals;
use crate::console::{say, to_json};

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(subcommand)]
    what: What,
    /// Proves the value under the app hash of the next header, whose signatures are checked.
    #[arg(long, global = true)]
    prove: bool,
    /// The node that is asked for the header; the queried one unless told.
    #[arg(long, global = true)]
    headers: Option<String>,
    #[command(flatten)]
    trust: Trust,
}

#[derive(Debug, Subcommand)]
enum What {
    /// An account: number, sequence, balance, roles.
    Account { address: String },
    /// Free tokens of an account.
    Balance { address: String },
    /// A model by name.
    Model { name: String },
    /// All models.
    Models,
    /// A version by id, or as `name`, `name:alias` or `name:number`.
    Version { version: String },
    /// Where an alias points and pointed.
    Alias { model: String, alias: String },
    /// A job by number.
    Job { id: u64 },
    /// Jobs from a number on.
    Jobs {
        #[arg(default_value_t = 1)]
        from: u64,
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// The trial that decides a job now.
    Trial { job: u64 },
    /// The trials that are held now, of jobs from a number on.
    Trials {
        #[arg(default_value_t = 1)]
        from: u64,
    },
    /// A validator by operator address.
    Validator { operator: String },
    /// All validators.
    Validators,
    /// A delegator's part of a validator's stake.
    Delegation { delegator: String, validator: String },
    /// All verdicts.
    Slashes,
    /// The rules that the council may change.
    Params,
    /// Supply and other totals.
    Totals,
    /// What the last block left behind.
    Tip,
    /// Checks every invariant on the node; ends with 2 where one is broken.
    Invariants,
    /// Any path with a request in hex; prints the answer in hex.
    Raw {
        path: String,
        #[arg(default_value = "")]
        data: String,
    },
}

/// Where a value stands in the state, from the value itself.
type KeyOf = dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// A question: where, with what, how the answer reads, and where it must stand in the state.
struct Question {
    path: &'static str,
    request: Vec<u8>,
    read: fn(&[u8]) -> Option<Value>,
    key: Box<KeyOf>,
}

impl Question {
    fn new<A: Message + Default + Serialize>(
        path: &'static str,
        request: &impl Message,
        key: impl Fn(A) -> Option<Vec<u8>> + 'static,
    ) -> Self {
        Self {
            path,
            request: request.encode_to_vec(),
            read: |bytes| A::decode(bytes).ok().map(|answer| to_json(&answer)),
            key: Box::new(move |bytes| key(A::decode(bytes).ok()?)),
        }
    }
}

pub(super) async fn run(globals: &Globals, command: &Query) -> Result<()> {
    match &command.what {
        What::Raw { path, data } => raw(globals, path, data).await,
        What::Invariants => invariants(globals).await,
        What::Balance { address } => {
            let question = account(address)?;
            let value = ask(globals, command, question).await?;
            let balance = value["value"]["balance"].as_u64().unwrap_or(0);
            let shown = json!({ "balance": balance, "denom": "ulock", "proof": value["proof"] });
            say(globals.json, &shown, &render::money(balance));
            Ok(())
        }
        what => {
            let value = ask(globals, command, question(what)?).await?;
            let words = serde_json::to_string_pretty(&value["value"]).unwrap_or_default();
            let words = match &value["proof"] {
                Value::Null => words,
                by => format!(
                    "{words}\nproved under app hash {} of block {}, whose header {} of {} of the voting power \
                     signed; {}",
                    by["app_hash"].as_str().unwrap_or(""),
                    by["height"],
                    by["signed_power"],
                    by["total_power"],
                    if by["anchored"] == true {
                        "they are the validators that you trust"
                    } else {
                        "whether they are the network's validators is not known: give --genesis, or \
                         --validators-hash and --chain-id"
                    }
                ),
            };
            say(globals.json, &value, &words);
            Ok(())
        }
    }
}

fn account(text: &str) -> Result<Question> {
    let text = address(text)?;
    let key = bech32::parse_account(&text).map(|bytes| ACCOUNTS.key(&bytes)).ok();
    let request = member::QueryAccountRequest { address: text };
    let path = "/lockstep.member.v1.Query/Account";
    Ok(Question::new(path, &request, move |_: member::Account| key.clone()))
}

fn question(what: &What) -> Result<Question> {
    Ok(match what {
        What::Account { address } => account(address)?,
        What::Validator { operator: text } => {
            let text = operator(text)?;
            let key = bech32::parse_operator(&text).map(|bytes| VALIDATORS.key(&bytes)).ok();
            let request = staking::QueryValidatorRequest { operator: text };
            let path = "/lockstep.staking.v1.Query/Validator";
            Question::new(path, &request, move |_: staking::Validator| key.clone())
        }
        What::Delegation { delegator, validator } => delegation(delegator, validator)?,
        What::Validators => Question::new(
            "/lockstep.staking.v1.Query/Validators",
            &staking::QueryValidatorsRequest {},
            |_: staking::QueryValidatorsResponse| None,
        ),
        What::Slashes => Question::new(
            "/lockstep.staking.v1.Query/Slashes",
            &staking::QuerySlashesRequest {},
            |_: staking::QuerySlashesResponse| None,
        ),
        What::Params => Question::new(
            "/lockstep.chain.v1.Query/Params",
            &chain::QueryParamsRequest {},
            |_: chain::Params| Some(PARAMS.key(&())),
        ),
        What::Totals => Question::new(
            "/lockstep.chain.v1.Query/Totals",
            &chain::QueryTotalsRequest {},
            |_: chain::Totals| Some(TOTALS.key(&())),
        ),
        What::Tip => Question::new(
            "/lockstep.chain.v1.Query/Tip",
            &chain::QueryTipRequest {},
            |_: chain::Tip| Some(TIP.key(&())),
        ),
        other => of_models_and_jobs(other)?,
    })
}

fn delegation(delegator: &str, validator: &str) -> Result<Question> {
    let request = staking::QueryDelegationRequest {
        delegator: address(delegator)?,
        validator: operator(validator)?,
    };
    let from = bech32::parse_account(&request.delegator).ok();
    let key = bech32::parse_operator(&request.validator).ok().zip(from);
    let key = key.map(|pair| DELEGATIONS.key(&pair));
    let path = "/lockstep.staking.v1.Query/Delegation";
    Ok(Question::new(path, &request, move |_: staking::Delegation| key.clone()))
}

fn of_models_and_jobs(what: &What) -> Result<Question> {
    Ok(match what {
        What::Model { name } => {
            let wanted = name.clone();
            // Names are unique for ever, so the record that bears the name is the one.
            let key = move |it: model::Model| (it.name == wanted).then(|| MODELS.key(&it.id));
            let request = model::QueryModelRequest { name: name.clone() };
            Question::new("/lockstep.model.v1.Query/Model", &request, key)
        }
        What::Models => Question::new(
            "/lockstep.model.v1.Query/Models",
            &model::QueryModelsRequest {},
            |_: model::QueryModelsResponse| None,
        ),
        What::Version { version } => {
            let id = version.parse::<u64>().ok();
            let request = model::QueryVersionRequest {
                model: if id.is_some() { String::new() } else { version.clone() },
                id: id.unwrap_or(0),
                ..model::QueryVersionRequest::default()
            };
            // What a name stands for now is another question, with another proof.
            let key = move |_: model::Version| id.map(|id| VERSIONS.key(&id));
            Question::new("/lockstep.model.v1.Query/Version", &request, key)
        }
        What::Alias { model: name, alias } => {
            let request = model::QueryAliasRequest { model: name.clone(), alias: alias.clone() };
            // Its key holds the model's id, which would have to be proved first.
            Question::new("/lockstep.model.v1.Query/Alias", &request, |_: model::Alias| None)
        }
        What::Job { id } => {
            let key = JOBS.key(id);
            let request = job::QueryJobRequest { id: *id };
            let path = "/lockstep.job.v1.Query/Job";
            Question::new(path, &request, move |_: job::Job| Some(key.clone()))
        }
        What::Jobs { from, limit } => {
            let request = job::QueryJobsRequest { from: *from, limit: *limit };
            let path = "/lockstep.job.v1.Query/Jobs";
            Question::new(path, &request, |_: job::QueryJobsResponse| None)
        }
        What::Trial { job } => {
            let key = TRIALS.key(job);
            let request = trial::QueryTrialRequest { job: *job };
            let path = "/lockstep.trial.v1.Query/Trial";
            Question::new(path, &request, move |_: trial::Trial| Some(key.clone()))
        }
        What::Trials { from } => Question::new(
            "/lockstep.trial.v1.Query/Trials",
            &trial::QueryTrialsRequest { from: *from },
            |_: trial::QueryTrialsResponse| None,
        ),
        other => {
            let what = format!("{other:?} cannot be asked so");
            return Err(Error::usage(what, "see `lockstep query --help`"));
        }
    })
}

/// `{value, proof}`; the proof is null where none was asked for.
async fn ask(globals: &Globals, command: &Query, question: Question) -> Result<Value> {
    let client = client(globals)?;
    let (bytes, by) = if command.prove {
        let headers = match &command.headers {
            Some(url) => lockstep_client::rpc::Client::new(url)?,
            None => client.clone(),
        };
        let key = |value: &[u8]| {
            (question.key)(value).ok_or_else(|| {
                Error::usage(
                    "this answer is not one value of the state, so no single proof covers it",
                    "prove an account, validator, delegation, model, version id, job, params, totals or tip",
                )
            })
        };
        let (path, request) = (question.path, question.request.as_slice());
        let anchor = command.trust.anchor()?;
        let proven = proof::read(&client, &headers, &anchor, (path, request), key).await?;
        (proven.value, to_json(&proven.by))
    } else {
        let answer = client.query(question.path, &question.request, None, false).await?;
        (answer.value, Value::Null)
    };
    let value = (question.read)(&bytes).ok_or_else(|| Error::Protocol {
        url: client.url().into(),
        what: format!("{}: not the message expected", question.path),
    })?;
    Ok(json!({ "value": value, "proof": by }))
}

async fn raw(globals: &Globals, path: &str, data: &str) -> Result<()> {
    let data = hex::decode(data).map_err(|_| {
        Error::usage(format!("`{data}` is no hex"), "the request's protobuf in hex")
    })?;
    let answer = client(globals)?.query(path, &data, None, false).await?;
    let value = hex::encode(&answer.value);
    let shown = json!({ "height": answer.height, "key": hex::encode(&answer.key), "value": value });
    say(globals.json, &shown, &value);
    Ok(())
}

async fn invariants(globals: &Globals) -> Result<()> {
    let broken = query::broken_invariants(&client(globals)?).await?;
    if broken.is_empty() {
        say(globals.json, &json!({ "broken": broken }), "every invariant holds");
        return Ok(());
    }
    let log = format!("broken invariants: {}; hint: stop and report this", broken.join("; "));
    Err(Error::Rejected(lockstep_client::codes::Refusal { code: 0, log }))
}

/// An account's address, or that of a devnet's named account.
pub(super) fn address(text: &str) -> Result<String> {
    if test_index(text).is_some() {
        return Ok(Wallet::test_account(text)?.address_text());
    }
    match bech32::parse_account(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Error::usage(
            format!("`{text}` is no account's address"),
            "lockstep1…; one letter wrong and the checksum shows it",
        )),
    }
}

/// A validator's operator address, or that of a devnet's named validator.
pub(super) fn operator(text: &str) -> Result<String> {
    if test_index(text).is_some() {
        return Ok(bech32::operator(&Wallet::test_account(text)?.address()));
    }
    match bech32::parse_operator(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Error::usage(
            format!("`{text}` is no validator's address"),
            "lockstepvaloper1…; `lockstep query validators` lists them",
        )),
    }
}
