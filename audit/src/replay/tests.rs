//! A made-up chain passes; with anything in it changed it does not, and the change is named.

use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_proto::lockstep::audit::v1::QueryChangesResponse;
use lockstep_proto::lockstep::member::v1::Account;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::evidence::Sum;
use tendermint_proto::v0_38::types::{
    Block, CommitSig, DuplicateVoteEvidence, Evidence, EvidenceList, Header,
    LightClientAttackEvidence, Validator,
};

use super::*;
use crate::abci::APP_VERSION;
use crate::comet;
use crate::report::{Difference, Verdict};
use crate::sample::{Blocks, Sample};
use crate::source::Heights;

fn chain() -> Sample {
    let mut chain = Sample::new(4, 8).unwrap();
    for count in [0, 3, 9, 0, 2, 1] {
        let txs = chain.transfers(count);
        chain.block(txs).unwrap();
    }
    chain
}

fn replay(chain: &Sample, entries: Vec<Entry>, options: &Options) -> Ended {
    run(chain.file(), &mut Blocks(entries), options, &mut [], &mut |_| {}).unwrap()
}

fn difference(chain: &Sample, entries: Vec<Entry>) -> Difference {
    let ended = replay(chain, entries, &Options::default());
    assert_eq!(ended.report.verdict, Verdict::Difference, "{:?}", ended.report.incomplete);
    ended.report.difference.unwrap()
}

#[test]
fn a_chain_that_follows_the_rules_passes() {
    let chain = chain();
    let ended = replay(&chain, chain.entries.clone(), &Options::default());
    assert_eq!(ended.report.difference, None);
    assert_eq!(ended.report.verdict, Verdict::Pass);
    assert_eq!(ended.report.facts["txs"], 15);
    assert_eq!(ended.report.facts["txs_failed"], 0);
    assert_eq!(ended.report.facts["votes"], 20);
    let root = hex::encode(&chain.entries.last().unwrap().app_hash);
    assert_eq!(ended.report.facts["app_hash"], root);
}

#[test]
fn what_a_source_gives_at_once_is_cut_into_batches_of_some_bytes() {
    let chain = chain();
    let [mut small, mut large] = [0, 1].map(|at| chain.entries[at].clone());
    small.app_hash.clear();
    large.block.data.get_or_insert_default().txs.push(vec![0; BATCH_BYTES]);
    let given = [&small, &large, &small, &small, &large, &large].map(Entry::clone);
    let batches = cut(given.to_vec());
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 1]);
    assert_eq!(batches.concat(), given);
    assert!(cut(Vec::new()).is_empty());
}

/// Changes something of block 3.
fn changed(chain: &Sample, change: impl FnOnce(&mut Entry)) -> Vec<Entry> {
    let mut entries = chain.entries.clone();
    change(&mut entries[2]);
    entries
}

#[test]
fn every_field_of_a_header_that_is_changed_is_named() {
    type Change = fn(&mut Header);
    let changes: [(&str, u64, Change); 17] = [
        ("header.version.block", 3, |h| h.version.as_mut().unwrap().block ^= 1),
        ("header.version.app", 3, |h| h.version.as_mut().unwrap().app ^= 2),
        ("header.chain_id", 3, |h| h.chain_id.push('x')),
        ("header.height", 3, |h| h.height = 4),
        ("header.time", 3, |h| h.time.as_mut().unwrap().nanos ^= 1),
        ("header.last_block_id.hash", 3, |h| h.last_block_id.as_mut().unwrap().hash[3] ^= 1),
        ("header.last_block_id.part_set_header.total", 3, |h| {
            h.last_block_id.as_mut().unwrap().part_set_header.as_mut().unwrap().total ^= 2;
        }),
        ("header.last_block_id.part_set_header.hash", 3, |h| {
            h.last_block_id.as_mut().unwrap().part_set_header.as_mut().unwrap().hash[3] ^= 1;
        }),
        ("header.last_commit_hash", 3, |h| h.last_commit_hash[3] ^= 1),
        ("header.data_hash", 3, |h| h.data_hash[3] ^= 1),
        ("header.validators_hash", 3, |h| h.validators_hash[3] ^= 1),
        ("header.next_validators_hash", 3, |h| h.next_validators_hash[3] ^= 1),
        ("header.consensus_hash", 3, |h| h.consensus_hash[3] ^= 1),
        // What the block before left behind.
        ("header.app_hash", 2, |h| h.app_hash[3] ^= 1),
        ("header.last_results_hash", 2, |h| h.last_results_hash[3] ^= 1),
        ("header.evidence_hash", 3, |h| h.evidence_hash[3] ^= 1),
        ("header.proposer_address", 3, |h| h.proposer_address[3] ^= 1),
    ];
    let chain = chain();
    for (what, height, change) in changes {
        let entries = changed(&chain, |entry| change(entry.block.header.as_mut().unwrap()));
        let found = difference(&chain, entries);
        assert_eq!((found.what.as_str(), found.height), (what, Some(height)), "{found}");
        assert_ne!(found.expected, found.found);
    }
}

