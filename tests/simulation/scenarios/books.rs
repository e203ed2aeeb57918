//! What everybody holds, before and after.

use std::collections::BTreeMap;

use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_tests::cluster::Cluster;
use lockstep_tests::keys::Account;

/// Everybody whose money may move.
const NAMES: [&str; 20] = [
    "auditor0",
    "auditor1",
    "auditor2",
    "author0",
    "author1",
    "council",
    "council2",
    "delegator",
    "dev0",
    "dev1",
    "exec0",
    "exec1",
    "exec2",
    "exec3",
    "treasury",
    "val0",
    "val1",
    "val2",
    "val3",
    "val4",
];

/// Balances, and what was burned.
pub(super) struct Books(BTreeMap<&'static str, u64>);

/// Who gained how much, in ulock; `burned` is not an account.
pub(super) type Changes = BTreeMap<String, i64>;

impl Books {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let balance = |name: &str| {
            let account = ACCOUNTS.get(cluster.state(), &Account::named(name).address).unwrap();
            account.map_or(0, |account| account.balance)
        };
        let mut books: BTreeMap<_, _> = NAMES.map(|name| (name, balance(name))).into();
        books.insert("burned", cluster.totals().burned);
        Self(books)
    }

    /// What has changed since, without those for whom nothing has.
    pub(super) fn changes(&self, cluster: &Cluster) -> Changes {
        let now = Self::of(cluster);
        let change = |(name, before): (&&str, &u64)| {
            let change = i64::try_from(now.0[name]).unwrap() - i64::try_from(*before).unwrap();
            (change != 0).then(|| ((*name).to_owned(), change))
        };
        self.0.iter().filter_map(change).collect()
    }
}

/// Changes as a test writes them; several for one name add up.
pub(super) fn changes<'a>(list: impl IntoIterator<Item = (&'a str, i64)>) -> Changes {
    let mut changes = Changes::new();
    for (name, change) in list {
        *changes.entry(name.to_owned()).or_default() += change;
    }
    changes.retain(|_, change| *change != 0);
    changes
}

/// What a job of `child` does to everybody but its executors: posted by `dev0`, final.
pub(super) const FINAL: [(&str, i64); 5] =
    [("dev0", -11_100), ("author0", 800), ("author1", 1_200), ("treasury", 1_500), ("burned", 600)];

/// The names of a validator's operator and executor.
pub(super) fn val(number: usize) -> String {
    format!("val{number}")
}

pub(super) fn exec(number: usize) -> String {
    format!("exec{number}")
}
