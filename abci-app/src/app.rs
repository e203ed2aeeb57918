//! The node between CometBFT and the chain: one ABCI call, one call of the chain.
//!
//! `FinalizeBlock` computes and keeps, Commit writes. A process that dies in between finds the state
//! of the last Commit, says so in Info, and CometBFT replays the block.

use std::sync::Arc;
use std::time::Instant;

use lockstep_chain::address::Address;
use lockstep_chain::block::{self, Block, Outcome, TxOutcome, ValidatorUpdate};
use lockstep_chain::error::Fault;
use lockstep_chain::genesis::{Genesis, GenesisError};
use lockstep_chain::proposal::Refusal;
use lockstep_chain::state::StateRead;
use lockstep_chain::state::tables::{CONSENSUS_KEYS, Hash};
use lockstep_chain::{extension, mempool, proposal};
use lockstep_proto::lockstep::block::v1::{ExtendedCommit, VoteExtension};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::metrics as names;
use crate::store::Store;
use crate::verdicts::Verdicts;
use crate::waiting::Waiting;

/// How a node answers where the chain leaves a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppOptions {
    /// Blocks that CometBFT keeps; 0 keeps all.
    pub blocks_retained: u64,
    /// First 20 bytes of SHA-256 of the key that this node votes with; none for a node that only
    /// follows.
    pub consensus_address: Option<Address>,
}

/// The application, shared by CometBFT's four connections and the node's own services.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    options: AppOptions,
    /// Held for reading while the committed state is read without a snapshot, for writing while a
    /// Commit replaces it. Queries read snapshots and hold nothing.
    gate: RwLock<()>,
    /// One call of `FinalizeBlock` or `Commit` at a time.
    consensus: Mutex<()>,
    verdicts: Verdicts,
    /// What the executor has on offer for vote extensions; lost at a restart, then sent again.
    offers: RwLock<VoteExtension>,
    /// What the last vote carried: on its way, though the state does not show it yet.
    carried: Mutex<VoteExtension>,
    committed: watch::Sender<u64>,
    waiting: Mutex<Waiting>,
}

/// What Info reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// The last committed height; 0 before the first block.
    pub height: u64,
    /// The app hash after it; none before the genesis state.
    pub app_hash: Option<Hash>,
}

