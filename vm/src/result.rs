//! What a run is known by: the roots of its input, its output and its result.

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

use crate::hash::{Hash, hash};
use crate::limits::{LEAF_BYTES_MAX, TILE_COLS, TILE_ROWS};
use crate::merkle::Builder;

/// How far a run has come. The last one's byte is part of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Still running: only within a trace, never of a result.
    Run,
    /// It gave its output.
    Halted,
    /// An infinity or a NaN came up: a valid result with an empty output.
    Fault,
}

impl Status {
    /// Its byte in hashes.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Run => 0,
            Self::Halted => 1,
            Self::Fault => 2,
        }
    }

    /// The inverse of [`Status::byte`].
    #[must_use]
    pub fn of_byte(byte: u8) -> Option<Self> {
        [Self::Run, Self::Halted, Self::Fault].into_iter().find(|status| status.byte() == byte)
    }
}

/// The token ids as they travel and are hashed: u32, little endian.
#[must_use]
pub fn input_bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// The inverse of [`input_bytes`]; none where the length does not divide by four.
#[must_use]
pub fn input_ids(bytes: &[u8]) -> Option<Vec<u32>> {
    let (ids, rest) = bytes.as_chunks();
    rest.is_empty().then(|| ids.iter().map(|id| u32::from_le_bytes(*id)).collect())
}

/// The root of an input: a Merkle tree over its bytes in leaves of 32 KiB, bound to their number.
#[must_use]
pub fn input_root(bytes: &[u8]) -> Hash {
    let mut builder = Builder::new();
    for leaf in bytes.chunks(LEAF_BYTES_MAX) {
        builder.push(leaf);
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    hash("lockstep/input/v1", &[&length.to_le_bytes(), &builder.finish().0])
}

/// The root of an output of `rows` by `cols` f32 values, given as little-endian bytes: a Merkle tree
/// over tiles of 16 by 64, row by row of tiles, each tile row-major, edge tiles smaller.
///
/// None where the number of bytes is not `rows * cols * 4`. A FAULT has 0 rows and 0 columns.
#[must_use]
pub fn output_root(rows: u32, cols: u32, bytes: &[u8]) -> Option<Hash> {
    let (height, width) = (usize::try_from(rows).ok()?, usize::try_from(cols).ok()?);
    let row_bytes = width.checked_mul(4)?;
    if height.checked_mul(row_bytes)? != bytes.len() {
        return None;
    }
    let tile_bytes = TILE_COLS.checked_mul(4)?;
    let mut builder = Builder::new();
    if row_bytes > 0 {
        for band in bytes.chunks(row_bytes.checked_mul(TILE_ROWS)?) {
            for column in (0..row_bytes).step_by(tile_bytes) {
                let end = column.saturating_add(tile_bytes).min(row_bytes);
                let mut tile = Vec::with_capacity(TILE_ROWS.saturating_mul(tile_bytes));
                for row in band.chunks(row_bytes) {
                    tile.extend_from_slice(row.get(column..end)?);
                }
                builder.push(&tile);
            }
        }
    }
    let root = builder.finish().0;
    Some(hash("lockstep/output/v1", &[&rows.to_le_bytes(), &cols.to_le_bytes(), &root]))
}

/// What a result root binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunResult<'a> {
    /// Root of the artefact that ran, which fixes the program.
    pub artefact_root: &'a Hash,
    /// [`input_root`].
    pub input_root: &'a Hash,
    /// The job's parameters in canonical bytes; empty for encoders.
    pub parameters: &'a [u8],
    /// How it ended.
    pub status: Status,
    /// [`output_root`].
    pub output_root: &'a Hash,
}

impl RunResult<'_> {
    /// The result root, which executors commit to.
    #[must_use]
    pub fn root(&self) -> Hash {
        hash(
            "lockstep/result/v1",
            &[
                self.artefact_root,
                self.input_root,
                self.parameters,
                &[self.status.byte()],
                self.output_root,
            ],
        )
    }
}

