//! A chain that is made up on the spot, with real hashes and signatures: for tests and benchmarks.

use std::collections::BTreeMap;

use ed25519_consensus::SigningKey;
use lockstep_chain::address::{self, Address};
use lockstep_chain::block::{self, Block, Header};
use lockstep_chain::envelope::{self, Unsigned, Verifier};
use lockstep_chain::error::Fault;
use lockstep_chain::genesis::{Genesis, GenesisAccount, GenesisValidator, default_params};
use lockstep_chain::proposal;
use lockstep_chain::state::MemoryState;
use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_chain::tree::{Blake3Rule, Tree};
use lockstep_chain::wire;
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::lockstep::audit::v1::TxResult;
use lockstep_proto::lockstep::block::v1::{CanonicalVoteExtension, ExtendedCommit, ExtendedVote};
use prost::Message as _;
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use serde_json::json;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::{
    Block as CometBlock, BlockId, BlockIdFlag, Commit, CommitSig, Data, DuplicateVoteEvidence,
    EvidenceList, Header as CometHeader, PartSetHeader, SignedMsgType, Vote,
};
use tendermint_proto::v0_38::version::Consensus;

use crate::abci::{APP_VERSION, milliseconds, misbehavior, signed, tx_result, unsigned};
use crate::comet::{self, BLOCK_PROTOCOL, GenesisFile};
use crate::replay::{Position, Rayon};
use crate::source::{Entry, Heights, Source};
use crate::{Result, Stop};

/// Its network.
pub const CHAIN_ID: &str = "lockstep-sample";
const START_SECONDS: i64 = 1_700_000_000;

/// A chain with some validators of equal power and some accounts.
#[derive(Debug)]
pub struct Sample {
    /// The genesis file's text.
    pub genesis: String,
    /// The blocks so far.
    pub entries: Vec<Entry>,
    keys: Vec<k256::ecdsa::SigningKey>,
    addresses: Vec<Address>,
    sequences: Vec<u64>,
    validators: BTreeMap<[u8; 20], SigningKey>,
    position: Position,
    state: MemoryState,
    tree: Tree<Blake3Rule>,
    results_hash: comet::Hash,
    file: GenesisFile,
}

/// Signatures are made here, so they are right.
struct Trusting;

impl Verifier for Trusting {
    fn verify(&self, _: &[u8; 33], _: &[u8; 32], _: &[u8; 64]) -> bool {
        true
    }
}

fn account_key(number: usize) -> k256::ecdsa::SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    // Any number from 1 to 7·2^248 is a valid key.
    k256::ecdsa::SigningKey::from_slice(&seed).unwrap_or_else(|_| unreachable!())
}

impl Sample {
    /// A chain before its first block. The first `validators` accounts operate them.
    ///
    /// # Errors
    /// Where there are fewer accounts than validators.
    pub fn new(validators: usize, accounts: usize) -> Result<Self> {
        let keys: Vec<_> = (0..accounts).into_par_iter().map(account_key).collect();
        let addresses: Vec<Address> = (0..keys.len())
            .into_par_iter()
            .map(|n| address::from_public_key(&envelope::public_key_of(&keys[n])))
            .collect();
        let signers: Vec<SigningKey> = (0..validators)
            .map(|n| SigningKey::from([u8::try_from(n).unwrap_or(254) + 1; 32]))
            .collect();
        let genesis = genesis(&addresses, &signers).to_string();
        let file = GenesisFile::parse(genesis.as_bytes())?;
        let time_ms = milliseconds(Some(&file.time));
        let (writes, updates) = block::init_chain(&file.app, CHAIN_ID, 1, time_ms)
            .map_err(|cause| Stop::usage(cause.to_string(), "more accounts"))?;
        let (mut state, mut tree) = (MemoryState::default(), Tree::default());
        commit(&mut state, &mut tree, writes)?;
        let root = tree.root().map_err(broken)?;
        let position = Position::first(&file, root, &updates)
            .map_err(|cause| Stop::usage(cause, "more validators"))?;
        let by_address = |key: SigningKey| {
            (address::from_consensus_key(&key.verification_key().to_bytes()), key)
        };
        Ok(Self {
            genesis,
            entries: Vec::new(),
            sequences: vec![0; accounts],
            keys,
            addresses,
            validators: signers.into_iter().map(by_address).collect(),
            position,
            state,
            tree,
            results_hash: comet::results_hash([]),
            file,
        })
    }

