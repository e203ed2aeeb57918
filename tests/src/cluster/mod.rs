//! A network in one process: some replicas of the state machine, called as CometBFT calls them.
//!
//! For each height a proposer prepares a block with the extended commit of the height before, every
//! replica judges it, the validators extend their votes and verify each other's, and every replica
//! finalizes it, perhaps several times, before it commits. The driver keeps its own validator sets,
//! by CometBFT's rule that an update of height h counts from h + 2, and compares them with the
//! chain's. Whatever must hold after each block is asserted here.

mod moves;
mod replica;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_audit::books::Books;
use lockstep_audit::books::statement::Kind as Book;
use lockstep_chain::address::Address;
use lockstep_chain::block::{self, Block, Evidence, Header, Outcome, TxOutcome};
use lockstep_chain::envelope::{Unsigned, Verifier};
use lockstep_chain::genesis::Genesis;
use lockstep_chain::state::tables::{ACCOUNTS, JOBS, TOTALS, VALIDATORS};
use lockstep_chain::state::{MemoryState, Writes};
use lockstep_chain::{invariants, mempool, proposal};
use lockstep_proto::lockstep::block::v1::ExtendedCommit;
use lockstep_proto::lockstep::chain::v1::Totals;
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::member::v1;
use lockstep_proto::lockstep::staking::v1::Validator as StoredValidator;
use prost::Message as _;
use prost_types::Any;

use crate::executor::Behaviour;
use crate::keys::{Account, Validator};
use crate::party::{Chair, Manner};

use self::moves::Sent;
pub use self::moves::{Played, Weather};
pub use self::replica::{Remembers, Replica};

/// Bytes of a block that CometBFT allows.
pub const BLOCK_BYTES_MAX: u64 = 4 << 20;
/// What ordinary transactions of the tests sign.
pub const GAS_LIMIT: u64 = 1_000_000;
/// The fee of such a transaction, in ulock.
pub const FEE: u64 = 1_000;

/// The code of a move that found no place in the block.
pub const NOT_PROPOSED: u32 = u32::MAX;

/// What happens at a height, beside what executors do of themselves.
#[derive(Debug, Default, Clone)]
pub struct Plan {
    /// The mempool.
    pub txs: Vec<Vec<u8>>,
    /// Misbehaviour that CometBFT reports.
    pub evidence: Vec<Evidence>,
    /// The proposer has just started and knows no extended commit.
    pub restart: bool,
    /// Milliseconds since the last block; 0 means 1000.
    pub step_ms: u64,
    /// Validators whose votes do not arrive, as far as a quorum is left.
    pub absent: BTreeSet<usize>,
    /// Rounds that fail before the one that decides.
    pub failed_rounds: u32,
    /// Validators whose precommit comes late, with a payload that nobody verified.
    pub late: BTreeMap<usize, Vec<u8>>,
    /// Transactions that a hostile proposer adds, whatever the mempool thinks of them.
    pub forced: Vec<Vec<u8>>,
    /// How often the block is finalized before it is committed; 0 means once.
    pub finalizations: u32,
}

/// What a block did.
#[derive(Debug, Clone)]
pub struct Report {
    /// One for each transaction, without the extended commit.
    pub outcomes: Vec<TxOutcome>,
    /// The transactions, in the same order.
    pub txs: Vec<Vec<u8>>,
    /// Everything else that the block returned.
    pub outcome: Outcome,
    /// The extended commit carried votes.
    pub counted: bool,
}

