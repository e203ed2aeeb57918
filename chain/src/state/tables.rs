//! Every table of the chain state. Read this file to know what the chain remembers.
//!
//! A prefix is permanent: never change one and never reuse a retired one. Values are the protobuf
//! messages of `proto/lockstep`; a bare `u64` or `Vec<u8>` is encoded as protobuf's wrapper types.

use alloc::vec::Vec;

use lockstep_proto::lockstep::chain::v1::{Params, Tip, Totals};
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::member::v1::Account;
use lockstep_proto::lockstep::model::v1::{Alias, Model, Possession, Version};
use lockstep_proto::lockstep::staking::v1::{
    Delegation, Slash, Unbonding, Validator, ValidatorSet, Wave,
};
use lockstep_proto::lockstep::trial::v1::Trial;

use super::{Key, Table, Value};

/// The 20 bytes of an account or operator address; both kinds share them.
pub type Address = [u8; 20];
/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// `0x01`: the rules that the council may change.
pub const PARAMS: Table<(), Params> = Table::new(0x01, "params");
/// `0x02`: what the last block left behind.
pub const TIP: Table<(), Tip> = Table::new(0x02, "tip");
/// `0x03`: counters and pools.
pub const TOTALS: Table<(), Totals> = Table::new(0x03, "totals");

/// `0x10 | address(20)`: the accounts.
pub const ACCOUNTS: Table<Address, Account> = Table::new(0x10, "accounts");
/// `0x11 | timeout_ms(8) | digest(32)`: unordered transactions that were included.
pub const UNORDERED: Table<(u64, Hash), u64> = Table::new(0x11, "unordered");

/// `0x20 | operator(20)`: the validators.
pub const VALIDATORS: Table<Address, Validator> = Table::new(0x20, "validators");
/// `0x21 | consensus address(20)` → operator. Never deleted, so that old evidence finds its author.
pub const CONSENSUS_KEYS: Table<Address, Vec<u8>> = Table::new(0x21, "consensus_keys");
/// `0x22 | operator(20) | delegator(20)`: parts of a validator's stake.
pub const DELEGATIONS: Table<(Address, Address), Delegation> = Table::new(0x22, "delegations");
/// `0x23 | id(8)`: stake on its way back.
pub const UNBONDINGS: Table<u64, Unbonding> = Table::new(0x23, "unbondings");
/// `0x24 | operator(20) | id(8)`: the unbondings of a validator.
pub const UNBONDINGS_OF: Table<(Address, u64), u64> = Table::new(0x24, "unbondings_of");
/// `0x25 | height(8) | id(8)`: unbondings to look at when that height is reached.
pub const UNBONDINGS_DUE: Table<(u64, u64), u64> = Table::new(0x25, "unbondings_due");
/// `0x26 | 2^64-1 - height(8)`: who signs from that height on; the newest comes first.
pub const VALIDATOR_SETS: Table<u64, ValidatorSet> = Table::new(0x26, "validator_sets");
/// `0x27 | id(8)`: verdicts.
pub const SLASHES: Table<u64, Slash> = Table::new(0x27, "slashes");
/// `0x28 | height(8) | id(8)`: verdicts to execute when that height is reached.
pub const SLASHES_DUE: Table<(u64, u64), u64> = Table::new(0x28, "slashes_due");
/// `0x29 | consensus address(20) | height(8)`: misbehaviour that was slashed.
pub const EVIDENCE: Table<(Address, u64), u64> = Table::new(0x29, "evidence");
/// `0x2a | operator(20) | height(8) | job(8)`: commitments to jobs that are open.
pub const COMMITMENTS: Table<(Address, u64, u64), u64> = Table::new(0x2a, "commitments");
/// `0x2b`: who stands accused in this epoch.
pub const WAVE: Table<(), Wave> = Table::new(0x2b, "wave");

