//! The state at one height, as queries see it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_chain::error::Fault;
use lockstep_chain::state::{Entry, StateRead, Writes};
use lockstep_chain::tree::{Blake3Rule, Hash, HashRule, PendingUpdate, Proof, Tree};
use parking_lot::Mutex;
use rocksdb::{DBRawIterator, ReadOptions, Snapshot};

use super::database::{Database, Family, META_OLDEST, META_TIP, fault, item, key_of_path};
use super::encoding::{
    Tip, history_key, history_prefix, history_start, parse_changeset, parse_history_value,
    split_history_key,
};
use super::{Rayon, Store};

/// A proof at an old height undoes the writes since, so many keys at most.
const PROOF_KEYS_MAX: usize = 250_000;
/// Trees of old heights that are kept until the next block.
const REWOUND_MAX: usize = 2;

/// Why there is no answer for a height.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeightError {
    /// Not a height of this chain yet.
    #[error("height {asked} is not committed yet; the last one is {newest}")]
    NotYet {
        /// The height asked for.
        asked: u64,
        /// The last committed height.
        newest: u64,
    },
    /// Forgotten.
    #[error(
        "height {asked} is not retained; the oldest is {oldest}\n\
         hint: ask a node that retains more heights"
    )]
    Pruned {
        /// The height asked for.
        asked: u64,
        /// The oldest retained height.
        oldest: u64,
    },
    /// Before the genesis state.
    #[error("the chain has no state yet\nhint: wait for the first block")]
    NoState,
    /// Values are there, but a proof would cost too much.
    #[error(
        "no proof at height {asked}: more than {PROOF_KEYS_MAX} keys changed since\n\
         hint: ask for a later height, or without a proof"
    )]
    TooFarForProof {
        /// The height asked for.
        asked: u64,
    },
    /// This node cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The state at one height. It stays as it is while blocks are committed and pruned.
pub struct At<'a> {
    store: &'a Store,
    view: View<'a>,
    height: u64,
}

impl std::fmt::Debug for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("At").field("height", &self.height).finish_non_exhaustive()
    }
}

/// A snapshot of the database.
struct View<'a> {
    database: &'a Database,
    snapshot: Snapshot<'a>,
    tip: Tip,
    oldest: u64,
}

impl<'a> At<'a> {
    pub(super) fn new(store: &'a Store, height: Option<u64>) -> Result<Self, HeightError> {
        let view = View::new(&store.database)?;
        let height = height.unwrap_or(view.tip.height);
        if height > view.tip.height {
            return Err(HeightError::NotYet { asked: height, newest: view.tip.height });
        }
        if height < view.oldest || view.app_hash(height)?.is_none() {
            return Err(HeightError::Pruned { asked: height, oldest: view.oldest });
        }
        Ok(Self { store, view, height })
    }

    /// The height.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height
    }

    /// The app hash after the height's block. CometBFT's header of the next height carries it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn app_hash(&self) -> Result<Hash, Fault> {
        self.view.app_hash(self.height)?.ok_or(Fault::Corrupt("changesets"))
    }

    /// The keys that the height's block wrote, in byte order.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn changes(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let bytes = self.view.read(Family::Changesets, &self.height.to_be_bytes())?;
        let bytes = bytes.ok_or(Fault::Corrupt("changesets"))?;
        Ok(parse_changeset(&bytes)?.1.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// The oldest height that is retained.
    #[must_use]
    pub const fn oldest(&self) -> u64 {
        self.view.oldest
    }

    /// What the state says about `key`, with a proof under [`At::app_hash`]. At an old height the
    /// first proof computes the tree of that height, in time proportional to the writes since.
    ///
    /// # Errors
    /// Where the height was pruned meanwhile or is too far back, and when the disk fails.
    pub fn prove(&self, key: &[u8]) -> Result<Proof, HeightError> {
        // No block is committed while this is held, so tree and snapshot are of one height.
        let committed = self.store.committed.read();
        let now = View::new(&self.store.database)?;
        let is_last = self.height == now.tip.height;
        let then = (!is_last).then(|| self.store.rewound.get(&now, &committed.tree, self.height));
        let then = then.transpose()?;
        let undo = then.as_ref().map(|then| &then.undo);
        let entry = |path: &Hash| {
            let undone = then.as_ref().and_then(|then| then.keys.get(path));
            let key = match undone {
                Some(key) => key.clone(),
                None => key_of_path(now.database, &now.snapshot, path, Blake3Rule::bytes)?
                    .ok_or(Fault::Corrupt("paths"))?,
            };
            let value = match undo.and_then(|undo| undo.get(&key)) {
                Some(value) => value.clone(),
                None => now.get(&key, now.tip.height)?,
            };
            Ok((key, value.ok_or(Fault::Corrupt("state"))?))
        };
        let update = then.as_ref().map(|then| &then.update);
        Ok(committed.tree.prove(update, key, &entry)?)
    }
}

impl StateRead for At<'_> {
    fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.view.get(key, self.height)
    }

    fn next_raw(&self, start: &[u8], end: &[u8]) -> Result<Option<Entry>, Fault> {
        if start >= end {
            return Ok(None);
        }
        if self.height == self.view.tip.height {
            let cursor = self.view.cursor(Family::State, start, end)?;
            return Ok(item(&cursor)?.map(|(key, value)| (key.to_vec(), value.to_vec())));
        }
        self.view.next_in_history(start, end, self.height)
    }
}

