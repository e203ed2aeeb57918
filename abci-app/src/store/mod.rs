//! The node's disk: state, its history, and the tree whose root is the app hash.
//!
//! RocksDB holds no tree nodes. The tree lives in memory and is rebuilt at start, when its root must
//! be the app hash that was committed. `docs/state.md` describes the column families and recovery.

use std::path::Path;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{Entry, StateRead, Writes};
use lockstep_chain::tree::{Blake3Rule, EMPTY_VALUE, Hash, PendingUpdate, Tree};
use parking_lot::{Mutex, RwLock};
use rocksdb::{WriteBatch, WriteOptions};

mod at;
mod cache;
mod database;
mod encoding;
mod lock;
mod open;
mod prune;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use at::{At, HeightError};
pub use lockstep_audit::replay::Rayon;
pub use open::{Progress, StoreOptions};

use cache::Cache;
use database::{Database, Family};
use encoding::Tip;

/// The committed state of one chain, in a folder that no other process can open meanwhile.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// Held for writing while a commit changes what is on disk and in memory.
    committed: RwLock<Committed>,
    cache: Cache,
    pending: Mutex<Option<Pending>>,
    pruning: Mutex<()>,
    rewound: at::RewoundTrees,
    retained_heights: u64,
    _lock: lock::FolderLock,
}

#[derive(Debug)]
struct Committed {
    tree: Tree<Blake3Rule>,
    /// None before the genesis state.
    tip: Option<Tip>,
}

/// A block that was finalized and not committed.
struct Pending {
    tip: Tip,
    writes: Writes,
    update: PendingUpdate,
    /// Everything that the commit writes but for what follows from `update`.
    batch: WriteBatch,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("tip", &self.tip).finish_non_exhaustive()
    }
}

/// How much there is, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Keys of the committed state.
    pub keys: usize,
    /// Memory of the tree.
    pub tree_bytes: usize,
    /// Entries of the read cache.
    pub cached_entries: usize,
    /// Memory of the read cache, about.
    pub cache_bytes: u64,
    /// Files of the current state.
    pub state_file_bytes: u64,
    /// Files of old values.
    pub history_file_bytes: u64,
    /// Files of the lists of changed keys.
    pub changeset_file_bytes: u64,
}

impl Store {
    /// Opens the folder, creates it where it is not there, and rebuilds the tree. `progress` hears
    /// how many keys were read.
    ///
    /// # Errors
    /// Where another process has it open, it was written by a newer program, its disk fails, or the
    /// rebuilt root is not the committed app hash.
    pub fn open(
        folder: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Fault> {
        open::open(folder, options, progress)
    }

    /// The chain that this folder belongs to; none before [`Store::bind_chain`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn chain_id(&self) -> Result<Option<String>, Fault> {
        open::chain_id(&self.database)
    }

    /// Makes the folder that of `chain_id`, for ever.
    ///
    /// # Errors
    /// Where it belongs to another chain, or the disk fails.
    pub fn bind_chain(&self, chain_id: &str) -> Result<(), Fault> {
        open::bind_chain(&self.database, chain_id)
    }

    /// The last committed height; 0 with the genesis state, none before it.
    #[must_use]
    pub fn height(&self) -> Option<u64> {
        self.committed.read().tip.map(|tip| tip.height)
    }

    /// The app hash of the last committed height; that of the empty state before the genesis state.
    #[must_use]
    pub fn app_hash(&self) -> Hash {
        self.committed.read().tip.map_or(open::EMPTY_ROOT, |tip| tip.app_hash)
    }

    /// The last committed height, its app hash, and the root of the state as it is: of one moment.
    ///
    /// # Errors
    /// As [`Store::root`].
    pub fn newest(&self) -> Result<(u64, Hash, Hash), Fault> {
        let committed = self.committed.read();
        let (height, app_hash) =
            committed.tip.map_or((0, open::EMPTY_ROOT), |tip| (tip.height, tip.app_hash));
        Ok((height, app_hash, committed.tree.root()?))
    }

    /// The root of the state as it is, which differs from [`Store::app_hash`] only where a damaged
    /// folder was opened to be read.
    ///
    /// # Errors
    /// Only when a node of the tree is missing, which is a bug.
    pub fn root(&self) -> Result<Hash, Fault> {
        self.committed.read().tree.root()
    }

