//! Outputs of jobs that this executor ran, for whoever asks before they stand on the chain.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Outputs that are kept; later ones are on the chain by then.
const OUTPUTS_MAX: usize = 1024;

/// The last outputs by job. Cheap to clone; clones share.
#[derive(Debug, Clone, Default)]
pub struct Outputs(Arc<Mutex<BTreeMap<u64, Bytes>>>);

impl Outputs {
    /// The output of a job.
    #[must_use]
    pub fn get(&self, job: u64) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Keeps an output, and forgets the oldest where there are too many.
    pub fn put(&self, job: u64, output: Bytes) {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.insert(job, output);
        while outputs.len() > OUTPUTS_MAX {
            outputs.pop_first();
        }
    }
}