/// Why a chain cannot begin here.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// `app_state` is not that of a Lockstep chain.
    #[error(
        "app_state of the genesis file does not parse: {0}\n\
         hint: make the file with `lockstepd devnet`, or compare it with genesis/README.md"
    )]
    Malformed(#[from] serde_json::Error),
    /// It parses and is not valid.
    #[error(transparent)]
    Invalid(#[from] GenesisError),
    /// This node cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl App {
    /// The application on top of an open store.
    #[must_use]
    pub fn new(store: Store, options: AppOptions) -> Self {
        let committed = watch::Sender::new(store.height().unwrap_or(0));
        Self(Arc::new(Inner {
            store,
            options,
            gate: RwLock::new(()),
            consensus: Mutex::new(()),
            verdicts: Verdicts::default(),
            offers: RwLock::new(VoteExtension::default()),
            carried: Mutex::new(VoteExtension::default()),
            committed,
            waiting: Mutex::default(),
        }))
    }

    /// The store, for queries.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Tells of every committed height.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    /// Replaces what the executor offers for vote extensions.
    pub fn offer(&self, offers: VoteExtension) {
        *self.0.offers.write() = offers;
    }

    /// Where this node stands.
    #[must_use]
    pub fn info(&self) -> Last {
        let _gate = self.0.gate.read();
        let height = self.0.store.height();
        Last { height: height.unwrap_or(0), app_hash: height.map(|_| self.0.store.app_hash()) }
    }

    /// Writes the genesis state; repeatable until the first block.
    ///
    /// # Errors
    /// [`InitError`].
    pub fn init_chain(
        &self,
        app_state: &[u8],
        chain_id: &str,
        initial_height: u64,
        time_ms: u64,
    ) -> Result<(Hash, Vec<ValidatorUpdate>), InitError> {
        let genesis: Genesis = serde_json::from_slice(app_state)?;
        let _one = self.0.consensus.lock();
        self.0.store.bind_chain(chain_id)?;
        let (writes, validators) = block::init_chain(&genesis, chain_id, initial_height, time_ms)?;
        // Height 0 tells CometBFT that there is no block yet, so that it calls this again after a
        // crash.
        let app_hash = self.0.store.finalize(0, writes)?;
        let _gate = self.0.gate.write();
        self.0.store.commit()?;
        Ok((app_hash, validators))
    }

    /// Whether a transaction may wait for a block.
    ///
    /// # Errors
    /// Only a fault, which ends the process.
    pub fn check_tx(&self, tx: &[u8]) -> Result<TxOutcome, Fault> {
        let _gate = self.0.gate.read();
        let mut outcome = mempool::check_tx(&self.0.store, tx, &self.0.verdicts)?;
        if outcome.code == 0
            && let Some(place) = mempool::place(&self.0.store, tx)?
            && let Err(reject) = self.0.waiting.lock().admit(tx, &place)
        {
            outcome = TxOutcome::refused(reject);
        }
        let result = if outcome.code == 0 { "taken" } else { "refused" };
        metrics::counter!(names::CHECKED, "result" => result).increment(1);
        Ok(outcome)
    }

    /// The transactions of a block that this node proposes.
    ///
    /// # Errors
    /// Only a fault.
    pub fn prepare(
        &self,
        height: u64,
        bytes_max: u64,
        commit: Option<ExtendedCommit>,
        txs: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let _gate = self.0.gate.read();
        proposal::prepare(&self.0.store, height, bytes_max, commit, txs)
    }

    /// Whether this node votes for a proposed block.
    ///
    /// # Errors
    /// Only a fault.
    pub fn process(&self, height: u64, txs: &[Vec<u8>]) -> Result<Result<(), Refusal>, Fault> {
        let _gate = self.0.gate.read();
        let verdict = proposal::process(&self.0.store, height, txs)?;
        if let Err(refusal) = &verdict {
            metrics::counter!(names::PROPOSALS_REFUSED).increment(1);
            tracing::warn!(height, %refusal, "refused a proposed block");
        } else {
            self.0.verdicts.warm(&self.0.store, txs)?;
        }
        Ok(verdict)
    }

    /// What this node adds to its precommit: of the executor's offers, what the committed state asks
    /// for. Waits for nobody.
    ///
    /// # Errors
    /// Only a fault.
    pub fn extend(&self) -> Result<Vec<u8>, Fault> {
        let _gate = self.0.gate.read();
        let Some(operator) = self.operator_in(&self.0.store)? else { return Ok(Vec::new()) };
        let mut offers = self.0.offers.read().clone();
        let mut carried = self.0.carried.lock();
        fresh_first(&mut offers, &carried);
        let bytes = extension::extend(&self.0.store, &operator, &offers)?;
        *carried = extension::decode(&bytes).unwrap_or_default();
        metrics::histogram!(names::EXTENSION_BYTES)
            .record(names::approximate(bytes.len().try_into().unwrap_or(u64::MAX)));
        Ok(bytes)
    }

    /// The operator whose validator this node votes for, as the last committed state has it.
    ///
    /// # Errors
    /// Only a fault.
    pub fn operator(&self) -> Result<Option<Address>, Fault> {
        let _gate = self.0.gate.read();
        self.operator_in(&self.0.store)
    }

    fn operator_in(&self, state: &dyn StateRead) -> Result<Option<Address>, Fault> {
        let Some(address) = self.0.options.consensus_address else { return Ok(None) };
        if self.0.store.height().is_none() {
            return Ok(None);
        }
        let found = CONSENSUS_KEYS.get(state, &address)?;
        Ok(found.and_then(|bytes| Address::try_from(bytes.as_slice()).ok()))
    }

    /// Executes a decided block and keeps what it would write. Repeatable until [`App::commit`]: a
    /// later call replaces the former.
    ///
    /// # Errors
    /// Only a fault.
    pub fn finalize(&self, block: &Block<'_>) -> Result<(Outcome, Hash), Fault> {
        let _one = self.0.consensus.lock();
        let start = Instant::now();
        let state = &self.0.store;
        self.0.verdicts.warm(state, block.txs)?;
        let mut outcome = block::finalize(state, block, &self.0.verdicts)?;
        let writes = std::mem::take(&mut outcome.writes);
        let app_hash = state.finalize(block.header.height, writes)?;
        self.0.waiting.lock().remove(block.txs);
        metrics::histogram!(names::FINALIZE_SECONDS).record(start.elapsed().as_secs_f64());
        let (good, bad): (Vec<_>, Vec<_>) = outcome.txs.iter().skip(1).partition(|t| t.code == 0);
        metrics::counter!(names::TXS, "result" => "succeeded").increment(good.len() as u64);
        metrics::counter!(names::TXS, "result" => "failed").increment(bad.len() as u64);
        Ok((outcome, app_hash))
    }

    /// Writes the finalized block. Returns the lowest height that CometBFT has to keep; 0 keeps all.
    ///
    /// # Errors
    /// Only a fault; the process must end.
    pub fn commit(&self) -> Result<u64, Fault> {
        let _one = self.0.consensus.lock();
        let start = Instant::now();
        let height = {
            let _gate = self.0.gate.write();
            self.0.store.commit()?
        };
        metrics::histogram!(names::COMMIT_SECONDS).record(start.elapsed().as_secs_f64());
        metrics::gauge!(names::HEIGHT).set(names::approximate(height));
        self.0.committed.send_replace(height);
        Ok(match self.0.options.blocks_retained {
            0 => 0,
            kept => height.saturating_sub(kept),
        })
    }
}

/// Puts what the last vote carried behind the rest: the state that votes follow is a block older
/// than the votes in flight, and an extension has room for about twelve items.
fn fresh_first(offers: &mut VoteExtension, carried: &VoteExtension) {
    offers.commitments.sort_by_key(|item| carried.commitments.contains(item));
    offers.reveals.sort_by_key(|item| carried.reveals.contains(item));
    offers.holds.sort_by_key(|item| carried.holds.contains(item));
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
