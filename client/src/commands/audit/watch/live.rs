//! A real node, real models.

use std::sync::Arc;

use lockstep_audit::play::{Answer, Court, Move, Node, PlayError, Run};
use lockstep_audit::recompute::Holdings;
use lockstep_chain::address::Address;
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::tx::role_bit;
use lockstep_chain::wire::any;
use lockstep_client::rpc::Client;
use lockstep_client::tx::{fee, message::Any};
use lockstep_client::wallet::Wallet;
use lockstep_client::{Error, query};
use lockstep_proto::lockstep::chain::v1::{Params, Tip};
use lockstep_proto::lockstep::job::v1::{Job, MsgDeliverOutput};
use lockstep_proto::lockstep::member::v1::Role;
use lockstep_proto::lockstep::model::v1::Version;
use lockstep_proto::lockstep::trial::v1::{QueryTraceNodesRequest, Trial};
use tokio::task::spawn_blocking;

use super::bench::{Again, Bench, WatchError};

/// How long a transaction may wait in mempools, in block time.
const TX_MS: u64 = 120_000;

pub(super) struct Live {
    client: Client,
    wallet: Wallet,
    pub(super) chain_id: String,
    account_number: u64,
    holdings: Arc<Holdings>,
}

impl Live {
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
            holdings: Arc::new(holdings),
            client,
            wallet,
        })
    }

    /// Reads, loads and computes where that holds up nobody.
    async fn with_holdings<T: Send + 'static>(
        &self,
        job: &Job,
        work: impl FnOnce(&Holdings, &Version, &Job) -> lockstep_audit::Result<T> + Send + 'static,
    ) -> Result<T, WatchError> {
        let version = query::version_by_id(&self.client, job.version).await?;
        let (holdings, job) = (Arc::clone(&self.holdings), job.clone());
        let done = spawn_blocking(move || work(&holdings, &version, &job)).await;
        Ok(done.map_err(PlayError::trace)??)
    }

    /// Signs and sends: unordered, so that several can wait at once, and free where it is duty.
    async fn broadcast(&self, messages: Vec<Any>) -> Result<(), WatchError> {
        let (tip, params) = tokio::try_join!(self.tip(), self.params())?;
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

impl Court for Live {
    type Error = WatchError;

    async fn trial(&self, job: u64) -> Result<Option<Trial>, WatchError> {
        match query::trial(&self.client, job).await {
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

    fn refuses(error: &WatchError) -> bool {
        matches!(error, WatchError::Client(Error::Rejected(_)))
    }
}

impl Bench for Live {
    type Run = Run;

    fn account(&self) -> Address {
        self.wallet.address()
    }

    async fn tip(&self) -> Result<Tip, WatchError> {
        Ok(query::tip(&self.client).await?)
    }

    async fn params(&self) -> Result<Params, WatchError> {
        Ok(query::params(&self.client).await?)
    }

    async fn trials(&self) -> Result<Vec<Trial>, WatchError> {
        Ok(query::trials(&self.client).await?.trials)
    }

    async fn verified(&self) -> Result<Vec<Job>, WatchError> {
        let (mut from, mut jobs) = (1, Vec::new());
        loop {
            let page = query::verified(&self.client, from).await?.jobs;
            let Some(last) = page.last() else { return Ok(jobs) };
            // A node that repeats itself is not asked for ever.
            from = last.id.max(from).saturating_add(1);
            jobs.extend(page);
        }
    }

    async fn job(&self, id: u64) -> Result<Job, WatchError> {
        Ok(query::job(&self.client, id).await?)
    }

    async fn recompute(&self, job: &Job) -> Result<Again<Run>, WatchError> {
        let run = self.with_holdings(job, Holdings::run).await?;
        Ok(Again { output: run.output().to_vec(), run })
    }

    async fn confirm(&self, job: &Job, first: Answer) -> Result<Answer, WatchError> {
        let again = move |holdings: &Holdings, version: &Version, job: &Job| {
            holdings.confirm(version, job, &first)
        };
        self.with_holdings(job, again).await
    }

    async fn deliver(&self, job: u64, status: i32, output: Vec<u8>) -> Result<(), WatchError> {
        let executor = self.wallet.address_text();
        let message = any(&MsgDeliverOutput { executor, job, status, output });
        self.broadcast(vec![message]).await
    }
}