#[test]
fn another_proposer_among_the_validators_is_caught_by_the_votes() {
    let chain = chain();
    let other = chain.entries[2].commit.signatures[3].validator_address.clone();
    let entries = changed(&chain, |entry| {
        entry.block.header.as_mut().unwrap().proposer_address = other;
    });
    let found = difference(&chain, entries);
    assert_eq!((found.what.as_str(), found.height), ("header: its hash", Some(3)));
    assert!(found.note.contains("proposer_address"));
}

#[test]
fn every_field_of_a_vote_that_is_changed_is_named() {
    type Change = fn(&mut CommitSig);
    let changes: [(&str, Change); 6] = [
        ("signature", |vote| vote.signature[5] ^= 1),
        ("signature", |vote| vote.timestamp.as_mut().unwrap().nanos ^= 8),
        ("validator_address", |vote| vote.validator_address[5] ^= 1),
        ("block_id_flag", |vote| vote.block_id_flag = 9),
        // A vote for nothing has another sign document.
        ("signature", |vote| vote.block_id_flag = 3),
        ("validator_address", |vote| vote.block_id_flag = 1),
    ];
    let chain = chain();
    for (what, change) in changes {
        let entries = changed(&chain, |entry| change(&mut entry.commit.signatures[1]));
        let found = difference(&chain, entries);
        assert_eq!(found.what, format!("commit.signatures[1].{what}"), "{found}");
        assert_eq!(found.height, Some(3));
    }
    let last = |change: fn(&mut CommitSig)| {
        let of = |entry: &mut Entry| {
            change(&mut entry.block.last_commit.as_mut().unwrap().signatures[1]);
        };
        difference(&chain, changed(&chain, of)).what
    };
    let name = |field: &str| format!("block.last_commit.signatures[1].{field}");
    assert_eq!(last(|vote| vote.signature[5] ^= 1), name("signature"));
    assert_eq!(last(|vote| vote.timestamp.as_mut().unwrap().nanos ^= 8), name("timestamp"));
    assert_eq!(last(|vote| vote.validator_address[5] ^= 1), name("validator_address"));
}

#[test]
fn a_commit_of_another_block_height_or_round_is_refused() {
    let chain = chain();
    let with = |change: fn(&mut Entry)| difference(&chain, changed(&chain, change)).what;
    assert_eq!(with(|e| e.commit.height = 4), "commit.height");
    assert_eq!(with(|e| e.commit.round = 1), "commit.signatures[0].signature");
    assert_eq!(with(|e| e.commit.round = -1), "commit.round");
    assert_eq!(with(|e| e.commit.block_id.as_mut().unwrap().hash[0] ^= 1), "commit.block_id.hash");
    assert_eq!(with(|e| drop(e.commit.signatures.pop())), "commit.signatures");
    assert_eq!(
        with(|e| e.block.last_commit.as_mut().unwrap().round = 1),
        "block.last_commit.round"
    );
}

