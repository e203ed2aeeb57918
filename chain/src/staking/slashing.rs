//! Verdicts: recorded at once, executed some heights later, each exactly once.

use alloc::vec::Vec;

use lockstep_proto::lockstep::staking::v1::{Offence, Slash, Unbonding};

use crate::address;
use crate::bank::{address_of, burn};
use crate::block::Evidence;
use crate::context::{Context, add, basis_points, take};
use crate::error::{Fault, TxError};
use crate::event::Event;
use crate::limits::DUE_PER_BLOCK_MAX;
use crate::state::tables::{
    Address, CONSENSUS_KEYS, EVIDENCE, SLASHES, SLASHES_DUE, UNBONDINGS, UNBONDINGS_OF, VALIDATORS,
};

/// What a validator has done, and when the stake that is liable for it was bonded.
#[derive(Debug, Clone, Copy)]
pub struct Finding {
    /// Who.
    pub operator: Address,
    /// What.
    pub offence: Offence,
    /// The job it is about; 0 for equivocation.
    pub job: u64,
    /// Stake bonded at this height or unbonded since is liable.
    pub infraction_height: u64,
}

/// Records a verdict; its penalty follows from the offence and the validator's past.
///
/// # Errors
/// Only a fault.
pub fn record(ctx: &mut Context<'_, '_>, finding: &Finding) -> Result<(), TxError> {
    let mut validator = VALIDATORS.must(ctx.state, &finding.operator)?;
    let (fraction_bps, removal) = match finding.offence {
        Offence::WrongResult if validator.proven_wrong > 0 => (10_000, true),
        Offence::WrongResult => (ctx.params.slash_wrong_bps, false),
        Offence::Equivocation => (ctx.params.slash_equivocation_bps, true),
        Offence::NoReveal => (ctx.params.slash_no_reveal_bps, false),
        Offence::NoShow | Offence::Conceded | Offence::Unspecified => {
            (ctx.params.slash_no_show_bps, false)
        }
    };
    if matches!(finding.offence, Offence::NoReveal | Offence::NoShow) {
        // A power cut is no fraud: at most one penalty for absences in each epoch.
        let epoch = epoch(ctx);
        if validator.absence_epoch == epoch {
            return Ok(());
        }
        validator.absence_epoch = epoch;
    }
    if finding.offence == Offence::WrongResult {
        validator.proven_wrong = validator.proven_wrong.saturating_add(1);
    }
    VALIDATORS.put(ctx.state, &finding.operator, &validator);
    let id = ctx.totals(|totals| {
        totals.slashes = add(totals.slashes, 1)?;
        Ok(totals.slashes)
    })?;
    let height = ctx.tip.height;
    let execute_height = height.saturating_add(ctx.params.verdict_delay_blocks);
    let slash = Slash {
        id,
        validator: finding.operator.to_vec(),
        offence: finding.offence.into(),
        job: finding.job,
        infraction_height: finding.infraction_height,
        decided_height: height,
        execute_height,
        fraction_bps,
        executed: false,
        amount: 0,
        removal,
        ..Slash::default()
    };
    SLASHES.put(ctx.state, &id, &slash);
    SLASHES_DUE.put(ctx.state, &(execute_height, id), &id);
    ctx.emit(
        Event::new("slash_recorded")
            .with("slash", id)
            .with("validator", address::operator(&finding.operator))
            .with("offence", finding.offence.as_str_name())
            .with("job", finding.job)
            .with("infraction_height", finding.infraction_height)
            .with("fraction_bps", fraction_bps),
    );
    Ok(())
}

/// Epochs count from 1, so that 0 means never.
fn epoch(ctx: &Context<'_, '_>) -> u64 {
    let epoch = ctx.tip.height.checked_div(ctx.params.epoch_blocks).unwrap_or(0);
    epoch.saturating_add(1)
}

