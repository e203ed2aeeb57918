//! A network in this process: the real state machine, without CometBFT, behind the sockets that
//! nodes serve. Every executor in it is the real one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use k256::ecdsa::SigningKey;
use lockstep_chain::address::{self, Address};
use lockstep_chain::block::{Block, Header, finalize, init_chain};
use lockstep_chain::envelope::{K256, Unsigned, public_key_of};
use lockstep_chain::error::{
    INSUFFICIENT_FUNDS, NO_SUCH_JOB, NO_SUCH_MEMBER, NO_SUCH_MODEL, TxError,
};
use lockstep_chain::event::Event;
use lockstep_chain::genesis::{Genesis, GenesisAccount, GenesisValidator, default_params};
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::{ACCOUNTS, JOBS, VERSIONS};
use lockstep_chain::trial::NOT_ON_TRIAL;
use lockstep_chain::wire::any;
use lockstep_chain::{extension, mempool, query};
use lockstep_executor::backend::golden_artefact;
use lockstep_executor::config::Config;
use lockstep_executor::executor::Executor;
use lockstep_proto::lockstep::block::v1::{ExtendedCommit, ExtendedVote, VoteExtension};
use lockstep_proto::lockstep::job::v1::{Job, MsgPostJob};
use lockstep_proto::lockstep::model::v1::{MsgPublishVersion, MsgRegisterModel, Version};
use lockstep_vm::artefact::Reader;
use prost::Message as _;
use prost_types::Any;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The network's id; faults may be injected in it.
pub(crate) const CHAIN: &str = "lockstep-devnet-x";

/// Everything that the nodes share.
pub(crate) struct Chain {
    pub(crate) state: MemoryState,
    pub(crate) mempool: Vec<Vec<u8>>,
    pub(crate) offers: Vec<VoteExtension>,
    pub(crate) height: u64,
    /// Everything that observers were told.
    pub(crate) events: Vec<Event>,
    /// So many challenges are lost on their way into a block.
    pub(crate) challenges_to_lose: usize,
    /// Queries of each node, by path.
    pub(crate) asked: Vec<(usize, String)>,
}

/// N validators.
pub(crate) struct Network {
    pub(crate) chain: Arc<Mutex<Chain>>,
    pub(crate) operators: Vec<Address>,
    pub(crate) homes: Vec<tempfile::TempDir>,
    heights: watch::Sender<u64>,
}

/// An executor that runs.
pub(crate) struct Running {
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<Result<(), String>>,
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 32]).unwrap()
}

fn address_of(key: &SigningKey) -> Address {
    address::from_public_key(&public_key_of(key))
}

/// Council, publisher and developer in one.
fn user() -> SigningKey {
    key(99)
}

fn consensus_key(number: u8) -> [u8; 32] {
    [number.wrapping_add(100); 32]
}

pub(crate) fn genesis(validators: u8) -> Genesis {
    let me = address_of(&user());
    let roles = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
    let account = |address: &Address, balance, list: &[&str]| GenesisAccount {
        address: address::account(address),
        balance,
        roles: roles(list),
    };
    let mut genesis = Genesis { params: default_params(&me), ..Genesis::default() };
    genesis.params.commit_window_blocks = 30;
    genesis.params.commit_window_ms = 1;
    genesis.params.reveal_window_blocks = 30;
    genesis.params.reveal_window_ms = 1;
    genesis.params.challenge_window_blocks = 12;
    // Half of what is left of it, the watch has for a trace.
    genesis.params.challenge_window_ms = 3600;
    genesis.params.trial_bond = 1000;
    genesis.params.trial_defend_blocks = 20;
    genesis.params.trial_defend_ms = 1;
    genesis.params.trial_call_blocks = 20;
    genesis.params.trial_call_ms = 1;
    genesis.params.trial_move_blocks = 20;
    genesis.params.trial_move_ms = 1;
    genesis.accounts.push(account(&me, 1 << 40, &["council", "publisher", "developer"]));
    for number in 1..=validators {
        let (operator, executor) = (address_of(&key(number)), address_of(&key(number + 50)));
        genesis.accounts.push(account(&operator, 0, &["validator"]));
        genesis.accounts.push(account(&executor, 1_000_000, &["executor"]));
        genesis.validators.push(GenesisValidator {
            operator: address::operator(&operator),
            consensus_key: hex::encode(consensus_key(number)),
            moniker: format!("v{number}"),
            stake: 10_000_000,
            executor: address::account(&executor),
        });
    }
    genesis
}

impl Network {
    /// Starts the chain and a socket for each validator.
    pub(crate) fn start(validators: u8) -> Self {
        Self::start_with(&genesis(validators))
    }