#[test]
fn two_thirds_of_the_power_must_have_voted() {
    let chain = chain();
    let year_1 = Some(Timestamp { seconds: -62_135_596_800, nanos: 0 });
    let absent = CommitSig { block_id_flag: 1, timestamp: year_1, ..CommitSig::default() };
    let entries = changed(&chain, |entry| {
        entry.commit.signatures[0] = absent.clone();
    });
    // Three of four are enough for this block; the next one's header carries the whole commit.
    let ended = replay(&chain, entries, &Options::default());
    assert_eq!(ended.report.difference, None);
    let whole = replay(&chain, chain.entries.clone(), &Options::default());
    assert_eq!(ended.report.to_json(), whole.report.to_json(), "whatever votes a source has");
    let entries = changed(&chain, |entry| {
        entry.commit.signatures[0] = absent.clone();
        entry.commit.signatures[1] = absent.clone();
    });
    // It must be written as CometBFT writes it, or there were two commits of one meaning.
    let timeless = CommitSig { timestamp: None, ..absent.clone() };
    let other = changed(&chain, |entry| entry.commit.signatures[0] = timeless.clone());
    assert_eq!(difference(&chain, other).what, "commit.signatures[0].timestamp");
    let found = difference(&chain, entries);
    assert_eq!(found.what, "commit.power");
    assert_eq!(found.expected, "more than 2/3 of 40");
}

#[test]
fn a_changed_transaction_is_named_by_its_place() {
    let chain = chain();
    let entries = changed(&chain, |entry| {
        let tx = &mut entry.block.data.as_mut().unwrap().txs[4];
        let middle = tx.len() / 2;
        tx[middle] ^= 1;
    });
    let found = difference(&chain, entries);
    assert_eq!(found.height, Some(3));
    assert_eq!(found.tx.as_ref().unwrap().index, 4);
    let hash = hex::encode(&chain.entries[2].results[4].tx_hash);
    assert_eq!(found.expected, hash);
    let without = changed(&chain, |entry| drop(entry.block.data.as_mut().unwrap().txs.pop()));
    assert_eq!(difference(&chain, without).what, "block.data.txs: how many");
}

#[test]
fn a_result_that_was_recorded_otherwise_is_named_with_who_is_right() {
    let chain = chain();
    let found = difference(&chain, changed(&chain, |entry| entry.results[2].gas_used += 1));
    assert_eq!((found.height, found.what.as_str()), (Some(3), "the result's gas_used"));
    assert_eq!(found.tx.as_ref().unwrap().index, 2);
    assert!(found.note.contains("the source's record of the result is wrong"), "{}", found.note);
    let found = difference(&chain, changed(&chain, |entry| entry.results[2].code = 7));
    assert_eq!(found.what, "the result's code");
    let found = difference(&chain, changed(&chain, |entry| entry.results[2].tx_hash[0] ^= 1));
    assert_eq!(found.what, "the transaction that the result is of");
    let found = difference(&chain, changed(&chain, |entry| entry.app_hash[0] ^= 1));
    assert_eq!(found.what, "the root of the state after this block");
    let mut entries = chain.entries.clone();
    entries.last_mut().unwrap().results[1].data.push(1);
    let found = difference(&chain, entries);
    assert!(found.note.contains("no header follows yet"), "{}", found.note);
}

/// Validators who agree on a state that does not follow from the blocks.
#[test]
fn a_root_that_validators_signed_and_nobody_can_recompute_is_found() {
    let chain = chain();
    let mut other = Sample::new(4, 8).unwrap();
    // The same blocks, but somebody was given money behind the scenes.
    other.give(3, 5);
    for entry in &chain.entries[..3] {
        let txs = entry.block.data.as_ref().unwrap().txs[1..].to_vec();
        other.block(txs).unwrap();
    }
    let found = difference(&chain, other.entries.clone());
    assert_eq!(found.what, "header.app_hash");
    assert!(found.note.contains("after block 0"), "{}", found.note);
}

/// Blocks of a node that can be asked for its state.
struct OfNode(Blocks, String);

impl Source for OfNode {
    fn name(&self) -> String {
        self.1.clone()
    }
    fn node(&self) -> Option<String> {
        Some(self.1.clone())
    }
    fn heights(&mut self) -> Result<Heights> {
        self.0.heights()
    }
    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>> {
        self.0.entries(from, max)
    }
}