    /// The genesis file.
    #[must_use]
    pub const fn file(&self) -> &GenesisFile {
        &self.file
    }

    /// Gives an account money outside of any transaction, as validators might who agree on a lie.
    ///
    /// # Panics
    /// Where there is no such account.
    pub fn give(&mut self, number: usize, amount: u64) {
        let key = ACCOUNTS.key(&self.addresses[number]);
        let mut account = ACCOUNTS.must(&self.state, &self.addresses[number]).expect("an account");
        account.balance += amount;
        let writes = [(key, Some(account.encode_to_vec()))].into();
        commit(&mut self.state, &mut self.tree, writes).expect("a state");
    }

    /// So many transfers, from one account after another to the next.
    pub fn transfers(&mut self, count: usize) -> Vec<Vec<u8>> {
        let made: Vec<Unsigned> = (0..count).map(|n| self.transfer(n % self.keys.len())).collect();
        made.into_par_iter()
            .enumerate()
            .map(|(n, tx)| tx.sign(&self.keys[n % self.keys.len()]))
            .collect()
    }

    fn transfer(&mut self, from: usize) -> Unsigned {
        let to = (from + 1) % self.addresses.len();
        let send = MsgSend {
            from_address: address::account(&self.addresses[from]),
            to_address: address::account(&self.addresses[to]),
            amount: vec![wire::coin(1)],
        };
        let sequence = self.sequences[from];
        self.sequences[from] += 1;
        Unsigned {
            chain_id: CHAIN_ID.into(),
            account_number: from as u64,
            sequence,
            fee: 200,
            gas_limit: 100_000,
            messages: vec![wire::any(&send)],
            ..Unsigned::default()
        }
    }

    /// Adds a block with these transactions.
    ///
    /// # Errors
    /// Where the chain refuses it.
    pub fn block(&mut self, txs: Vec<Vec<u8>>) -> Result<()> {
        self.block_with(txs, EvidenceList::default())
    }

    /// Adds a block that punishes, whatever the evidence shows.
    ///
    /// # Errors
    /// Where the chain refuses it.
    pub fn block_with(&mut self, txs: Vec<Vec<u8>>, evidence: EvidenceList) -> Result<()> {
        let height = i64::try_from(self.entries.len()).unwrap_or(i64::MAX - 1) + 1;
        let txs: Vec<Vec<u8>> = std::iter::once(self.extended(height)).chain(txs).collect();
        let last = self.entries.last();
        let last_commit = last.map(|entry| entry.commit.clone()).unwrap_or_default();
        let header = CometHeader {
            version: Some(Consensus { block: BLOCK_PROTOCOL, app: APP_VERSION }),
            chain_id: CHAIN_ID.into(),
            height,
            time: Some(match last {
                None => self.file.time,
                Some(_) => {
                    comet::median_time(&last_commit, &self.position.signed).unwrap_or_default()
                }
            }),
            last_block_id: Some(comet::block_id(last_commit.block_id.as_ref())),
            last_commit_hash: comet::commit_hash(&last_commit.signatures).to_vec(),
            data_hash: comet::data_hash(&txs).to_vec(),
            validators_hash: self.position.signing.hash().to_vec(),
            next_validators_hash: self.position.to_sign.hash().to_vec(),
            consensus_hash: self.file.consensus_hash.to_vec(),
            app_hash: self.tree.root().map_err(broken)?.to_vec(),
            last_results_hash: self.results_hash.to_vec(),
            evidence_hash: comet::evidence_hash(&evidence).to_vec(),
            proposer_address: self.position.signing.signers()[0].address().to_vec(),
        };
        let hash = comet::header_hash(&header);
        let time_ms = milliseconds(header.time.as_ref());
        let block = CometBlock {
            header: Some(header),
            data: Some(Data { txs }),
            evidence: Some(evidence),
            last_commit: Some(Commit {
                block_id: Some(comet::block_id(last_commit.block_id.as_ref())),
                ..last_commit
            }),
        };
        let id =
            BlockId { hash: hash.to_vec(), part_set_header: Some(comet::part_set_header(&block)) };
        let commit = self.votes(height, id);
        self.execute(
            Entry { block, commit, results: Vec::new(), app_hash: Vec::new(), damage: None },
            Header { height: unsigned(height), time_ms, hash },
        )
    }

