//! Who runs a job: fixed when it is posted, by a rule that leaves nothing to grind.
//!
//! Validators that hold the version take turns until their joint power exceeds one third of the
//! total, at least two of them: while less than a third of the power is faulty, one member is honest
//! with certainty.

use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::{Job, Member, MemberState};

use crate::address::Address;
use crate::context::Context;
use crate::error::Fault;
use crate::model::possession;
use crate::staking::power;

/// Adds members, in turn, until those that count hold more than a third of the power.
///
/// Returns whether they do.
///
/// # Errors
/// Only a failing store.
pub fn fill(ctx: &Context<'_, '_>, job: &mut Job) -> Result<bool, Fault> {
    let (_, total) = power::bonded(ctx.state)?;
    let (mut joined, mut heads) = counted(job);
    for (operator, power) in candidates(ctx, job)? {
        if enough(joined, heads, total) {
            break;
        }
        job.members.push(asked(&operator, power, job.attempt));
        joined = joined.saturating_add(power);
        heads = heads.saturating_add(1);
    }
    Ok(enough(joined, heads, total))
}

fn enough(power: u64, heads: usize, total: u64) -> bool {
    heads >= 2 && power::exceeds(power, total, 1, 3)
}

/// Power and number of the members of this attempt that may still bring an answer.
fn counted(job: &Job) -> (u64, usize) {
    let live = super::present(job).filter(|member| {
        matches!(
            member.state(),
            MemberState::Asked | MemberState::Committed | MemberState::Revealed
        )
    });
    live.fold((0, 0), |(power, heads): (u64, usize), member| {
        (power.saturating_add(member.power), heads.saturating_add(1))
    })
}

/// Who may join, in turn. Those with a part in an earlier attempt come last, so that a new attempt
/// is made of new members as long as there are any; nobody joins an attempt twice.
fn candidates(ctx: &Context<'_, '_>, job: &Job) -> Result<Vec<(Address, u64)>, Fault> {
    let mut holders = possession::holders(ctx.state, job.version)?;
    let count = u64::try_from(holders.len()).unwrap_or(u64::MAX);
    let turn = job.id.checked_rem(count).and_then(|turn| usize::try_from(turn).ok());
    holders.rotate_left(turn.unwrap_or(0));
    holders.retain(|(operator, _)| !super::present(job).any(|m| m.validator == operator));
    let (seen, mut fresh): (Vec<_>, Vec<_>) = holders
        .into_iter()
        .partition(|(operator, _)| job.members.iter().any(|m| m.validator == operator));
    fresh.extend(seen);
    Ok(fresh)
}

fn asked(operator: &Address, power: u64, attempt: u32) -> Member {
    Member {
        validator: operator.to_vec(),
        power,
        state: MemberState::Asked.into(),
        attempt,
        ..Member::default()
    }
}