#[test]
fn the_key_that_makes_a_root_differ_is_named_where_a_node_can_be_asked() {
    let chain = chain();
    let key = ACCOUNTS.key(&[7; 20]);
    let node = crate::testing::rpc(move |_, params| {
        assert_ne!(params["height"], "0", "that would be the last height");
        let value = match params["path"].as_str().unwrap().rsplit('/').next().unwrap() {
            "Changes" => QueryChangesResponse { keys: vec![key.clone()], ..Default::default() }
                .encode_to_vec(),
            "Value" if params["data"] == hex::encode(&key) => {
                Account { balance: 77, ..Account::default() }.encode_to_vec()
            }
            _ => Vec::new(),
        };
        json!({ "response": { "value": STANDARD.encode(value) } })
    });
    let with = |file: &GenesisFile, entries: Vec<Entry>| {
        let mut source = OfNode(Blocks(entries), node.clone());
        let ended = run(file, &mut source, &Options::default(), &mut [], &mut |_| {});
        ended.unwrap().report.difference.unwrap()
    };
    // In the node's record of the root, of a block in between and of the last; and in a header.
    let mut entries = chain.entries.clone();
    entries[5].app_hash[0] ^= 1;
    for (height, entries) in [
        (6, entries),
        (3, changed(&chain, |entry| entry.app_hash[0] ^= 1)),
        (2, changed(&chain, |entry| entry.block.header.as_mut().unwrap().app_hash[3] ^= 1)),
    ] {
        let found = with(chain.file(), entries);
        assert_eq!(found.height, Some(height), "{found}");
        assert!(found.key.is_some(), "{found}");
        assert!(found.note.contains("the root is"), "{found}");
    }
    // Before the first block there is nobody to ask.
    let found = with(Sample::new(4, 9).unwrap().file(), chain.entries.clone());
    assert_eq!((found.what.as_str(), found.key), ("header.app_hash", None));
}

#[test]
fn a_replay_that_was_interrupted_goes_on_to_the_same_report() {
    let chain = chain();
    let straight = replay(&chain, chain.entries.clone(), &Options::default());
    let folder = tempfile::tempdir().unwrap();
    let options =
        |to| Options { to, state: Some(folder.path().to_owned()), stop: AtomicBool::new(false) };
    for height in [2, 5] {
        let part = replay(&chain, chain.entries.clone(), &options(Some(height)));
        assert_eq!(part.report.facts["last_height"], height);
        assert_eq!(part.report.verdict, Verdict::Pass);
    }
    // Only what is missing is asked for again.
    let mut rest = chain.entries.clone();
    rest[0].commit.signatures.clear();
    let resumed = replay(&chain, rest, &options(None));
    assert_eq!(resumed.report.to_json(), straight.report.to_json());
    assert_eq!(resumed.txs, 1);

    let path = folder.path().join("replay.state");
    let mut bytes = std::fs::read(&path).unwrap();
    // Right in itself, but of other rules.
    let (body, _) = bytes.split_last_chunk::<32>().unwrap();
    let version = format!("\"app_version\":{APP_VERSION}");
    let at = body.windows(version.len()).position(|part| part == version.as_bytes()).unwrap();
    let mut other = body.to_vec();
    other[at + version.len() - 1] ^= 2;
    other.extend(blake3::hash(&other).as_bytes());
    std::fs::write(&path, other).unwrap();
    let source = &mut Blocks(chain.entries.clone());
    let stop = run(chain.file(), source, &options(None), &mut [], &mut |_| {}).unwrap_err();
    assert!(stop.to_string().contains("another version"), "{stop}");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let source = &mut Blocks(chain.entries.clone());
    let stop = run(chain.file(), source, &options(None), &mut [], &mut |_| {}).unwrap_err();
    assert!(stop.to_string().contains("is damaged"), "{stop}");
}

#[test]
fn blocks_that_are_missing_make_it_incomplete() {
    let chain = chain();
    let options = Options { to: Some(9), ..Options::default() };
    let ended = replay(&chain, chain.entries.clone(), &options);
    assert_eq!(ended.report.verdict, Verdict::Incomplete);
    assert_eq!(ended.report.facts["last_height"], 6);
    let stopped = Options { stop: AtomicBool::new(true), ..Options::default() };
    let ended = replay(&chain, chain.entries.clone(), &stopped);
    assert_eq!(ended.report.verdict, Verdict::Incomplete);
}

