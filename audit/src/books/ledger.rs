//! Pots and what moves between them: nothing is made but in the genesis, and nothing is lost.

use std::collections::BTreeMap;
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
#[derive(Debug, Clone, Default)]
pub struct Ledger(BTreeMap<Pot, u64>);

impl Ledger {
    /// Puts in what the genesis gives.
    pub fn open(&mut self, pot: Pot, amount: u64) {
        self.put(pot, amount);
    }

    /// Moves `amount`.
    ///
    /// # Errors
    /// Where there is less in `from`: then the chain moved what was not there.
    pub fn transfer(&mut self, from: Pot, to: Pot, amount: u64) -> Compared {
        let held = self.of(&from);
        let Some(left) = held.checked_sub(amount) else {
            return Err(
                Difference::new(from.to_string(), format!("at least {amount}"), held).into()
            );
        };
        if left == 0 {
            self.0.remove(&from);
        } else {
            self.0.insert(from, left);
        }
        self.put(to, amount);
        Ok(())
    }

    fn put(&mut self, pot: Pot, amount: u64) {
        if amount > 0 {
            let held = self.0.entry(pot).or_default();
            // A genesis holds at most 2^62, and nothing is made after it.
            *held = held.saturating_add(amount);
        }
    }

    /// What is in a pot.
    #[must_use]
    pub fn of(&self, pot: &Pot) -> u64 {
        self.0.get(pot).copied().unwrap_or(0)
    }

    /// Every pot that is not empty, in order.
    pub fn pots(&self) -> impl Iterator<Item = (&Pot, u64)> {
        self.0.iter().map(|(pot, amount)| (pot, *amount))
    }

    /// What is in all pots that `which` chooses.
    pub fn sum(&self, which: impl Fn(&Pot) -> bool) -> u128 {
        self.pots().filter(|(pot, _)| which(pot)).map(|(_, amount)| u128::from(amount)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_or_lost_by_moving_it_and_nobody_pays_what_is_not_there() {
        let (one, other) = (Pot::Account([1; 20]), Pot::Escrow(7));
        let mut ledger = Ledger::default();
        ledger.open(one, 10);
        ledger.transfer(one, other, 4).unwrap();
        assert_eq!((ledger.of(&one), ledger.of(&other), ledger.sum(|_| true)), (6, 4, 10));
        let error = ledger.transfer(other, Pot::Burned, 5).unwrap_err();
        assert_eq!(error.to_string(), "the escrow of job 7 must be at least 5, is 4");
        assert_eq!(ledger.sum(|_| true), 10);
        ledger.transfer(other, Pot::Burned, 4).unwrap();
        assert_eq!(ledger.pots().count(), 2);
    }
}
