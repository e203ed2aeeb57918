//! RocksDB, with every error turned into a fault.

use std::path::Path;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{Entry, Writes};
use lockstep_chain::tree::{Hash, PendingUpdate};
use rocksdb::properties::PropName;
use rocksdb::{
    BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind, Options,
    ReadOptions, Snapshot, WriteBatch,
};

use super::encoding::{
    PATH_PREFIX, Tip, changeset, history_key, history_prefix, history_value, path_key,
};
use super::write_options;

/// The regions of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `key` → value, of the last committed height.
    State,
    /// `key | height` → value or tombstone, of every retained height.
    History,
    /// `height` → app hash and the keys that the block wrote.
    Changesets,
    /// `path | key` → nothing: the keys of the tree's leaves.
    Paths,
    /// What the folder is and how far it is.
    Meta,
}

impl Family {
    pub(super) const ALL: [Self; 5] =
        [Self::State, Self::History, Self::Changesets, Self::Paths, Self::Meta];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::History => "history",
            Self::Changesets => "changesets",
            Self::Paths => "paths",
            Self::Meta => "meta",
        }
    }
}

/// Keys of [`Family::Meta`].
pub(super) const META_FORMAT: &[u8] = b"format";
pub(super) const META_CHAIN: &[u8] = b"chain_id";
pub(super) const META_TIP: &[u8] = b"tip";
pub(super) const META_OLDEST: &[u8] = b"oldest";

/// Says what failed, why, and what to do.
pub(super) fn fault(what: &str, error: &rocksdb::Error) -> Fault {
    let text = error.to_string();
    let full = ["No space left on device", "Disk quota exceeded", "File too large"];
    let hint = if full.iter().any(|reason| text.contains(reason)) {
        "\nhint: the disk is full; make room and start again, nothing committed is lost"
    } else if text.contains("Too many open files") {
        "\nhint: raise the limit of open files (ulimit -n)"
    } else if error.kind() == ErrorKind::Corruption {
        "\nhint: the disk returned other bytes than were written; check it, then let the node sync \
         into an empty folder"
    } else {
        ""
    };
    Fault::Storage(format!("cannot {what}: {text}{hint}"))
}

#[derive(Debug)]
pub(super) struct Database {
    db: DB,
}

fn options(write_buffer_bytes: usize, cache: &rocksdb::Cache) -> Options {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(cache);
    tables.set_bloom_filter(10.0, false);
    tables.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&tables);
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options
}

impl Database {
    pub(super) fn open(
        folder: &Path,
        block_cache_bytes: usize,
        read_only: bool,
    ) -> Result<Self, Fault> {
        let cache = rocksdb::Cache::new_lru_cache(block_cache_bytes);
        let mut global = Options::default();
        global.create_if_missing(!read_only);
        global.create_missing_column_families(!read_only);
        global.set_max_background_jobs(2);
        global.set_max_open_files(512);
        global.set_max_total_wal_size(256 << 20);
        global.set_keep_log_file_num(2);
        global.set_log_level(rocksdb::LogLevel::Warn);
        // A newer program may have more families; they open too, so that it is the format's number
        // that is refused, in words.
        let mut names: Vec<String> = Family::ALL.map(|family| family.name().to_owned()).to_vec();
        if folder.join("CURRENT").exists() {
            let found = DB::list_cf(&global, folder)
                .map_err(|error| fault("list the regions of the database", &error))?;
            names.extend(found.into_iter().filter(|name| !is_known(name)));
        } else {
            names.push("default".to_owned());
        }
        let families = names.into_iter().map(|name| {
            let buffer = if name == "meta" || name == "default" { 1 << 20 } else { 32 << 20 };
            ColumnFamilyDescriptor::new(name, options(buffer, &cache))
        });
        let opened = if read_only {
            DB::open_cf_descriptors_read_only(&global, folder, families, false)
        } else {
            DB::open_cf_descriptors(&global, folder, families)
        };
        let db = opened
            .map_err(|error| fault(&format!("open the database {}", folder.display()), &error))?;
        Ok(Self { db })
    }

    pub(super) fn family(&self, family: Family) -> Result<&ColumnFamily, Fault> {
        let missing = || Fault::Storage(format!("no region `{}` in the database", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }

    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        self.db.snapshot()
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.db.get_cf(self.family(family)?, key).map_err(|error| fault("read", &error))
    }

    pub(super) fn put_synced(&self, family: Family, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(family)?, key, value);
        self.write_synced(batch, "write")
    }

    pub(super) fn write_synced(&self, batch: WriteBatch, what: &str) -> Result<(), Fault> {
        self.db.write_opt(batch, &write_options()).map_err(|error| fault(what, &error))
    }