/// `0x30 | id(8)`: the models.
pub const MODELS: Table<u64, Model> = Table::new(0x30, "models");
/// `0x31 | hash of the name(32)` → model.
pub const MODEL_NAMES: Table<Hash, u64> = Table::new(0x31, "model_names");
/// `0x32 | id(8)`: the versions.
pub const VERSIONS: Table<u64, Version> = Table::new(0x32, "versions");
/// `0x33 | model(8) | number(4)` → version.
pub const VERSION_NUMBERS: Table<(u64, u32), u64> = Table::new(0x33, "version_numbers");
/// `0x34 | artefact root(32)` → the first version with it.
pub const ARTEFACTS: Table<Hash, u64> = Table::new(0x34, "artefacts");
/// `0x35 | version(8)`: the manifests.
pub const MANIFESTS: Table<u64, Vec<u8>> = Table::new(0x35, "manifests");
/// `0x36 | model(8) | hash of the alias(32)`: where aliases point.
pub const ALIASES: Table<(u64, Hash), Alias> = Table::new(0x36, "aliases");
/// `0x37 | version(8) | operator(20)`: who proved to hold an artefact.
pub const POSSESSIONS: Table<(u64, Address), Possession> = Table::new(0x37, "possessions");
/// `0x38 | operator(20) | version(8)`: artefacts whose possession is yet to be proved.
pub const POSSESSIONS_DUE: Table<(Address, u64), u64> = Table::new(0x38, "possessions_due");

/// `0x40 | id(8)`: the jobs.
pub const JOBS: Table<u64, Job> = Table::new(0x40, "jobs");
/// `0x41 | counter(8) | job(8)`: jobs whose window ends when so many heights were counted.
pub const JOBS_DUE: Table<(u64, u64), u64> = Table::new(0x41, "jobs_due");
/// `0x42 | operator(20) | duty(1) | job(8)`: what a validator's executor has to do now.
pub const DUTIES: Table<(Address, u8, u64), u64> = Table::new(0x42, "duties");
/// `0x43 | job(8)`: the trials that run.
pub const TRIALS: Table<u64, Trial> = Table::new(0x43, "trials");
/// `0x44 | job(8) | trace(4) | level(4) | position(8)`: what was opened below a node of a trace.
pub const TRACE_NODES: Table<(u64, u32, u32, u64), Vec<u8>> = Table::new(0x44, "trace_nodes");
/// `0x45 | job(8) | trace(4) | leaf(8)`: leaves that were proved, and when.
pub const TRACE_STEPS: Table<(u64, u32, u64), u64> = Table::new(0x45, "trace_steps");
/// `0x46 | job(8)`: jobs whose answer stands and is not final.
pub const VERIFIED: Table<u64, u64> = Table::new(0x46, "verified");

/// Each table as (prefix, name, length of its keys), for the golden test and the queries by table.
#[must_use]
pub fn schema() -> Vec<(u8, &'static str)> {
    fn row<K: Key, V: Value>(table: &Table<K, V>) -> (u8, &'static str) {
        (table.prefix, table.name)
    }
    alloc::vec![
        row(&PARAMS),
        row(&TIP),
        row(&TOTALS),
        row(&ACCOUNTS),
        row(&UNORDERED),
        row(&VALIDATORS),
        row(&CONSENSUS_KEYS),
        row(&DELEGATIONS),
        row(&UNBONDINGS),
        row(&UNBONDINGS_OF),
        row(&UNBONDINGS_DUE),
        row(&VALIDATOR_SETS),
        row(&SLASHES),
        row(&SLASHES_DUE),
        row(&EVIDENCE),
        row(&COMMITMENTS),
        row(&WAVE),
        row(&MODELS),
        row(&MODEL_NAMES),
        row(&VERSIONS),
        row(&VERSION_NUMBERS),
        row(&ARTEFACTS),
        row(&MANIFESTS),
        row(&ALIASES),
        row(&POSSESSIONS),
        row(&POSSESSIONS_DUE),
        row(&JOBS),
        row(&JOBS_DUE),
        row(&DUTIES),
        row(&TRIALS),
        row(&TRACE_NODES),
        row(&TRACE_STEPS),
        row(&VERIFIED),
    ]
}
