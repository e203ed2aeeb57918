//! `FinalizeBlock` and `Commit` of blocks of 10,000 transfers among 1,000,000 accounts.
//!
//! Prints one JSON line for each figure: with signatures checked before (as after `CheckTx`), and
//! with all of them checked in the block, on both cores and through the node's own cache.

use std::time::Instant;

use k256::ecdsa::SigningKey;
use lockstep_chain::address::{self, Address, from_public_key};
use lockstep_chain::block::{self, Block, Header};
use lockstep_chain::envelope::{Unsigned, public_key_of};
use lockstep_chain::genesis::{Genesis, GenesisAccount, GenesisValidator, default_params};
use lockstep_chain::state::Writes;
use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_chain::wire::{any, coin};
use lockstep_node::store::{Store, StoreOptions};
use lockstep_node::verdicts::Verdicts;
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use lockstep_proto::lockstep::block::v1::ExtendedCommit;
use lockstep_proto::lockstep::member::v1::Account;
use prost::Message as _;
use rayon::prelude::*;
use serde_json::json;

const ACCOUNTS_COUNT: u64 = 1_000_000;
const TRANSFERS: u32 = 10_000;
const BLOCKS: u64 = 5;
const CHAIN_ID: &str = "lockstep-bench";
/// Any member may send.
const DEVELOPER: u32 = 1 << 4;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path(), &StoreOptions::default(), &mut |_| {}).expect("a store");
    store.bind_chain(CHAIN_ID).expect("a chain id");
    let keys: Vec<SigningKey> = (1..=TRANSFERS).map(key).collect();
    prepare(&store, &keys);
    let mut sequence = 0;
    for checked_before in [true, false] {
        let mut rates = Vec::new();
        for _ in 0..BLOCKS {
            let txs = transfers(&keys, sequence);
            rates.push(run(&store, &txs, checked_before));
            sequence += 1;
        }
        rates.sort_by(f64::total_cmp);
        println!(
            "{}",
            json!({
                "figure": "finalize_and_commit_tx_per_s",
                "signatures": if checked_before { "checked before" } else { "all checked" },
                "accounts": ACCOUNTS_COUNT,
                "transactions": TRANSFERS,
                "median": rates[rates.len() / 2].round(),
                "min": rates[0].round(),
                "max": rates[rates.len() - 1].round(),
            })
        );
    }
}

fn key(number: u32) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_slice(&bytes).expect("a valid key")
}

/// A state with a million accounts, those of the keys among them.
fn prepare(store: &Store, keys: &[SigningKey]) {
    let first: Address = from_public_key(&public_key_of(&keys[0]));
    let account = |roles: &[&str]| GenesisAccount {
        address: address::account(&first),
        balance: 1_000_000_000,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    let genesis = Genesis {
        params: default_params(&first),
        accounts: vec![account(&["council", "executor", "developer"])],
        validators: vec![GenesisValidator {
            operator: address::operator(&first),
            consensus_key: "01".repeat(32),
            moniker: "bench".into(),
            stake: 1_000_000,
            executor: address::account(&first),
        }],
    };
    let (mut writes, _) = block::init_chain(&genesis, CHAIN_ID, 1, 0).expect("a valid genesis");
    let own = keys.iter().skip(1).map(|key| from_public_key(&public_key_of(key)));
    let others = (keys.len() as u64..ACCOUNTS_COUNT).map(|number| {
        let mut address = [9; 20];
        address[..8].copy_from_slice(&number.to_be_bytes());
        address
    });
    for (number, address) in (1..).zip(own.chain(others)) {
        let value =
            Account { number, balance: 1_000_000_000, roles: DEVELOPER, ..Account::default() };
        writes.insert(ACCOUNTS.key(&address), Some(value.encode_to_vec()));
    }
    commit(store, 0, writes);
}

fn commit(store: &Store, height: u64, writes: Writes) {
    store.finalize(height, writes).expect("a root");
    store.commit().expect("a commit");
}

/// One transfer from each key to the next.
fn transfers(keys: &[SigningKey], sequence: u64) -> Vec<Vec<u8>> {
    let addresses: Vec<Address> =
        keys.par_iter().map(|key| from_public_key(&public_key_of(key))).collect();
    let mut txs = vec![ExtendedCommit { empty: true, ..Default::default() }.encode_to_vec()];
    txs.par_extend(keys.par_iter().enumerate().map(|(number, key)| {
        let send = MsgSend {
            from_address: address::account(&addresses[number]),
            to_address: address::account(&addresses[(number + 1) % addresses.len()]),
            amount: vec![coin(1)],
        };
        Unsigned {
            chain_id: CHAIN_ID.into(),
            account_number: number as u64,
            sequence,
            fee: 200,
            gas_limit: 100_000,
            messages: vec![any(&send)],
            ..Unsigned::default()
        }
        .sign(key)
    }));
    txs
}

/// Runs one block; returns transactions per second.
fn run(store: &Store, txs: &[Vec<u8>], checked_before: bool) -> f64 {
    let verdicts = Verdicts::default();
    let height = store.height().expect("a height") + 1;
    if checked_before {
        let outcome = finalize(store, &verdicts, txs, height);
        assert!(outcome.txs.iter().all(|tx| tx.code == 0), "every transfer succeeds");
    }
    let start = Instant::now();
    if !checked_before {
        verdicts.warm(store, &txs[1..]).expect("a store");
    }
    let outcome = finalize(store, &verdicts, txs, height);
    commit(store, height, outcome.writes);
    f64::from(TRANSFERS) / start.elapsed().as_secs_f64()
}

fn finalize(store: &Store, verdicts: &Verdicts, txs: &[Vec<u8>], height: u64) -> block::Outcome {
    let header = Header { height, time_ms: height * 300, hash: [5; 32] };
    let block = Block { header, txs, evidence: Vec::new() };
    block::finalize(store, &block, verdicts).expect("a block")
}