/// [`RunResult::root`] of an output row, or of a FAULT where there is none.
///
/// `output` holds little-endian f32 values; bytes after the last whole value do not count, so give
/// whole ones.
#[must_use]
pub fn result_root(
    artefact_root: &Hash,
    input: &[u8],
    parameters: &[u8],
    output: Option<&[u8]>,
) -> Hash {
    let (status, bytes) = output.map_or((Status::Fault, &[][..]), |bytes| (Status::Halted, bytes));
    let (values, rest) = bytes.as_chunks::<4>();
    let whole = bytes.len().saturating_sub(rest.len());
    let cols = u32::try_from(values.len()).unwrap_or(u32::MAX);
    let rows = u32::from(output.is_some());
    let output_root = output_root(rows, cols, bytes.get(..whole).unwrap_or_default());
    RunResult {
        artefact_root,
        input_root: &input_root(input),
        parameters,
        status,
        output_root: &output_root.unwrap_or_default(),
    }
    .root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle;

    #[test]
    fn an_output_is_hashed_in_tiles_of_16_by_64() {
        let (rows, cols) = (17_u32, 65_u32);
        let values: Vec<u32> = (0..rows * cols).collect();
        let tile = |top: u32, left: u32| -> Vec<u8> {
            let mut bytes = Vec::new();
            for row in top..rows.min(top + 16) {
                for col in left..cols.min(left + 64) {
                    bytes.extend((row * cols + col).to_le_bytes());
                }
            }
            bytes
        };
        let tiles = [tile(0, 0), tile(0, 64), tile(16, 0), tile(16, 64)];
        let leaves: Vec<Hash> =
            (0..).zip(&tiles).map(|(i, tile)| merkle::leaf_hash(i, tile)).collect();
        let tree = merkle::root(&leaves);
        let expected =
            hash("lockstep/output/v1", &[&rows.to_le_bytes(), &cols.to_le_bytes(), &tree]);
        assert_eq!(output_root(rows, cols, &input_bytes(&values)), Some(expected));
        assert_eq!(output_root(rows, cols + 1, &input_bytes(&values)), None);
    }

    #[test]
    fn shapes_of_the_same_bytes_have_different_roots() {
        let bytes = [0; 64];
        assert_ne!(output_root(1, 16, &bytes), output_root(16, 1, &bytes));
        assert_ne!(output_root(0, 0, &[]), output_root(1, 0, &[]));
    }

    #[test]
    fn every_part_of_a_result_changes_its_root() {
        let base = result_root(&[1; 32], &[1, 0, 0, 0], b"", Some(&[0; 8]));
        let others = [
            result_root(&[2; 32], &[1, 0, 0, 0], b"", Some(&[0; 8])),
            result_root(&[1; 32], &[2, 0, 0, 0], b"", Some(&[0; 8])),
            result_root(&[1; 32], &[1, 0, 0, 0], b"p", Some(&[0; 8])),
            result_root(&[1; 32], &[1, 0, 0, 0], b"", Some(&[0; 4])),
            result_root(&[1; 32], &[1, 0, 0, 0], b"", Some(&[1, 0, 0, 0, 0, 0, 0, 0])),
            result_root(&[1; 32], &[1, 0, 0, 0], b"", Some(&[])),
            result_root(&[1; 32], &[1, 0, 0, 0], b"", None),
        ];
        for (i, other) in others.iter().enumerate() {
            assert_ne!(base, *other, "{i}");
            assert!(others.iter().skip(i + 1).all(|later| later != other), "{i}");
        }
    }

    #[test]
    fn inputs_come_back_from_their_bytes_and_odd_lengths_are_refused() {
        assert_eq!(input_ids(&input_bytes(&[1, 70_000])), Some(vec![1, 70_000]));
        assert_eq!(input_ids(&[0; 5]), None);
        let zeros = vec![0; LEAF_BYTES_MAX + 4];
        assert_ne!(input_root(&zeros[4..]), input_root(&zeros));
    }
}