/// Replicas, validators and what CometBFT would remember.
#[derive(Debug)]
pub struct Cluster {
    /// Signed with everything.
    pub chain_id: String,
    /// Every validator there is or may be.
    pub validators: Vec<Validator>,
    /// How the executor of each behaves.
    pub behaviours: Vec<Behaviour>,
    /// How accounts play trials: executors, where not as one should, and auditors.
    pub manners: BTreeMap<String, Manner>,
    /// What they have sent for their trials that arrived, and what became of it.
    pub played: Vec<Played>,
    /// What may happen to moves on their way; nothing unless told.
    pub weather: Option<Weather>,
    /// The copies of the chain.
    pub replicas: Vec<Replica>,
    /// Of the last block.
    pub height: u64,
    /// Of the last block.
    pub time_ms: u64,
    /// The precommits of the last block.
    pub last_commit: Option<ExtendedCommit>,
    /// By height, consensus key and power.
    pub sets: BTreeMap<u64, BTreeMap<[u8; 32], u64>>,
    /// A hash over every root and result so far.
    pub transcript: blake3::Hasher,
    /// What an auditor's books say.
    pub books: Books,
    pending: BTreeMap<Address, u64>,
    accounts: BTreeMap<String, Account>,
    chairs: BTreeMap<String, Chair>,
    sent: Vec<Sent>,
    verifier: Arc<Remembers>,
}

