//! Pots and what moves between them: nothing is made but in the genesis, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lockstep_chain::address::{self, Address};

use crate::Compared;
use crate::report::Difference;

/// Where money can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pot {
    /// Free, on an account.
    Account(Address),
    /// Bonded with a validator.
    Bonded(Address),
    /// On its way back to a delegator, by number.
    Unbonding(u64),
    /// Held for a job, by number.
    Escrow(u64),
    /// Bonds in the trial of a job, by number.
    Bonds(u64),
    /// Destroyed.
    Burned,
}

impl fmt::Display for Pot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(it) => write!(f, "the balance of {}", address::account(it)),
            Self::Bonded(it) => write!(f, "the stake of {}", address::operator(it)),
            Self::Unbonding(id) => write!(f, "unbonding {id}"),
            Self::Escrow(job) => write!(f, "the escrow of job {job}"),
            Self::Bonds(job) => write!(f, "the bonds in the trial of job {job}"),
            Self::Burned => f.write_str("what was burned"),
        }
    }
}

/// The amounts in every pot, in ulock.
///
/// Messages of a transaction are entered before its events, so a pot may be below zero until the
/// whole transaction is entered: see [`Ledger::settle`].
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pots: BTreeMap<Pot, i128>,
    /// What was taken from since the last settlement.
    touched: BTreeSet<Pot>,
}

impl Ledger {
    /// Puts in what the genesis gives.
    pub fn open(&mut self, pot: Pot, amount: u64) {
        self.put(pot, amount.into());
    }

    /// Moves `amount`.
    pub fn transfer(&mut self, from: Pot, to: Pot, amount: u64) {
        self.put(from, -i128::from(amount));
        self.put(to, amount.into());
        self.touched.insert(from);
    }

    /// Ends what is entered as one: a transaction, or an event of a block.
    ///
    /// # Errors
    /// Where more was taken from a pot than was in it: then the chain moved what was not there.
    pub fn settle(&mut self) -> Compared {
        for pot in std::mem::take(&mut self.touched) {
            let left = self.pots.get(&pot).copied().unwrap_or(0);
            if left < 0 {
                let found = format!("{} too little", -left);
                return Err(Difference::new(pot.to_string(), "what was taken", found).into());
            }
        }
        Ok(())
    }

    fn put(&mut self, pot: Pot, amount: i128) {
        let held = self.pots.entry(pot).or_default();
        // A genesis holds at most 2^62, and nothing is made after it.
        *held = held.saturating_add(amount);
        if *held == 0 {
            self.pots.remove(&pot);
        }
    }

    /// What is in a pot.
    #[must_use]
    pub fn of(&self, pot: &Pot) -> u64 {
        self.pots.get(pot).map_or(0, |held| amount(*held))
    }

    /// Every pot that is not empty, in order.
    pub fn pots(&self) -> impl Iterator<Item = (&Pot, u64)> {
        self.pots.iter().map(|(pot, held)| (pot, amount(*held)))
    }

    /// What is in all pots that `which` chooses.
    pub fn sum(&self, which: impl Fn(&Pot) -> bool) -> u128 {
        self.pots().filter(|(pot, _)| which(pot)).map(|(_, amount)| u128::from(amount)).sum()
    }
}

/// Below zero is nothing: only within a transaction, where nobody pays from it.
fn amount(held: i128) -> u64 {
    u64::try_from(held).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_or_lost_by_moving_it_and_nobody_pays_what_is_not_there() {
        let (one, other) = (Pot::Account([1; 20]), Pot::Escrow(7));
        let mut ledger = Ledger::default();
        ledger.open(one, 10);
        ledger.transfer(one, other, 4);
        ledger.settle().unwrap();
        assert_eq!((ledger.of(&one), ledger.of(&other), ledger.sum(|_| true)), (6, 4, 10));
        // Borrowed and given back before the end.
        ledger.transfer(other, Pot::Burned, 5);
        ledger.transfer(one, other, 1);
        ledger.settle().unwrap();
        assert_eq!((ledger.of(&other), ledger.sum(|_| true), ledger.pots().count()), (0, 10, 2));
        ledger.transfer(one, other, 7);
        let error = ledger.settle().unwrap_err().to_string();
        assert!(error.ends_with("must be what was taken, is 2 too little"), "{error}");
    }
}
