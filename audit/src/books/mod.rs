//! The books of a chain, kept a second time: every pot of money, from the genesis, what
//! transactions say and what blocks did, by rules that are written here anew.
//!
//! The chain's own totals are not read on the way. What only the chain can know (which answer
//! stood, which stake matured) comes from the events of the re-execution; every amount is computed
//! here, and [`statement`] compares the pots with the state.

mod events;
mod ledger;
mod messages;
mod models;
pub mod statement;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lockstep_chain::address::{Address, parse_account, parse_operator};
use lockstep_chain::block::{Block, Outcome};
use lockstep_chain::envelope::tx_hash;
use lockstep_chain::genesis::Genesis;
use lockstep_proto::lockstep::chain::v1::Params;
use lockstep_proto::lockstep::job::v1::PayoutKind;
use lockstep_proto::lockstep::staking::v1::Offence;

pub use ledger::{Ledger, Pot};

use crate::Compared;
use crate::replay::{Executed, Observer};

/// The books, after some block.
#[derive(Debug, Clone)]
pub struct Books {
    params: Params,
    treasury: Address,
    height: u64,
    time_ms: u64,
    ledger: Ledger,
    models: models::Models,
    jobs: BTreeMap<u64, Job>,
    /// What jobs paid out, by why.
    payouts: BTreeMap<PayoutKind, u128>,
    unbondings: BTreeMap<u64, Unbonding>,
    unbonded: u64,
    slashes: BTreeMap<u64, Slash>,
    royalties: BTreeMap<Address, Royalties>,
    /// The supply that the chain began with.
    genesis: u128,
}

/// What was held for a job.
#[derive(Debug, Clone)]
struct Job {
    poster: Address,
    version: u64,
    fee: u64,
    deposit: u64,
    posting_charge: u64,
    paid_out: bool,
}

/// Stake on its way back.
#[derive(Debug, Clone, Copy)]
struct Unbonding {
    delegator: Address,
    operator: Address,
    created_height: u64,
}

/// A verdict.
#[derive(Debug, Clone, Copy)]
struct Slash {
    operator: Address,
    offence: Offence,
    infraction_height: u64,
    fraction_bps: u32,
    least: u64,
    cancelled: bool,
    /// Block time, in Unix milliseconds.
    time_ms: u64,
    /// What was taken; none before its execution.
    amount: Option<u64>,
}

/// What a recipient of royalties got.
#[derive(Debug, Clone, Copy, Default)]
struct Royalties {
    /// From jobs.
    jobs: u64,
    /// By `MsgPayRoyalty`.
    direct: u64,
}

impl Books {
    /// The books of a chain that begins with this genesis.
    ///
    /// # Errors
    /// Where an address in it is none.
    pub fn open(genesis: &Genesis) -> crate::Result<Self> {
        let wrong = |what: &str| {
            crate::Stop::usage(format!("`{what}` in the genesis is no address"), "is it the file?")
        };
        let treasury = genesis.params.treasury.as_slice().try_into();
        let mut books = Self {
            params: genesis.params.clone(),
            treasury: treasury.map_err(|_| wrong("treasury"))?,
            height: 0,
            time_ms: 0,
            ledger: Ledger::default(),
            models: models::Models::default(),
            jobs: BTreeMap::new(),
            payouts: BTreeMap::new(),
            unbondings: BTreeMap::new(),
            unbonded: 0,
            slashes: BTreeMap::new(),
            royalties: BTreeMap::new(),
            genesis: 0,
        };
        for account in &genesis.accounts {
            let address = parse_account(&account.address).map_err(|_| wrong(&account.address))?;
            books.ledger.open(Pot::Account(address), account.balance);
        }
        for validator in &genesis.validators {
            let operator = parse_operator(&validator.operator);
            let operator = operator.map_err(|_| wrong(&validator.operator))?;
            books.ledger.open(Pot::Bonded(operator), validator.stake);
        }
        books.genesis = books.ledger.sum(|_| true);
        Ok(books)
    }

    /// Enters a block: its transactions, what became of them, and what the block did of itself.
    ///
    /// # Errors
    /// The first entry that these rules do not give.
    pub fn block(&mut self, block: &Block<'_>, outcome: &Outcome) -> Compared {
        let (height, txs) = (block.header.height, block.txs);
        self.height = height;
        self.time_ms = self.time_ms.max(block.header.time_ms);
        for (index, (bytes, result)) in txs.iter().zip(&outcome.txs).enumerate() {
            // Refused before its fee was taken: nothing moved. So for the extended commit.
            if result.gas_used == 0 {
                continue;
            }
            self.transaction(bytes, result)
                .map_err(|found| Box::new(found.at(height).of_tx(index, tx_hash(bytes))))?;
        }
        for event in &outcome.events {
            let entered = self.event(event).and_then(|()| self.ledger.settle());
            entered.map_err(|found| Box::new(found.at(height)))?;
        }
        Ok(())
    }

    /// The last block that was entered.
    #[must_use]
    pub const fn height(&self) -> u64 {
        self.height
    }

    /// The pots.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Observer for Books {
    fn block(&mut self, executed: &Executed<'_>) -> crate::Result<()> {
        Ok(Self::block(self, executed.block, executed.outcome)?)
    }
}
