//! Two histories in memory: where they part is found, whatever it is.

use std::collections::BTreeMap;

use lockstep_chain::state::tables::ACCOUNTS;
use lockstep_proto::lockstep::member::v1::Account;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::report::Verdict;

/// Values by key, height by height; the root is a hash of them.
#[derive(Debug, Clone, Default)]
struct History {
    states: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    oldest: u64,
    /// What the files say instead, at the last height.
    damaged: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// It says no root below this height, and neither keys nor values.
    silent_below: u64,
    /// Its pages never end.
    endless: bool,
}

fn root_of(state: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for (key, value) in state {
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key);
        hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
    }
    hasher.finalize().as_bytes().to_vec()
}

impl History {
    fn state(&self, height: u64) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        let last = height + 1 == self.states.len() as u64;
        match &self.damaged {
            Some(damaged) if last => damaged,
            _ => &self.states[usize::try_from(height).unwrap()],
        }
    }
}

impl States for History {
    fn heights(&self) -> Result<QueryHeightsResponse> {
        let newest = self.states.len() as u64 - 1;
        Ok(QueryHeightsResponse {
            oldest: self.oldest,
            newest,
            app_hash: self.root(newest)?,
            root: root_of(self.state(newest)),
        })
    }

    fn root(&self, height: u64) -> Result<Vec<u8>> {
        assert!(height >= self.oldest.max(1));
        if height < self.silent_below {
            return Err(Stop::incomplete("nothing", "ask another"));
        }
        Ok(root_of(&self.states[usize::try_from(height).unwrap()]))
    }

    fn changes(&self, height: u64) -> Result<Vec<Vec<u8>>> {
        if self.silent_below > 0 {
            return Err(Stop::incomplete("nothing", "ask another"));
        }
        let now = &self.states[usize::try_from(height).unwrap()];
        let empty = BTreeMap::new();
        let before = usize::try_from(height).unwrap().checked_sub(1);
        let before = before.map_or(&empty, |at| &self.states[at]);
        let keys = now.keys().chain(before.keys());
        let changed = keys.filter(|key| now.get(*key) != before.get(*key)).cloned();
        Ok(changed.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn value(&self, key: &[u8], height: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.state(height).get(key).cloned())
    }

    fn entries(&self, after: &[u8], height: u64) -> Result<(Vec<Entry>, bool)> {
        if self.silent_below > 0 {
            return Err(Stop::incomplete("nothing", "ask another"));
        }
        let later = self.state(height).iter().filter(|(key, _)| key.as_slice() > after);
        let mut found: Vec<Entry> = later
            .take(4)
            .map(|(key, value)| Entry { key: key.clone(), value: value.clone() })
            .collect();
        let more = found.len() == 4;
        found.truncate(3);
        Ok((found, more || self.endless))
    }
}

fn account(number: u8, balance: u64) -> (Vec<u8>, Vec<u8>) {
    let value = Account { balance, ..Account::default() }.encode_to_vec();
    (ACCOUNTS.key(&[number; 20]), value)
}

/// Height h writes account h % 5.
fn history(heights: u8) -> History {
    let mut state: BTreeMap<_, _> = (0..5).map(|number| account(number, 1)).collect();
    let mut states = vec![state.clone()];
    for height in 1..=heights {
        let (key, value) = account(height % 5, 100 + u64::from(height));
        state.insert(key, value);
        states.push(state.clone());
    }
    History { states, ..History::default() }
}

fn compare(a: &History, b: &History) -> (Report, Option<u64>) {
    let mut report = Report::new("compare", "net");
    let parted = states(&mut report, a, b).unwrap();
    (report, parted)
}

#[test]
fn nodes_that_agree_pass_though_one_is_behind_and_the_other_has_forgotten() {
    let (a, mut b) = (history(20), history(12));
    b.oldest = 7;
    let (report, parted) = compare(&a, &b);
    assert_eq!((report.verdict, parted), (Verdict::Pass, None));
    assert_eq!(
        (&report.facts["compared_from"], &report.facts["compared_to"]),
        (&7.into(), &12.into())
    );
    let mut c = history(20);
    c.oldest = 15;
    assert_eq!(compare(&b, &c).0.verdict, Verdict::Incomplete);
}

proptest! {
    #[test]
    fn the_first_height_the_key_and_both_values_are_found(at in 0_u64..=30, oldest in 0_u64..=30) {
        let (a, mut b) = (history(30), history(30));
        b.oldest = oldest;
        let (key, value) = account(9, 77);
        for state in b.states.iter_mut().skip(usize::try_from(at).unwrap()) {
            state.insert(key.clone(), value.clone());
        }
        let (report, parted) = compare(&a, &b);
        prop_assert_eq!(parted, Some(at.max(oldest).max(1)));
        let found = report.difference.unwrap();
        prop_assert_eq!(found.height, parted);
        prop_assert_eq!(found.key, Some(describe_key(&key)));
        prop_assert_eq!(found.expected, Value::Null);
        prop_assert_eq!(&found.found["balance"], &Value::from(77));
        prop_assert_eq!(report.facts["keys"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_node_that_shows_no_more_does_not_hide_where_it_parted() {
    let (a, mut b) = (history(30), history(30));
    for state in b.states.iter_mut().skip(20) {
        let (key, value) = account(9, 77);
        state.insert(key, value);
    }
    b.silent_below = 25;
    let (report, parted) = compare(&a, &b);
    assert_eq!((report.verdict, parted), (Verdict::Difference, Some(30)));
    let found = report.difference.unwrap();
    assert_eq!((found.what.as_str(), found.of_two), ("root of the state", true));
    assert!(found.note.contains("or before") && found.note.contains("no key is known"), "{found}");
    // Pages without an end are no end of the comparison.
    (b.silent_below, b.endless) = (0, true);
    assert_eq!(compare(&a, &b).1, Some(20));
    let mut files = History { damaged: Some(a.states[29].clone()), ..a.clone() };
    files.endless = true;
    assert_eq!(compare(&a, &files).0.verdict, Verdict::Difference);
    files.silent_below = 1;
    let found = compare(&a, &files).0.difference.unwrap();
    assert!(!found.of_two && found.what.ends_with("the files of B"), "{found}");
}

#[test]
fn a_file_that_was_changed_is_found_by_its_root_and_named_by_its_key() {
    for of_a in [true, false] {
        let (mut a, mut b) = (history(9), history(9));
        let damaged = if of_a { &mut a } else { &mut b };
        let mut state = damaged.states[9].clone();
        let (key, value) = account(3, 5_000);
        state.insert(key.clone(), value);
        damaged.damaged = Some(state);
        let (report, _) = compare(&a, &b);
        let found = report.difference.unwrap();
        assert_eq!(found.key, Some(describe_key(&key)));
        let wrong = if of_a { &found.expected } else { &found.found };
        assert_eq!(wrong["balance"], 5_000);
        assert!(
            found.note.contains(if of_a { "files of A" } else { "files of B" }),
            "{}",
            found.note
        );
        assert!(found.to_string().contains(": value: A has {"), "{found}");
    }
}