impl Cluster {
    /// A network of three replicas.
    ///
    /// # Panics
    /// Where the genesis is not valid.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self::named(genesis, "lockstep-test-1")
    }

    /// A network of three replicas under a chain id.
    ///
    /// # Panics
    /// Where the genesis is not valid.
    #[must_use]
    pub fn named(genesis: &Genesis, chain_id: &str) -> Self {
        let chain_id = chain_id.to_owned();
        let (writes, updates) =
            block::init_chain(genesis, &chain_id, 1, 1_700_000_000_000).unwrap();
        let set: BTreeMap<_, _> = updates.iter().map(|update| (update.key, update.power)).collect();
        let validators: Vec<_> =
            (0..genesis.validators.len() + 4).map(Validator::numbered).collect();
        Self {
            behaviours: vec![Behaviour::Honest; validators.len()],
            validators,
            replicas: (0..3).map(|_| Replica::new(&writes)).collect(),
            height: 0,
            time_ms: 1_700_000_000_000,
            last_commit: None,
            sets: [(1, set.clone()), (2, set)].into(),
            transcript: blake3::Hasher::new(),
            pending: BTreeMap::new(),
            accounts: BTreeMap::new(),
            chairs: BTreeMap::new(),
            sent: Vec::new(),
            weather: None,
            manners: BTreeMap::new(),
            played: Vec::new(),
            verifier: Arc::default(),
            chain_id,
            books: Books::open(genesis).unwrap(),
        }
    }

    /// The committed state.
    #[must_use]
    pub fn state(&self) -> &MemoryState {
        &self.replicas[0].state
    }

    /// The root of the committed state.
    ///
    /// # Panics
    /// Where the tree is broken.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.replicas[0].tree.root().unwrap()
    }

    /// The checker of signatures.
    #[must_use]
    pub fn verifier(&self) -> &dyn Verifier {
        self.verifier.as_ref()
    }

    /// The keys behind a name.
    pub fn keys(&mut self, name: &str) -> Account {
        self.accounts.entry(name.to_owned()).or_insert_with(|| Account::named(name)).clone()
    }

    /// What the chain knows of an account.
    ///
    /// # Panics
    /// Where it knows nothing.
    pub fn account(&mut self, name: &str) -> v1::Account {
        let address = self.keys(name).address;
        ACCOUNTS.must(self.state(), &address).unwrap()
    }

    /// Free ulock of an account.
    pub fn balance(&mut self, name: &str) -> u64 {
        self.account(name).balance
    }

    /// A job.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn job(&self, id: u64) -> Job {
        JOBS.must(self.state(), &id).unwrap()
    }

    /// What the chain knows of the validator of a number.
    ///
    /// # Panics
    /// Where it knows nothing.
    #[must_use]
    pub fn validator(&self, number: usize) -> StoredValidator {
        VALIDATORS.must(self.state(), &self.validators[number].operator.address).unwrap()
    }

    /// Counters and pools.
    ///
    /// # Panics
    /// Never after genesis.
    #[must_use]
    pub fn totals(&self) -> Totals {
        TOTALS.must(self.state(), &()).unwrap()
    }

    /// A transaction that would be right in the next block, to be changed before it is signed.
    pub fn unsigned(&mut self, signer: &str, messages: Vec<Any>) -> Unsigned {
        let account = self.account(signer);
        let address = self.keys(signer).address;
        let pending = self.pending.entry(address).or_default();
        let sequence = account.sequence + *pending;
        *pending += 1;
        Unsigned {
            chain_id: self.chain_id.clone(),
            account_number: account.number,
            sequence,
            fee: FEE,
            gas_limit: GAS_LIMIT,
            messages,
            ..Unsigned::default()
        }
    }

    /// A transaction for the next block.
    pub fn tx(&mut self, signer: &str, messages: Vec<Any>) -> Vec<u8> {
        let unsigned = self.unsigned(signer, messages);
        unsigned.sign(&self.keys(signer).key)
    }

    /// Plays a height, and asserts everything that must hold after it.
    ///
    /// # Panics
    /// Where anything does not hold.
    #[expect(clippy::needless_pass_by_value, reason = "a plan is for one block")]
    pub fn block(&mut self, plan: Plan) -> Report {
        let height = self.height + 1;
        self.time_ms += if plan.step_ms == 0 { 1000 } else { plan.step_ms };
        let mut txs = self.duties();
        let moves = self.moves();
        txs.extend(moves.iter().map(|it| it.tx.clone()));
        txs.extend(plan.txs.iter().cloned());
        let commit = self.last_commit.clone().filter(|_| !plan.restart);
        let mut proposed = Vec::new();
        for round in 0..=plan.failed_rounds {
            let turn = usize::try_from(height + u64::from(round)).unwrap();
            let leader = &self.replicas[turn % self.replicas.len()];
            proposed =
                proposal::prepare(&leader.state, height, BLOCK_BYTES_MAX, commit.clone(), &txs)
                    .unwrap();
            proposed.extend(plan.forced.iter().cloned());
            for replica in &self.replicas {
                let judged = proposal::process(&replica.state, height, &proposed).unwrap();
                assert_eq!(judged, Ok(()), "height {height}: a proposal is refused");
            }
        }
        let next_commit = self.vote(height, &plan);
        let outcome = self.finalize(height, &proposed, &plan);
        let roots: Vec<_> = self
            .replicas
            .iter_mut()
            .map(|replica| replica.commit(outcome.writes.clone()))
            .collect();
        assert!(roots.iter().all(|root| *root == roots[0]), "height {height}: roots differ");
        if height.is_multiple_of(10) {
            assert_eq!(self.replicas[0].rebuilt_root(), roots[0], "height {height}: rebuilt root");
        }
        self.note(&roots[0], &outcome);
        for Sent { played, tx, .. } in moves {
            let place = proposed.iter().position(|found| *found == tx);
            let code = place.map_or(NOT_PROPOSED, |place| outcome.txs[place].code);
            self.played.push(Played { height, code, ..played });
        }
        self.keep_books(height, &proposed, &outcome);
        self.height = height;
        self.last_commit = Some(next_commit);
        self.pending.clear();
        self.follow(&outcome.validator_updates);
        let broken = invariants::broken(self.state()).unwrap();
        assert!(broken.is_empty(), "height {height}: {broken:?}");
        Report {
            outcomes: outcome.txs[1..].to_vec(),
            counted: !ExtendedCommit::decode(proposed[0].as_slice()).unwrap().empty,
            txs: proposed.split_off(1),
            outcome,
        }
    }

    /// Plays so many heights with nothing from outside.
    pub fn run(&mut self, heights: u64) {
        for _ in 0..heights {
            self.block(Plan::default());
        }
    }

    /// Plays a height with these transactions, all of which must succeed.
    ///
    /// # Panics
    /// Where one fails.
    pub fn deliver(&mut self, txs: Vec<Vec<u8>>) -> Report {
        let wanted = txs.clone();
        let report = self.block(Plan { txs, ..Plan::default() });
        for tx in wanted {
            let place = report.txs.iter().position(|found| *found == tx);
            let outcome = &report.outcomes[place.expect("a transaction is not in the block")];
            assert_eq!(outcome.code, 0, "{}", outcome.log);
        }
        report
    }

    /// Plays a height with one transaction; returns what became of it.
    ///
    /// # Panics
    /// Where it is not in the block.
    #[expect(clippy::needless_pass_by_value, reason = "a transaction is sent once")]
    pub fn outcome_of(&mut self, tx: Vec<u8>) -> TxOutcome {
        let report = self.block(Plan { txs: vec![tx.clone()], ..Plan::default() });
        let place = report.txs.iter().position(|found| *found == tx);
        report.outcomes[place.expect("the transaction is not in the block")].clone()
    }

    /// Plays a height with a transaction that a hostile proposer brings; returns what became of it.
    ///
    /// # Panics
    /// Where the block has no transaction.
    pub fn forced(&mut self, tx: Vec<u8>) -> TxOutcome {
        let report = self.block(Plan { forced: vec![tx], ..Plan::default() });
        report.outcomes.last().expect("it is in the block").clone()
    }

    /// What the next block would write with these transactions.
    ///
    /// # Panics
    /// Where the block cannot be made.
    #[must_use]
    pub fn dry(&self, txs: &[Vec<u8>]) -> Writes {
        let height = self.height + 1;
        let commit = self.last_commit.clone();
        let txs = proposal::prepare(self.state(), height, BLOCK_BYTES_MAX, commit, txs).unwrap();
        let header = Header { height, time_ms: self.time_ms + 1000, hash: [1; 32] };
        let block = Block { header, txs: &txs, evidence: Vec::new() };
        block::finalize(self.state(), &block, self.verifier.as_ref()).unwrap().writes
    }

    fn finalize(&self, height: u64, txs: &[Vec<u8>], plan: &Plan) -> Outcome {
        let header = Header {
            height,
            time_ms: self.time_ms,
            hash: lockstep_vm::hash::hash("lockstep/test-block", &[&height.to_le_bytes()]),
        };
        let run = |replica: &Replica, txs: &[Vec<u8>]| {
            let block = Block { header, txs, evidence: plan.evidence.clone() };
            block::finalize(&replica.state, &block, self.verifier.as_ref()).unwrap()
        };
        // One replica answers CheckTx all the time, the others never.
        for tx in txs {
            mempool::check_tx(self.state(), tx, self.verifier.as_ref()).unwrap();
        }
        let outcome = run(&self.replicas[0], txs);
        assert_eq!(outcome.txs.len(), txs.len());
        for replica in &self.replicas[1..] {
            for _ in 0..plan.finalizations.max(1) {
                assert!(run(replica, txs) == outcome, "height {height}: replicas differ");
            }
        }
        // What was refused before its messages leaves no trace.
        let refused = |outcome: &TxOutcome| outcome.code != 0 && outcome.gas_used == 0;
        if outcome.txs.iter().any(refused) {
            let kept: Vec<_> = txs.iter().zip(&outcome.txs).filter(|(_, o)| !refused(o)).collect();
            let kept: Vec<_> = kept.into_iter().map(|(tx, _)| tx.clone()).collect();
            let without = run(&self.replicas[0], &kept);
            assert!(without.writes == outcome.writes, "height {height}: a refused one wrote");
        }
        outcome
    }

    /// Enters the block into the auditor's books, and compares them with the state.
    fn keep_books(&mut self, height: u64, txs: &[Vec<u8>], outcome: &Outcome) {
        let header = Header { height, time_ms: self.time_ms, hash: [0; 32] };
        let block = Block { header, txs, evidence: Vec::new() };
        self.books.block(&block, outcome).unwrap_or_else(|found| panic!("{found}"));
        for kind in [Book::Supply, Book::Escrow, Book::Royalties, Book::Stake] {
            let statement = self.books.statement(kind, self.state()).unwrap();
            let found = statement.difference();
            assert!(found.is_none(), "height {height}: {}", found.unwrap());
        }
    }

    fn note(&mut self, root: &[u8; 32], outcome: &Outcome) {
        self.transcript.update(root);
        for tx in &outcome.txs {
            self.transcript.update(&tx.code.to_le_bytes());
            self.transcript.update(&tx.gas_used.to_le_bytes());
            self.transcript.update(&tx.data);
        }
        for event in outcome.events.iter().chain(outcome.txs.iter().flat_map(|tx| &tx.events)) {
            self.transcript.update(format!("{event:?}").as_bytes());
        }
    }
}