#[test]
fn another_genesis_is_found_at_the_first_header() {
    let chain = chain();
    let other = Sample::new(4, 9).unwrap();
    let ended = run(
        other.file(),
        &mut Blocks(chain.entries.clone()),
        &Options::default(),
        &mut [],
        &mut |_| {},
    );
    let report = ended.unwrap().report;
    assert_eq!(report.verdict, Verdict::Difference);
    assert_eq!(report.difference.unwrap().what, "header.app_hash");
}

/// A chain whose fourth block punishes validator 1 for block 2.
fn punished(change: impl FnOnce(&mut DuplicateVoteEvidence)) -> Sample {
    let mut chain = Sample::new(4, 8).unwrap();
    for _ in 0..3 {
        let txs = chain.transfers(2);
        chain.block(txs).unwrap();
    }
    let mut votes = chain.double_vote(1, 2);
    change(&mut votes);
    let one = Evidence { sum: Some(Sum::DuplicateVoteEvidence(votes)) };
    chain.block_with(Vec::new(), EvidenceList { evidence: vec![one] }).unwrap();
    for _ in 0..3 {
        let txs = chain.transfers(2);
        chain.block(txs).unwrap();
    }
    chain
}

#[test]
fn who_signed_two_blocks_of_a_height_may_be_slashed() {
    let chain = punished(|_| {});
    let ended = replay(&chain, chain.entries.clone(), &Options::default());
    assert_eq!(ended.report.difference, None);
    assert_eq!(ended.report.verdict, Verdict::Pass, "{:?}", ended.report.incomplete);
    assert_eq!(ended.ledger.position().signing.signers().len(), 3, "out for good");
}

/// Everybody signs these blocks, but for the evidence nothing is wrong.
#[test]
fn evidence_that_was_made_up_is_found_though_all_validators_signed_the_block() {
    type Change = fn(&mut DuplicateVoteEvidence);
    let changes: [(&str, Change); 13] = [
        ("vote_a.signature", |it| it.vote_a.as_mut().unwrap().signature[7] ^= 1),
        ("vote_b.signature", |it| it.vote_b.as_mut().unwrap().signature.clear()),
        // A right signature, of another vote.
        ("vote_b.signature", |it| {
            let (a, b) = (it.vote_a.clone().unwrap(), it.vote_b.as_mut().unwrap());
            b.signature = a.signature;
        }),
        ("votes", |it| it.vote_b = it.vote_a.clone()),
        ("votes", |it| std::mem::swap(&mut it.vote_a, &mut it.vote_b)),
        ("votes", |it| it.vote_b.as_mut().unwrap().round = 1),
        ("votes", |it| it.vote_b.as_mut().unwrap().validator_address[0] ^= 1),
        ("votes", |it| it.vote_b = None),
        ("validator_address", |it| {
            for vote in [&mut it.vote_a, &mut it.vote_b].into_iter().flatten() {
                vote.validator_address = vec![9; 20];
            }
        }),
        ("height", |it| {
            for vote in [&mut it.vote_a, &mut it.vote_b].into_iter().flatten() {
                vote.height = 4;
            }
        }),
        ("timestamp", |it| it.timestamp.as_mut().unwrap().nanos ^= 1),
        ("validator_power", |it| it.validator_power += 1),
        ("total_voting_power", |it| it.total_voting_power -= 1),
    ];
    for (field, change) in changes {
        let chain = punished(change);
        let found = difference(&chain, chain.entries.clone());
        assert_eq!(found.what, format!("block.evidence[0].{field}"), "{found}");
        assert_eq!(found.height, Some(4));
    }
}

