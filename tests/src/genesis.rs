//! A genesis with short windows and one account for each role.

use lockstep_chain::genesis::{Genesis, GenesisAccount, GenesisValidator, default_params};
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_vm::hash::Hex;

use crate::keys::{Account, Validator};

/// What each account holds at first, in ulock.
pub const BALANCE: u64 = 1_000_000_000;
/// ulock of a LOCK.
pub const LOCK: u64 = 1_000_000;
/// Accounts that exist from the start, with their roles.
pub const MEMBERS: &[(&str, &[&str])] = &[
    ("council", &["council"]),
    ("council2", &["council"]),
    ("treasury", &["observer"]),
    ("author0", &["publisher"]),
    ("author1", &["publisher"]),
    ("dev0", &["developer"]),
    ("dev1", &["developer"]),
    ("delegator", &["observer"]),
    ("mallory", &["observer"]),
    ("poor", &["developer"]),
    ("auditor0", &["auditor"]),
    ("auditor1", &["auditor"]),
    ("auditor2", &["auditor"]),
];

/// Rules whose windows pass within a few blocks. Jobs cost exactly the model's price.
#[must_use]
pub fn params() -> Params {
    Params {
        unbonding_blocks: 20,
        unbonding_ms: 20_000,
        validators_max: 6,
        verdict_delay_blocks: 3,
        epoch_blocks: 50,
        commit_window_blocks: 4,
        commit_window_ms: 3_000,
        reveal_window_blocks: 4,
        reveal_window_ms: 3_000,
        challenge_window_blocks: 3,
        challenge_window_ms: 2_000,
        deliver_window_blocks: 3,
        deliver_window_ms: 2_000,
        deadline_blocks_default: 12,
        attempts_max: 3,
        compute_price: 0,
        trial_bond: 5 * LOCK,
        trial_defend_blocks: 4,
        trial_defend_ms: 3_000,
        trial_call_blocks: 4,
        trial_call_ms: 3_000,
        trial_move_blocks: 3,
        trial_move_ms: 2_000,
        verdict_wave_delay_blocks: 20,
        ..default_params(&Account::named("treasury").address)
    }
}

/// A genesis with one validator for each stake, in LOCK, and four accounts `val…` more that may
/// become validators.
///
/// # Panics
/// Never with fewer validators than a `usize` counts.
#[must_use]
pub fn genesis(stakes: &[u64], params: Params) -> Genesis {
    let account = |name: &str, roles: &[&str]| GenesisAccount {
        address: Account::named(name).text(),
        balance: if name == "poor" { 10 } else { BALANCE },
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    let mut accounts: Vec<_> = MEMBERS.iter().map(|(name, roles)| account(name, roles)).collect();
    for number in 0..stakes.len() + 4 {
        accounts.push(account(&format!("val{number}"), &["validator"]));
        let roles: &[&str] = if number < stakes.len() { &["executor"] } else { &["observer"] };
        accounts.push(account(&format!("exec{number}"), roles));
    }
    let validators = stakes.iter().enumerate().map(|(number, stake)| {
        let keys = Validator::numbered(number);
        GenesisValidator {
            operator: keys.operator.operator_text(),
            consensus_key: Hex(&keys.consensus_key()).to_string(),
            moniker: format!("validator {number}"),
            stake: stake * LOCK,
            executor: keys.executor.text(),
        }
    });
    Genesis { params, accounts, validators: validators.collect() }
}
