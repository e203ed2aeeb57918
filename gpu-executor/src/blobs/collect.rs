//! Removing what the chain no longer references.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::error::BlobError;
use super::layout::Root;
use super::store::BlobStore;
use crate::metrics;
use crate::references::References;

/// Remembers since when blobs are garbage, and removes them after a grace: a job that is posted
/// meanwhile may reference the same input.
#[derive(Debug)]
pub struct Collector {
    store: BlobStore,
    references: References,
    grace: Duration,
    garbage_since: BTreeMap<Root, Instant>,
}

impl Collector {
    /// A collector over a store.
    #[must_use]
    pub fn new(store: BlobStore, references: References, grace: Duration) -> Self {
        Self { store, references, grace, garbage_since: BTreeMap::new() }
    }

    /// Looks at every blob once. Gives the number removed.
    ///
    /// # Errors
    /// Where the node or the store cannot be asked; nothing more is removed then.
    pub async fn collect(&mut self) -> Result<usize, BlobError> {
        let mut removed = 0;
        let mut garbage = BTreeMap::new();
        for root in self.store.list().await? {
            let Ok(layout) = self.store.layout(&root).await else { continue };
            if !self.references.is_garbage(&root, layout.reference()).await? {
                continue;
            }
            let since = self.garbage_since.get(&root).copied().unwrap_or_else(Instant::now);
            if since.elapsed() < self.grace {
                garbage.insert(root, since);
                continue;
            }
            self.store.remove(&root).await?;
            metrics::collected();
            tracing::info!(root = hex::encode(root), "removed a blob that nothing references");
            removed += 1;
        }
        self.garbage_since = garbage;
        self.collect_unfinished();
        Ok(removed)
    }

    /// Transfers that nobody went on with for a day, or for the grace where that is longer.
    fn collect_unfinished(&self) {
        let patience = self.grace.max(Duration::from_hours(24));
        for (path, written) in self.store.unfinished() {
            let age = SystemTime::now().duration_since(written).unwrap_or_default();
            if age > patience && std::fs::remove_file(&path).is_ok() {
                tracing::info!(path = %path.display(), "removed a transfer that was given up");
            }
        }
    }
}
