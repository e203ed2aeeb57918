//! What a watcher works with: the node, artefacts, and its key.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lockstep_audit::play::{Court, Move, Node, PlayError, Program, Run};
use lockstep_chain::envelope::{Unsigned, any};
use lockstep_chain::tx::role_bit;
use lockstep_client::blobs::{self, Blobs, INPUT_BYTES_MAX};
use lockstep_client::rpc::Client;
use lockstep_client::tx::{fee, message::Any};
use lockstep_client::wallet::Wallet;
use lockstep_client::{Error, query};
use lockstep_proto::lockstep::job::v1::{Job, MsgDeliverOutput};
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_proto::lockstep::trial::v1::{QueryTraceNodesRequest, QueryTrialRequest, Trial};
use lockstep_vm::artefact::Reader;
use lockstep_vm::result::{input_ids, input_root};
use tokio::task::spawn_blocking;

/// How long a transaction may wait in mempools, in block time.
const TX_MS: u64 = 120_000;
/// Bytes of an artefact that is fetched at most.
const ARTEFACT_BYTES_MAX: usize = 8 << 30;
/// Models that are kept in memory.
const PROGRAMS_MAX: usize = 2;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error(transparent)]
    Client(#[from] Error),
    #[error(transparent)]
    Play(#[from] PlayError),
}

pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) wallet: Wallet,
    pub(super) chain_id: String,
    blobs: Blobs,
    /// Artefacts in the folder, by root.
    files: BTreeMap<Vec<u8>, PathBuf>,
    account_number: u64,
    threads: usize,
    programs: Mutex<BTreeMap<u64, (Program, Version)>>,
}

impl Bench {
    pub(super) async fn open(
        client: Client,
        blobs: &str,
        wallet: Wallet,
        chain_id: Option<&str>,
        artefacts: Option<&Path>,
        threads: usize,
    ) -> Result<Self, Error> {
        let found = client.status().await?.chain_id;
        if chain_id.is_some_and(|expected| expected != found) {
            let what = format!("{} is on another network, {found}", client.url());
            return Err(Error::usage(what, "check --node and --chain-id"));
        }
        wallet.allow_on(&found)?;
        let account = query::account(&client, &wallet.address_text()).await?;
        let roles = role_bit(Role::Auditor) | role_bit(Role::Executor);
        if account.roles & roles == 0 {
            let what = format!("{} is neither auditor nor executor", wallet.address_text());
            let hint = "the council grants the role: `lockstep role grant ACCOUNT auditor`";
            return Err(Error::usage(what, hint));
        }
        Ok(Self {
            blobs: Blobs::new(blobs)?,
            files: artefacts.map(scan).transpose()?.unwrap_or_default(),
            account_number: account.number,
            chain_id: found,
            programs: Mutex::default(),
            client,
            wallet,
            threads,
        })
    }

    /// The jobs whose answer can still be challenged.
    pub(super) async fn verified(&self) -> Result<Vec<Job>, WatchError> {
        let (mut from, mut jobs) = (1, Vec::new());
        loop {
            let page = query::verified(&self.client, from).await?.jobs;
            let Some(last) = page.last() else { return Ok(jobs) };
            from = last.id.saturating_add(1);
            jobs.extend(page);
        }
    }

    /// Runs a job again.
    pub(super) async fn recompute(&self, job: &Job) -> Result<Run, WatchError> {
        let (program, version) = self.program(job.version).await?;
        let input = if job.input.is_empty() {
            self.blobs.fetch(&job.input_root, INPUT_BYTES_MAX).await?
        } else {
            job.input.clone()
        };
        let ids = input_ids(&input).filter(|_| input_root(&input).as_slice() == job.input_root);
        let ids = ids.ok_or_else(|| PlayError::trace("the input does not have the job's root"))?;
        let job = job.clone();
        let run = spawn_blocking(move || program.repeat(&version, &job, &ids));
        Ok(run.await.map_err(PlayError::trace)??)
    }

    async fn program(&self, id: u64) -> Result<(Program, Version), WatchError> {
        let lock = || self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = lock().get(&id) {
            return Ok(loaded.clone());
        }
        let version = query::version_by_id(&self.client, id).await?;
        let threads = self.threads;
        let load = if let Some(path) = self.files.get(&version.artefact_root).cloned() {
            spawn_blocking(move || {
                let reader = blobs::open(&path).map_err(PlayError::trace)?;
                Program::load(reader, threads)
            })
        } else {
            let bytes = self.blobs.fetch(&version.artefact_root, ARTEFACT_BYTES_MAX).await?;
            spawn_blocking(move || {
                let reader = Reader::new(Cursor::new(bytes)).map_err(PlayError::trace)?;
                Program::load(reader, threads)
            })
        };
        let program = load.await.map_err(PlayError::trace)??;
        if program.root().as_slice() != version.artefact_root {
            return Err(PlayError::trace("the blob service gave another artefact").into());
        }
        let mut programs = lock();
        while programs.len() >= PROGRAMS_MAX {
            programs.pop_first();
        }
        programs.insert(id, (program.clone(), version.clone()));
        Ok((program, version))
    }

    /// Hands in the output behind an own answer.
    pub(super) async fn deliver(
        &self,
        job: u64,
        status: i32,
        output: Vec<u8>,
    ) -> Result<(), WatchError> {
        let executor = self.wallet.address_text();
        let message = any(&MsgDeliverOutput { executor, job, status, output });
        self.broadcast(message, Move::GAS).await
    }

    /// Signs and sends: unordered, so that several can wait at once, and free where it is duty.
    async fn broadcast(&self, message: Any, gas: u64) -> Result<(), WatchError> {
        let (tip, params) =
            tokio::try_join!(query::tip(&self.client), query::params(&self.client))?;
        let mut kinds = lockstep_chain::tx::KINDS.iter();
        let duty = kinds.any(|kind| kind.duty && kind.type_url == message.type_url);
        let gas_limit = gas.min(params.tx_gas_max);
        let unsigned = Unsigned {
            chain_id: self.chain_id.clone(),
            account_number: self.account_number,
            gas_limit,
            fee: if duty { 0 } else { fee(gas_limit, params.gas_price) },
            messages: vec![message],
            unordered_until_ms: Some(tip.time_ms.saturating_add(TX_MS)),
            ..Unsigned::default()
        };
        Ok(self.client.broadcast(&unsigned.sign(self.wallet.key())).await?)
    }
}

/// The artefacts in a folder.
fn scan(folder: &Path) -> Result<BTreeMap<Vec<u8>, PathBuf>, Error> {
    let failed = |cause: std::io::Error| Error::file("read", folder, cause);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Other files may lie there, too.
        if let Ok(reader) = blobs::open(&path) {
            files.insert(reader.manifest().root().to_vec(), path);
        }
    }
    Ok(files)
}

impl Court for Bench {
    type Error = WatchError;

    async fn trial(&self, job: u64) -> Result<Option<Trial>, WatchError> {
        let path = "/lockstep.trial.v1.Query/Trial";
        match query::ask(&self.client, path, &QueryTrialRequest { job }).await {
            Ok(trial) => Ok(Some(trial)),
            Err(Error::Rejected(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn nodes(&self, job: u64, node: Node) -> Result<Vec<u8>, WatchError> {
        let Node { trace, level, position } = node;
        let request = QueryTraceNodesRequest { job, trace, level, position };
        Ok(query::trace_nodes(&self.client, &request).await?)
    }

    async fn send(&self, job: u64, it: Move) -> Result<(), WatchError> {
        let gas = it.gas();
        self.broadcast(it.message(&self.wallet.address(), job), gas).await
    }
}
