//! The steps that the worker carries out: each does one thing, and can be repeated.

use std::future::Future;
use std::time::Duration;

use lockstep_audit::play::{PlayError, falsify};
use lockstep_chain::address;
use lockstep_chain::commitment::{output_root, result_root};
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::wire::any;
use lockstep_proto::lockstep::job::v1::{Job, RunStatus};
use lockstep_proto::lockstep::model::v1::{LeafProof, MsgProvePossession, Version};
use lockstep_vm::artefact::Manifest;
use lockstep_vm::{merkle, result};
use prost_types::Any;

use crate::backend::Outcome;
use crate::blobs::{BlobError, BlobStore, Peers, Reference, Root};
use crate::metrics;
use crate::node::{Node, NodeError};
use crate::outputs::Outputs;
use crate::plan::{Answer, Me, Order, input_root};
use crate::references::References;
use crate::runner::{RunError, Runner};

/// How long a duty's transaction may wait in mempools, in block time.
const TX_MS: u64 = 120_000;
/// Gas that a duty's transaction asks for: a flat part, and a part for each of its bytes.
const GAS_BASE: u64 = 500_000;
const GAS_PER_BYTE: u64 = 16;
/// Versions that are looked at when models are loaded after a start.
const PRELOAD_MAX: u64 = 64;

/// What steps work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The validator's node.
    pub node: Node,
    /// Blobs that are here.
    pub store: BlobStore,
    /// Other validators' blobs.
    pub peers: Peers,
    /// What the chain references.
    pub references: References,
    /// Where models run.
    pub runner: Runner,
    /// Outputs of the last jobs.
    pub outputs: Outputs,
    /// Who the executor is.
    pub me: Me,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A blob is not to be had.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The node cannot be asked.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Blobs are long in coming.
    #[error("its blobs were not here after {0:?}; hint: `peers` in executor.toml")]
    Slow(Duration),
    /// The model did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What the chain gives as input does not have the root that it gives.
    #[error("job {0}: its input does not have the root that the chain says")]
    Input(u64),
    /// The backend gave an output of another shape than the version's.
    #[error("job {job}: an output of {bytes} bytes does not fit its version")]
    Output {
        /// The job.
        job: u64,
        /// Length of the output.
        bytes: usize,
    },
    /// A trial cannot be played.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The chain's own records are wrong.
    #[error(transparent)]
    State(lockstep_chain::error::Fault),
    /// The transaction was refused.
    #[error("the mempool refused it (code {code}): {log}")]
    Refused {
        /// The chain's code.
        code: u32,
        /// In words.
        log: String,
    },
}

impl StepError {
    /// Whether what was computed here contradicts itself: a bit has flipped.
    pub(crate) fn retake(&self) -> bool {
        matches!(self, Self::Play(error) if error.retake())
    }
}

impl Tools {
    /// Versions that can be called and are not in memory, newest first.
    pub(crate) async fn loadable(&self) -> Result<Vec<u64>, NodeError> {
        let last = self.node.totals().await?.versions;
        let mut versions = Vec::new();
        for id in (last.saturating_sub(PRELOAD_MAX) + 1..=last).rev() {
            if self.node.version(id).await?.callable {
                versions.push(id);
            }
        }
        Ok(versions)
    }

    /// Loads a version where its artefact is here and there is room; says whether it is in memory.
    pub(crate) async fn preload(&self, version: u64) -> Result<bool, StepError> {
        if self.runner.is_loaded(version) {
            return Ok(true);
        }
        let (root, reference) = self.references.artefact(version).await?;
        if !self.has_room(&reference) || !self.store.has(&root).await? {
            return Ok(false);
        }
        Ok(self.runner.load_aside(version, self.store.bytes(&root).await?).await?)
    }

    /// Whether an artefact's model and its longest run fit into memory without putting another out.
    pub(crate) fn has_room(&self, reference: &Reference) -> bool {
        let Reference::Artefact { manifest, .. } = reference else { return false };
        let Ok(manifest) = Manifest::decode(manifest) else { return false };
        let cost = manifest.verified().cost(manifest.verified().tokens_max());
        self.runner.has_room(cost.weight_bytes.saturating_add(cost.memory_bytes))
    }

    /// Fetches, validates and loads a version.
    pub(crate) async fn prepare(&self, version: u64) -> Result<(), StepError> {
        if self.runner.is_loaded(version) {
            return Ok(());
        }
        let (root, reference) = self.references.artefact(version).await?;
        self.peers.fetch(&self.store, &root, &reference).await?;
        self.runner.load(version, self.store.bytes(&root).await?).await?;
        tracing::info!(version, root = hex::encode(root), "model fetched, validated and loaded");
        Ok(())
    }

    /// Fetches a job's input blob.
    pub(crate) async fn fetch_input(&self, job: &Job, root: &Root) -> Result<(), StepError> {
        let reference = Reference::Input { job: job.id, bytes: job.input_bytes };
        Ok(self.peers.fetch(&self.store, root, &reference).await?)
    }

