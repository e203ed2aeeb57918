//! What a watcher works with: the node, artefacts, and its key.

use std::sync::{Arc, Mutex, PoisonError};

use lockstep_audit::play::{Court, Move, Node, PlayError, Run};
use lockstep_audit::recompute::Holdings;
use lockstep_chain::envelope::{Unsigned, any};
use lockstep_chain::tx::role_bit;
use lockstep_client::rpc::Client;
use lockstep_client::tx::{fee, message::Any};
use lockstep_client::wallet::Wallet;
use lockstep_client::{Error, query};
use lockstep_proto::lockstep::job::v1::{Job, MsgDeliverOutput};
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::trial::v1::{QueryTraceNodesRequest, QueryTrialRequest, Trial};
use tokio::task::spawn_blocking;

/// How long a transaction may wait in mempools, in block time.
const TX_MS: u64 = 120_000;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error(transparent)]
    Client(#[from] Error),
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error(transparent)]
    Audit(#[from] lockstep_audit::Stop),
}

pub(super) struct Bench {
    pub(super) client: Client,
    pub(super) wallet: Wallet,
    pub(super) chain_id: String,
    account_number: u64,
    holdings: Arc<Mutex<Holdings>>,
}

impl Bench {
    pub(super) async fn open(
        client: Client,
        wallet: Wallet,
        chain_id: Option<&str>,
        holdings: Holdings,
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
            account_number: account.number,
            chain_id: found,
            holdings: Arc::new(Mutex::new(holdings)),
            client,
            wallet,
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
        let version = query::version_by_id(&self.client, job.version).await?;
        let (holdings, job) = (Arc::clone(&self.holdings), job.clone());
        let run = spawn_blocking(move || {
            holdings.lock().unwrap_or_else(PoisonError::into_inner).run(&version, &job)
        });
        Ok(run.await.map_err(PlayError::trace)??)
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
        self.broadcast(vec![message]).await
    }

    /// Signs and sends: unordered, so that several can wait at once, and free where it is duty.
    async fn broadcast(&self, messages: Vec<Any>) -> Result<(), WatchError> {
        let (tip, params) =
            tokio::try_join!(query::tip(&self.client), query::params(&self.client))?;
        let is_duty = |message: &Any| {
            let mut kinds = lockstep_chain::tx::KINDS.iter();
            kinds.any(|kind| kind.duty && kind.type_url == message.type_url)
        };
        let duty = messages.iter().all(is_duty);
        let gas_limit = params.tx_gas_max;
        let unsigned = Unsigned {
            chain_id: self.chain_id.clone(),
            account_number: self.account_number,
            gas_limit,
            fee: if duty { 0 } else { fee(gas_limit, params.gas_price) },
            messages,
            unordered_until_ms: Some(tip.time_ms.saturating_add(TX_MS)),
            ..Unsigned::default()
        };
        Ok(self.client.broadcast(&unsigned.sign(self.wallet.key())).await?)
    }
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
        self.broadcast(it.messages(&self.wallet.address(), job)).await
    }
}
