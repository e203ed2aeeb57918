//! The first state: what `app_state` of CometBFT's genesis file holds.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use lockstep_proto::lockstep::chain::v1::{Params, Tip, Totals};
use lockstep_proto::lockstep::member::v1::{Account, Role};
use lockstep_proto::lockstep::staking::v1::Validator;
use serde::{Deserialize, Serialize};

use crate::address::{self, Address, from_consensus_key};
use crate::context::{Context, add};
use crate::error::TxError;
use crate::limits::{NAME_BYTES_MAX, POWER_UNIT, SUPPLY_MAX, VALIDATORS_MAX};
use crate::model::possession;
use crate::staking::{self, power::ValidatorUpdate};
use crate::state::Overlay;
use crate::state::tables::{ACCOUNTS, CONSENSUS_KEYS, PARAMS, TIP, TOTALS, VALIDATORS};
use crate::tx::role_bit;

/// Accounts, validators and rules at the first height.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The rules.
    pub params: Params,
    /// Members and their balances.
    pub accounts: Vec<GenesisAccount>,
    /// Who signs the first blocks.
    pub validators: Vec<GenesisValidator>,
}

/// A member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// bech32.
    pub address: String,
    /// In ulock.
    #[serde(default)]
    pub balance: u64,
    /// Names of roles without their prefix, for example `developer`.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A validator with its own stake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// bech32 operator address; the account of the same bytes must be listed too.
    pub operator: String,
    /// ed25519, as hex.
    pub consensus_key: String,
    /// Its name.
    pub moniker: String,
    /// In ulock; part of the supply beside the balances.
    pub stake: u64,
    /// bech32 account address of its executor, listed with the role `executor`.
    pub executor: String,
}

/// Why a genesis is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("genesis: {what}: {value}; hint: {hint}")]
pub struct GenesisError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub value: String,
    /// What to do about it.
    pub hint: &'static str,
}

fn wrong(what: &'static str, value: &(impl ToString + ?Sized), hint: &'static str) -> GenesisError {
    GenesisError { what, value: value.to_string(), hint }
}

/// The parameters of a production network. A devnet shortens the windows.
#[must_use]
pub fn default_params(treasury: &Address) -> Params {
    Params {
        gas_price: 1_000,
        tx_gas_max: 5_000_000,
        treasury: treasury.to_vec(),
        unbonding_blocks: 100_000,
        unbonding_ms: 21 * 24 * 3600 * 1000,
        validators_max: 100,
        verdict_delay_blocks: 1_000,
        epoch_blocks: 10_000,
        slash_wrong_bps: 5_000,
        slash_no_reveal_bps: 10,
        slash_no_show_bps: 10,
        slash_equivocation_bps: 500,
        commit_window_blocks: 200,
        commit_window_ms: 120_000,
        reveal_window_blocks: 200,
        reveal_window_ms: 120_000,
        challenge_window_blocks: 200,
        challenge_window_ms: 120_000,
        deliver_window_blocks: 200,
        deliver_window_ms: 120_000,
        deadline_blocks_default: 1_000,
        attempts_max: 5,
        compute_price: 1,
        posting_charge: 100,
        deposit_bps: 10_000,
        open_jobs_max: 10_000,
        share_executors_bps: 7_000,
        share_model_bps: 2_000,
        share_treasury_bps: 500,
        share_burn_bps: 500,
        possession_leaves: 2,
        free_txs_epoch_max: 50_000,
        trial_bond: 10_000_000,
        trial_defend_blocks: 200,
        trial_defend_ms: 120_000,
        trial_call_blocks: 200,
        trial_call_ms: 120_000,
        trial_move_blocks: 200,
        trial_move_ms: 120_000,
        trial_move_cost: 1_000,
        trial_premium_fees: 10,
        verdict_wave_delay_blocks: 100_000,
        slash_concede_bps: 10,
        slash_concede_again_bps: 1_000,
        slash_concede_often_bps: 5_000,
        concede_fee_factor: 10,
        trial_us_per_leaf: 500,
    }
}

