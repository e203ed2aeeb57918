//! The chain, recomputed: its state, its tree and where it stands.

use lockstep_chain::block::{self, Block, Header, Outcome};
use lockstep_chain::error::Fault;
use lockstep_chain::proposal;
use lockstep_chain::state::{MemoryState, Writes};
use lockstep_chain::tree::{Blake3Rule, Executor, LeafWrite, Tree};
use lockstep_proto::lockstep::audit::v1::TxResult;
use tendermint_proto::v0_38::abci::ExecTxResult;
use tendermint_proto::v0_38::types::BlockId;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use super::check;
use super::evidence;
use super::position::Position;
use super::prepare::{Batch, Known, Prepared, read, write};
use super::{Executed, Observer};
use crate::abci::{milliseconds, misbehavior, tx_result, unsigned};
use crate::comet::{GenesisFile, Hash, results_hash, sha256};
use crate::report::Difference;
use crate::{Result, Stop};

/// What a difference names where the source's root is another.
pub(super) const ROOT: &str = "the root of the state after this block";

/// Runs the shards of the tree on rayon's threads.
#[derive(Debug, Clone, Copy)]
pub struct Rayon;

impl Executor for Rayon {
    fn map<T: Send, U: Send>(&self, items: Vec<T>, work: impl Fn(T) -> U + Send + Sync) -> Vec<U> {
        use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
        items.into_par_iter().map(work).collect()
    }
}

/// The chain, recomputed.
#[derive(Debug)]
pub struct Ledger {
    pub(super) known: Arc<Known>,
    tree: Tree<Blake3Rule>,
    pub(super) position: Position,
    /// A result of the last block that is not as the source has it; the next header decides which
    /// of the two stands in the chain.
    doubt: Option<Difference>,
    /// What the last block wrote.
    last_keys: BTreeSet<Vec<u8>>,
}

impl Ledger {
    /// The state of a genesis file.
    ///
    /// # Errors
    /// Where it is not valid.
    pub fn genesis(file: &GenesisFile) -> Result<Self> {
        let initial = file.initial_height;
        let time_ms = milliseconds(Some(&file.time));
        let made = block::init_chain(&file.app, &file.chain_id, initial, time_ms);
        let (writes, validators) = made.map_err(|cause| {
            Stop::usage(cause.to_string(), "is this the network's genesis file?")
        })?;
        let mut state = MemoryState::default();
        state.apply(writes);
        let tree = build(&state)?;
        let root = tree.root().map_err(fault)?;
        let position = Position::first(file, root, &validators).map_err(|cause| {
            Stop::usage(format!("the genesis' validators: {cause}"), "see docs")
        })?;
        Ok(Self::new(state, tree, position))
    }

    fn new(state: MemoryState, tree: Tree<Blake3Rule>, position: Position) -> Self {
        let known = Known {
            state: RwLock::new(state),
            signers: RwLock::new(BTreeMap::new()),
            chain_id: position.chain_id.clone(),
        };
        for set in [&position.signed, &position.signing, &position.to_sign] {
            known.learn(set);
        }
        Self { known: Arc::new(known), tree, position, doubt: None, last_keys: BTreeSet::new() }
    }

    /// A state that was saved. Its root must be the position's.
    ///
    /// # Errors
    /// Where it is not.
    pub fn restore(state: MemoryState, position: Position) -> Result<Self> {
        let tree = build(&state)?;
        let root = tree.root().map_err(fault)?;
        if root != position.app_hash {
            let what = format!("the saved state of height {} is damaged", position.height);
            return Err(Stop::incomplete(what, "remove the folder of --state and begin anew"));
        }
        Ok(Self::new(state, tree, position))
    }

    /// Where it stands.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// Whether a result waits for the next header to say who is right about it.
    pub(super) const fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The keys that the last block wrote.
    pub(super) const fn last_keys(&self) -> &BTreeSet<Vec<u8>> {
        &self.last_keys
    }

    /// Reads the state.
    pub fn with_state<T>(&self, work: impl FnOnce(&MemoryState) -> T) -> T {
        work(&read(&self.known.state))
    }