    /// Runs jobs of one version together; each job's answer, or why there is none.
    pub(crate) async fn run(
        &self,
        id: u64,
        orders: Vec<Order>,
    ) -> Result<Vec<(u64, Result<Answer, String>)>, StepError> {
        let version = self.references.version(id).await?;
        let mut answers = Vec::new();
        let (mut ready, mut inputs) = (Vec::new(), Vec::new());
        for order in orders {
            match self.input(&order.job).await {
                Ok(input) => {
                    inputs.push(input);
                    ready.push(order);
                }
                Err(error) => answers.push((order.job.id, Err(error.to_string()))),
            }
        }
        self.prepare(id).await?;
        for (order, outcome) in ready.into_iter().zip(self.runner.run_each(id, inputs).await) {
            let job = order.job.id;
            let answer = outcome
                .map_err(StepError::Run)
                .and_then(|outcome| answer(&version, &order, outcome));
            if let Ok(answer) = &answer {
                self.outputs.put(job, answer.output.clone());
            }
            answers.push((job, answer.map_err(|error| error.to_string())));
        }
        Ok(answers)
    }

    /// A job's token ids, checked against the root that the chain says.
    pub(crate) async fn input(&self, job: &Job) -> Result<Vec<u32>, StepError> {
        let bytes = match input_root(job) {
            Some(root) => self.store.bytes(&root).await?,
            None => job.input.clone().into(),
        };
        if result::input_root(&bytes) != *job.input_root {
            return Err(StepError::Input(job.id));
        }
        result::input_ids(&bytes).ok_or(StepError::Input(job.id))
    }

    /// Shows the leaves of an artefact that the chain asks this validator for. It was validated as a
    /// whole when it was loaded.
    pub(crate) async fn prove(&self, version: u64) -> Result<(), StepError> {
        let operator = address::operator(&self.me.operator);
        let asked = self.node.possession(version, &operator).await?;
        if asked.proved {
            return Ok(());
        }
        let (root, _) = self.references.artefact(version).await?;
        let layout = self.store.layout(&root).await?;
        let tree = merkle::Tree::new(layout.hashes().to_vec());
        let mut leaves = Vec::new();
        for index in asked.leaves {
            let leaf = self.store.leaf(&root, index).await?.to_vec();
            let path = tree.path(index).unwrap_or_default();
            leaves.push(LeafProof { index, leaf, path: path.iter().map(|h| h.to_vec()).collect() });
        }
        let executor = address::account(&self.me.key.address());
        let message = any(&MsgProvePossession { executor, version, leaves });
        // The chain reads the manifest to check the leaves.
        let manifest = layout.manifest().map_or(0, |manifest| manifest.encode().len() as u64);
        self.send(vec![message], manifest.saturating_mul(GAS_PER_BYTE)).await?;
        tracing::info!(version, "possession shown");
        Ok(())
    }

    /// Signs a transaction and sends it. It is unordered, so that several can wait at once, and free
    /// of fees where all of it is duty.
    pub(crate) async fn send(&self, messages: Vec<Any>, extra_gas: u64) -> Result<(), StepError> {
        let address = self.me.key.address();
        let account = self.node.account(&address).await?;
        let (tip, params) = (self.node.tip().await?, self.node.params().await?);
        let bytes: usize = messages.iter().map(prost::Message::encoded_len).sum();
        let gas = GAS_PER_BYTE.saturating_mul(bytes as u64);
        let gas = gas.saturating_add(GAS_BASE).saturating_add(extra_gas);
        let gas_limit = gas.min(params.tx_gas_max);
        let duty = messages.iter().all(is_duty);
        let fee = u128::from(gas_limit) * u128::from(params.gas_price);
        let fee = u64::try_from(fee.div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let tx = Unsigned {
            chain_id: self.me.chain_id.clone(),
            account_number: account.number,
            fee: if duty { 0 } else { fee },
            gas_limit,
            messages,
            unordered_until_ms: Some(tip.time_ms.saturating_add(TX_MS)),
            ..Unsigned::default()
        };
        let sent = self.node.broadcast(tx.sign(self.me.key.signing())).await?;
        metrics::tx_sent(sent.code == 0);
        if sent.code == 0 {
            return Ok(());
        }
        Err(StepError::Refused { code: sent.code, log: sent.log })
    }
}

/// Runs a step on a task of its own, so that a panic in it fails that step alone.
pub(crate) async fn contain<T, E>(
    step: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, String>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    match tokio::spawn(step).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error}; this is a bug, please report it")),
    }
}

fn is_duty(message: &Any) -> bool {
    let mut kinds = lockstep_chain::tx::KINDS.iter();
    kinds.any(|kind| kind.duty && kind.type_url == message.type_url)
}

/// What an outcome means for a job, falsified where that was ordered.
pub(crate) fn answer(
    version: &Version,
    order: &Order,
    outcome: Outcome,
) -> Result<Answer, StepError> {
    let (mut status, mut output) = match outcome {
        Outcome::Halted(output) => (RunStatus::Halted, output),
        Outcome::Fault => (RunStatus::Fault, bytes::Bytes::new()),
    };
    if order.falsify {
        let (wrong, bytes) = falsify(version, &output);
        (status, output) = (wrong, bytes.into());
    }
    let job = &order.job;
    let root = output_root(version, status, &output);
    let root = root.ok_or(StepError::Output { job: job.id, bytes: output.len() })?;
    let result_root = result_root(version, job, status, &root).map_err(StepError::State)?;
    Ok(Answer { status, output, result_root })
}