impl<'a> View<'a> {
    fn new(database: &'a Database) -> Result<Self, HeightError> {
        let snapshot = database.snapshot();
        let meta = |key| {
            let family = database.family(Family::Meta)?;
            snapshot.get_cf(family, key).map_err(|error| fault("read", &error))
        };
        let tip = Tip::decode(&meta(META_TIP)?.ok_or(HeightError::NoState)?)?;
        let oldest = match meta(META_OLDEST)? {
            Some(bytes) => {
                u64::from_be_bytes(bytes.try_into().map_err(|_| Fault::Corrupt("meta/oldest"))?)
            }
            None => 0,
        };
        Ok(Self { database, snapshot, tip, oldest })
    }

    fn read(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let family = self.database.family(family)?;
        self.snapshot.get_cf(family, key).map_err(|error| fault("read", &error))
    }

    fn cursor(&self, family: Family, start: &[u8], end: &[u8]) -> Result<DBRawIterator<'_>, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        let mut cursor = self.snapshot.raw_iterator_cf_opt(self.database.family(family)?, options);
        cursor.seek(start);
        Ok(cursor)
    }

    fn app_hash(&self, height: u64) -> Result<Option<Hash>, Fault> {
        let Some(bytes) = self.read(Family::Changesets, &height.to_be_bytes())? else {
            return Ok(None);
        };
        parse_changeset(&bytes).map(|(app_hash, _)| Some(app_hash))
    }

    fn get(&self, key: &[u8], height: u64) -> Result<Option<Vec<u8>>, Fault> {
        if height == self.tip.height {
            return self.read(Family::State, key);
        }
        let mut cursor = self.snapshot.raw_iterator_cf(self.database.family(Family::History)?);
        get_in_history(&mut cursor, key, height)
    }

    fn next_in_history(
        &self,
        start: &[u8],
        end: &[u8],
        height: u64,
    ) -> Result<Option<Entry>, Fault> {
        let mut cursor =
            self.cursor(Family::History, &history_start(start), &history_start(end))?;
        loop {
            let Some((found, _)) = item(&cursor)? else { return Ok(None) };
            let (prefix, key, _) = split_history_key(found)?;
            let prefix = prefix.to_vec();
            cursor.seek(history_key(prefix.clone(), height));
            if let Some((found, value)) = item(&cursor)?
                && found.starts_with(&prefix)
                && let Some(value) = parse_history_value(value)?
            {
                return Ok(Some((key, value.to_vec())));
            }
            // Not there at that height: go past the key's last record.
            cursor.seek(history_key(prefix, 0));
            if let Some((found, _)) = item(&cursor)?
                && split_history_key(found)?.1 == key
            {
                cursor.next();
            }
        }
    }

    /// The writes that lead from the last height back to `height`.
    fn undo(&self, height: u64) -> Result<Writes, HeightError> {
        let mut undo = Writes::new();
        if height < self.oldest {
            return Err(HeightError::Pruned { asked: height, oldest: self.oldest });
        }
        let mut cursor = self.snapshot.raw_iterator_cf(self.database.family(Family::History)?);
        for later in (height + 1)..=self.tip.height {
            // The genesis state may be followed by a first height above one.
            let Some(bytes) = self.read(Family::Changesets, &later.to_be_bytes())? else {
                continue;
            };
            for key in parse_changeset(&bytes)?.1 {
                if !undo.contains_key(key) {
                    undo.insert(key.to_vec(), get_in_history(&mut cursor, key, height)?);
                }
            }
            if undo.len() > PROOF_KEYS_MAX {
                return Err(HeightError::TooFarForProof { asked: height });
            }
        }
        Ok(undo)
    }
}

fn get_in_history(
    cursor: &mut DBRawIterator<'_>,
    key: &[u8],
    height: u64,
) -> Result<Option<Vec<u8>>, Fault> {
    let prefix = history_prefix(key);
    cursor.seek(history_key(prefix.clone(), height));
    let Some((found, value)) = item(cursor)? else { return Ok(None) };
    if split_history_key(found)?.0 != prefix {
        return Ok(None);
    }
    parse_history_value(value).map(|value| value.map(<[u8]>::to_vec))
}

/// The tree of an old height, as an update of the current one.
#[derive(Debug)]
struct Rewound {
    /// The last height then, and the old one.
    heights: (u64, u64),
    undo: Writes,
    /// The undone keys by path.
    keys: BTreeMap<Hash, Vec<u8>>,
    update: PendingUpdate,
}

/// The trees asked for last. Clients ask for the height before the last, whose app hash the last
/// header carries, so one computation serves all of them until the next block.
#[derive(Debug, Default)]
pub(super) struct RewoundTrees(Mutex<VecDeque<Arc<Rewound>>>);

impl RewoundTrees {
    fn get(
        &self,
        now: &View<'_>,
        tree: &Tree<Blake3Rule>,
        height: u64,
    ) -> Result<Arc<Rewound>, HeightError> {
        // Held while computing, so that many queries at once compute one tree once.
        let mut kept = self.0.lock();
        let heights = (now.tip.height, height);
        kept.retain(|rewound| rewound.heights.0 == heights.0);
        if let Some(found) = kept.iter().find(|rewound| rewound.heights == heights) {
            return Ok(Arc::clone(found));
        }
        let undo = now.undo(height)?;
        let update = tree.root_after(&Rayon, &undo)?;
        if Some(update.root()) != now.app_hash(height)? {
            return Err(Fault::Invariant("the history of a height has another app hash").into());
        }
        let keys = undo.keys().map(|key| (Blake3Rule::bytes(key), key.clone())).collect();
        let rewound = Arc::new(Rewound { heights, undo, keys, update });
        kept.truncate(REWOUND_MAX - 1);
        kept.push_front(Arc::clone(&rewound));
        Ok(rewound)
    }

    /// Frees what no later query can use.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}
