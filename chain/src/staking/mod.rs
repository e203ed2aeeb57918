//! Validators, their stake, and what takes it away.

pub mod power;
pub mod slashing;
pub mod unbonding;
pub mod wave;

use lockstep_proto::lockstep::staking::v1::{Delegation, Validator};

use crate::bank::address_of;
use crate::context::{Context, add, share, take};
use crate::error::{NO_SUCH_VALIDATOR, TxError};
use crate::state::tables::{Address, DELEGATIONS, VALIDATORS};

/// The validator of an operator.
///
/// # Errors
/// [`NO_SUCH_VALIDATOR`].
pub fn validator(ctx: &Context<'_, '_>, operator: &Address) -> Result<Validator, TxError> {
    Ok(VALIDATORS.get(ctx.state, operator)?.ok_or(NO_SUCH_VALIDATOR)?)
}

/// Adds stake that was taken from the delegator's balance; returns the validator.
///
/// # Errors
/// Where a sum does not fit.
pub fn bond(
    ctx: &mut Context<'_, '_>,
    mut validator: Validator,
    delegator: &Address,
    amount: u64,
) -> Result<Validator, TxError> {
    let operator = address_of(&validator.operator)?;
    // The first delegator, and whoever comes after everything was slashed, gets a share per unit.
    let shares = if validator.tokens == 0 {
        amount
    } else {
        share(amount, validator.shares, validator.tokens)
    };
    validator.tokens = add(validator.tokens, amount)?;
    validator.shares = add(validator.shares, shares)?;
    let key = (operator, *delegator);
    let mut delegation = DELEGATIONS.get(ctx.state, &key)?.unwrap_or_default();
    delegation.shares = add(delegation.shares, shares)?;
    DELEGATIONS.put(ctx.state, &key, &delegation);
    VALIDATORS.put(ctx.state, &operator, &validator);
    ctx.totals(|totals| {
        totals.bonded = add(totals.bonded, amount)?;
        Ok(())
    })?;
    Ok(validator)
}

/// Takes `amount` of bonded stake out of a delegation; `None` where the delegation is worth less.
///
/// # Errors
/// A fault where the books are wrong.
pub fn unbond(
    ctx: &mut Context<'_, '_>,
    mut validator: Validator,
    delegator: &Address,
    amount: u64,
) -> Result<Option<Validator>, TxError> {
    let operator = address_of(&validator.operator)?;
    let key = (operator, *delegator);
    let Some(mut delegation) = DELEGATIONS.get(ctx.state, &key)? else { return Ok(None) };
    let worth = worth(&validator, &delegation);
    if amount > worth {
        return Ok(None);
    }
    // Rounded up, so that taking out in small pieces gains nothing; all of it takes every share.
    let shares = if amount == worth {
        delegation.shares
    } else {
        crate::context::share_up(amount, validator.shares, validator.tokens).min(delegation.shares)
    };
    delegation.shares = take(delegation.shares, shares)?;
    if delegation.shares == 0 {
        DELEGATIONS.delete(ctx.state, &key);
    } else {
        DELEGATIONS.put(ctx.state, &key, &delegation);
    }
    validator.shares = take(validator.shares, shares)?;
    validator.tokens = take(validator.tokens, amount)?;
    VALIDATORS.put(ctx.state, &operator, &validator);
    ctx.totals(|totals| {
        totals.bonded = take(totals.bonded, amount)?;
        Ok(())
    })?;
    Ok(Some(validator))
}

/// What a delegation is worth now, in ulock.
#[must_use]
pub fn worth(validator: &Validator, delegation: &Delegation) -> u64 {
    share(delegation.shares, validator.tokens, validator.shares)
}
