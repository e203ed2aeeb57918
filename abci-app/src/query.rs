//! Reads of a committed height, with a proof where the answer is an object of the state.

use lockstep_chain::error::{Fault, TxError};
use lockstep_chain::query;
use prost::Message as _;

mod raw;

use crate::store::{HeightError, Store};

/// The type of the proof operation in an answer: `data` is a `cosmos.ics23.v1.CommitmentProof` over
/// (key, value) under the app hash after the answer's height, which the next header carries.
pub const PROOF_TYPE: &str = "ics23:lockstep";

/// Code of an answer whose height this node does not have.
pub const NO_SUCH_HEIGHT: u32 = 98;
/// Code of an answer for which there is no proof.
pub const NOT_PROVABLE: u32 = 99;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The height of the state that was read.
    pub height: u64,
    /// The value.
    pub value: Vec<u8>,
    /// The state's key, where the value is an object of the state.
    pub key: Vec<u8>,
    /// An encoded `CommitmentProof`, where one was asked for.
    pub proof: Option<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// In words, with a code of `docs/errors.md`.
    #[error("{log}")]
    Refused {
        /// Never 0.
        code: u32,
        /// What is wrong.
        log: String,
    },
    /// This node cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Answers `path` from the state after `height`, or after the last block.
///
/// # Errors
/// [`NoAnswer`].
pub fn answer(
    store: &Store,
    path: &str,
    data: &[u8],
    height: Option<u64>,
    prove: bool,
) -> Result<Answer, NoAnswer> {
    let at = store.at(height).map_err(no_height)?;
    let found = match raw::answer(store, &at, path, data) {
        Some(found) => found,
        None => query::query(&at, path, data),
    };
    let found = found.map_err(|error| match error {
        TxError::Reject(reject) => {
            NoAnswer::Refused { code: reject.code, log: reject.reason.to_owned() }
        }
        TxError::Fault(fault) => NoAnswer::Fault(fault),
    })?;
    let proof = match (prove, &found.key) {
        (false, _) => None,
        (true, Some(key)) => {
            let proof = at.prove(key).map_err(no_height)?;
            Some(proof.to_ics23(key).encode_to_vec())
        }
        (true, None) => {
            return Err(NoAnswer::Refused {
                code: NOT_PROVABLE,
                log: format!(
                    "{path} collects from several objects and has no proof\n\
                     hint: ask without proof, or for each object by itself"
                ),
            });
        }
    };
    Ok(Answer {
        height: at.height(),
        value: found.value,
        key: found.key.unwrap_or_default(),
        proof,
    })
}

fn no_height(error: HeightError) -> NoAnswer {
    match error {
        HeightError::Fault(fault) => NoAnswer::Fault(fault),
        other => NoAnswer::Refused { code: NO_SUCH_HEIGHT, log: other.to_string() },
    }
}
