//! Verdicts: recorded at once, executed some heights later, each exactly once.

use alloc::vec::Vec;

use lockstep_proto::lockstep::staking::v1::{Offence, Reward, Slash, Unbonding, Validator};

use crate::address;
use crate::bank::{address_of, burn, deposit};
use crate::context::{Context, add, basis_points, share, take};
use crate::error::{Fault, TxError};
use crate::event::Event;
use crate::limits::{DUE_PER_BLOCK_MAX, YEAR_MS};
use crate::staking::wave;
use crate::state::tables::{
    Address, CONSENSUS_KEYS, DELEGATIONS, EVIDENCE, SLASHES, SLASHES_DUE, UNBONDINGS,
    UNBONDINGS_OF, VALIDATORS,
};

/// Concessions that are remembered. Two decide a penalty; verdicts of a wave can be cancelled.
const CONCESSIONS_MAX: usize = 16;

/// Misbehaviour that CometBFT has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Consensus address of whoever signed.
    pub address: Address,
    /// The height of the offence.
    pub height: u64,
}

/// What a validator has done, and when the stake that is liable for it was bonded.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Who.
    pub operator: Address,
    /// What.
    pub offence: Offence,
    /// The job it is about; 0 for equivocation.
    pub job: u64,
    /// Stake bonded at this height or unbonded since is liable.
    pub infraction_height: u64,
    /// Who is paid from the penalty, and what their moves cost.
    pub rewards: Vec<Reward>,
    /// What their premiums add up to at most, in ulock.
    pub premium_max: u64,
    /// At least this is taken, in ulock.
    pub least: u64,
}

impl Finding {
    /// A finding from which nobody is paid.
    #[must_use]
    pub const fn new(operator: Address, offence: Offence, job: u64, infraction: u64) -> Self {
        let rewards = Vec::new();
        let infraction_height = infraction;
        Self { operator, offence, job, infraction_height, rewards, premium_max: 0, least: 0 }
    }
}

/// What an offence costs.
struct Penalty {
    fraction_bps: u32,
    removal: bool,
}

/// The penalty that follows from the offence and the validator's past, which it becomes part of;
/// `None` where there is none now.
fn penalty(ctx: &Context<'_, '_>, validator: &mut Validator, finding: &Finding) -> Option<Penalty> {
    let params = ctx.params;
    let plain = |fraction_bps| Penalty { fraction_bps, removal: false };
    if matches!(finding.offence, Offence::NoReveal | Offence::NoShow) {
        // A power cut is no fraud: at most one penalty for absences in each epoch.
        let epoch = epoch(ctx);
        if validator.absence_epoch == epoch {
            return None;
        }
        validator.absence_epoch = epoch;
    }
    Some(match finding.offence {
        Offence::WrongResult => {
            validator.proven_wrong = validator.proven_wrong.saturating_add(1);
            if validator.proven_wrong > 1 {
                Penalty { fraction_bps: 10_000, removal: true }
            } else {
                plain(params.slash_wrong_bps)
            }
        }
        Offence::Conceded => {
            let since = ctx.tip.time_ms.saturating_sub(YEAR_MS);
            validator.conceded_ms.retain(|time_ms| *time_ms > since);
            let before = validator.conceded_ms.len();
            validator.conceded_ms.push(ctx.tip.time_ms);
            let forget = validator.conceded_ms.len().saturating_sub(CONCESSIONS_MAX);
            validator.conceded_ms.drain(..forget);
            match before {
                0 => plain(params.slash_concede_bps),
                1 => plain(params.slash_concede_again_bps),
                _ => plain(params.slash_concede_often_bps),
            }
        }
        Offence::Equivocation => {
            Penalty { fraction_bps: params.slash_equivocation_bps, removal: true }
        }
        Offence::NoReveal => plain(params.slash_no_reveal_bps),
        Offence::NoShow | Offence::Unspecified => plain(params.slash_no_show_bps),
    })
}

/// Records a verdict; its penalty follows from the offence and the validator's past.
///
/// # Errors
/// Only a fault.
pub fn record(ctx: &mut Context<'_, '_>, finding: Finding) -> Result<(), TxError> {
    let mut validator = VALIDATORS.must(ctx.state, &finding.operator)?;
    let Some(penalty) = penalty(ctx, &mut validator, &finding) else { return Ok(()) };
    VALIDATORS.put(ctx.state, &finding.operator, &validator);
    let id = ctx.totals(|totals| {
        totals.slashes = add(totals.slashes, 1)?;
        Ok(totals.slashes)
    })?;
    let height = ctx.tip.height;
    let mut slash = Slash {
        id,
        validator: finding.operator.to_vec(),
        offence: finding.offence.into(),
        job: finding.job,
        infraction_height: finding.infraction_height,
        decided_height: height,
        decided_ms: ctx.tip.time_ms,
        execute_height: height.saturating_add(ctx.params.verdict_delay_blocks),
        fraction_bps: penalty.fraction_bps,
        removal: penalty.removal,
        rewards: finding.rewards,
        premium_max: finding.premium_max,
        least: finding.least,
        ..Slash::default()
    };
    wave::join(ctx, &mut slash, validator.power)?;
    SLASHES.put(ctx.state, &id, &slash);
    SLASHES_DUE.put(ctx.state, &(slash.execute_height, id), &id);
    let event = Event::new("slash_recorded")
        .with("slash", id)
        .with("validator", address::operator(&finding.operator))
        .with("offence", finding.offence.as_str_name())
        .with("job", finding.job)
        .with("infraction_height", finding.infraction_height)
        .with("fraction_bps", penalty.fraction_bps)
        .with("least", finding.least)
        .with("execute_height", slash.execute_height);
    ctx.emit(event);
    Ok(())
}

