//! Receipts of a job on a network of four, and everything that can be wrong with one.

use std::collections::BTreeMap;

use ed25519_consensus::SigningKey;
use lockstep_chain::block::ValidatorUpdate;
use lockstep_chain::commitment;
use lockstep_chain::genesis::default_params;
use lockstep_chain::tree::{Blake3Rule, LeafWrite, Sequential, Tree};
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::{Job, JobState, Member, MemberState, RunStatus};
use lockstep_proto::lockstep::model::v1::{Recipient, Version};
use lockstep_vm::result::input_root;
use prost::Message as _;
use serde_json::json;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::types::{
    BlockId, BlockIdFlag, Commit, CommitSig, Header, PartSetHeader, SignedHeader,
};
use tendermint_proto::v0_38::version::Consensus;

use super::*;
use crate::Stop;
use crate::amounts::Settled;
use crate::comet::{self, Hash};
use crate::light::{Anchor, LightBlock, Validator};

const POSTER: [u8; 20] = [1; 20];

fn version() -> Version {
    let recipient = |account: u8, weight| Recipient { account: vec![account; 20], weight };
    Version {
        id: 3,
        artefact_root: vec![7; 32],
        output_values: 1,
        recipients: vec![recipient(8, 400_000_000), recipient(9, 600_000_000)],
        ..Version::default()
    }
}

fn params() -> Params {
    default_params(&[5; 20])
}

/// Gives a job an output that its result root binds.
fn gives(job: &mut Job, status: RunStatus, output: &[u8]) {
    let root = commitment::output_root(&version(), status, output).unwrap();
    job.result_root = commitment::result_root(&version(), job, status, &root).unwrap().to_vec();
    job.set_status(status);
    (job.output_root, job.output) = (root.to_vec(), output.to_vec());
    for member in job.members.iter_mut().filter(|it| it.validator[0] != 22) {
        member.result_root.clone_from(&job.result_root);
    }
}

/// Job 12, paid out, with two members that were right and one that was not.
fn job() -> Job {
    let input = vec![1, 0, 0, 0];
    let mut job = Job { input_root: input_root(&input).to_vec(), input, ..Job::default() };
    gives(&mut job, RunStatus::Halted, &1.5_f32.to_le_bytes());
    let root = job.result_root.clone();
    let member = |number: u8, root: &[u8]| Member {
        validator: vec![number; 20],
        state: MemberState::Revealed.into(),
        result_root: root.to_vec(),
        attempt: 1,
        ..Member::default()
    };
    job = Job {
        id: 12,
        poster: POSTER.to_vec(),
        version: 3,
        fee: 1_001,
        deposit: 1_001,
        posting_charge: 100,
        state: JobState::Final.into(),
        attempt: 1,
        members: vec![member(21, &root), member(22, &[0; 32]), member(23, &root)],
        delivered_height: 6,
        ended_height: 30,
        ..job
    };
    job.payouts = Settled::from(&job).payouts(&version().recipients, &params());
    job
}

fn keys_of(powers: &[u64]) -> Vec<(SigningKey, u64)> {
    let key = |(number, power): (u8, &u64)| (SigningKey::from([number + 1; 32]), *power);
    (0..).zip(powers).map(key).collect()
}

/// In CometBFT's order where powers fall.
fn set(keys: &[(SigningKey, u64)]) -> Vec<Validator> {
    let of = |(key, power): &(SigningKey, u64)| Validator {
        public_key: key.verification_key().to_bytes(),
        power: *power,
    };
    let mut set: Vec<_> = keys.iter().map(of).collect();
    set.sort_by_key(|it| {
        let address = lockstep_chain::address::from_consensus_key(&it.public_key);
        (std::cmp::Reverse(it.power), address)
    });
    set
}

fn hash_of(set: &[Validator]) -> Hash {
    let update = |it: &Validator| ValidatorUpdate { key: it.public_key, power: it.power };
    let updates: Vec<_> = set.iter().map(update).collect();
    comet::ValidatorSet::default().updated(&updates).unwrap().hash()
}

fn id(hash: Vec<u8>) -> BlockId {
    BlockId { hash, part_set_header: Some(PartSetHeader { total: 1, hash: vec![2; 32] }) }
}

const TIME: Timestamp = Timestamp { seconds: 1_763_700_000, nanos: 123_000_000 };

