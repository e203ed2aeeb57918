//! What proves a step: the leaves that it reads, opened against the roots of trace, artefact and input.

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

use borsh::{BorshDeserialize, BorshSerialize};

use super::steps::{Constant, Needs, Opened};
use super::verify::{Statement, WitnessError};
use super::{WITNESS_BYTES_MAX, leaf_hash};
use crate::artefact::{Layout, LeafError, Manifest};
use crate::hash::Hash;
use crate::merkle::{leaf_hash as constant_hash, verify_many};
use crate::result::{Status, input_ids, input_root};

/// A witness. Which leaves these are follows from program, position and input.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Witness {
    /// Leaves of the trace, by rising number.
    pub(super) leaves: Vec<Content>,
    /// What [`verify_many`] needs beside them.
    pub(super) siblings: Vec<Hash>,
    /// Leaves of the artefact, by rising number.
    pub(super) constants: Vec<Vec<u8>>,
    /// What [`verify_many`] needs beside them.
    pub(super) constant_siblings: Vec<Hash>,
    /// The whole input where the step reads it, else empty.
    pub(super) input: Vec<u8>,
}

/// What a leaf of a trace holds.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Content {
    pub(super) status: u8,
    pub(super) block: Vec<u8>,
}

impl Content {
    pub(super) fn status(&self) -> Result<Status, WitnessError> {
        Status::of_byte(self.status).ok_or(WitnessError::Bytes("a status is neither 0, 1 nor 2"))
    }
}

/// The leaves of the artefact that hold these constants, rising.
pub(super) fn constant_leaves(needs: &Needs, layout: &Layout) -> Option<Vec<u64>> {
    let numbers = needs.constants.iter().map(|constant| leaf_of(*constant, layout));
    let mut numbers = numbers.collect::<Option<Vec<u64>>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

pub(super) fn leaf_of(constant: Constant, layout: &Layout) -> Option<u64> {
    layout.leaf_at(constant.content, constant.row, constant.col)
}

impl Witness {
    pub(super) fn encode(&self) -> Vec<u8> {
        // Writing to memory cannot fail.
        borsh::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WitnessError> {
        if bytes.len() > WITNESS_BYTES_MAX {
            return Err(WitnessError::Length(bytes.len()));
        }
        let refused = WitnessError::Bytes("they are no witness");
        let witness: Self = borsh::from_slice(bytes).map_err(|_| refused)?;
        if witness.encode() != bytes {
            return Err(WitnessError::Bytes("not in canonical form"));
        }
        Ok(witness)
    }

    /// The input where the step reads it.
    pub(super) fn ids(
        &self,
        statement: &Statement<'_>,
        read: bool,
    ) -> Result<Vec<u32>, WitnessError> {
        if !read {
            return if self.input.is_empty() { Ok(Vec::new()) } else { Err(WitnessError::Input) };
        }
        let ids = input_ids(&self.input).ok_or(WitnessError::Input)?;
        let tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        if tokens != statement.tokens || input_root(&self.input) != *statement.input_root {
            return Err(WitnessError::Input);
        }
        Ok(ids)
    }

    /// Checks that the leaves of the trace are those with these numbers.
    pub(super) fn open_trace(
        &self,
        numbers: &[u64],
        count: u64,
        root: &Hash,
    ) -> Result<(), WitnessError> {
        if self.leaves.len() != numbers.len() {
            return Err(WitnessError::Bytes("another number of leaves of the trace than it reads"));
        }
        if numbers.is_empty() {
            return if self.siblings.is_empty() { Ok(()) } else { Err(WitnessError::Trace) };
        }
        let mut leaves = Vec::with_capacity(numbers.len());
        for (number, content) in numbers.iter().zip(&self.leaves) {
            leaves.push((*number, leaf_hash(*number, content.status()?, &content.block)));
        }
        let opens = verify_many(root, count, &leaves, &self.siblings);
        if opens { Ok(()) } else { Err(WitnessError::Trace) }
    }

    /// The constants in the order of `needs`, checked.
    pub(super) fn open_constants(
        &self,
        needs: &Needs,
        manifest: &Manifest,
    ) -> Result<Vec<Opened<'_>>, WitnessError> {
        let layout = manifest.layout();
        let none = WitnessError::Bytes("another number of constants than it reads");
        let numbers = constant_leaves(needs, layout).ok_or(none)?;
        if self.constants.len() != numbers.len() {
            return Err(none);
        }
        let hashes: Vec<(u64, Hash)> = numbers
            .iter()
            .zip(&self.constants)
            .map(|(number, leaf)| (*number, constant_hash(*number, leaf)))
            .collect();
        let (root, count) = (manifest.leaves_root(), manifest.leaf_count());
        let siblings = &self.constant_siblings;
        let opens = if numbers.is_empty() {
            siblings.is_empty()
        } else {
            verify_many(&root, count, &hashes, siblings)
        };
        if !opens {
            return Err(WitnessError::Artefact(LeafError::Root));
        }
        for (number, leaf) in numbers.iter().zip(&self.constants) {
            let span = manifest.span(*number).map_err(WitnessError::Artefact)?;
            span.check(leaf).map_err(WitnessError::Artefact)?;
        }
        let opened = needs.constants.iter().map(|constant| {
            let number = leaf_of(*constant, layout)?;
            let leaf = self.constants.get(numbers.binary_search(&number).ok()?)?;
            Some(Opened { place: *constant, span: layout.span(number)?, leaf })
        });
        opened.collect::<Option<Vec<_>>>().ok_or(none)
    }
}
