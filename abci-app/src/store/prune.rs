//! Forgetting old heights.

use lockstep_chain::error::Fault;
use rocksdb::WriteBatch;

use super::database::{Database, Family, META_OLDEST, item};
use super::encoding::{
    history_key, history_prefix, parse_changeset, parse_history_value, split_history_key,
};

/// Moves the oldest retained height on, one block at a time.
pub(super) fn prune(
    database: &Database,
    height: u64,
    retained_heights: u64,
    blocks_max: u64,
) -> Result<u64, Fault> {
    if retained_heights == 0 {
        return Ok(0);
    }
    let target = height.saturating_sub(retained_heights - 1);
    let mut oldest = oldest(database)?;
    let mut forgotten = 0;
    while oldest < target && forgotten < blocks_max {
        oldest += 1;
        // A crash loses at most the whole step, which is then done again.
        let batch = step(database, oldest)?;
        database.write_lazily(batch, "forget an old height")?;
        forgotten += 1;
    }
    Ok(forgotten)
}

fn oldest(database: &Database) -> Result<u64, Fault> {
    match database.get(Family::Meta, META_OLDEST)? {
        None => Ok(0),
        Some(bytes) => {
            let bytes = bytes.try_into().map_err(|_| Fault::Corrupt("meta/oldest"))?;
            Ok(u64::from_be_bytes(bytes))
        }
    }
}

/// Makes `oldest` the oldest height: of the keys that its block wrote, older values go.
fn step(database: &Database, oldest: u64) -> Result<WriteBatch, Fault> {
    let mut batch = WriteBatch::default();
    let (changesets, history) =
        (database.family(Family::Changesets)?, database.family(Family::History)?);
    if let Some(bytes) = database.get(Family::Changesets, &oldest.to_be_bytes())? {
        let mut cursor = database.cursor(Family::History)?;
        for key in parse_changeset(&bytes)?.1 {
            let prefix = history_prefix(key);
            let own = history_key(prefix.clone(), oldest);
            cursor.seek(&own);
            while let Some((found, value)) = item(&cursor)? {
                if split_history_key(found)?.0 != prefix {
                    break;
                }
                if found != own || parse_history_value(value)?.is_none() {
                    batch.delete_cf(history, found);
                }
                cursor.next();
            }
        }
    }
    if let Some(before) = oldest.checked_sub(1) {
        batch.delete_cf(changesets, before.to_be_bytes());
    }
    batch.put_cf(database.family(Family::Meta)?, META_OLDEST, oldest.to_be_bytes());
    Ok(batch)
}