fn header(app_hash: &[u8; 32], validators: &[Validator]) -> Header {
    Header {
        version: Some(Consensus { block: 11, app: 1 }),
        chain_id: "lockstep-devnet".into(),
        height: 31,
        time: Some(TIME),
        last_block_id: Some(id(vec![1; 32])),
        last_commit_hash: vec![3; 32],
        data_hash: vec![4; 32],
        validators_hash: hash_of(validators).to_vec(),
        next_validators_hash: hash_of(validators).to_vec(),
        consensus_hash: vec![5; 32],
        app_hash: app_hash.to_vec(),
        last_results_hash: vec![6; 32],
        evidence_hash: vec![7; 32],
        proposer_address: vec![8; 20],
    }
}

/// The header with the votes that each validator in order cast, if any: for the block?
fn sign(header: Header, keys: &[(SigningKey, u64)], votes: &[Option<bool>]) -> LightBlock {
    let validators = set(keys);
    let block_id = Some(id(comet::header_hash(&header).to_vec()));
    let mut commit = Commit { height: header.height, round: 1, block_id, signatures: Vec::new() };
    for (validator, vote) in validators.iter().zip(votes) {
        let mut cast = CommitSig::default();
        if let Some(for_block) = vote {
            let flag = if *for_block { BlockIdFlag::Commit } else { BlockIdFlag::Nil };
            let address = lockstep_chain::address::from_consensus_key(&validator.public_key);
            cast = CommitSig {
                block_id_flag: flag.into(),
                validator_address: address.to_vec(),
                timestamp: Some(TIME),
                signature: Vec::new(),
            };
            let own = |(key, _): &&(SigningKey, u64)| {
                key.verification_key().to_bytes() == validator.public_key
            };
            let (key, _) = keys.iter().find(own).unwrap();
            let message = comet::sign_bytes(&header.chain_id, &commit, &cast);
            cast.signature = key.sign(&message).to_bytes().to_vec();
        } else {
            cast.block_id_flag = BlockIdFlag::Absent.into();
            cast.timestamp = Some(Timestamp { seconds: -62_135_596_800, nanos: 0 });
        }
        commit.signatures.push(cast);
    }
    let signed_header = SignedHeader { header: Some(header), commit: Some(commit) };
    LightBlock { signed_header, validators }
}

/// The tree of a state with these values among others, and their proofs.
fn proved(values: &[(Vec<u8>, Vec<u8>)]) -> ([u8; 32], Vec<Proved>) {
    let mut state: BTreeMap<Vec<u8>, Vec<u8>> = values.iter().cloned().collect();
    for other in 0..20_u64 {
        state.insert(JOBS.key(&(100 + other)), vec![1]);
    }
    let leaves = state.iter().map(|(k, v)| LeafWrite::new::<Blake3Rule>(k, Some(v), 0)).collect();
    let tree = Tree::<Blake3Rule>::build(&Sequential, leaves).unwrap();
    let by_path: BTreeMap<_, _> = state
        .iter()
        .map(|(key, value)| (*blake3::hash(key).as_bytes(), (key.clone(), value.clone())))
        .collect();
    let prove = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let proof = tree.prove(None, key, &|path| Ok(by_path[path].clone())).unwrap();
        let proof = proof.to_ics23(key).encode_to_vec();
        Proved { key: key.clone(), value: value.clone(), proof }
    };
    (tree.root().unwrap(), values.iter().map(prove).collect())
}

fn receipt_of(job: &Job, version: &Version) -> Receipt {
    let values = keys(job).into_iter().zip([
        job.encode_to_vec(),
        version.encode_to_vec(),
        params().encode_to_vec(),
    ]);
    let (root, state) = proved(&values.collect::<Vec<_>>());
    let keys = keys_of(&[40, 30, 20, 10]);
    let votes = [Some(true), Some(true), None, Some(false)];
    Receipt::new(job.id, sign(header(&root, &set(&keys)), &keys, &votes), state)
}

fn anchor() -> Anchor {
    Anchor {
        chain_id: Some("lockstep-devnet".into()),
        validators: vec![hash_of(&set(&keys_of(&[40, 30, 20, 10])))],
        ..Anchor::default()
    }
}