    /// Computes the app hash of a block without changing the committed state. The block replaces the
    /// one finalized before it, if that was not committed. Height 0 is the genesis state, which
    /// `InitChain` may finalize and commit again as long as no block follows.
    ///
    /// # Errors
    /// Where the height does not follow, or a write is not one that the tree can hold.
    pub fn finalize(&self, height: u64, writes: Writes) -> Result<Hash, Fault> {
        let committed = self.committed.read();
        follows(committed.tip, height)?;
        if writes.keys().any(Vec::is_empty) {
            return Err(Fault::Invariant("a block writes the empty key"));
        }
        if writes.values().any(|value| value.as_deref() == Some(&EMPTY_VALUE)) {
            return Err(Fault::Invariant("a value is one zero byte, which stands for no bytes"));
        }
        let (update, batch) = rayon::join(
            || committed.tree.root_after(&Rayon, &writes),
            || self.database.batch(height, &writes),
        );
        let (update, batch) = (update?, batch?);
        let tip = Tip { height, app_hash: update.root() };
        if height == 0 && committed.tip.is_some_and(|old| old.app_hash != tip.app_hash) {
            return Err(Fault::Storage(
                "the data folder holds another genesis state\n\
                 hint: use the genesis file it was made with, or another folder"
                    .to_owned(),
            ));
        }
        drop(committed);
        *self.pending.lock() = Some(Pending { tip, writes, update, batch });
        Ok(tip.app_hash)
    }

    /// Makes the finalized block the committed state: one atomic write that is on the disk when this
    /// returns. Returns the height.
    ///
    /// # Errors
    /// Without a finalized block, and when the disk fails: then the process must end, and finds
    /// either state at its next start.
    pub fn commit(&self) -> Result<u64, Fault> {
        let pending = self.pending.lock().take();
        let Some(Pending { tip, writes, update, mut batch }) = pending else {
            return Err(Fault::Invariant("Commit without FinalizeBlock"));
        };
        let mut committed = self.committed.write();
        follows(committed.tip, tip.height)?;
        self.database.complete(&mut batch, tip, &writes, &update)?;
        fail_point("before-write");
        self.database.write_synced(batch, "commit a block")?;
        fail_point("after-write");
        self.cache.apply(writes);
        committed.tree.commit(&Rayon, update)?;
        committed.tip = Some(tip);
        self.rewound.clear();
        drop(committed);
        fail_point("after-commit");
        Ok(tip.height)
    }

    /// A consistent view of a retained height, or of the last one. It stays as it is while blocks
    /// are committed and pruned.
    ///
    /// # Errors
    /// Where the height is not retained, and when the disk fails.
    pub fn at(&self, height: Option<u64>) -> Result<At<'_>, HeightError> {
        At::new(self, height)
    }

    /// Forgets the heights that need not be retained any more, at most `blocks_max` of them. To be
    /// called after commits, on any thread. Returns how many it forgot.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn prune(&self, blocks_max: u64) -> Result<u64, Fault> {
        let _one_at_a_time = self.pruning.lock();
        let Some(height) = self.height() else { return Ok(0) };
        prune::prune(&self.database, height, self.retained_heights, blocks_max)
    }

    /// How much there is.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sizes(&self) -> Result<Sizes, Fault> {
        let (keys, tree_bytes) = {
            let committed = self.committed.read();
            (committed.tree.leaf_count(), committed.tree.memory_bytes())
        };
        Ok(Sizes {
            keys,
            tree_bytes,
            cached_entries: self.cache.entries(),
            cache_bytes: self.cache.bytes(),
            state_file_bytes: self.database.file_bytes(Family::State)?,
            history_file_bytes: self.database.file_bytes(Family::History)?,
            changeset_file_bytes: self.database.file_bytes(Family::Changesets)?,
        })
    }
}

/// The last committed state. Only for the caller of [`Store::commit`]: to anyone else the state
/// changes between two reads; see [`Store::at`].
impl StateRead for Store {
    fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.cache.get(key, || self.database.get(Family::State, key))
    }

    fn next_raw(&self, start: &[u8], end: &[u8]) -> Result<Option<Entry>, Fault> {
        self.cache.next(start, end, |limit| self.database.range(start, end, limit))
    }
}

fn follows(tip: Option<Tip>, height: u64) -> Result<(), Fault> {
    let fits = match tip {
        None | Some(Tip { height: 0, .. }) => true,
        Some(tip) => tip.height.checked_add(1) == Some(height),
    };
    if fits {
        return Ok(());
    }
    let tip = tip.map_or_else(|| "none".to_owned(), |tip| tip.height.to_string());
    Err(Fault::Storage(format!(
        "block {height} does not follow the last committed height ({tip})\n\
         hint: the data folders of CometBFT and of the node must be of the same run"
    )))
}

fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

#[cfg(test)]
fn fail_point(name: &str) {
    if std::env::var("LOCKSTEP_TEST_ABORT_AT").is_ok_and(|at| at == name) {
        std::process::abort();
    }
}

#[cfg(not(test))]
fn fail_point(_: &str) {}