impl Genesis {
    /// Checks everything that can be wrong, so that a chain never starts on a broken state.
    ///
    /// # Errors
    /// The first thing that is wrong, in words.
    pub fn check(&self) -> Result<(), GenesisError> {
        check_params(&self.params)?;
        let mut seen = BTreeSet::new();
        let mut council = false;
        let mut supply = 0_u64;
        let mut count = |amount: u64, of: &str| {
            supply =
                supply.checked_add(amount).filter(|sum| *sum <= SUPPLY_MAX).ok_or_else(|| {
                    wrong("the supply is above 2^62 ulock at", of, "lower balances and stakes")
                })?;
            Ok(())
        };
        for account in &self.accounts {
            let address = parse(&account.address)?;
            if !seen.insert(address) {
                return Err(wrong("an account twice", &account.address, "list each once"));
            }
            council |= roles_of(account)? & role_bit(Role::Council) != 0;
            count(account.balance, &account.address)?;
        }
        if !council {
            let hint = "give one account the role `council`";
            return Err(wrong("no council member", "accounts", hint));
        }
        let treasury = Address::try_from(self.params.treasury.as_slice()).ok();
        if !treasury.is_some_and(|treasury| seen.contains(&treasury)) {
            let hint = "list the treasury's account";
            return Err(wrong("the treasury is not an account", "params.treasury", hint));
        }
        if self.validators.is_empty() {
            return Err(wrong("no validator", "validators", "list at least one"));
        }
        let mut keys = BTreeSet::new();
        let mut operators = BTreeSet::new();
        let mut executors = BTreeSet::new();
        for validator in &self.validators {
            count(validator.stake, &validator.operator)?;
            let (operator, key) = self.check_validator(validator, &seen)?;
            let new_executor = executors.insert(&validator.executor);
            if !operators.insert(operator) || !keys.insert(key) || !new_executor {
                let hint = "each validator needs its own operator, executor and consensus key";
                return Err(wrong("a validator twice", &validator.operator, hint));
            }
        }
        Ok(())
    }

    fn check_validator(
        &self,
        validator: &GenesisValidator,
        accounts: &BTreeSet<Address>,
    ) -> Result<(Address, [u8; 32]), GenesisError> {
        let operator = address::parse_operator(&validator.operator).map_err(|_| {
            wrong("not an operator address", &validator.operator, "lockstepvaloper1…")
        })?;
        if !accounts.contains(&operator) {
            let hint = "list the account of the same key";
            return Err(wrong("an operator without account", &validator.operator, hint));
        }
        if validator.stake < POWER_UNIT {
            let hint = "stake at least 1000000 ulock";
            return Err(wrong("a stake without power", &validator.operator, hint));
        }
        if validator.moniker.is_empty() || validator.moniker.len() > NAME_BYTES_MAX {
            return Err(wrong("a bad moniker", &validator.operator, "1 to 64 bytes"));
        }
        let executor = parse(&validator.executor)?;
        let mut listed = self.accounts.iter().filter(|a| a.address == validator.executor);
        let is_executor = listed.any(|a| a.roles.iter().any(|role| role == "executor"));
        if !is_executor || !accounts.contains(&executor) {
            let hint = "list the account with the role `executor`";
            return Err(wrong("an executor without its role", &validator.executor, hint));
        }
        Ok((operator, parse_key(&validator.consensus_key)?))
    }
}

fn check_params(params: &Params) -> Result<(), GenesisError> {
    let shares = [
        params.share_executors_bps,
        params.share_model_bps,
        params.share_treasury_bps,
        params.share_burn_bps,
    ];
    let fractions = [
        params.slash_wrong_bps,
        params.slash_no_reveal_bps,
        params.slash_no_show_bps,
        params.slash_equivocation_bps,
        params.slash_concede_bps,
        params.slash_concede_again_bps,
        params.slash_concede_often_bps,
    ];
    let trial_blocks = params.trial_defend_blocks.saturating_add(params.trial_call_blocks);
    let rules = [
        (
            "shares add up to more than 10000",
            shares.iter().map(|s| u64::from(*s)).sum::<u64>() <= 10_000,
        ),
        ("a penalty is above 10000", fractions.iter().all(|fraction| *fraction <= 10_000)),
        ("tx_gas_max is 0", params.tx_gas_max > 0),
        ("epoch_blocks is 0", params.epoch_blocks > 0),
        ("attempts_max is 0", params.attempts_max > 0),
        ("validators_max is 0 or above 200", (1..=VALIDATORS_MAX).contains(&params.validators_max)),
        (
            "possession_leaves is 0 or above 4",
            (1..=possession::LEAVES_MAX).contains(&params.possession_leaves),
        ),
        ("trial_bond is 0", params.trial_bond > 0),
        (
            "a window of a trial is 0",
            params.trial_defend_blocks > 0
                && params.trial_call_blocks > 0
                && params.trial_move_blocks > 0,
        ),
        (
            "verdict_wave_delay_blocks is shorter than verdict_delay_blocks",
            params.verdict_wave_delay_blocks >= params.verdict_delay_blocks,
        ),
        (
            "unbonding is shorter than the windows of a job and its trial",
            params.unbonding_blocks
                >= params
                    .challenge_window_blocks
                    .saturating_add(trial_blocks)
                    .saturating_add(params.verdict_delay_blocks),
        ),
    ];
    match rules.iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err(wrong(what, "params", "see docs/protocol.md for the ranges")),
        None => Ok(()),
    }
}