    /// For what may be lost in a crash and done again.
    pub(super) fn write_lazily(&self, batch: WriteBatch, what: &str) -> Result<(), Fault> {
        self.db.write(batch).map_err(|error| fault(what, &error))
    }

    /// The first `limit` entries of `start <= key < end` in the current state.
    pub(super) fn range(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let mut cursor = self.db.raw_iterator_cf_opt(self.family(Family::State)?, options);
        cursor.seek(start);
        let mut found = Vec::with_capacity(limit.min(64));
        while found.len() < limit {
            let Some((key, value)) = item(&cursor)? else { break };
            found.push((key.to_vec(), value.to_vec()));
            cursor.next();
        }
        Ok(found)
    }

    pub(super) fn cursor(&self, family: Family) -> Result<DBRawIterator<'_>, Fault> {
        Ok(self.db.raw_iterator_cf(self.family(family)?))
    }

    /// All of the current state, in order.
    pub(super) fn scan_state(&self) -> Result<DBRawIterator<'_>, Fault> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(4 << 20);
        let mut cursor = self.db.raw_iterator_cf_opt(self.family(Family::State)?, options);
        cursor.seek_to_first();
        Ok(cursor)
    }

    /// What a block writes whatever its root is.
    pub(super) fn batch(&self, height: u64, writes: &Writes) -> Result<WriteBatch, Fault> {
        let (state, history) = (self.family(Family::State)?, self.family(Family::History)?);
        let mut batch = WriteBatch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.put_cf(state, key, value),
                None => batch.delete_cf(state, key),
            }
            let old = history_key(history_prefix(key), height);
            batch.put_cf(history, old, history_value(value.as_deref()));
        }
        Ok(batch)
    }

    /// Adds what follows from the root.
    pub(super) fn complete(
        &self,
        batch: &mut WriteBatch,
        tip: Tip,
        writes: &Writes,
        update: &PendingUpdate,
    ) -> Result<(), Fault> {
        let paths = self.family(Family::Paths)?;
        let keys: Vec<&Vec<u8>> = writes.keys().collect();
        let key_at = |position: u32| {
            let index = usize::try_from(position).ok();
            index.and_then(|index| keys.get(index)).ok_or(Fault::Invariant("a write without a key"))
        };
        for (position, path) in update.inserted() {
            batch.put_cf(paths, path_key(&path, key_at(position)?), []);
        }
        for (position, path) in update.removed() {
            batch.delete_cf(paths, path_key(&path, key_at(position)?));
        }
        let changes = changeset(&tip.app_hash, writes)?;
        batch.put_cf(self.family(Family::Changesets)?, tip.height.to_be_bytes(), changes);
        batch.put_cf(self.family(Family::Meta)?, META_TIP, tip.encode());
        Ok(())
    }

    pub(super) fn keys_about(&self, family: Family) -> Result<u64, Fault> {
        self.property(family, rocksdb::properties::ESTIMATE_NUM_KEYS)
    }

    pub(super) fn file_bytes(&self, family: Family) -> Result<u64, Fault> {
        self.property(family, rocksdb::properties::TOTAL_SST_FILES_SIZE)
    }

    fn property(&self, family: Family, name: &PropName) -> Result<u64, Fault> {
        let value = self.db.property_int_value_cf(self.family(family)?, name);
        Ok(value.map_err(|error| fault("measure the database", &error))?.unwrap_or_default())
    }
}

fn is_known(name: &str) -> bool {
    Family::ALL.iter().any(|family| family.name() == name)
}

/// A key and a value in RocksDB's memory.
pub(super) type Item<'a> = (&'a [u8], &'a [u8]);

/// Where a cursor stands; an error is never taken for the end.
pub(super) fn item<'a>(cursor: &'a DBRawIterator<'_>) -> Result<Option<Item<'a>>, Fault> {
    let item = cursor.item();
    if item.is_none() {
        cursor.status().map_err(|error| fault("read on", &error))?;
    }
    Ok(item)
}

/// The key of the leaf at `path` in a snapshot.
pub(super) fn key_of_path(
    database: &Database,
    snapshot: &Snapshot<'_>,
    path: &Hash,
    hash: impl Fn(&[u8]) -> Hash,
) -> Result<Option<Vec<u8>>, Fault> {
    let prefix = path_key(path, &[]);
    let mut cursor = snapshot.raw_iterator_cf(database.family(Family::Paths)?);
    cursor.seek(&prefix);
    while let Some((found, _)) = item(&cursor)? {
        let Some(key) = found.strip_prefix(prefix.as_slice()) else { break };
        if hash(key) == *path {
            return Ok(Some(key.to_vec()));
        }
        cursor.next();
    }
    debug_assert_eq!(prefix.len(), PATH_PREFIX);
    Ok(None)
}
