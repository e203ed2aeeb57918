//! What the chain knows of an artefact: its manifest, from which program, cost and root follow.

use alloc::vec::Vec;

use lockstep_proto::lockstep::model::v1::LeafProof;
use lockstep_vm::artefact::{Description, Manifest, ManifestError};
use lockstep_vm::program::{self, Index, Input, Op, Program, Tensor};

use crate::error::{Fault, Reject, TxError};
use crate::limits::INLINE_BYTES_MAX;
use crate::state::tables::Hash;

/// The bytes are no manifest in its one encoding.
pub const BAD_MANIFEST: Reject =
    Reject::new(3101, "not a manifest; hint: `lockstep model import` makes it");
/// The program does not pass verification.
pub const BAD_PROGRAM: Reject =
    Reject::new(3102, "the program does not verify; hint: `lockstep model import` says why");
/// The output of one run does not fit into a transaction.
pub const OUTPUT_TOO_LARGE: Reject = Reject::new(3103, "an output is larger than 16 KiB");

/// What the chain keeps of a manifest in the version's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The artefact root.
    pub root: Hash,
    /// Leaves, each at most 32 KiB.
    pub leaf_count: u64,
    /// Bytes of all leaves.
    pub bytes: u64,
    /// Token ids of an input at most.
    pub tokens_max: u32,
    /// Number of different token ids.
    pub vocabulary: u32,
    /// f32 values of an output.
    pub output_values: u32,
}

/// Verifies a manifest and its program, without running anything.
///
/// # Errors
/// [`BAD_MANIFEST`], [`BAD_PROGRAM`] or [`OUTPUT_TOO_LARGE`].
pub fn inspect(bytes: &[u8]) -> Result<Facts, Reject> {
    let manifest = decode(bytes)?;
    let program = manifest.verified();
    let output_bytes = u64::from(program.output_values()).saturating_mul(4);
    if usize::try_from(output_bytes).map_or(true, |bytes| bytes > INLINE_BYTES_MAX) {
        return Err(OUTPUT_TOO_LARGE);
    }
    Ok(Facts {
        root: manifest.root(),
        leaf_count: manifest.leaf_count(),
        bytes: manifest.leaves_bytes(),
        tokens_max: program.tokens_max(),
        vocabulary: program.vocabulary(),
        output_values: program.output_values(),
    })
}

fn decode(bytes: &[u8]) -> Result<Manifest, Reject> {
    Manifest::decode(bytes).map_err(|error| match error {
        ManifestError::Program(_) => BAD_PROGRAM,
        _ => BAD_MANIFEST,
    })
}

/// Multiply-accumulates of a run with so many tokens.
///
/// # Errors
/// A fault where the stored manifest is corrupt.
pub fn macs(manifest: &[u8], tokens: u32) -> Result<u64, TxError> {
    Ok(stored(manifest)?.verified().cost(tokens).macs)
}

/// Whether a leaf is the one of its index, and follows the rules for leaves.
///
/// # Errors
/// A fault where the stored manifest is corrupt.
pub fn leaf_is_in(manifest: &[u8], proof: &LeafProof) -> Result<bool, Fault> {
    let manifest = stored(manifest)?;
    let path: Option<Vec<Hash>> =
        proof.path.iter().map(|hash| hash.as_slice().try_into().ok()).collect();
    Ok(path.is_some_and(|path| manifest.verify_leaf(proof.index, &proof.leaf, &path).is_ok()))
}

fn stored(bytes: &[u8]) -> Result<Manifest, Fault> {
    Manifest::decode(bytes).map_err(|_| Fault::Corrupt("manifests"))
}

/// The smallest model that does something: the mean of the rows of a table of ones.
#[must_use]
pub fn example() -> Vec<u8> {
    let program = Program {
        format: program::FORMAT,
        input: Input::TokenIds { vocabulary: 4, tokens_max: 8 },
        tensors: alloc::vec![Tensor::F32 { rows: 4, cols: 4 }],
        ops: alloc::vec![Op::Embed { table: 0, index: Index::Tokens }, Op::PoolMean { x: 0 }],
        output: 1,
    };
    let mut leaves = lockstep_vm::merkle::Builder::new();
    leaves.push(&example_leaf());
    let description = Description { family: "example".into(), attachments: Vec::new() };
    let manifest = Manifest::new(&program, description, leaves.finish().0);
    manifest.map(|manifest| manifest.encode().to_vec()).unwrap_or_default()
}

/// The one leaf of [`example`].
#[must_use]
pub fn example_leaf() -> Vec<u8> {
    core::iter::repeat_n(1.0_f32.to_bits().to_le_bytes(), 16).flatten().collect()
}
