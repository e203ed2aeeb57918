//! Recomputes one leaf of a trace from a witness.

use crate::artefact::{LeafError, Manifest};
use crate::hash::Hash;

/// What a step is judged against.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The artefact that ran.
    pub manifest: &'a Manifest,
    /// [`crate::result::input_root`].
    pub input_root: &'a Hash,
    /// Number of token ids of the input.
    pub tokens: u32,
    /// Root of the trace.
    pub steps_root: &'a Hash,
}

/// What follows from the leaves that a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The hash that the leaf must have.
    Leaf(Hash),
    /// A leaf that it reads is not one that an honest trace can hold.
    Malformed,
}

/// Why a witness is refused: it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// The run cannot have that many tokens.
    #[error("a run of this program takes 1 to {tokens_max} tokens, not {tokens}")]
    Tokens {
        /// Tokens stated.
        tokens: u32,
        /// The program's limit.
        tokens_max: u32,
    },
    /// There is no such leaf.
    #[error("the trace has {count} leaves, so there is no leaf {position}")]
    Position {
        /// The leaf asked for.
        position: u64,
        /// The number of leaves.
        count: u64,
    },
    /// Too long.
    #[error("the witness has {0} bytes, at most {max} are allowed", max = super::WITNESS_BYTES_MAX)]
    Length(usize),
    /// No witness in canonical form.
    #[error("the witness's bytes are refused: {0}")]
    Bytes(&'static str),
    /// The leaves do not lead to the trace's root.
    #[error("the leaves of the trace in the witness do not lead to its root")]
    Trace,
    /// The constants do not lead to the artefact's root, or break its rules.
    #[error("a constant in the witness is refused: {0}")]
    Artefact(LeafError),
    /// The input is another one.
    #[error("the input in the witness does not have the stated root and number of tokens")]
    Input,
}

/// Recomputes the leaf at `position`; the caller compares it with what the trace says.
///
/// # Errors
/// [`WitnessError`] where the witness itself is refused: then nothing is shown about the trace.
pub fn verify_step(
    statement: &Statement<'_>,
    position: u64,
    witness: &[u8],
) -> Result<Step, WitnessError> {
    let _ = (statement, position, witness);
    Err(WitnessError::Bytes("not yet"))
}