fn refused(receipt: &Receipt) -> String {
    match check(receipt.encode().as_bytes(), &anchor()) {
        Err(Stop::Difference(found)) => found.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_receipt_of_a_job_that_was_paid_out_is_right() {
    let receipt = receipt_of(&job(), &version());
    let checked = check(receipt.encode().as_bytes(), &anchor()).unwrap();
    assert_eq!((checked.signed.power, checked.signed.total), (70, 100));
    assert!(checked.anchored);
    assert_eq!(checked.job, job());
    // 70 % of 1,001 for two: 350 each; 20 %: 80 and 120; 5 % burned with the charge; the rest.
    let paid: Vec<u64> = checked.job.payouts.iter().map(|payout| payout.amount).collect();
    assert_eq!(paid, [350, 350, 80, 120, 51, 150, 1_001]);
}

#[test]
fn every_byte_of_a_receipt_counts() {
    let bytes = receipt_of(&job(), &version()).encode().into_bytes();
    let mut tried = 0_u32;
    for at in 0..bytes.len() {
        // One bit, another in each place, and the case of letters.
        for bit in [1 << (at % 8), 0x20] {
            let mut wrong = bytes.clone();
            wrong[at] ^= bit;
            let end = check(&wrong, &anchor());
            assert!(matches!(end, Err(Stop::Difference(_))), "byte {at} bit {bit}: {end:?}");
            tried += 1;
        }
    }
    for wrong in [&bytes[..bytes.len() - 1], &[bytes.as_slice(), b"\n"].concat(), b"", b"{}"] {
        assert!(matches!(check(wrong, &anchor()), Err(Stop::Difference(_))));
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn signatures_of_strangers_are_right_and_not_those_of_the_network() {
    let bytes = receipt_of(&job(), &version()).encode();
    assert!(!check(bytes.as_bytes(), &Anchor::default()).unwrap().anchored);
    // The set of the network, but of which one?
    let nowhere = Anchor { chain_id: None, ..anchor() };
    assert!(!check(bytes.as_bytes(), &nowhere).unwrap().anchored);
    let other = Anchor { validators: vec![[1; 32]], ..anchor() };
    assert!(!check(bytes.as_bytes(), &other).unwrap().anchored);
    let header = receipt_of(&job(), &version()).block.verify().unwrap().hash;
    let by_header = Anchor { headers: vec![header], ..Anchor::default() };
    assert!(check(bytes.as_bytes(), &by_header).unwrap().anchored);
    let elsewhere = Anchor { chain_id: Some("other".into()), ..anchor() };
    let error = check(bytes.as_bytes(), &elsewhere).unwrap_err().to_string();
    assert_eq!(error, "the network must be other, is lockstep-devnet");
}

#[test]
fn two_thirds_of_the_power_are_too_few_and_votes_for_nothing_do_not_count() {
    let keys = keys_of(&[1, 1, 1]);
    for (votes, enough) in [
        ([Some(true), Some(true), None], false),
        ([Some(true), Some(true), Some(false)], false),
        ([Some(true), Some(true), Some(true)], true),
    ] {
        let end = sign(header(&[1; 32], &set(&keys)), &keys, &votes).verify();
        assert_eq!(end.is_ok(), enough, "{votes:?}: {end:?}");
    }
}

#[test]
fn a_commit_is_for_its_header_by_its_validators_at_their_places() {
    let keys = keys_of(&[4, 3, 2, 1]);
    let right = sign(header(&[1; 32], &set(&keys)), &keys, &[Some(true); 4]);
    assert!(right.verify().is_ok());
    let with = |change: &dyn Fn(&mut Header, &mut Commit, &mut Vec<Validator>)| {
        let mut wrong = right.clone();
        let SignedHeader { header: Some(header), commit: Some(commit) } = &mut wrong.signed_header
        else {
            panic!("no header");
        };
        change(header, commit, &mut wrong.validators);
        wrong.verify().unwrap_err().what
    };
    assert_eq!(with(&|_, _, set| set[3].power = 2), "the validators' hash");
    assert_eq!(
        with(&|_, _, set| set.swap(0, 1)),
        "the validators",
        "an order of one's own would move signatures"
    );
    let hash = "the hash of the block that was signed";
    assert_eq!(with(&|header, _, _| header.app_hash[0] ^= 1), hash);
    assert_eq!(with(&|_, commit, _| commit.height += 1), "the commit's height");
    let signature = "commit.signatures[0].signature";
    assert_eq!(with(&|_, commit, _| commit.round = 2), signature);
    let address = "commit.signatures[0].validator_address";
    assert_eq!(with(&|_, commit, _| commit.signatures.swap(0, 1)), address);
    let short = with(&|_, commit, _| {
        commit.signatures.pop();
    });
    assert_eq!(short, "commit.signatures");
    let genesis = Header { height: 0, ..header(&[1; 32], &set(&keys)) };
    let none = sign(genesis, &keys, &[Some(true); 4]).verify().unwrap_err();
    assert_eq!(none.what, "the header's height", "of no block");
    let mut nothing = right.clone();
    nothing.signed_header = SignedHeader::default();
    assert_eq!(nothing.verify().unwrap_err().what, "the header");
}

#[test]
fn amounts_that_the_rules_do_not_give_are_refused_even_where_the_state_has_them() {
    let mut greedy = job();
    greedy.payouts[0].amount += 1;
    greedy.payouts[1].amount -= 1;
    let words = refused(&receipt_of(&greedy, &version()));
    assert!(words.starts_with("the payouts must be"), "{words}");
    let mut twice = job();
    twice.payouts.push(twice.payouts[0].clone());
    assert!(refused(&receipt_of(&twice, &version())).starts_with("the payouts must be"));
    let mut open = job();
    open.set_state(JobState::Verified);
    assert!(refused(&receipt_of(&open, &version())).starts_with("the payouts must be"));
    open.payouts.clear();
    assert!(check(receipt_of(&open, &version()).encode().as_bytes(), &anchor()).is_ok());
}

#[test]
fn an_output_of_another_run_is_refused() {
    // Inline, as a blob, and of a run that ended with a FAULT.
    let blob = || Job { input: Vec::new(), ..job() };
    let mut fault = job();
    gives(&mut fault, RunStatus::Fault, b"");
    for right in [job(), blob(), fault] {
        assert!(check(receipt_of(&right, &version()).encode().as_bytes(), &anchor()).is_ok());
        let with = |change: &dyn Fn(&mut Job)| {
            let mut wrong = right.clone();
            change(&mut wrong);
            refused(&receipt_of(&wrong, &version()))
        };
        let output = with(&|job| job.output.push(0));
        assert!(output.starts_with("the output must be"), "trailing bytes: {output}");
        let other = with(&|job| {
            (job.output, job.status) = (2.5_f32.to_le_bytes().to_vec(), RunStatus::Halted.into());
        });
        assert!(other.starts_with("the output's root must be"), "{other}");
        let bound = with(&|job| {
            let result = job.result_root.clone();
            gives(job, RunStatus::Halted, &2.5_f32.to_le_bytes());
            job.result_root.clone_from(&result);
        });
        assert!(bound.starts_with("the result's root must be"), "{bound}");
        let short = with(&|job| job.result_root.truncate(31));
        assert!(short.starts_with("the result's root must be"), "{short}");
        assert!(with(&|job| job.delivered_height = 0).starts_with("the output must be delivered"));
        let foreign = Version { artefact_root: vec![6; 32], ..version() };
        assert!(refused(&receipt_of(&right, &foreign)).starts_with("the result's root"));
        let odd = Version { artefact_root: vec![7; 31], ..version() };
        assert!(refused(&receipt_of(&right, &odd)).starts_with("a root must be 32 bytes"));
    }
}

#[test]
fn a_proof_of_another_job_is_refused() {
    let mut receipt = receipt_of(&job(), &version());
    receipt.job = 13;
    assert_eq!(refused(&receipt), "the job's number must be 13, is 12");
    let mut receipt = receipt_of(&job(), &version());
    receipt.state.swap(1, 2);
    assert!(refused(&receipt).contains("the proof of version"));
    receipt.state.pop();
    assert_eq!(refused(&receipt), "state must be job, version and params, is 2");
}

#[test]
fn the_file_is_plain_json() {
    let text = receipt_of(&job(), &version()).encode();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["format"], FORMAT);
    assert_eq!(value["job"], 12);
    assert_eq!(value["block"]["signed_header"]["header"]["height"], json!("31"));
    assert_eq!(value["block"]["validators"][0]["power"], 40);
}
