//! What must hold after every block, at any height. Slow on purpose: it reads everything.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use lockstep_proto::lockstep::job::v1::JobState;
use lockstep_proto::lockstep::staking::v1::Offence;

use crate::error::Fault;
use crate::job::{is_terminal, posting};
use crate::limits::POWER_UNIT;
use crate::model::lineage::WEIGHTS;
use crate::staking::power;
use crate::state::StateRead;
use crate::state::tables::{
    ACCOUNTS, DELEGATIONS, JOBS, JOBS_DUE, MODELS, SLASHES, TOTALS, TRACE_NODES, TRACE_STEPS,
    TRIALS, UNBONDINGS, VALIDATORS, VERIFIED, VERSIONS,
};

/// The invariants that do not hold, in words; none where the books are right.
///
/// # Errors
/// Only a failing store.
pub fn broken(state: &dyn StateRead) -> Result<Vec<String>, Fault> {
    let mut broken = Vec::new();
    money(state, &mut broken)?;
    stake(state, &mut broken)?;
    jobs(state, &mut broken)?;
    trials(state, &mut broken)?;
    lineage(state, &mut broken)?;
    Ok(broken)
}

fn equal(broken: &mut Vec<String>, what: &str, counted: u128, booked: u64) {
    if counted != u128::from(booked) {
        broken.push(format!("{what}: counted {counted}, booked {booked}"));
    }
}

/// Supply = balances + bonded + unbonding + escrow + bonds, each counted from its own table.
fn money(state: &dyn StateRead, broken: &mut Vec<String>) -> Result<(), Fault> {
    let totals = TOTALS.must(state, &())?;
    let accounts = ACCOUNTS.scan(state, &(), usize::MAX)?;
    let balances: u128 = accounts.iter().map(|(_, a)| u128::from(a.balance)).sum();
    let validators = VALIDATORS.scan(state, &(), usize::MAX)?;
    let bonded: u128 = validators.iter().map(|(_, v)| u128::from(v.tokens)).sum();
    let unbondings = UNBONDINGS.scan(state, &(), usize::MAX)?;
    let unbonding: u128 = unbondings.iter().map(|(_, u)| u128::from(u.amount)).sum();
    let mut escrow = 0_u128;
    for (_, job) in JOBS.scan(state, &(), usize::MAX)? {
        if !is_terminal(job.state()) {
            escrow = escrow.saturating_add(posting::escrow_checked(&job)?.into());
        }
    }
    let mut bonds = 0_u128;
    for (_, trial) in TRIALS.scan(state, &(), usize::MAX)? {
        let challenges = trial.challenges.iter().map(|challenge| challenge.bond);
        let supporters = trial.supporters.iter().map(|supporter| supporter.bond);
        let of_trial: u128 = challenges.chain(supporters).map(u128::from).sum();
        bonds = bonds.saturating_add(of_trial);
    }
    equal(broken, "bonds", bonds, totals.bonds);
    equal(broken, "bonded stake", bonded, totals.bonded);
    equal(broken, "unbonding stake", unbonding, totals.unbonding);
    equal(broken, "escrow", escrow, totals.escrow);
    let sum = balances.saturating_add(bonded).saturating_add(unbonding).saturating_add(escrow);
    let sum = sum.saturating_add(bonds);
    equal(broken, "supply", sum, totals.supply);
    let count = u128::try_from(accounts.len()).unwrap_or(u128::MAX);
    equal(broken, "accounts", count, totals.accounts);
    let numbers: BTreeSet<u64> = accounts.iter().map(|(_, a)| a.number).collect();
    if numbers.len() != accounts.len() {
        broken.push(String::from("an account number is given twice"));
    }
    Ok(())
}

/// Shares add up, powers follow from stakes, consensus keys are unique, each slash has an offence.
fn stake(state: &dyn StateRead, broken: &mut Vec<String>) -> Result<(), Fault> {
    let mut keys = BTreeSet::new();
    let validators = power::all(state)?;
    // CometBFT cannot go on without a validator: where nobody else is left, the removed ones stay.
    let replaceable = validators.iter().any(|(_, v)| !v.tombstoned && v.tokens >= POWER_UNIT);
    for (operator, validator) in validators {
        let name = crate::address::operator(&operator);
        let delegations = DELEGATIONS.scan(state, &operator, usize::MAX)?;
        let shares: u128 = delegations.iter().map(|(_, d)| u128::from(d.shares)).sum();
        equal(broken, &format!("shares of {name}"), shares, validator.shares);
        if !keys.insert(validator.consensus_key.clone()) {
            broken.push(format!("the consensus key of {name} is used twice"));
        }
        if validator.tombstoned && validator.power > 0 && replaceable {
            broken.push(format!("{name} was removed and has power"));
        }
    }
    let mut slashed: BTreeMap<(Vec<u8>, u64, i32), u32> = BTreeMap::new();
    for (id, slash) in SLASHES.scan(state, &(), usize::MAX)? {
        if slash.job == 0 && slash.infraction_height == 0 {
            broken.push(format!("slash {id} has no offence"));
        }
        let rewards: u128 = slash.rewards.iter().map(|reward| u128::from(reward.amount)).sum();
        if rewards > u128::from(slash.amount) || (slash.cancelled && slash.amount > 0) {
            broken.push(format!("slash {id} pays more than it takes"));
        }
        // A validator can be absent again in a later attempt at the same job, but is found wrong once.
        let attempts = match slash.offence() {
            Offence::WrongResult | Offence::Conceded => 1,
            _ => JOBS.get(state, &slash.job)?.map_or(u32::MAX, |job| job.attempt),
        };
        let times = slashed.entry((slash.validator, slash.job, slash.offence)).or_default();
        *times = times.saturating_add(1);
        if *times > attempts {
            broken.push(format!("slash {id} takes twice for one offence"));
        }
    }
    Ok(())
}