fn parse(text: &str) -> Result<Address, GenesisError> {
    address::parse_account(text).map_err(|_| wrong("not an account address", text, "lockstep1…"))
}

fn parse_key(text: &str) -> Result<[u8; 32], GenesisError> {
    let mut key = [0; 32];
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let pairs = digits.as_deref().filter(|digits| digits.len() == 64).map(|d| d.chunks_exact(2));
    let Some(pairs) = pairs else {
        return Err(wrong("not an ed25519 key", text, "64 hex digits"));
    };
    for (byte, pair) in key.iter_mut().zip(pairs) {
        if let [high, low] = pair {
            *byte = high.wrapping_shl(4) | low;
        }
    }
    Ok(key)
}

fn roles_of(account: &GenesisAccount) -> Result<u32, GenesisError> {
    let mut roles = 0;
    for name in &account.roles {
        let full = alloc::format!("ROLE_{}", name.to_uppercase());
        let role = Role::from_str_name(&full).filter(|role| *role != Role::Unspecified);
        let hint = "council, validator, publisher, developer, executor, auditor or observer";
        roles |= role_bit(role.ok_or_else(|| wrong("an unknown role", name, hint))?);
    }
    Ok(roles)
}

/// Writes a checked genesis; returns the first validators.
pub(crate) fn apply(
    genesis: &Genesis,
    tip: &Tip,
    state: &mut Overlay<'_>,
) -> Result<Vec<ValidatorUpdate>, GenesisError> {
    PARAMS.put(state, &(), &genesis.params);
    TIP.put(state, &(), tip);
    let mut totals = Totals::default();
    for account in &genesis.accounts {
        let value = Account {
            number: totals.accounts,
            balance: account.balance,
            roles: roles_of(account)?,
            ..Account::default()
        };
        ACCOUNTS.put(state, &parse(&account.address)?, &value);
        totals.accounts = totals.accounts.saturating_add(1);
        totals.supply = totals.supply.saturating_add(account.balance);
    }
    for validator in &genesis.validators {
        totals.supply = totals.supply.saturating_add(validator.stake);
    }
    TOTALS.put(state, &(), &totals);
    let mut ctx = Context::new(state, &genesis.params, tip);
    let mut all = Vec::new();
    for validator in &genesis.validators {
        let stored = bond(&mut ctx, validator)
            .map_err(|error| wrong("a validator", &error, "check the account it belongs to"))?;
        all.push(stored);
    }
    all.sort_by_key(|(operator, _)| *operator);
    let corrupt = |error: crate::error::Fault| wrong("the validators", &error, "a bug: report it");
    staking::power::record(&mut ctx, &all, tip.initial_height).map_err(corrupt)?;
    let update = |(_, validator): &(Address, Validator)| {
        let key = staking::power::key_of(validator).map_err(corrupt)?;
        Ok(ValidatorUpdate { key, power: validator.power })
    };
    all.iter().map(update).collect()
}

fn bond(
    ctx: &mut Context<'_, '_>,
    validator: &GenesisValidator,
) -> Result<(Address, Validator), TxError> {
    let operator = address::parse_operator(&validator.operator)?;
    let executor = address::parse_account(&validator.executor)?;
    let key = parse_key(&validator.consensus_key).map_err(|_| crate::error::BAD_FIELD)?;
    CONSENSUS_KEYS.put(ctx.state, &from_consensus_key(&key), &operator.to_vec());
    let mut account = ACCOUNTS.must(ctx.state, &executor)?;
    account.validator = operator.to_vec();
    ACCOUNTS.put(ctx.state, &executor, &account);
    let stored = Validator {
        operator: operator.to_vec(),
        consensus_key: key.to_vec(),
        moniker: validator.moniker.clone(),
        executor: executor.to_vec(),
        power: validator.stake.checked_div(POWER_UNIT).unwrap_or(0),
        ..Validator::default()
    };
    add(0, validator.stake)?;
    let stored = staking::bond(ctx, stored, &operator, validator.stake)?;
    VALIDATORS.put(ctx.state, &operator, &stored);
    Ok((operator, stored))
}