    fn execute(&mut self, mut entry: Entry, header: Header) -> Result<()> {
        let txs = entry.block.data.as_ref().map(|data| data.txs.clone()).unwrap_or_default();
        let judged = proposal::process(&self.state, header.height, &txs).map_err(broken)?;
        judged.map_err(|cause| Stop::usage(cause.to_string(), "a bug of the sample"))?;
        let told = misbehavior(&entry.block.evidence.clone().unwrap_or_default());
        let evidence = told.iter().filter_map(crate::abci::evidence).collect();
        let block = Block { header, txs: &txs, evidence };
        let outcome = block::finalize(&self.state, &block, &Trusting).map_err(broken)?;
        let results: Vec<_> = outcome.txs.into_iter().map(tx_result).collect();
        self.results_hash = comet::results_hash(&results);
        let next = self.position.to_sign.updated(&outcome.validator_updates);
        self.position.follow(next.map_err(|cause| Stop::usage(cause, "more validators"))?);
        commit(&mut self.state, &mut self.tree, outcome.writes)?;
        entry.app_hash = self.tree.root().map_err(broken)?.to_vec();
        let recorded =
            |(tx, result): (&Vec<u8>, &tendermint_proto::v0_38::abci::ExecTxResult)| TxResult {
                tx_hash: comet::sha256(tx).to_vec(),
                code: result.code,
                data: result.data.to_vec(),
                gas_wanted: unsigned(result.gas_wanted),
                gas_used: unsigned(result.gas_used),
            };
        entry.results = txs.iter().zip(&results).map(recorded).collect();
        self.entries.push(entry);
        Ok(())
    }

    /// Everybody votes for the block, a second after it.
    fn votes(&self, height: i64, id: BlockId) -> Commit {
        let mut commit = Commit { height, round: 0, block_id: Some(id), signatures: Vec::new() };
        for (place, signer) in self.position.signing.signers().iter().enumerate() {
            let mut vote = CommitSig {
                block_id_flag: BlockIdFlag::Commit.into(),
                validator_address: signer.address().to_vec(),
                timestamp: Some(Timestamp {
                    seconds: START_SECONDS + height,
                    nanos: i32::try_from(place).unwrap_or(0),
                }),
                signature: Vec::new(),
            };
            let message = comet::sign_bytes(CHAIN_ID, &commit, &vote);
            vote.signature = self.sign(&signer.address(), &message);
            commit.signatures.push(vote);
        }
        commit
    }

    /// The evidence that the validator with this number in the set voted for two blocks of `height`.
    ///
    /// # Panics
    /// Where there is no such block or validator.
    #[must_use]
    pub fn double_vote(&self, number: usize, height: usize) -> DuplicateVoteEvidence {
        let set = &self.position.signing;
        let signer = set.signers()[number];
        let header = self.entries[height - 1].block.header.clone().expect("a header");
        let vote = |hash: u8| {
            let parts = Some(PartSetHeader { total: 1, hash: vec![hash; 32] });
            let mut vote = Vote {
                r#type: SignedMsgType::Precommit.into(),
                height: header.height,
                block_id: Some(BlockId { hash: vec![hash; 32], part_set_header: parts }),
                timestamp: header.time,
                validator_address: signer.address().to_vec(),
                ..Vote::default()
            };
            let message = comet::vote_sign_bytes(CHAIN_ID, &vote);
            vote.signature = self.sign(&signer.address(), &message);
            vote
        };
        DuplicateVoteEvidence {
            vote_a: Some(vote(1)),
            vote_b: Some(vote(2)),
            total_voting_power: signed(set.total()),
            validator_power: signed(signer.power),
            timestamp: header.time,
        }
    }

