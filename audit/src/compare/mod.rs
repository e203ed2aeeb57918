//! Compares the states of two nodes: the first height at which they part, then the keys.

mod describe;
mod node;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use lockstep_proto::lockstep::audit::v1::{Entry, QueryHeightsResponse};
use serde_json::{Value, json};

pub use describe::{key as describe_key, value as describe_value};
pub use node::Node;

use crate::report::{Difference, Report};
use crate::{Result, Stop};

/// Keys that a report lists.
const KEYS_MAX: usize = 100;

/// What is asked of a node. The tests ask chains in memory.
pub trait States {
    /// As [`Node::heights`].
    ///
    /// # Errors
    /// As there.
    fn heights(&self) -> Result<QueryHeightsResponse>;
    /// As [`Node::root`].
    ///
    /// # Errors
    /// As there.
    fn root(&self, height: u64) -> Result<Vec<u8>>;
    /// As [`Node::changes`].
    ///
    /// # Errors
    /// As there.
    fn changes(&self, height: u64) -> Result<Vec<Vec<u8>>>;
    /// As [`Node::value`].
    ///
    /// # Errors
    /// As there.
    fn value(&self, key: &[u8], height: u64) -> Result<Option<Vec<u8>>>;
    /// As [`Node::entries`].
    ///
    /// # Errors
    /// As there.
    fn entries(&self, after: &[u8], height: u64) -> Result<(Vec<Entry>, bool)>;
}

impl States for Node {
    fn heights(&self) -> Result<QueryHeightsResponse> {
        Self::heights(self)
    }
    fn root(&self, height: u64) -> Result<Vec<u8>> {
        Self::root(self, height)
    }
    fn changes(&self, height: u64) -> Result<Vec<Vec<u8>>> {
        Self::changes(self, height)
    }
    fn value(&self, key: &[u8], height: u64) -> Result<Option<Vec<u8>>> {
        Self::value(self, key, height)
    }
    fn entries(&self, after: &[u8], height: u64) -> Result<(Vec<Entry>, bool)> {
        Self::entries(self, after, height)
    }
}

/// Compares two nodes of one network.
///
/// # Errors
/// Where they are of different networks.
pub fn run(a: &Node, b: &Node) -> Result<Report> {
    let (chain, other) = (a.chain_id()?, b.chain_id()?);
    if chain != other {
        let what = format!("A is a node of `{chain}`, B one of `{other}`");
        return Err(Stop::usage(what, "compare two nodes of one network"));
    }
    let mut report = Report::new("compare", chain);
    let parted = states(&mut report, a, b)?;
    if let Some(height) = parted {
        let (of_a, of_b) = (a.block(height)?, b.block(height)?);
        let hash =
            |block: &Option<(String, Vec<Value>)>| block.as_ref().map(|(hash, _)| hash.clone());
        report.fact("a_block", hash(&of_a));
        report.fact("b_block", hash(&of_b));
        report.fact("txs", of_a.or(of_b).map(|(_, txs)| txs));
    }
    Ok(report)
}

/// Compares the states; the height at which they part.
///
/// # Errors
/// Where one of them does not answer.
pub fn states(report: &mut Report, a: &impl States, b: &impl States) -> Result<Option<u64>> {
    let (of_a, of_b) = (a.heights()?, b.heights()?);
    for (name, heights) in [("a", &of_a), ("b", &of_b)] {
        report.fact(&format!("{name}_oldest"), heights.oldest);
        report.fact(&format!("{name}_newest"), heights.newest);
    }
    // Of height 0 there is no block, and whoever asks for it is told the last.
    let oldest = of_a.oldest.max(of_b.oldest).max(1);
    let newest = of_a.newest.min(of_b.newest);
    if oldest > newest {
        report.lacks("there is no height whose state both have retained");
        return Ok(None);
    }
    report.fact("compared_from", oldest);
    report.fact("compared_to", newest);
    let roots = |height| -> Result<Roots> { Ok((a.root(height)?, b.root(height)?)) };
    let last = roots(newest)?;
    if last.0 != last.1 {
        let parted = first(oldest, newest, last, &roots);
        at(report, a, b, &parted);
        return Ok(Some(parted.height));
    }
    report.fact("app_hash", hex::encode(last.0));
    for (name, heights) in [("A", &of_a), ("B", &of_b)] {
        if heights.root != heights.app_hash {
            changed(report, a, b, newest, name, heights);
            return Ok(Some(newest));
        }
    }
    Ok(None)
}

/// Of A and of B.
type Roots = (Vec<u8>, Vec<u8>);

/// Where two states differ.
struct Parted {
    height: u64,
    roots: Roots,
    /// Why an earlier height is possible.
    note: &'static str,
}

/// The first height at which roots differ, where they differ at all after it and at `high`. From
/// there on a difference is known: a node that answers no more does not hide it.
fn first(low: u64, high: u64, last: Roots, roots: &dyn Fn(u64) -> Result<Roots>) -> Parted {
    let mut parted = Parted { height: high, roots: last, note: "" };
    let mut next = low;
    while next < parted.height {
        let middle = next + (parted.height - next) / 2;
        match roots(middle) {
            Ok(found) if found.0 != found.1 => (parted.height, parted.roots) = (middle, found),
            Ok(_) => next = middle + 1,
            Err(_) => {
                parted.note = "or before: a node does not say its older roots";
                return parted;
            }
        }
    }
    if parted.height == low {
        parted.note = "or before: no older height is retained by both";
    }
    parted
}

