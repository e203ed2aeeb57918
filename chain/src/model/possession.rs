//! Who holds an artefact. A missing file must never stop the chain or slash anyone, so a version is
//! callable only once executors of more than two thirds of the power have proved that they hold it.
//!
//! The proof is a few leaves that the chain draws for each validator; the validator cannot know
//! which before the version is published, and proving asserts that all of it was checked.

use alloc::vec::Vec;

use lockstep_proto::lockstep::model::v1::{Possession, Version};

use crate::address::Address;
use crate::context::Context;
use crate::error::{Fault, TxError};
use crate::event::Event;
use crate::limits::DUE_PER_BLOCK_MAX;
use crate::staking::power;
use crate::state::StateRead;
use crate::state::tables::{POSSESSIONS, POSSESSIONS_DUE, VALIDATORS, VERSIONS};

/// Leaves that a parameter may ask for.
pub const LEAVES_MAX: u32 = 4;

/// The leaves of a version that a validator must show; distinct where there are enough.
#[must_use]
pub fn challenge(version: &Version, operator: &Address, leaves: u32) -> Vec<u64> {
    let mut drawn = Vec::new();
    for round in 0..leaves.min(LEAVES_MAX) {
        let seed = lockstep_vm::hash::hash(
            "lockstep/possession/v1",
            &[&version.challenge_seed, operator, &round.to_le_bytes()],
        );
        let number = seed.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let leaf = number.checked_rem(version.leaf_count).unwrap_or(0);
        if !drawn.contains(&leaf) {
            drawn.push(leaf);
        }
    }
    drawn
}

/// Asks every validator to prove that it holds a new version.
///
/// # Errors
/// Only a failing store.
pub fn demand(ctx: &mut Context<'_, '_>, version: u64) -> Result<(), Fault> {
    for (operator, _) in power::all(ctx.state)? {
        POSSESSIONS_DUE.put(ctx.state, &(operator, version), &ctx.tip.height);
    }
    Ok(())
}

/// Asks a new validator to prove that it holds what was published so far.
///
/// # Errors
/// Only a failing store.
pub fn demand_of(ctx: &mut Context<'_, '_>, operator: &Address) -> Result<(), Fault> {
    for (version, _) in VERSIONS.scan(ctx.state, &(), DUE_PER_BLOCK_MAX)? {
        POSSESSIONS_DUE.put(ctx.state, &(*operator, version), &ctx.tip.height);
    }
    Ok(())
}

/// Records a proof, and makes the version callable where it was the one that was missing.
///
/// # Errors
/// Only a fault.
pub fn record(
    ctx: &mut Context<'_, '_>,
    version: &mut Version,
    operator: &Address,
) -> Result<(), TxError> {
    POSSESSIONS_DUE.delete(ctx.state, &(*operator, version.id));
    let possession = Possession { height: ctx.tip.height };
    POSSESSIONS.put(ctx.state, &(version.id, *operator), &possession);
    if version.callable {
        return Ok(());
    }
    let (_, total) = power::bonded(ctx.state)?;
    let mut held = 0_u64;
    for (_, power) in holders(ctx.state, version.id)? {
        held = held.saturating_add(power);
    }
    if power::exceeds(held, total, 2, 3) {
        version.callable = true;
        version.callable_height = ctx.tip.height;
        VERSIONS.put(ctx.state, &version.id, version);
        let label = super::label(ctx.state, version)?;
        ctx.emit(Event::new("version_callable").with("version", version.id).with("model", label));
    }
    Ok(())
}

/// Takes a proof back, after an absence: the validator is out of committees until it proves anew.
///
/// # Errors
/// Only a failing store.
pub fn withdraw(ctx: &mut Context<'_, '_>, version: u64, operator: &Address) {
    POSSESSIONS.delete(ctx.state, &(version, *operator));
    POSSESSIONS_DUE.put(ctx.state, &(*operator, version), &ctx.tip.height);
}

/// Who holds a version and has voting power, in order of operator.
///
/// # Errors
/// Only a failing store.
pub fn holders(state: &dyn StateRead, version: u64) -> Result<Vec<(Address, u64)>, Fault> {
    let mut holders = Vec::new();
    for ((_, operator), _) in POSSESSIONS.scan(state, &version, DUE_PER_BLOCK_MAX)? {
        let validator = VALIDATORS.must(state, &operator)?;
        if validator.power > 0 && !validator.executor.is_empty() {
            holders.push((operator, validator.power));
        }
    }
    Ok(holders)
}
