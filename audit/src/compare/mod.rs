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
    let (oldest, newest) = (of_a.oldest.max(of_b.oldest), of_a.newest.min(of_b.newest));
    if oldest > newest {
        report.lacks("there is no height whose state both have retained");
        return Ok(None);
    }
    report.fact("compared_from", oldest);
    report.fact("compared_to", newest);
    let parted = |height| -> Result<bool> { Ok(a.root(height)? != b.root(height)?) };
    if parted(newest)? {
        let height = first(oldest, newest, &parted)?;
        at(report, a, b, height, height == oldest)?;
        return Ok(Some(height));
    }
    report.fact("app_hash", hex::encode(a.root(newest)?));
    for (name, heights) in [("A", &of_a), ("B", &of_b)] {
        if heights.root != heights.app_hash {
            changed(report, a, b, newest, name, heights)?;
            return Ok(Some(newest));
        }
    }
    Ok(None)
}

/// The first height of which `parted` holds, where it holds of all after it and of `high`.
fn first(low: u64, high: u64, parted: &dyn Fn(u64) -> Result<bool>) -> Result<u64> {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if parted(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(high)
}

/// Says which keys differ after the block at which two states part.
fn at(
    report: &mut Report,
    a: &impl States,
    b: &impl States,
    height: u64,
    is_oldest: bool,
) -> Result<()> {
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
    // They may have parted before the oldest height that both have.
    if differing.is_empty() {
        differing = scan(a, b, height)?;
    }
    let roots = (hex::encode(a.root(height)?), hex::encode(b.root(height)?));
    report.fact("a_root", roots.0.as_str());
    report.fact("b_root", roots.1.as_str());
    let note = if is_oldest { "or before: no older height is retained by both" } else { "" };
    differ(report, height, &differing, note, roots);
    Ok(())
}

/// Says which keys of a folder were changed without a block.
fn changed(
    report: &mut Report,
    a: &impl States,
    b: &impl States,
    height: u64,
    name: &str,
    heights: &QueryHeightsResponse,
) -> Result<()> {
    let note = format!(
        "the files of {name} were changed: its state has the root {}, and it committed {}",
        hex::encode(&heights.root),
        hex::encode(&heights.app_hash)
    );
    let differing = scan(a, b, height)?;
    let roots = (hex::encode(&heights.app_hash), hex::encode(&heights.root));
    differ(report, height, &differing, &note, roots);
    Ok(())
}

type Pair = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

fn differ(
    report: &mut Report,
    height: u64,
    differing: &[Pair],
    note: &str,
    roots: (String, String),
) {
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
        None => Difference::between("root of the state", roots.0, roots.1),
    };
    report.differs(difference.note(note).at(height));
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
            self.more = more;
            if let Some(last) = entries.last() {
                self.after.clone_from(&last.key);
            }
            self.page = entries.into_iter();
        }
        Ok(self.page.as_slice().first())
    }

    fn next(&mut self) -> Option<Entry> {
        self.page.next()
    }
}