/// Says which keys differ after the block at which two states part.
fn at(report: &mut Report, a: &impl States, b: &impl States, parted: &Parted) {
    let height = parted.height;
    // They may have parted before the oldest height that both have.
    let differing = written(a, b, height).ok().filter(|found| !found.is_empty());
    let differing = differing.map_or_else(|| scan(a, b, height), Ok).unwrap_or_default();
    let (of_a, of_b) = (hex::encode(&parted.roots.0), hex::encode(&parted.roots.1));
    report.fact("a_root", of_a.as_str());
    report.fact("b_root", of_b.as_str());
    let roots = Difference::between("root of the state", of_a, of_b);
    differ(report, height, &differing, parted.note, roots);
}

/// Of the keys that the block of a height wrote, those whose values differ.
fn written(a: &impl States, b: &impl States, height: u64) -> Result<Vec<Pair>> {
    let keys: BTreeSet<Vec<u8>> =
        a.changes(height)?.into_iter().chain(b.changes(height)?).collect();
    let mut differing = Vec::new();
    for key in keys {
        let (of_a, of_b) = (a.value(&key, height)?, b.value(&key, height)?);
        if of_a != of_b {
            differing.push((key, of_a, of_b));
        }
        if differing.len() == KEYS_MAX {
            break;
        }
    }
    Ok(differing)
}

/// Says which keys of a folder were changed without a block.
fn changed(
    report: &mut Report,
    a: &impl States,
    b: &impl States,
    height: u64,
    name: &str,
    heights: &QueryHeightsResponse,
) {
    let (committed, root) = (hex::encode(&heights.app_hash), hex::encode(&heights.root));
    let note = format!(
        "the files of {name} were changed: its state has the root {root}, and it committed {committed}"
    );
    let differing = scan(a, b, height).unwrap_or_default();
    let what = format!("root of the state in the files of {name}");
    differ(report, height, &differing, &note, Difference::new(what, committed, root));
}

type Pair = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

fn differ(report: &mut Report, height: u64, differing: &[Pair], note: &str, roots: Difference) {
    let listed: Vec<Value> = differing
        .iter()
        .map(|(key, a, b)| {
            json!({
                "key": describe_key(key),
                "a": describe_value(key, a.as_deref()),
                "b": describe_value(key, b.as_deref()),
            })
        })
        .collect();
    report.fact("keys", listed);
    let difference = match differing.first() {
        Some((key, a, b)) => {
            let (of_a, of_b) =
                (describe_value(key, a.as_deref()), describe_value(key, b.as_deref()));
            let mut difference = Difference::between("value", of_a, of_b);
            difference.key = Some(describe_key(key));
            difference
        }
        None => roots,
    };
    let unknown = if differing.is_empty() { "no key is known whose values differ" } else { "" };
    let notes = [note, unknown].into_iter().filter(|note| !note.is_empty());
    report.differs(difference.note(notes.collect::<Vec<_>>().join("; ")).at(height));
}

/// Every key of both states, side by side.
fn scan(a: &impl States, b: &impl States, height: u64) -> Result<Vec<Pair>> {
    let (mut left, mut right) = (Pages::new(a, height), Pages::new(b, height));
    let mut differing = Vec::new();
    while differing.len() < KEYS_MAX {
        let (one, other) = (left.peek()?, right.peek()?);
        let order = match (one, other) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => one.key.cmp(&other.key),
        };
        let one = if order.is_le() { left.next() } else { None };
        let other = if order.is_ge() { right.next() } else { None };
        let value = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.value.clone());
        let (of_a, of_b) = (value(&one), value(&other));
        if of_a != of_b {
            let key = one.or(other).map(|entry| entry.key).unwrap_or_default();
            differing.push((key, of_a, of_b));
        }
    }
    Ok(differing)
}

/// The entries of a state, page after page.
struct Pages<'a, S> {
    states: &'a S,
    height: u64,
    page: std::vec::IntoIter<Entry>,
    after: Vec<u8>,
    more: bool,
}

impl<'a, S: States> Pages<'a, S> {
    fn new(states: &'a S, height: u64) -> Self {
        Self { states, height, page: Vec::new().into_iter(), after: Vec::new(), more: true }
    }

    fn peek(&mut self) -> Result<Option<&Entry>> {
        if self.page.as_slice().is_empty() && self.more {
            let (entries, more) = self.states.entries(&self.after, self.height)?;
            // A node that means ill never ends.
            let last = entries.last().map(|last| &last.key).filter(|last| **last > self.after);
            self.more = more && last.is_some();
            self.after = last.cloned().unwrap_or_default();
            self.page = entries.into_iter();
        }
        Ok(self.page.as_slice().first())
    }

    fn next(&mut self) -> Option<Entry> {
        self.page.next()
    }
}