#[test]
fn an_attack_on_light_clients_that_names_somebody_never_passes() {
    for (named, verdict) in [(false, Verdict::Pass), (true, Verdict::Incomplete)] {
        let mut chain = Sample::new(4, 8).unwrap();
        chain.block(Vec::new()).unwrap();
        let mut attack = LightClientAttackEvidence { common_height: 1, ..Default::default() };
        if named {
            let address = chain.entries[0].commit.signatures[1].validator_address.clone();
            attack.byzantine_validators = vec![Validator { address, ..Validator::default() }];
        }
        let one = Evidence { sum: Some(Sum::LightClientAttackEvidence(attack)) };
        chain.block_with(Vec::new(), EvidenceList { evidence: vec![one] }).unwrap();
        chain.block(Vec::new()).unwrap();
        let report = replay(&chain, chain.entries.clone(), &Options::default()).report;
        assert_eq!(report.verdict, verdict, "{:?} {:?}", report.difference, report.incomplete);
    }
}

#[test]
fn what_differs_is_found_again_by_the_next_run_with_the_same_state() {
    let chain = chain();
    let folder = tempfile::tempdir().unwrap();
    let options = |to| Options { to, state: Some(folder.path().to_owned()), ..Options::default() };
    assert_eq!(
        replay(&chain, chain.entries.clone(), &options(Some(2))).report.verdict,
        Verdict::Pass
    );
    for at in [5, 3] {
        let mut entries = chain.entries.clone();
        entries[at].app_hash[0] ^= 1;
        for run in 0..2 {
            let report = replay(&chain, entries.clone(), &options(None)).report;
            assert_eq!(report.verdict, Verdict::Difference, "block {at}, run {run}");
        }
        // Nor where it ends before the next header decides.
        let report = replay(&chain, entries[..=at].to_vec(), &options(Some(9))).report;
        assert_eq!(report.verdict, Verdict::Difference, "block {at}");
    }
    assert_eq!(replay(&chain, chain.entries.clone(), &options(None)).report.verdict, Verdict::Pass);
}

#[test]
fn an_audit_of_nothing_does_not_pass() {
    let chain = chain();
    let folder = tempfile::tempdir().unwrap();
    let with = |to, entries: &[Entry]| {
        let options = Options { to, state: Some(folder.path().to_owned()), ..Options::default() };
        replay(&chain, entries.to_vec(), &options).report.verdict
    };
    assert_eq!(with(Some(0), &chain.entries), Verdict::Incomplete);
    assert_eq!(with(None, &[]), Verdict::Incomplete);
    assert_eq!(with(None, &chain.entries), Verdict::Pass);
    // What was audited before counts, but not for less than it.
    assert_eq!(with(None, &chain.entries), Verdict::Pass);
    assert_eq!(with(None, &chain.entries[..4]), Verdict::Incomplete);
    assert_eq!(with(Some(4), &chain.entries), Verdict::Incomplete);
    // A source that never ends, as a node may claim.
    let options = Options { to: Some(u64::MAX), ..Options::default() };
    let report = replay(&chain, chain.entries.clone(), &options).report;
    assert_eq!(report.verdict, Verdict::Incomplete);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// One bit anywhere in what a block's parts bind, or in the votes for it.
    #[test]
    fn a_flipped_bit_of_a_block_or_commit_never_passes(at in any::<prop::sample::Index>(), bit in 0_u8..8, of_commit: bool) {
        let chain = SHARED.get_or_init(chain);
        let mut entry = chain.entries[2].clone();
        if of_commit {
            let mut bytes = entry.commit.encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(commit) = tendermint_proto::v0_38::types::Commit::decode(bytes.as_slice()) else { return Ok(()) };
            prop_assume!(commit != entry.commit);
            entry.commit = commit;
        } else {
            let mut bytes = entry.block.encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let Ok(block) = Block::decode(bytes.as_slice()) else { return Ok(()) };
            prop_assume!(block != entry.block);
            entry.block = block;
        }
        let mut entries = chain.entries[..4].to_vec();
        entries[2] = entry;
        let found = difference(chain, entries);
        prop_assert!(matches!(found.height, Some(2 | 3)), "{found}");
    }
}

static SHARED: std::sync::OnceLock<Sample> = std::sync::OnceLock::new();

#[test]
fn hashes_of_a_header_are_those_of_the_tendermint_crate() {
    let chain = chain();
    for entry in &chain.entries {
        let header = entry.block.header.clone().unwrap();
        let ours = comet::header_hash(&header);
        let theirs = tendermint::block::Header::try_from(header).unwrap().hash();
        assert_eq!(theirs.as_bytes(), ours);
    }
}
