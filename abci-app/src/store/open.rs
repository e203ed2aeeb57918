//! From a folder to a store.

use std::path::Path;

use lockstep_chain::error::Fault;
use lockstep_chain::tree::{Blake3Rule, Hash, HashRule, LeafWrite, Tree};
use parking_lot::{Mutex, RwLock};
use rayon::iter::{IntoParallelRefIterator, ParallelExtend, ParallelIterator};

use super::at::RewoundTrees;
use super::cache::Cache;
use super::database::{Database, Family, META_CHAIN, META_FORMAT, META_TIP, item};
use super::encoding::Tip;
use super::lock::FolderLock;
use super::{Committed, Rayon, Store};

/// The layout of `docs/state.md`. A program reads its own and refuses any other.
const FORMAT: u32 = 1;

/// The root of the state without keys.
pub(super) const EMPTY_ROOT: Hash = Blake3Rule::EMPTY;

/// Keys read from the disk before their hashes are computed on all cores.
const KEYS_PER_STEP: usize = 16_384;

/// How a store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Queries and their proofs reach back so many heights; 0 keeps all.
    pub retained_heights: u64,
    /// Bound of the values kept in memory.
    pub cache_bytes_max: u64,
    /// Bound of RocksDB's own cache of blocks.
    pub block_cache_bytes_max: usize,
    /// Writes nothing, and opens a damaged state too, to look at it: then [`Store::root`] is not
    /// [`Store::app_hash`].
    pub read_only: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            retained_heights: 0,
            cache_bytes_max: 256 << 20,
            block_cache_bytes_max: 64 << 20,
            read_only: false,
        }
    }
}

/// How far the rebuilding of the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Keys read so far.
    pub keys: u64,
    /// Keys that there are, about; RocksDB estimates it.
    pub keys_about: u64,
}

pub(super) fn open(
    folder: &Path,
    options: &StoreOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Store, Fault> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Fault::Storage(format!("cannot create the data folder {}: {error}", folder.display()))
    })?;
    let lock = FolderLock::acquire(folder)?;
    let cache_bytes = options.block_cache_bytes_max;
    let database = Database::open(&folder.join("db"), cache_bytes, options.read_only)?;
    check_format(&database, folder)?;
    let tip = match database.get(Family::Meta, META_TIP)? {
        Some(bytes) => Some(Tip::decode(&bytes)?),
        None => None,
    };
    let tree = rebuild(&database, progress)?;
    let (root, committed) = (tree.root()?, tip.map_or(EMPTY_ROOT, |tip| tip.app_hash));
    if root != committed && !options.read_only {
        return Err(Fault::Storage(format!(
            "the state in {} does not have the committed app hash {} but {}\n\
             hint: its files were changed or damaged; check the disk, then let the node sync into an \
             empty folder",
            folder.display(),
            hex(&committed),
            hex(&root),
        )));
    }
    Ok(Store {
        database,
        committed: RwLock::new(Committed { tree, tip }),
        cache: Cache::new(options.cache_bytes_max),
        pending: Mutex::new(None),
        pruning: Mutex::new(()),
        rewound: RewoundTrees::default(),
        retained_heights: options.retained_heights,
        _lock: lock,
    })
}

fn check_format(database: &Database, folder: &Path) -> Result<(), Fault> {
    let Some(bytes) = database.get(Family::Meta, META_FORMAT)? else {
        return database.put_synced(Family::Meta, META_FORMAT, &FORMAT.to_be_bytes());
    };
    let found = <[u8; 4]>::try_from(bytes.as_slice()).map(u32::from_be_bytes);
    let found = found.map_err(|_| Fault::Corrupt("meta/format"))?;
    if found == FORMAT {
        return Ok(());
    }
    let age = if found > FORMAT { "newer" } else { "older" };
    Err(Fault::Storage(format!(
        "the data folder {} has format {found}; this lockstepd reads format {FORMAT}\n\
         hint: use the {age} lockstepd that wrote it, or let the node sync into an empty folder",
        folder.display()
    )))
}

pub(super) fn chain_id(database: &Database) -> Result<Option<String>, Fault> {
    let Some(bytes) = database.get(Family::Meta, META_CHAIN)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| Fault::Corrupt("meta/chain_id"))
}

pub(super) fn bind_chain(database: &Database, asked: &str) -> Result<(), Fault> {
    match chain_id(database)? {
        None => database.put_synced(Family::Meta, META_CHAIN, asked.as_bytes()),
        Some(bound) if bound == asked => Ok(()),
        Some(bound) => Err(Fault::Storage(format!(
            "the data folder belongs to chain `{bound}`, not to `{asked}`\n\
             hint: name the folder of that chain, or an empty one"
        ))),
    }
}

fn rebuild(
    database: &Database,
    progress: &mut dyn FnMut(Progress),
) -> Result<Tree<Blake3Rule>, Fault> {
    let keys_about = database.keys_about(Family::State)?;
    let mut leaves = Vec::new();
    let mut step = Vec::with_capacity(KEYS_PER_STEP);
    let mut cursor = database.scan_state()?;
    loop {
        let entry = item(&cursor)?.map(|(key, value)| (Box::<[u8]>::from(key), value.into()));
        let is_last = entry.is_none();
        step.extend(entry);
        if is_last || step.len() == KEYS_PER_STEP {
            leaves.par_extend(step.par_iter().map(|(key, value): &(Box<[u8]>, Box<[u8]>)| {
                LeafWrite::new::<Blake3Rule>(key, Some(value), 0)
            }));
            step.clear();
            progress(Progress {
                keys: u64::try_from(leaves.len()).unwrap_or(u64::MAX),
                keys_about,
            });
        }
        if is_last {
            break;
        }
        cursor.next();
    }
    Tree::build(&Rayon, leaves)
}

fn hex(hash: &Hash) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