    /// As [`Network::start`], from another genesis.
    pub(crate) fn start_with(genesis: &Genesis) -> Self {
        let validators = u8::try_from(genesis.validators.len()).unwrap();
        // Shown only where a test fails.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        let mut state = MemoryState::default();
        let (writes, _) = init_chain(genesis, CHAIN, 1, 1_000_000).unwrap();
        state.apply(writes);
        let offers = vec![VoteExtension::default(); validators.into()];
        let chain = Chain {
            state,
            mempool: Vec::new(),
            offers,
            height: 0,
            events: Vec::new(),
            challenges_to_lose: 0,
            asked: Vec::new(),
        };
        let (heights, _) = watch::channel(0);
        let mut network = Self {
            chain: Arc::new(Mutex::new(chain)),
            operators: (1..=validators).map(|number| address_of(&key(number))).collect(),
            homes: Vec::new(),
            heights,
        };
        for number in 0..usize::from(validators) {
            let home = tempfile::tempdir().unwrap();
            let secret = hex::encode([u8::try_from(number).unwrap() + 51; 32]);
            let path = home.path().join("executor.key");
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            network.homes.push(home);
            network.serve(number);
        }
        network.step();
        network
    }

    /// Where a validator's node listens.
    pub(crate) fn socket(&self, number: usize) -> PathBuf {
        self.homes[number].path().join("node.sock")
    }

    /// (Re)starts the node of a validator, with nothing on offer.
    pub(crate) fn serve(&self, number: usize) -> JoinHandle<()> {
        let _ = std::fs::remove_file(self.socket(number));
        let listener = tokio::net::UnixListener::bind(self.socket(number)).unwrap();
        self.chain.lock().unwrap().offers[number] = VoteExtension::default();
        let node = Node {
            number,
            operator: self.operators[number],
            chain: Arc::clone(&self.chain),
            heights: self.heights.subscribe(),
        };
        let router = Router::new()
            .route("/v1/self", get(identity))
            .route("/v1/duties", get(duties))
            .route("/v1/offers", post(offers))
            .route("/v1/txs", post(txs))
            .route("/v1/query", get(ask))
            .with_state(node);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
    }

