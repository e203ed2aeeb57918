//! Recomputes one leaf of a trace from a witness.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use super::steps::{Inputs, Stop};
use super::witness::Witness;
use super::{Layout, leaf_hash};
use crate::artefact::{LeafError, Manifest};
use crate::hash::Hash;
use crate::kernels::{self, Isa};
use crate::result::Status;

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
    let verified = statement.manifest.verified();
    let (tokens, tokens_max) = (statement.tokens, verified.tokens_max());
    if !(1..=tokens_max).contains(&tokens) {
        return Err(WitnessError::Tokens { tokens, tokens_max });
    }
    let layout = Layout::new(verified, tokens);
    let count = layout.leaf_count();
    let leaf = layout.find(position).ok_or(WitnessError::Position { position, count })?;
    let witness = Witness::decode(witness)?;
    let ids = witness.ids(statement, leaf.steps.reads_input(leaf.family))?;
    let needs = leaf.steps.needs(leaf.family, leaf.at, &ids);
    let opened = layout.opened(position, leaf.part, &needs).ok_or(WitnessError::Trace)?;
    witness.open_trace(&opened, count, statement.steps_root)?;
    let constants = witness.open_constants(&needs, statement.manifest)?;

    let content = |number: u64| {
        let found = opened.binary_search(&number).ok();
        found.and_then(|found| witness.leaves.get(found)).ok_or(WitnessError::Trace)
    };
    if let Some(before) = position.checked_sub(1) {
        let before = content(before)?.status()?;
        if before != Status::Run {
            return Ok(Step::Leaf(leaf_hash(position, before, &[])));
        }
    }
    let mut blocks = Vec::with_capacity(needs.blocks.len());
    for read in &needs.blocks {
        let number = layout.number_of(leaf.part, *read).ok_or(WitnessError::Trace)?;
        let read = layout.find(number).ok_or(WitnessError::Trace)?;
        let content = content(number)?;
        let form = read.steps.form(read.family, read.at);
        if content.status()? != Status::Run || !form.holds(&content.block) {
            return Ok(Step::Malformed);
        }
        blocks.push(content.block.as_slice());
    }
    let inputs = Inputs { blocks, constants, isa: Isa::Scalar };
    Ok(match kernels::ieee(|| leaf.steps.compute(leaf.family, leaf.at, &inputs)) {
        Ok(block) => Step::Leaf(leaf_hash(position, leaf.status(&layout), &block)),
        Err(Stop::Fault) => Step::Leaf(leaf_hash(position, Status::Fault, &[])),
        Err(Stop::Malformed) => Step::Malformed,
    })
}