/// Epochs count from 1, so that 0 means never.
pub(super) fn epoch(ctx: &Context<'_, '_>) -> u64 {
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
        let taken = take_stake(ctx, &operator, &slash)?;
        slash.amount = taken.amount;
        slash.executed = true;
        pay_out(ctx, taken.amount, taken.own, slash.premium_max, &mut slash.rewards)?;
        SLASHES.put(ctx.state, &id, &slash);
        let mut event = Event::new("slash_executed")
            .with("slash", id)
            .with("validator", address::operator(&operator))
            .with("amount", slash.amount);
        for reward in &slash.rewards {
            event = event
                .with("rewarded", address::account(&address_of(&reward.account)?))
                .with("reward", reward.amount);
        }
        ctx.emit(event);
    }
    Ok(())
}

/// Pays what was taken from an offender, `own` of it its own: first what the winners' moves cost, then
/// premiums in equal parts, at most half of `own` and `premium_max` together; the rest burns. So nobody
/// profits from robbing its own delegators.
///
/// # Errors
/// Only a fault.
pub fn pay_out(
    ctx: &mut Context<'_, '_>,
    amount: u64,
    own: u64,
    premium_max: u64,
    rewards: &mut [Reward],
) -> Result<(), TxError> {
    let left = divide(amount, own, premium_max, rewards)?;
    for reward in rewards.iter() {
        deposit(ctx, &address_of(&reward.account)?, reward.amount)?;
    }
    burn(ctx, left)
}

/// Sets what each winner gets; returns what is left.
fn divide(amount: u64, own: u64, premium_max: u64, rewards: &mut [Reward]) -> Result<u64, TxError> {
    let mut left = amount;
    for reward in rewards.iter_mut() {
        reward.amount = reward.cost.min(left);
        left = take(left, reward.amount)?;
    }
    let winners = u64::try_from(rewards.len()).unwrap_or(u64::MAX);
    let each = share((own / 2).min(premium_max).min(left), 1, winners);
    for reward in rewards {
        reward.amount = add(reward.amount, each)?;
        left = take(left, each)?;
    }
    Ok(left)
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

/// What a verdict has taken, in ulock.
struct Taken {
    amount: u64,
    /// The operator's own part.
    own: u64,
}

/// Takes the fraction from the bonded stake and from everything unbonded since the infraction; where
/// that is less than the least that the verdict names, so much, from the bonded stake first.
fn take_stake(
    ctx: &mut Context<'_, '_>,
    operator: &Address,
    slash: &Slash,
) -> Result<Taken, TxError> {
    let mut validator = VALIDATORS.must(ctx.state, operator)?;
    // The scan cannot be cut short: each entry is liable. Their number is bounded by what their
    // owners paid to make them.
    let mut liable = Vec::new();
    let mut fraction = basis_points(validator.tokens, slash.fraction_bps);
    for ((_, id), _) in UNBONDINGS_OF.scan(ctx.state, operator, usize::MAX)? {
        let entry = UNBONDINGS.must(ctx.state, &id)?;
        if is_liable(&entry, slash) {
            fraction = add(fraction, basis_points(entry.amount, slash.fraction_bps))?;
            liable.push((id, entry));
        }
    }
    let mut short = slash.least.saturating_sub(fraction);
    let mut part = |stake: u64| {
        let fraction = basis_points(stake, slash.fraction_bps);
        let more = short.min(stake.saturating_sub(fraction));
        short = short.saturating_sub(more);
        fraction.saturating_add(more)
    };
    let delegation = DELEGATIONS.get(ctx.state, &(*operator, *operator))?.unwrap_or_default();
    let own_before = super::worth(&validator, &delegation);
    let bonded = part(validator.tokens);
    validator.tokens = take(validator.tokens, bonded)?;
    validator.tombstoned |= slash.removal;
    VALIDATORS.put(ctx.state, operator, &validator);
    let mut own = own_before.saturating_sub(super::worth(&validator, &delegation));
    let mut unbonding = 0_u64;
    for (id, mut entry) in liable {
        let amount = part(entry.amount);
        entry.amount = take(entry.amount, amount)?;
        UNBONDINGS.put(ctx.state, &id, &entry);
        unbonding = add(unbonding, amount)?;
        if entry.delegator == operator {
            own = add(own, amount)?;
        }
    }
    ctx.totals(|totals| {
        totals.bonded = take(totals.bonded, bonded)?;
        totals.unbonding = take(totals.unbonding, unbonding)?;
        Ok(())
    })?;
    Ok(Taken { amount: add(bonded, unbonding)?, own })
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
    record(ctx, Finding::new(operator, Offence::Equivocation, 0, evidence.height))
}
