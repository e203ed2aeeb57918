use k256::ecdsa::SigningKey;
use lockstep_chain::block::Header;
use lockstep_chain::envelope::Unsigned;
use lockstep_chain::invariants;
use lockstep_chain::wire::{any, coin};
use lockstep_proto::cosmos::bank::v1beta1::MsgSend;
use prost::Message as _;

use super::*;
use crate::commands::accounts::{self, Named};
use crate::commands::devnet;
use crate::store::StoreOptions;

const CHAIN: &str = "lockstep-devnet";
const START_MS: u64 = 1_800_000_000_000;

fn open(folder: &std::path::Path) -> App {
    let store = Store::open(folder, &StoreOptions::default(), &mut |_| {}).unwrap();
    App::new(store, AppOptions::default())
}

fn begin(folder: &std::path::Path) -> App {
    let app = open(folder);
    let genesis = devnet::app_state(&[[7; 32]]).unwrap();
    let bytes = serde_json::to_vec(&genesis).unwrap();
    let first = app.init_chain(&bytes, CHAIN, 1, START_MS).unwrap();
    // CometBFT asks again where it died before its first block.
    assert_eq!(app.init_chain(&bytes, CHAIN, 1, START_MS).unwrap(), first);
    assert_eq!(app.info(), Last { height: 0, app_hash: Some(first.0) });
    app
}

fn send(from: &Named, number: u64, sequence: u64, amount: u64) -> Vec<u8> {
    let to = accounts::executor(0).unwrap().address;
    let message =
        MsgSend { from_address: from.address.clone(), to_address: to, amount: vec![coin(amount)] };
    let key = SigningKey::from_slice(&hex::decode(&from.private_key).unwrap()).unwrap();
    let unsigned = Unsigned {
        chain_id: CHAIN.to_owned(),
        account_number: number,
        sequence,
        fee: 2_000,
        gas_limit: 1_000_000,
        messages: vec![any(&message)],
        ..Unsigned::default()
    };
    unsigned.sign(&key)
}

/// A block of ten transfers, so that signatures are checked in parallel too.
fn block_txs(height: u64) -> Vec<Vec<u8>> {
    let people = accounts::people().unwrap();
    let mut txs = vec![ExtendedCommit { empty: true, ..Default::default() }.encode_to_vec()];
    for index in 0..10 {
        let (number, sequence) = (index % 5, (height - 1) * 2 + index / 5);
        let from = &people[usize::try_from(number).unwrap()];
        txs.push(send(from, number, sequence, 1 + index));
    }
    txs
}

fn run(app: &App, height: u64) -> (Outcome, Hash) {
    let txs = block_txs(height);
    assert!(app.process(height, &txs).unwrap().is_ok());
    let hash = [u8::try_from(height).unwrap(); 32];
    let header = Header { height, time_ms: START_MS + height * 300, hash };
    app.finalize(&Block { header, txs: &txs, evidence: Vec::new() }).unwrap()
}

#[test]
fn a_block_finalized_many_times_and_across_restarts_counts_once() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let quiet = begin(folders.0.path());
    let mut busy = begin(folders.1.path());
    for height in 1..=5 {
        let expected = run(&quiet, height);
        assert!(expected.0.txs.iter().all(|tx| tx.code == 0), "{:?}", expected.0.txs);
        for _ in 0..height {
            assert_eq!(run(&busy, height), expected);
        }
        // The process dies between FinalizeBlock and Commit: Info names the block before.
        let before = busy.info();
        drop(busy);
        busy = open(folders.1.path());
        assert_eq!(busy.info(), before);
        assert_eq!(run(&busy, height), expected);
        quiet.commit().unwrap();
        busy.commit().unwrap();
        assert_eq!(busy.info(), Last { height, app_hash: Some(expected.1) });
        assert_eq!(busy.info(), quiet.info());
    }
    let at = busy.store().at(None).unwrap();
    assert_eq!(invariants::broken(&at).unwrap(), Vec::<String>::new());
}

#[test]
fn checking_proposing_and_querying_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let app = begin(folder.path());
    let before = app.info();
    let txs = block_txs(1);
    for _ in 0..3 {
        for tx in &txs[1..] {
            assert_eq!(app.check_tx(tx).unwrap().code, 0);
        }
        let proposed = app.prepare(1, 1 << 20, None, &txs[1..]).unwrap();
        assert_eq!(proposed.len(), txs.len());
        assert!(app.process(1, &proposed).unwrap().is_ok());
        assert!(app.extend().unwrap().is_empty());
    }
    assert_ne!(app.check_tx(b"junk").unwrap().code, 0);
    assert!(app.process(1, &txs[1..]).unwrap().is_err(), "no extended commit in front");
    assert_eq!(app.info(), before);
    assert!(matches!(app.commit(), Err(Fault::Invariant(_))), "nothing was finalized");
}

#[test]
fn commit_tells_cometbft_which_blocks_it_must_keep() {
    for (blocks_retained, expected) in [(0, [0, 0, 0, 0]), (2, [0, 0, 1, 2])] {
        let folder = tempfile::tempdir().unwrap();
        drop(begin(folder.path()));
        let store = Store::open(folder.path(), &StoreOptions::default(), &mut |_| {}).unwrap();
        let app = App::new(store, AppOptions { blocks_retained, ..AppOptions::default() });
        for (height, expected) in (1..).zip(expected) {
            run(&app, height);
            assert_eq!(app.commit().unwrap(), expected);
        }
    }
}

#[test]
fn a_genesis_that_is_not_ours_is_refused_in_words_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(folder.path());
    for app_state in [&b""[..], b"{}", b"[1]", br#"{"params":{},"accounts":[],"validators":[]}"#] {
        let error = app.init_chain(app_state, CHAIN, 1, START_MS).unwrap_err().to_string();
        assert!(error.contains("hint:"), "{error}");
        assert_eq!(app.info(), Last { height: 0, app_hash: None });
    }
}

#[test]
fn what_the_last_vote_carried_stands_behind_what_none_did() {
    let item = |job| lockstep_proto::lockstep::block::v1::Commitment { job, ..Default::default() };
    let offer = |jobs: &[u64]| VoteExtension {
        commitments: jobs.iter().copied().map(item).collect(),
        holds: jobs.to_vec(),
        ..Default::default()
    };
    let mut offers = offer(&[1, 2, 3, 4]);
    fresh_first(&mut offers, &offer(&[2, 1]));
    assert_eq!(offers, offer(&[3, 4, 1, 2]));
}