/// Each open job waits in exactly one place; each ended one paid out exactly what it held.
fn jobs(state: &dyn StateRead, broken: &mut Vec<String>) -> Result<(), Fault> {
    let totals = TOTALS.must(state, &())?;
    let mut open = 0_u128;
    for (id, job) in JOBS.scan(state, &(), usize::MAX)? {
        let waits = JOBS_DUE.has(state, &(job.window_counter, id))?;
        if is_terminal(job.state()) {
            let paid: u128 = job.payouts.iter().map(|p| u128::from(p.amount)).sum();
            equal(broken, &format!("payouts of job {id}"), paid, posting::escrow_checked(&job)?);
            if waits {
                broken.push(format!("job {id} has ended and waits"));
            }
        } else {
            open = open.saturating_add(1);
            if !waits {
                broken.push(format!("job {id} is open and waits for nothing"));
            }
        }
    }
    let due = JOBS_DUE.scan(state, &(), usize::MAX)?.len();
    equal(broken, "jobs in the queue", u128::try_from(due).unwrap_or(u128::MAX), totals.open_jobs);
    equal(broken, "open jobs", open, totals.open_jobs);
    Ok(())
}

/// Each job on trial has its trial, and no other has; nothing is kept of a trial that has ended.
fn trials(state: &dyn StateRead, broken: &mut Vec<String>) -> Result<(), Fault> {
    let mut on_trial = BTreeSet::new();
    let mut verified = BTreeSet::new();
    for (id, job) in JOBS.scan(state, &(), usize::MAX)? {
        match job.state() {
            JobState::OnTrial => on_trial.insert(id),
            JobState::Verified => verified.insert(id),
            _ => false,
        };
    }
    let trials = TRIALS.scan(state, &(), usize::MAX)?;
    if !trials.iter().map(|(id, _)| id).eq(&on_trial) {
        broken.push(String::from("the trials are not those of the jobs on trial"));
    }
    if !VERIFIED.scan(state, &(), usize::MAX)?.iter().map(|(id, _)| id).eq(&verified) {
        broken.push(String::from("the list of verified jobs is wrong"));
    }
    let nodes = TRACE_NODES.scan(state, &(), usize::MAX)?.into_iter().map(|((id, ..), _)| id);
    let steps = TRACE_STEPS.scan(state, &(), usize::MAX)?.into_iter().map(|((id, ..), _)| id);
    if nodes.chain(steps).any(|id| !on_trial.contains(&id)) {
        broken.push(String::from("a trial that has ended has left something behind"));
    }
    for (id, trial) in trials {
        for (number, answer) in (0_u32..).zip(&trial.answers) {
            let stands = trial.traces.iter().any(|trace| trace.answer == number && !trace.fallen);
            if trial.defend_over && stands == answer.fallen {
                broken.push(format!("answer {number} of trial {id} stands without a trace"));
            }
        }
    }
    Ok(())
}

/// Parents are older than the child, and recipients' weights add up.
fn lineage(state: &dyn StateRead, broken: &mut Vec<String>) -> Result<(), Fault> {
    let models = MODELS.scan(state, &(), usize::MAX)?;
    for (id, model) in &models {
        for parent in &model.parents {
            let older = models.iter().any(|(other, m)| m.name == parent.model && other < id);
            if !older {
                broken.push(format!("a parent of model {id} is not older"));
            }
        }
        let weights: u128 = model.recipients.iter().map(|r| u128::from(r.weight)).sum();
        equal(broken, &format!("weights of model {id}"), weights, WEIGHTS.into());
    }
    for (id, version) in VERSIONS.scan(state, &(), usize::MAX)? {
        let weights: u128 = version.recipients.iter().map(|r| u128::from(r.weight)).sum();
        equal(broken, &format!("weights of version {id}"), weights, WEIGHTS.into());
    }
    Ok(())
}