    fn sign(&self, address: &[u8; 20], message: &[u8]) -> Vec<u8> {
        let signature = self.validators.get(address).map(|key| key.sign(message).to_bytes());
        signature.map_or_else(Vec::new, Vec::from)
    }

    /// The votes' extensions, all empty; there are none at the first height.
    fn extended(&self, height: i64) -> Vec<u8> {
        let mut commit = ExtendedCommit { empty: height == 1, ..ExtendedCommit::default() };
        let message = CanonicalVoteExtension {
            extension: Vec::new(),
            height: height - 1,
            round: 0,
            chain_id: CHAIN_ID.into(),
        }
        .encode_length_delimited_to_vec();
        if height > 1 {
            let vote = |address: &[u8; 20]| ExtendedVote {
                validator_address: address.to_vec(),
                extension: Vec::new(),
                signature: self.sign(address, &message),
            };
            let signed = &self.position.signed;
            commit.votes = self.validators.keys().filter(|it| signed.has(*it)).map(vote).collect();
        }
        commit.encode_to_vec()
    }
}

fn commit(
    state: &mut MemoryState,
    tree: &mut Tree<Blake3Rule>,
    writes: lockstep_chain::state::Writes,
) -> Result<()> {
    let pending = tree.root_after(&Rayon, &writes).map_err(broken)?;
    tree.commit(&Rayon, pending).map_err(broken)?;
    state.apply(writes);
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(fault: Fault) -> Stop {
    Stop::usage(fault.to_string(), "a bug of the sample")
}

fn genesis(addresses: &[Address], signers: &[SigningKey]) -> serde_json::Value {
    let roles = |n: usize| match n {
        0 => vec!["council".to_owned(), "developer".to_owned(), "executor".to_owned()],
        n if n < signers.len() => vec!["developer".to_owned(), "executor".to_owned()],
        _ => vec!["developer".to_owned()],
    };
    let account = |(n, address): (usize, &Address)| GenesisAccount {
        address: address::account(address),
        balance: 1_000_000_000,
        roles: roles(n),
    };
    let validator = |(n, key): (usize, &SigningKey)| GenesisValidator {
        operator: address::operator(&addresses[n]),
        consensus_key: hex::encode(key.verification_key().to_bytes()),
        moniker: format!("v{n}"),
        stake: 10_000_000,
        executor: address::account(&addresses[n]),
    };
    let app = Genesis {
        params: default_params(&addresses[0]),
        accounts: addresses.iter().enumerate().map(account).collect(),
        validators: signers.iter().enumerate().map(validator).collect(),
    };
    json!({
        "genesis_time": "2023-11-14T22:13:20Z",
        "chain_id": CHAIN_ID,
        "initial_height": "1",
        "consensus_params": { "block": { "max_bytes": "4194304", "max_gas": "-1" } },
        "app_hash": "",
        "app_state": app,
    })
}

/// Blocks in memory.
#[derive(Debug)]
pub struct Blocks(pub Vec<Entry>);

impl Source for Blocks {
    fn name(&self) -> String {
        "blocks in memory".to_owned()
    }

    fn heights(&mut self) -> Result<Heights> {
        Ok(Heights { first: 1, last: self.0.len() as u64 })
    }

    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).saturating_sub(1);
        let entries: Vec<Entry> = self.0.iter().skip(from).take(max).cloned().collect();
        if entries.is_empty() {
            return Err(Stop::incomplete(format!("no block {}", from + 1), "make more"));
        }
        Ok(entries)
    }
}
