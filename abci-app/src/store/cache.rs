//! What was read lately, in front of RocksDB.

use std::sync::Arc;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{Entry, Writes};
use parking_lot::{Mutex, RwLock};
use quick_cache::Weighter;

/// A read takes so many entries ahead, and twice as many each time the next read goes on there.
const AHEAD_MIN: usize = 8;
const AHEAD_MAX: usize = 1024;
/// Bytes of an entry beside its key and value, about.
const ENTRY_OVERHEAD: u64 = 96;

type Key = Box<[u8]>;
type Value = Option<Arc<[u8]>>;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Key, Value> for ByBytes {
    fn weight(&self, key: &Key, value: &Value) -> u64 {
        let value = value.as_ref().map_or(0, |value| value.len());
        ENTRY_OVERHEAD + u64::try_from(key.len() + value).unwrap_or(u64::MAX / 2)
    }
}

/// Values by key, bounded in bytes, and the last range that was scanned.
#[derive(Debug)]
pub(super) struct Cache {
    values: quick_cache::sync::Cache<Key, Value, ByBytes>,
    /// Held for reading from a look into RocksDB until its result is in the cache, so that a commit
    /// in between cannot leave the older value there.
    filling: RwLock<()>,
    scanned: Mutex<Scanned>,
}

/// All entries of `from <= key < until`.
#[derive(Debug, Default)]
struct Scanned {
    from: Vec<u8>,
    until: Vec<u8>,
    entries: Vec<Entry>,
}

impl Cache {
    pub(super) fn new(bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / 256).unwrap_or(usize::MAX).max(64);
        Self {
            values: quick_cache::sync::Cache::with_weighter(entries, bytes_max, ByBytes),
            filling: RwLock::new(()),
            scanned: Mutex::default(),
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.values.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.values.weight()
    }

    pub(super) fn get(
        &self,
        key: &[u8],
        load: impl FnOnce() -> Result<Option<Vec<u8>>, Fault>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(value) = self.values.get(key) {
            return Ok(value.map(|value| value.to_vec()));
        }
        let _filling = self.filling.read();
        let value = load()?;
        self.values.insert(key.into(), value.as_deref().map(Arc::from));
        Ok(value)
    }

    /// The first entry of `start <= key < end`; `load` reads that range up to a number of entries.
    pub(super) fn next(
        &self,
        start: &[u8],
        end: &[u8],
        load: impl FnOnce(usize) -> Result<Vec<Entry>, Fault>,
    ) -> Result<Option<Entry>, Fault> {
        let _filling = self.filling.read();
        let mut scanned = self.scanned.lock();
        let inside = scanned.from.as_slice() <= start && start < scanned.until.as_slice();
        if inside {
            let index = scanned.entries.partition_point(|(key, _)| key.as_slice() < start);
            match scanned.entries.get(index) {
                Some((key, _)) if key.as_slice() >= end => return Ok(None),
                Some(entry) => return Ok(Some(entry.clone())),
                None if scanned.until.as_slice() >= end => return Ok(None),
                None => {}
            }
        }
        let goes_on = inside || (!scanned.until.is_empty() && scanned.until == start);
        let limit = if goes_on {
            (scanned.entries.len() * 2).clamp(AHEAD_MIN, AHEAD_MAX)
        } else {
            AHEAD_MIN
        };
        let entries = load(limit)?;
        let first = entries.first().cloned();
        let until = match entries.last() {
            Some((last, _)) if entries.len() >= limit => [last.as_slice(), &[0]].concat(),
            _ => end.to_vec(),
        };
        *scanned = Scanned { from: start.to_vec(), until, entries };
        Ok(first)
    }

    /// Takes over the writes of a block that is on the disk.
    pub(super) fn apply(&self, writes: Writes) {
        let _filling = self.filling.write();
        for (key, value) in writes {
            self.values.insert(key.into_boxed_slice(), value.map(Arc::from));
        }
        *self.scanned.lock() = Scanned::default();
    }
}
