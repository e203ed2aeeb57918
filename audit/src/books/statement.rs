//! Statements: what the books say beside what the state says.

use std::collections::BTreeMap;

use lockstep_chain::address::{self, Address};
use lockstep_chain::error::Fault;
use lockstep_chain::state::StateRead;
use lockstep_chain::state::tables::{
    ACCOUNTS, JOBS, SLASHES, TOTALS, TRIALS, UNBONDINGS, VALIDATORS,
};
use lockstep_proto::lockstep::job::v1::PayoutKind;
use serde::Serialize;

use super::{Books, Pot};
use crate::amounts::is_terminal;
use crate::report::Difference;
use crate::{Result, Stop};

/// Which books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything there is, wherever it is.
    Supply,
    /// What is and was held for jobs.
    Escrow,
    /// What models earned, by whom they pay.
    Royalties,
    /// What is bonded, on its way back, and was taken.
    Stake,
}

impl Kind {
    /// As the command line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Supply => "supply",
            Self::Escrow => "escrow",
            Self::Royalties => "royalties",
            Self::Stake => "stake",
        }
    }
}

/// What is compared, in the order of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One amount, counted in two ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What.
    pub what: String,
    /// In ulock, from the genesis and the transactions.
    pub booked: u128,
    /// In ulock, as the state has it; none where the state does not keep it.
    pub state: Option<u128>,
    /// Too many of its kind for people to read.
    #[serde(skip)]
    pub detail: bool,
}

impl Line {
    fn differs(&self) -> bool {
        self.state.is_some_and(|amount| amount != self.booked)
    }
}

impl Statement {
    fn add(&mut self, what: impl Into<String>, booked: u128, state: impl Into<Option<u128>>) {
        let (what, state) = (what.into(), state.into());
        self.lines.push(Line { what, booked, state, detail: false });
    }

    fn detail(&mut self, what: impl Into<String>, booked: u128, state: u128) {
        let (what, state) = (what.into(), Some(state));
        self.lines.push(Line { what, booked, state, detail: true });
    }

    /// The first line whose amounts differ.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        let line = self.lines.iter().find(|line| line.differs())?;
        let (booked, state) = (line.booked.to_string(), line.state.unwrap_or(0).to_string());
        let found = Difference::new(line.what.clone(), booked, state);
        Some(found.note("from the transactions, and in the state"))
    }

    /// The lines that are worth showing: the sums, and whatever differs.
    pub fn shown(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.detail || line.differs())
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let width = self.shown().map(|line| line.what.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        let _ = writeln!(text, "{:width$} {:>22} {:>22}", "ulock", "transactions", "state");
        for line in self.shown() {
            let state = line.state.map_or_else(|| "-".into(), |amount| amount.to_string());
            let mark = if line.differs() { "  <- differs" } else { "" };
            let _ = writeln!(text, "{:width$} {:>22} {state:>22}{mark}", line.what, line.booked);
        }
        let _ = writeln!(text, "{} amounts compared", self.lines.len());
        text
    }
}

fn unreadable(fault: &Fault) -> Stop {
    Stop::incomplete(format!("the state cannot be read: {fault}"), "replay from the genesis")
}

