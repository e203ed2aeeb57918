//! Stake on its way back. It stays slashable until time AND heights have passed AND no job is open
//! to which the validator committed before AND no verdict waits that takes its part of it: after a
//! long halt, time alone would let it go.

use lockstep_proto::lockstep::staking::v1::{Unbonding, Validator};

use crate::address;
use crate::bank::{address_of, deposit};
use crate::context::{Context, add, take};
use crate::error::{Fault, OVERFLOW, TxError};
use crate::event::Event;
use crate::limits::DUE_PER_BLOCK_MAX;
use crate::staking::slashing;
use crate::state::tables::{Address, COMMITMENTS, UNBONDINGS, UNBONDINGS_DUE, UNBONDINGS_OF};

/// Moves stake that was just unbonded into the queue; returns the earliest block time, in Unix
/// milliseconds, at which it matures.
///
/// # Errors
/// Where a sum does not fit.
pub fn enqueue(
    ctx: &mut Context<'_, '_>,
    validator: &Validator,
    delegator: &Address,
    amount: u64,
) -> Result<u64, TxError> {
    let operator = address_of(&validator.operator)?;
    let height = ctx.tip.height;
    let mature_height = height.checked_add(ctx.params.unbonding_blocks).ok_or(OVERFLOW)?;
    let mature_time_ms = ctx.tip.time_ms.checked_add(ctx.params.unbonding_ms).ok_or(OVERFLOW)?;
    let id = ctx.totals(|totals| {
        totals.unbonding = add(totals.unbonding, amount)?;
        totals.unbondings = add(totals.unbondings, 1)?;
        Ok(totals.unbondings)
    })?;
    let unbonding = Unbonding {
        delegator: delegator.to_vec(),
        validator: operator.to_vec(),
        amount,
        created_height: height,
        mature_height,
        mature_time_ms,
    };
    UNBONDINGS.put(ctx.state, &id, &unbonding);
    UNBONDINGS_OF.put(ctx.state, &(operator, id), &id);
    UNBONDINGS_DUE.put(ctx.state, &(mature_height, id), &id);
    Ok(mature_time_ms)
}

/// Pays out what has matured by this block.
///
/// # Errors
/// Only a fault.
pub fn mature(ctx: &mut Context<'_, '_>) -> Result<(), TxError> {
    let due = UNBONDINGS_DUE.scan(ctx.state, &(), DUE_PER_BLOCK_MAX)?;
    let verdicts = slashing::pending(ctx)?;
    for ((height, id), _) in due {
        if height > ctx.tip.height {
            break;
        }
        UNBONDINGS_DUE.delete(ctx.state, &(height, id));
        let unbonding = UNBONDINGS.must(ctx.state, &id)?;
        let operator = address_of(&unbonding.validator)?;
        let locked = verdicts.iter().any(|slash| slashing::is_liable(&unbonding, slash));
        let early = unbonding.mature_time_ms > ctx.tip.time_ms;
        if early || locked || bound(ctx, &operator, &unbonding)? {
            let again = ctx.tip.height.checked_add(1).ok_or(Fault::Invariant("height"))?;
            UNBONDINGS_DUE.put(ctx.state, &(again, id), &id);
            continue;
        }
        UNBONDINGS.delete(ctx.state, &id);
        UNBONDINGS_OF.delete(ctx.state, &(operator, id));
        ctx.totals(|totals| {
            totals.unbonding = take(totals.unbonding, unbonding.amount)?;
            Ok(())
        })?;
        let delegator = address_of(&unbonding.delegator)?;
        deposit(ctx, &delegator, unbonding.amount)?;
        ctx.emit(
            Event::new("unbonding_matured")
                .with("unbonding", id)
                .with("delegator", address::account(&delegator))
                .with("validator", address::operator(&operator))
                .with("amount", unbonding.amount),
        );
    }
    Ok(())
}

/// Whether a job is open to which the validator committed before the stake was undelegated.
fn bound(ctx: &Context<'_, '_>, operator: &Address, unbonding: &Unbonding) -> Result<bool, Fault> {
    let oldest = COMMITMENTS.scan(ctx.state, operator, 1)?;
    Ok(oldest.first().is_some_and(|((_, height, _), _)| *height <= unbonding.created_height))
}
