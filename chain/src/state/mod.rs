//! Chain state: a byte map below, typed tables above.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::Cell;

mod table;
pub mod tables;

pub use table::{Key, Table, Value};

use crate::error::Fault;
use crate::limits::{GAS_PER_BYTE, GAS_PER_READ, GAS_PER_WRITE};

/// A key and its value, as bytes.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Pending writes in key order; `None` is a deletion.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Read access to the committed or pending state.
pub trait StateRead {
    /// The value at `key`.
    ///
    /// # Errors
    /// Only when this node's store fails.
    fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// The first entry with `start <= key < end`, in byte order.
    ///
    /// # Errors
    /// Only when this node's store fails.
    fn next_raw(&self, start: &[u8], end: &[u8]) -> Result<Option<Entry>, Fault>;
}

/// The state of a whole chain in memory, for tests and simulation.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MemoryState(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryState {
    /// Applies the writes of a block.
    pub fn apply(&mut self, writes: Writes) {
        for (key, write) in writes {
            match write {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl StateRead for MemoryState {
    fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(key).cloned())
    }

    fn next_raw(&self, start: &[u8], end: &[u8]) -> Result<Option<Entry>, Fault> {
        if start >= end {
            return Ok(None);
        }
        let mut range = self
            .0
            .range::<[u8], _>((core::ops::Bound::Included(start), core::ops::Bound::Excluded(end)));
        Ok(range.next().map(|(key, value)| (key.clone(), value.clone())))
    }
}

/// Pending writes over a base. Dropping it discards them.
pub struct Overlay<'a> {
    base: &'a dyn StateRead,
    writes: Writes,
    /// Gas of the reads and writes made through this overlay.
    gas: Cell<u64>,
}

impl core::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Overlay").field("writes", &self.writes).finish_non_exhaustive()
    }
}

impl<'a> Overlay<'a> {
    /// An empty overlay.
    #[must_use]
    pub const fn new(base: &'a dyn StateRead) -> Self {
        Self { base, writes: BTreeMap::new(), gas: Cell::new(0) }
    }

    /// Gas of the reads and writes made through this overlay.
    #[must_use]
    pub fn gas(&self) -> u64 {
        self.gas.get()
    }

    /// Counts gas of work beside reads and writes.
    pub fn charge_gas(&self, gas: u64) {
        self.gas.set(self.gas.get().saturating_add(gas));
    }

    fn charge(&self, operation: u64, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.charge_gas(operation.saturating_add(bytes.saturating_mul(GAS_PER_BYTE)));
    }

    pub(crate) fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.charge(GAS_PER_WRITE, value.len());
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn delete_raw(&mut self, key: Vec<u8>) {
        self.charge(GAS_PER_WRITE, 0);
        self.writes.insert(key, None);
    }

    /// The pending writes in key order.
    #[must_use]
    pub fn into_writes(self) -> Writes {
        self.writes
    }

    /// Adopts the writes of a finished child overlay.
    pub fn absorb(&mut self, writes: Writes) {
        self.writes.extend(writes);
    }
}

impl StateRead for Overlay<'_> {
    fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let found = match self.writes.get(key) {
            Some(write) => write.clone(),
            None => self.base.get_raw(key)?,
        };
        self.charge(GAS_PER_READ, found.as_ref().map_or(0, Vec::len));
        Ok(found)
    }

    fn next_raw(&self, start: &[u8], end: &[u8]) -> Result<Option<Entry>, Fault> {
        let mut from = start.to_vec();
        self.charge(GAS_PER_READ, 0);
        loop {
            if from.as_slice() >= end {
                return Ok(None);
            }
            let below = self.base.next_raw(&from, end)?;
            let mut above = self.writes.range::<[u8], _>((
                core::ops::Bound::Included(from.as_slice()),
                core::ops::Bound::Excluded(end),
            ));
            match (below, above.next()) {
                (below, None) => return Ok(below),
                (Some((key, value)), Some((pending, _))) if key < *pending => {
                    return Ok(Some((key, value)));
                }
                (_, Some((pending, Some(value)))) => {
                    return Ok(Some((pending.clone(), value.clone())));
                }
                // Deleted here, so what the base holds at this key does not count.
                (_, Some((pending, None))) => {
                    from.clone_from(pending);
                    from.push(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_scan_sees_writes_over_the_base_and_skips_deletions() {
        let mut base = MemoryState::default();
        for key in [1_u8, 3, 5, 7] {
            base.0.insert(vec![key], vec![key]);
        }
        let mut overlay = Overlay::new(&base);
        overlay.put_raw(vec![2], vec![20]);
        overlay.put_raw(vec![5], vec![50]);
        overlay.delete_raw(vec![1]);
        overlay.delete_raw(vec![3]);
        let mut child = Overlay::new(&overlay);
        child.delete_raw(vec![2]);
        child.put_raw(vec![6], vec![60]);

        let mut seen = Vec::new();
        let mut start = vec![0];
        while let Some((key, value)) = child.next_raw(&start, &[9]).unwrap() {
            start = [key.as_slice(), &[0]].concat();
            seen.push((key[0], value[0]));
        }
        assert_eq!(seen, [(5, 50), (6, 60), (7, 7)]);
    }
}