impl Books {
    /// Compares the books with the state after the same block.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn statement(&self, kind: Kind, state: &dyn StateRead) -> Result<Statement> {
        let statement = match kind {
            Kind::Supply => self.supply(state),
            Kind::Escrow => self.escrow(state),
            Kind::Royalties => self.royalties_of(state),
            Kind::Stake => self.stake(state),
        };
        statement.map_err(|fault| unreadable(&fault))
    }

    fn supply(&self, state: &dyn StateRead) -> Result<Statement, Fault> {
        let totals = TOTALS.must(state, &())?;
        let accounts = ACCOUNTS.scan(state, &(), usize::MAX)?;
        let validators = VALIDATORS.scan(state, &(), usize::MAX)?;
        let unbondings = UNBONDINGS.scan(state, &(), usize::MAX)?;
        let mut held = 0_u128;
        for (_, job) in JOBS.scan(state, &(), usize::MAX)? {
            if !is_terminal(job.state()) {
                held += sum([job.fee, job.deposit, job.posting_charge]);
            }
        }
        let burned = u128::from(self.ledger.of(&Pot::Burned));
        let (supply, lost) = (u128::from(totals.supply), u128::from(totals.burned));
        let of = |which: fn(&Pot) -> bool| self.ledger.sum(which);
        let mut all = Statement::default();
        all.add("in the genesis", self.genesis, supply + lost);
        all.add("burned", burned, lost);
        all.add("supply", self.ledger.sum(|_| true) - burned, supply);
        let balances = sum(accounts.iter().map(|(_, account)| account.balance));
        all.add("  free, on accounts", of(|pot| matches!(pot, Pot::Account(_))), balances);
        let bonded = sum(validators.iter().map(|(_, validator)| validator.tokens));
        all.add("  bonded", of(|pot| matches!(pot, Pot::Bonded(_))), bonded);
        let unbonding = sum(unbondings.iter().map(|(_, entry)| entry.amount));
        all.add("  unbonding", of(|pot| matches!(pot, Pot::Unbonding(_))), unbonding);
        all.add("  held for jobs", of(|pot| matches!(pot, Pot::Escrow(_))), held);
        let mut bonds = 0;
        for (_, trial) in TRIALS.scan(state, &(), usize::MAX)? {
            bonds += sum(trial.challenges.iter().map(|challenge| challenge.bond));
            bonds += sum(trial.supporters.iter().map(|supporter| supporter.bond));
        }
        all.add("  bonds in trials", of(|pot| matches!(pot, Pot::Bonds(_))), bonds);
        let mut balances: BTreeMap<Address, u64> =
            accounts.into_iter().map(|(address, account)| (address, account.balance)).collect();
        for (pot, amount) in self.ledger.pots() {
            if let Pot::Account(account) = pot {
                let found = balances.remove(account).unwrap_or(0);
                all.detail(pot.to_string(), amount.into(), found.into());
            }
        }
        for (account, found) in balances {
            all.detail(Pot::Account(account).to_string(), 0, found.into());
        }
        Ok(all)
    }

    fn escrow(&self, state: &dyn StateRead) -> Result<Statement, Fault> {
        let mut paid: BTreeMap<PayoutKind, u128> = BTreeMap::new();
        let (mut ever, mut open) = (0_u128, 0_u128);
        let mut all = Statement::default();
        let mut details = Statement::default();
        let jobs = JOBS.scan(state, &(), usize::MAX)?;
        for (id, job) in &jobs {
            let held = sum([job.fee, job.deposit, job.posting_charge]);
            let payouts = sum(job.payouts.iter().map(|payout| payout.amount));
            ever += held;
            let left = if is_terminal(job.state()) { held - payouts.min(held) } else { held };
            open += left;
            for payout in &job.payouts {
                *paid.entry(payout.kind()).or_default() += u128::from(payout.amount);
            }
            let booked = self.jobs.get(id);
            let booked = booked.map_or(0, |it| sum([it.fee, it.deposit, it.posting_charge]));
            details.detail(format!("what was held for job {id}"), booked, held);
            details.detail(
                format!("the escrow of job {id}"),
                self.ledger.of(&Pot::Escrow(*id)).into(),
                left,
            );
        }
        let booked = self.jobs.values().map(|job| sum([job.fee, job.deposit, job.posting_charge]));
        all.add(format!("held for {} jobs", self.jobs.len()), booked.sum(), ever);
        for (kind, what) in [
            (PayoutKind::Executor, "  paid to executors"),
            (PayoutKind::Author, "  paid to models' recipients"),
            (PayoutKind::Treasury, "  paid to the treasury"),
            (PayoutKind::Burn, "  burned"),
            (PayoutKind::Refund, "  back to posters"),
        ] {
            let of = |all: &BTreeMap<PayoutKind, u128>| all.get(&kind).copied().unwrap_or(0);
            all.add(what, of(&self.payouts), of(&paid));
        }
        let held = self.ledger.sum(|pot| matches!(pot, Pot::Escrow(_)));
        all.add("  held now", held, open);
        all.add("  the chain's own total", held, u128::from(TOTALS.must(state, &())?.escrow));
        all.lines.append(&mut details.lines);
        Ok(all)
    }

    fn royalties_of(&self, state: &dyn StateRead) -> Result<Statement, Fault> {
        let mut from_jobs: BTreeMap<Vec<u8>, u128> = BTreeMap::new();
        for (_, job) in JOBS.scan(state, &(), usize::MAX)? {
            for payout in job.payouts.iter().filter(|it| it.kind() == PayoutKind::Author) {
                *from_jobs.entry(payout.account.clone()).or_default() += u128::from(payout.amount);
            }
        }
        let mut all = Statement::default();
        for (account, royalties) in &self.royalties {
            let name = address::account(account);
            let found = from_jobs.remove(account.as_slice()).unwrap_or(0);
            all.add(format!("{name} from jobs"), royalties.jobs.into(), found);
            if royalties.direct > 0 {
                all.add(format!("{name} for other use"), royalties.direct.into(), None);
            }
            let balance = ACCOUNTS.get(state, account)?.map_or(0, |account| account.balance);
            let pot = Pot::Account(*account);
            all.detail(pot.to_string(), self.ledger.of(&pot).into(), balance.into());
        }
        for (account, found) in from_jobs {
            all.add(format!("{} from jobs", hex::encode(account)), 0, found);
        }
        Ok(all)
    }

    fn stake(&self, state: &dyn StateRead) -> Result<Statement, Fault> {
        let mut slashed: BTreeMap<Vec<u8>, u128> = BTreeMap::new();
        let mut all = Statement::default();
        let mut details = Statement::default();
        for (id, slash) in SLASHES.scan(state, &(), usize::MAX)? {
            *slashed.entry(slash.validator.clone()).or_default() += u128::from(slash.amount);
            let booked = self.slashes.get(&id).and_then(|slash| slash.amount).unwrap_or(0);
            details.detail(format!("slash {id}"), booked.into(), slash.amount.into());
        }
        let mut unbonding: BTreeMap<Vec<u8>, u128> = BTreeMap::new();
        for (id, entry) in UNBONDINGS.scan(state, &(), usize::MAX)? {
            *unbonding.entry(entry.validator.clone()).or_default() += u128::from(entry.amount);
            let booked = self.ledger.of(&Pot::Unbonding(id));
            details.detail(Pot::Unbonding(id).to_string(), booked.into(), entry.amount.into());
        }
        for (operator, validator) in VALIDATORS.scan(state, &(), usize::MAX)? {
            let name = address::operator(&operator);
            let booked = self.ledger.of(&Pot::Bonded(operator));
            all.add(format!("{name} bonded"), booked.into(), u128::from(validator.tokens));
            let booked = self.unbondings.iter().filter(|(_, entry)| entry.operator == operator);
            let booked = sum(booked.map(|(id, _)| self.ledger.of(&Pot::Unbonding(*id))));
            let found = unbonding.remove(operator.as_slice()).unwrap_or(0);
            if booked > 0 || found > 0 {
                all.add(format!("{name} unbonding"), booked, found);
            }
            let booked = self.slashes.values().filter(|slash| slash.operator == operator);
            let booked = sum(booked.filter_map(|slash| slash.amount));
            let found = slashed.remove(operator.as_slice()).unwrap_or(0);
            if booked > 0 || found > 0 {
                all.add(format!("{name} slashed"), booked, found);
            }
        }
        let totals = TOTALS.must(state, &())?;
        let bonded = self.ledger.sum(|pot| matches!(pot, Pot::Bonded(_)));
        all.add("bonded in all", bonded, u128::from(totals.bonded));
        let booked = self.ledger.sum(|pot| matches!(pot, Pot::Unbonding(_)));
        all.add("unbonding in all", booked, u128::from(totals.unbonding));
        all.lines.append(&mut details.lines);
        Ok(all)
    }
}

fn sum(amounts: impl IntoIterator<Item = u64>) -> u128 {
    amounts.into_iter().map(u128::from).sum()
}