    /// Checks and executes blocks in turn, until `stop` says so.
    pub(super) fn execute(
        &mut self,
        batch: &Batch,
        to: u64,
        observers: &mut [&mut dyn Observer],
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<()> {
        for prepared in &batch.blocks {
            if self.position.height >= to || stop() {
                break;
            }
            self.block(prepared, batch, observers)
                .map_err(|stop| damaged(stop, prepared, self.position.height + 1))?;
        }
        Ok(())
    }

    fn block(
        &mut self,
        prepared: &Prepared,
        batch: &Batch,
        observers: &mut [&mut dyn Observer],
    ) -> Result<()> {
        let height = self.position.height + 1;
        let checked = check::block(&self.position, prepared, &batch.votes);
        self.decide(checked.as_ref().err().map(|difference| difference.what.as_str()))?;
        checked.map_err(|mut difference| {
            difference.height.get_or_insert(height);
            Stop::Difference(difference)
        })?;

        let (outcome, pending) = self.run(prepared, batch, observers)?;
        let updated = self.position.to_sign.updated(&outcome.validator_updates);
        let to_sign = updated.map_err(|why| {
            Difference::new("validator updates", "what CometBFT accepts", why).at(height)
        })?;
        let results: Vec<ExecTxResult> = outcome.txs.into_iter().map(tx_result).collect();
        let root = pending.root();
        self.doubt = differing(height, prepared, &results)
            .or_else(|| differing_root(height, &root, &prepared.entry.app_hash));
        if let Some(damage) = &prepared.entry.damage {
            return Err(self.doubt.take().unwrap_or_else(|| damage.clone()).into());
        }

        self.count(prepared, &results, &outcome.writes);
        self.last_keys = outcome.writes.keys().cloned().collect();
        write(&self.known.state).apply(outcome.writes);
        self.tree.commit(&Rayon, pending).map_err(fault)?;
        self.step(prepared, height, root, results_hash(&results));
        self.position.follow(to_sign);
        self.known.learn(&self.position.to_sign);
        Ok(())
    }

    /// Executes a block on the state as it is.
    fn run(
        &self,
        prepared: &Prepared,
        batch: &Batch,
        observers: &mut [&mut dyn Observer],
    ) -> Result<(Outcome, lockstep_chain::tree::PendingUpdate)> {
        let none = Vec::new();
        let entry = &prepared.entry.block;
        let txs = entry.data.as_ref().map_or(&none, |data| &data.txs);
        let height = self.position.height + 1;
        let time = entry.header.as_ref().and_then(|header| header.time);
        let header = Header { height, time_ms: milliseconds(time.as_ref()), hash: prepared.hash };
        let told = misbehavior(&entry.evidence.clone().unwrap_or_default());
        let evidence_of = told.iter().filter_map(crate::abci::evidence).collect();
        let block = Block { header, txs, evidence: evidence_of };

        let state = read(&self.known.state);
        evidence::check(&self.position, &*state, entry)?;
        let judged = proposal::process(&*state, height, txs).map_err(fault)?;
        judged.map_err(|refusal| {
            let found = format!("one that honest validators refuse: {refusal}");
            Difference::new("the proposal", "one that validators may vote for", found).at(height)
        })?;
        let outcome = block::finalize(&*state, &block, &batch.txs).map_err(fault)?;
        let pending = self.tree.root_after(&Rayon, &outcome.writes).map_err(fault)?;
        for observer in observers {
            observer.block(&Executed { block: &block, outcome: &outcome, before: &state })?;
        }
        Ok((outcome, pending))
    }

    fn count(&mut self, prepared: &Prepared, results: &[ExecTxResult], writes: &Writes) {
        let counts = &mut self.position.counts;
        counts.blocks += 1;
        let txs = results.get(1..).unwrap_or_default();
        counts.txs += txs.len() as u64;
        counts.txs_failed += txs.iter().filter(|result| result.code != 0).count() as u64;
        // Those that the block carries, which the chain binds: sources differ in those for it.
        let votes = prepared.entry.block.last_commit.iter().flat_map(|last| &last.signatures);
        counts.votes += votes.filter(|vote| !vote.signature.is_empty()).count() as u64;
        let values = writes.values().flatten();
        counts.bytes_written += values.map(|value| value.len() as u64).sum::<u64>();
    }

    fn step(&mut self, prepared: &Prepared, height: u64, root: Hash, results: Hash) {
        let position = &mut self.position;
        position.height = height;
        position.app_hash = root;
        position.results_hash = results;
        position.time = prepared.entry.block.header.as_ref().and_then(|header| header.time);
        position.times.push(&position.time.unwrap_or_default());
        position.block_id = Some(BlockId {
            hash: prepared.hash.to_vec(),
            part_set_header: Some(prepared.parts.clone()),
        });
        position.commit = Some(prepared.entry.commit.clone());
    }

    /// The header after a block says who was right about it: the source's record or the recomputation.
    fn decide(&mut self, differs: Option<&str>) -> Result<()> {
        let Some(difference) = self.doubt.take() else { return Ok(()) };
        let chain_differs = matches!(differs, Some("header.app_hash" | "header.last_results_hash"));
        let note = if chain_differs {
            "the next header is not that of the recomputed block: the chain's validators signed \
             another result"
        } else {
            "the next header agrees with the recomputation: the source's record of the result is \
             wrong"
        };
        Err(difference.note(note).into())
    }

    /// What is still in doubt at the end, where no header follows that would decide.
    pub(super) fn last_doubt(&mut self) -> Result<()> {
        let doubt = self.doubt.take().map(|difference| {
            difference.note("no header follows yet that would say which of the two was signed")
        });
        doubt.map_or(Ok(()), |difference| Err(difference.into()))
    }
}

fn build(state: &MemoryState) -> Result<Tree<Blake3Rule>> {
    let leaf = |(position, (key, value)): (u32, (&Vec<u8>, &Vec<u8>))| {
        LeafWrite::new::<Blake3Rule>(key, Some(value), position)
    };
    let leaves = (0..).zip(&state.0).map(leaf).collect();
    Tree::build(&Rayon, leaves).map_err(fault)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn fault(fault: Fault) -> Stop {
    Stop::incomplete(
        format!("the state machine cannot go on: {fault}"),
        "this is a bug, or blocks of another version of the program; report it",
    )
}

/// A block whose checksum is wrong differs for that reason: the rules say where, the checksum why.
fn damaged(stop: Stop, prepared: &Prepared, height: u64) -> Stop {
    match (stop, &prepared.entry.damage) {
        (Stop::Difference(mut difference), Some(damage))
            if *difference != *damage && difference.height == Some(height) =>
        {
            difference.note = format!("the source's copy is damaged: {damage}");
            Stop::Difference(difference)
        }
        (stop, _) => stop,
    }
}

/// The first transaction whose result is not the recorded one.
fn differing(height: u64, prepared: &Prepared, own: &[ExecTxResult]) -> Option<Difference> {
    let recorded: &[TxResult] = &prepared.entry.results;
    let txs = prepared.entry.block.data.as_ref()?.txs.as_slice();
    if recorded.len() != own.len() {
        let what = "the number of results";
        return Some(Difference::new(what, own.len(), recorded.len()).at(height));
    }
    let pairs = recorded.iter().zip(own).zip(txs).enumerate();
    pairs.into_iter().find_map(|(index, ((recorded, own), tx))| {
        let hash = sha256(tx);
        let found = if recorded.tx_hash != hash {
            let recorded = hex::encode(&recorded.tx_hash);
            Difference::new("the transaction that the result is of", hex::encode(hash), recorded)
        } else if recorded.code != own.code {
            let of = |code: u32, log: &str| match (code, log) {
                (0, _) => "0".to_owned(),
                (code, "") => code.to_string(),
                (code, log) => format!("{code} ({log})"),
            };
            Difference::new("the result's code", of(own.code, &own.log), of(recorded.code, ""))
        } else if recorded.data != own.data {
            let (own, recorded) = (hex::encode(&own.data), hex::encode(&recorded.data));
            Difference::new("the result's data", own, recorded)
        } else if recorded.gas_wanted != unsigned(own.gas_wanted) {
            Difference::new("the result's gas_wanted", own.gas_wanted, recorded.gas_wanted)
        } else if recorded.gas_used != unsigned(own.gas_used) {
            Difference::new("the result's gas_used", own.gas_used, recorded.gas_used)
        } else {
            return None;
        };
        Some(found.at(height).of_tx(index, hash))
    })
}

fn differing_root(height: u64, own: &Hash, recorded: &[u8]) -> Option<Difference> {
    (recorded != own)
        .then(|| Difference::new(ROOT, hex::encode(own), hex::encode(recorded)).at(height))
}
