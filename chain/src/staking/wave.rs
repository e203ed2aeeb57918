//! Waves of verdicts. Where more than a third of the power is found wrong within an epoch, a fault of a
//! driver is more likely than a conspiracy: the execution waits, so that people can look, and the
//! council, without the accused, may cancel what it names. A delay, never an immunity.

use alloc::vec::Vec;

use lockstep_proto::lockstep::staking::v1::{Offence, Slash, Wave};

use super::slashing::epoch;
use crate::address::{self, Address};
use crate::bank::address_of;
use crate::context::Context;
use crate::error::{Fault, Reject, TxError};
use crate::event::Event;
use crate::staking::{power, slashing};
use crate::state::tables::{SLASHES, SLASHES_DUE, VALIDATORS, WAVE};

/// There is no verdict of that number.
pub const NO_SUCH_VERDICT: Reject = Reject::new(5200, "there is no verdict of that number");
/// The stake was taken, or the verdict cancelled.
pub const TOO_LATE: Reject = Reject::new(5201, "the verdict was executed or cancelled already");
/// Nothing suggests that the verdict is anything but what it says.
pub const NOT_A_WAVE: Reject = Reject::new(
    5202,
    "the verdict belongs to no wave against more than a third of the power, so it stands",
);
/// The council member works for a validator that waits for its own penalty.
pub const ACCUSED: Reject = Reject::new(5203, "the signer works for a validator that is accused");

/// Whether a verdict says that a validator's answer was wrong.
fn counts(slash: &Slash) -> bool {
    matches!(slash.offence(), Offence::WrongResult | Offence::Conceded)
}

/// Counts a verdict that is being recorded; where it begins or joins a wave, its execution waits, and
/// that of the epoch's other verdicts.
///
/// # Errors
/// Only a fault.
pub(super) fn join(
    ctx: &mut Context<'_, '_>,
    slash: &mut Slash,
    accused_power: u64,
) -> Result<(), TxError> {
    if !counts(slash) {
        return Ok(());
    }
    let epoch = epoch(ctx);
    let mut wave = WAVE.get(ctx.state, &())?.unwrap_or_default();
    if wave.epoch != epoch {
        let (_, total) = power::bonded(ctx.state)?;
        wave = Wave { epoch, total, ..Wave::default() };
    }
    if !wave.accused.contains(&slash.validator) {
        wave.accused.push(slash.validator.clone());
        wave.power = wave.power.saturating_add(accused_power);
    }
    if wave.seen_height == 0 && power::exceeds(wave.power, wave.total, 1, 3) {
        wave.seen_height = ctx.tip.height;
        for id in &wave.slashes {
            put_off(ctx, *id, wave.seen_height)?;
        }
        let event = Event::new("verdict_wave").with("epoch", epoch);
        ctx.emit(event.with("power", wave.power).with("total", wave.total));
    }
    if wave.seen_height > 0 {
        delay(ctx, slash, wave.seen_height);
    }
    wave.slashes.push(slash.id);
    WAVE.put(ctx.state, &(), &wave);
    Ok(())
}

fn delay(ctx: &Context<'_, '_>, slash: &mut Slash, seen_height: u64) {
    let earliest = seen_height.saturating_add(ctx.params.verdict_wave_delay_blocks);
    slash.execute_height = slash.execute_height.max(earliest);
    slash.wave = true;
}

/// Moves a verdict that still waits.
fn put_off(ctx: &mut Context<'_, '_>, id: u64, seen_height: u64) -> Result<(), Fault> {
    let mut slash = SLASHES.must(ctx.state, &id)?;
    if slash.executed || slash.cancelled {
        return Ok(());
    }
    SLASHES_DUE.delete(ctx.state, &(slash.execute_height, id));
    delay(ctx, &mut slash, seen_height);
    SLASHES_DUE.put(ctx.state, &(slash.execute_height, id), &id);
    SLASHES.put(ctx.state, &id, &slash);
    Ok(())
}

/// Cancels a verdict of a wave: nothing is taken, and it does not count against the validator.
///
/// # Errors
/// Where it cannot be cancelled, or not by this member of the council.
pub fn cancel(
    ctx: &mut Context<'_, '_>,
    member: &Address,
    id: u64,
    reason: &str,
) -> Result<(), TxError> {
    let mut slash = SLASHES.get(ctx.state, &id)?.ok_or(NO_SUCH_VERDICT)?;
    if slash.executed || slash.cancelled {
        return Err(TOO_LATE.into());
    }
    if !slash.wave {
        return Err(NOT_A_WAVE.into());
    }
    for pending in slashing::pending(ctx)?.iter().filter(|pending| counts(pending)) {
        let accused = address_of(&pending.validator)?;
        let validator = VALIDATORS.must(ctx.state, &accused)?;
        if accused == *member || validator.executor == member {
            return Err(ACCUSED.into());
        }
    }
    SLASHES_DUE.delete(ctx.state, &(slash.execute_height, id));
    let operator = address_of(&slash.validator)?;
    let mut validator = VALIDATORS.must(ctx.state, &operator)?;
    if slash.offence() == Offence::WrongResult {
        validator.proven_wrong = validator.proven_wrong.saturating_sub(1);
    } else {
        let found = validator.conceded_ms.iter().position(|ms| *ms == slash.decided_ms);
        found.map(|place| validator.conceded_ms.remove(place));
    }
    VALIDATORS.put(ctx.state, &operator, &validator);
    lighten_later(ctx, &slash)?;
    slash.cancelled = true;
    slash.reason = reason.into();
    slash.rewards = Vec::new();
    SLASHES.put(ctx.state, &id, &slash);
    ctx.emit(
        Event::new("verdict_cancelled")
            .with("slash", id)
            .with("validator", address::operator(&operator))
            .with("council_member", address::account(member)),
    );
    Ok(())
}

/// Each later verdict of the same kind is one offence fewer: it takes the penalty of the one before.
fn lighten_later(ctx: &mut Context<'_, '_>, cancelled: &Slash) -> Result<(), Fault> {
    let mut before = (cancelled.fraction_bps, cancelled.removal);
    let mut later = slashing::pending(ctx)?;
    later.retain(|slash| {
        let same = slash.validator == cancelled.validator && slash.offence == cancelled.offence;
        same && slash.id > cancelled.id
    });
    later.sort_by_key(|slash| slash.id);
    for mut slash in later {
        let own = (slash.fraction_bps, slash.removal);
        if own != before {
            (slash.fraction_bps, slash.removal) = before;
            SLASHES.put(ctx.state, &slash.id, &slash);
            let event = Event::new("slash_lightened").with("slash", slash.id);
            ctx.emit(event.with("fraction_bps", slash.fraction_bps));
        }
        before = own;
    }
    Ok(())
}

#[cfg(test)]
#[path = "wave_tests.rs"]
mod tests;