    /// Runs the executor of a validator.
    pub(crate) fn run(&self, number: usize, change: impl FnOnce(&mut Config)) -> Running {
        let mut config = Config {
            node_socket: "node.sock".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        change(&mut config);
        let executor = Executor::open(self.homes[number].path(), config).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            executor.run(None, stopped).await.map_err(|error| error.to_string())
        });
        Running { stop, task }
    }

    /// Executes a block with what is on offer and in the mempool.
    pub(crate) fn step(&self) -> u64 {
        let mut chain = self.chain.lock().unwrap();
        let mut votes = Vec::new();
        for (number, operator) in self.operators.iter().enumerate() {
            let key = consensus_key(u8::try_from(number).unwrap() + 1);
            let extension = extension::extend(&chain.state, operator, &chain.offers[number]);
            votes.push(ExtendedVote {
                validator_address: address::from_consensus_key(&key).to_vec(),
                extension: extension.unwrap(),
                signature: vec![0; 64],
            });
        }
        votes.sort_by(|a, b| a.validator_address.cmp(&b.validator_address));
        let commit = ExtendedCommit { empty: false, round: 0, votes };
        let mut txs = vec![commit.encode_to_vec()];
        txs.append(&mut chain.mempool);
        chain.height += 1;
        let (height, hash) = (chain.height, [7; 32]);
        let header = Header { height, time_ms: 1_000_000 + height * 300, hash };
        let block = Block { header, txs: &txs, evidence: Vec::new() };
        let outcome = finalize(&chain.state, &block, &K256).unwrap();
        for tx in &outcome.txs {
            // A duty's transaction may come after a vote that did the same, and a move of a trial
            // after another's that did.
            let late = (4200..4500).contains(&tx.code) || (4600..5200).contains(&tx.code);
            // Of two challenges that the mempool took, there may be funds for one.
            let poor = tx.code == INSUFFICIENT_FUNDS.code;
            assert!(tx.code == 0 || late || poor, "{}", tx.log);
        }
        chain.events.extend(outcome.txs.into_iter().flat_map(|tx| tx.events));
        chain.events.extend(outcome.events);
        chain.state.apply(outcome.writes);
        drop(chain);
        self.heights.send_replace(height);
        height
    }

    /// Steps until `done` gives something, with time for the executors after each block.
    pub(crate) async fn until<T>(&self, what: &str, done: impl Fn(&Chain) -> Option<T>) -> T {
        for _ in 0..400 {
            if let Some(found) = done(&self.chain.lock().unwrap()) {
                return found;
            }
            self.step();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        panic!("it never happened that {what}");
    }

    /// Waits, without a block, until `done`.
    pub(crate) async fn wait(&self, what: &str, done: impl Fn(&Chain) -> bool) {
        for _ in 0..1000 {
            if done(&self.chain.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never happened that {what}");
    }

    /// Sends messages of the user's account, and executes a block with them.
    pub(crate) fn send(&self, message: Any) -> u64 {
        {
            let mut chain = self.chain.lock().unwrap();
            let account = ACCOUNTS.get(&chain.state, &address_of(&user())).unwrap().unwrap();
            let tx = Unsigned {
                chain_id: CHAIN.to_owned(),
                account_number: account.number,
                sequence: account.sequence,
                fee: 5_000,
                gas_limit: 5_000_000,
                messages: vec![message],
                ..Unsigned::default()
            };
            chain.mempool.push(tx.sign(&user()));
        }
        self.step()
    }

    /// Publishes the golden artefact as `golden`.
    pub(crate) fn publish(&self) -> Version {
        let owner = address::account(&address_of(&user()));
        self.send(any(&MsgRegisterModel {
            owner: owner.clone(),
            name: "golden".to_owned(),
            licence: "MIT".to_owned(),
            ..MsgRegisterModel::default()
        }));
        let artefact = std::io::Cursor::new(golden_artefact().unwrap());
        let manifest = Reader::new(artefact).unwrap().manifest().encode().to_vec();
        let model = "golden".to_owned();
        self.send(any(&MsgPublishVersion { owner, model, manifest }));
        VERSIONS.get(&self.chain.lock().unwrap().state, &1).unwrap().unwrap()
    }

    /// Posts a job with inline tokens.
    pub(crate) fn post(&self, tokens: &[u32]) -> u64 {
        let input = lockstep_vm::result::input_bytes(tokens);
        self.post_message(MsgPostJob { input, ..MsgPostJob::default() })
    }

    pub(crate) fn post_message(&self, message: MsgPostJob) -> u64 {
        self.send(any(&MsgPostJob {
            poster: address::account(&address_of(&user())),
            model: "golden".to_owned(),
            max_fee: 1_000_000,
            ..message
        }));
        let chain = self.chain.lock().unwrap();
        (1..1000).take_while(|id| JOBS.get(&chain.state, id).unwrap().is_some()).last().unwrap()
    }

    /// The account of a validator's executor, as events name it.
    pub(crate) fn executor(number: usize) -> String {
        address::account(&address_of(&key(u8::try_from(number).unwrap() + 51)))
    }

    pub(crate) fn job(&self, id: u64) -> Job {
        job_of(&self.chain.lock().unwrap(), id)
    }
}

/// An attribute of each event of a kind that is about a job.
pub(crate) fn told(chain: &Chain, kind: &str, job: u64, name: &str) -> Vec<String> {
    let value = |event: &Event, name: &str| {
        let mut attributes = event.attributes.iter();
        attributes.find(|(it, _)| it == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let about = chain.events.iter().filter(|event| event.kind == kind);
    let about = about.filter(|event| value(event, "job") == job.to_string());
    about.map(|event| value(event, name)).collect()
}

pub(crate) fn job_of(chain: &Chain, id: u64) -> Job {
    JOBS.get(&chain.state, &id).unwrap().unwrap()
}

/// Whether the version can be called.
pub(crate) fn callable(chain: &Chain) -> Option<()> {
    VERSIONS.get(&chain.state, &1).unwrap().filter(|version| version.callable).map(drop)
}

#[derive(Clone)]
struct Node {
    number: usize,
    operator: Address,
    chain: Arc<Mutex<Chain>>,
    heights: watch::Receiver<u64>,
}

async fn identity(State(node): State<Node>) -> String {
    let operator = address::operator(&node.operator);
    format!(r#"{{"chain_id":"{CHAIN}","operator":"{operator}","executor":""}}"#)
}

#[derive(serde::Deserialize)]
struct After {
    after: u64,
}

async fn duties(State(mut node): State<Node>, Query(query): Query<After>) -> Vec<u8> {
    let news = node.heights.wait_for(|height| *height > query.after);
    let _ = tokio::time::timeout(Duration::from_secs(10), news).await;
    let chain = node.chain.lock().unwrap();
    query::duties(&chain.state, &node.operator).unwrap().encode_to_vec()
}

async fn offers(State(node): State<Node>, body: Bytes) -> StatusCode {
    let offers = VoteExtension::decode(body).unwrap();
    node.chain.lock().unwrap().offers[node.number] = offers;
    StatusCode::NO_CONTENT
}

async fn txs(State(node): State<Node>, body: Bytes) -> String {
    let mut chain = node.chain.lock().unwrap();
    let outcome = mempool::check_tx(&chain.state, &body, &K256).unwrap();
    let challenge = b"trial.v1.MsgChallenge";
    let challenges = body.windows(challenge.len()).any(|it| it == challenge);
    if outcome.code == 0 && challenges && chain.challenges_to_lose > 0 {
        chain.challenges_to_lose -= 1;
    } else if outcome.code == 0 {
        chain.mempool.push(body.to_vec());
    }
    serde_json::json!({"code": outcome.code, "log": outcome.log, "hash": ""}).to_string()
}

#[derive(serde::Deserialize)]
struct Ask {
    path: String,
    data: String,
}

async fn ask(State(node): State<Node>, Query(ask): Query<Ask>) -> Result<Vec<u8>, StatusCode> {
    let mut chain = node.chain.lock().unwrap();
    chain.asked.push((node.number, ask.path.clone()));
    match query::query(&chain.state, &ask.path, &hex::decode(ask.data).unwrap()) {
        Ok(answer) => Ok(answer.value),
        Err(TxError::Reject(NO_SUCH_JOB | NO_SUCH_MODEL | NO_SUCH_MEMBER | NOT_ON_TRIAL)) => {
            Err(StatusCode::NOT_FOUND)
        }
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}