/// Executes the verdicts that are due.
///
/// # Errors
/// Only a fault.
pub fn execute(ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
    for ((height, id), _) in SLASHES_DUE.scan(ctx.state, &(), DUE_PER_BLOCK_MAX)? {
        if height > ctx.tip.height {
            break;
        }
        SLASHES_DUE.delete(ctx.state, &(height, id));
        let mut slash = SLASHES.must(ctx.state, &id)?;
        let operator = address_of(&slash.validator)?;
        slash.amount = take_stake(ctx, &operator, &slash)?;
        slash.executed = true;
        SLASHES.put(ctx.state, &id, &slash);
        burn(ctx, slash.amount)?;
        ctx.emit(
            Event::new("slash_executed")
                .with("slash", id)
                .with("validator", address::operator(&operator))
                .with("amount", slash.amount),
        );
    }
    Ok(())
}

/// The verdicts that wait for their execution.
///
/// # Errors
/// Only a failing store.
pub fn pending(ctx: &Context<'_, '_>) -> Result<Vec<Slash>, Fault> {
    let due = SLASHES_DUE.scan(ctx.state, &(), usize::MAX)?;
    due.into_iter().map(|(_, id)| SLASHES.must(ctx.state, &id)).collect()
}

/// Whether a verdict takes its part of an unbonding, too: stake that left before the infraction is
/// free.
#[must_use]
pub fn is_liable(unbonding: &Unbonding, slash: &Slash) -> bool {
    unbonding.validator == slash.validator && unbonding.created_height >= slash.infraction_height
}

/// Takes the fraction from the bonded stake and from everything unbonded since the infraction.
fn take_stake(
    ctx: &mut Context<'_, '_>,
    operator: &Address,
    slash: &Slash,
) -> Result<u64, TxError> {
    let mut validator = VALIDATORS.must(ctx.state, operator)?;
    let bonded = basis_points(validator.tokens, slash.fraction_bps);
    validator.tokens = take(validator.tokens, bonded)?;
    validator.tombstoned |= slash.removal;
    VALIDATORS.put(ctx.state, operator, &validator);
    let mut unbonding = 0_u64;
    // The scan cannot be cut short: each entry is liable. Their number is bounded by what their
    // owners paid to make them.
    for ((_, id), _) in UNBONDINGS_OF.scan(ctx.state, operator, usize::MAX)? {
        let mut entry = UNBONDINGS.must(ctx.state, &id)?;
        if !is_liable(&entry, slash) {
            continue;
        }
        let amount = basis_points(entry.amount, slash.fraction_bps);
        entry.amount = take(entry.amount, amount)?;
        UNBONDINGS.put(ctx.state, &id, &entry);
        unbonding = add(unbonding, amount)?;
    }
    ctx.totals(|totals| {
        totals.bonded = take(totals.bonded, bonded)?;
        totals.unbonding = take(totals.unbonding, unbonding)?;
        Ok(())
    })?;
    Ok(add(bonded, unbonding)?)
}

/// Records the misbehaviour that CometBFT reports, each once, found by the address that signed.
///
/// # Errors
/// Only a fault.
pub fn evidence(ctx: &mut Context<'_, '_>, evidence: &Evidence) -> Result<(), TxError> {
    let key = (evidence.address, evidence.height);
    let Some(operator) = CONSENSUS_KEYS.get(ctx.state, &evidence.address)? else {
        // Not one of ours: a fork of another chain cannot slash anyone here.
        return Ok(());
    };
    let operator = address_of(&operator)?;
    let mut validator = VALIDATORS.must(ctx.state, &operator)?;
    if validator.tombstoned || EVIDENCE.has(ctx.state, &key)? {
        return Ok(());
    }
    EVIDENCE.put(ctx.state, &key, &ctx.tip.height);
    // Out at once, before its stake is taken: a key that runs twice signs twice at every height, and
    // that is one offence.
    validator.tombstoned = true;
    VALIDATORS.put(ctx.state, &operator, &validator);
    let finding = Finding {
        operator,
        offence: Offence::Equivocation,
        job: 0,
        infraction_height: evidence.height,
    };
    record(ctx, &finding)
}
