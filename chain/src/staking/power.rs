//! Voting power: what CometBFT is told, and what the chain remembers of it.

use alloc::vec::Vec;

use lockstep_proto::lockstep::staking::v1::{Validator, ValidatorPower, ValidatorSet};

use crate::address::from_consensus_key;
use crate::context::Context;
use crate::error::{Fault, TxError};
use crate::limits::{POWER_UNIT, VALIDATORS_MAX};
use crate::state::StateRead;
use crate::state::tables::{Address, VALIDATOR_SETS, VALIDATORS};

/// A change of voting power, for CometBFT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidatorUpdate {
    /// ed25519.
    pub key: [u8; 32],
    /// Zero removes.
    pub power: u64,
}

/// Every validator with voting power, in order of operator, and the sum of their powers.
///
/// # Errors
/// Only a failing store.
pub fn bonded(state: &dyn StateRead) -> Result<(Vec<(Address, u64)>, u64), Fault> {
    let mut total = 0_u64;
    let mut members = Vec::new();
    for (operator, validator) in all(state)? {
        if validator.power > 0 {
            total = total.checked_add(validator.power).ok_or(Fault::Invariant("power overflow"))?;
            members.push((operator, validator.power));
        }
    }
    Ok((members, total))
}

/// Every validator there ever was, in order of operator.
///
/// # Errors
/// Only a failing store.
pub fn all(state: &dyn StateRead) -> Result<Vec<(Address, Validator)>, Fault> {
    VALIDATORS.scan(state, &(), crate::limits::DUE_PER_BLOCK_MAX)
}

/// Whether `part` is more than `numerator / denominator` of `total`.
#[must_use]
pub fn exceeds(part: u64, total: u64, numerator: u64, denominator: u64) -> bool {
    let left = u128::from(part).saturating_mul(u128::from(denominator));
    left > u128::from(total).saturating_mul(u128::from(numerator))
}

/// Who may sign the block of `height`.
///
/// # Errors
/// A fault where the chain knows no set for it.
pub fn signers(state: &dyn StateRead, height: u64) -> Result<ValidatorSet, Fault> {
    let start = VALIDATOR_SETS.key(&newest_first(height)?);
    let end = VALIDATOR_SETS.key(&u64::MAX);
    let found = state.next_raw(&start, &end)?;
    let (_, bytes) = found.ok_or(Fault::Invariant("no validator set for a height"))?;
    prost::Message::decode(bytes.as_slice()).map_err(|_| Fault::Corrupt(VALIDATOR_SETS.name))
}

fn newest_first(height: u64) -> Result<u64, Fault> {
    u64::MAX.checked_sub(height).ok_or(Fault::Invariant("height"))
}

/// The one place where powers change: computes them from the stakes at the end of a block, records
/// the set for the height from which CometBFT will use it, and returns what changed.
///
/// # Errors
/// Only a failing store.
pub fn update(ctx: &mut Context<'_, '_>) -> Result<Vec<ValidatorUpdate>, TxError> {
    let mut validators = all(ctx.state)?;
    let wanted = wanted(&validators, ctx.params.validators_max.min(VALIDATORS_MAX));
    if wanted.iter().all(|power| *power == 0) {
        // CometBFT cannot go on without a validator: the last set stays.
        return Ok(Vec::new());
    }
    let mut updates = Vec::new();
    for ((operator, validator), power) in validators.iter_mut().zip(wanted) {
        if validator.power == power {
            continue;
        }
        validator.power = power;
        VALIDATORS.put(ctx.state, operator, validator);
        updates.push(ValidatorUpdate { key: key_of(validator)?, power });
    }
    if !updates.is_empty() {
        let from = ctx.tip.height.checked_add(2).ok_or(Fault::Invariant("height"))?;
        record(ctx, &validators, from)?;
    }
    Ok(updates)
}

/// Remembers who signs from a height on.
///
/// # Errors
/// Only a failing store.
pub fn record(
    ctx: &mut Context<'_, '_>,
    validators: &[(Address, Validator)],
    from_height: u64,
) -> Result<(), Fault> {
    let mut set = ValidatorSet::default();
    for (operator, validator) in validators.iter().filter(|(_, v)| v.power > 0) {
        set.validators.push(ValidatorPower {
            consensus_address: from_consensus_key(&key_of(validator)?).to_vec(),
            consensus_key: validator.consensus_key.clone(),
            power: validator.power,
            operator: operator.to_vec(),
        });
    }
    set.validators.sort_by(|a, b| a.consensus_address.cmp(&b.consensus_address));
    VALIDATOR_SETS.put(ctx.state, &newest_first(from_height)?, &set);
    Ok(())
}

/// The consensus key as bytes.
///
/// # Errors
/// A fault where the state is corrupt.
pub fn key_of(validator: &Validator) -> Result<[u8; 32], Fault> {
    let key = validator.consensus_key.as_slice();
    key.try_into().map_err(|_| Fault::Invariant("a consensus key is not 32 bytes"))
}

/// The power that each validator should have: its whole LOCKs, for the `seats` largest.
fn wanted(validators: &[(Address, Validator)], seats: u32) -> Vec<u64> {
    let power = |validator: &Validator| {
        if validator.tombstoned { 0 } else { validator.tokens.checked_div(POWER_UNIT).unwrap_or(0) }
    };
    let mut order: Vec<(u64, &Address)> =
        validators.iter().map(|(operator, validator)| (power(validator), operator)).collect();
    // The largest first; among equals the lower address.
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let seats = usize::try_from(seats).unwrap_or(usize::MAX);
    let seated: alloc::collections::BTreeSet<&Address> =
        order.iter().take(seats).map(|(_, operator)| *operator).collect();
    validators
        .iter()
        .map(|(operator, v)| if seated.contains(operator) { power(v) } else { 0 })
        .collect()
}
