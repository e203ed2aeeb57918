//! Archives: blocks, commits and results in plain files, each with its checksum.
//!
//! `docs/audit.md` describes them to the byte. Every file is written under another name first, and
//! the index last: whoever copies or fetches an archive meets a whole one, if perhaps a shorter one.

mod index;
mod read;
mod segment;
mod write;

#[cfg(test)]
mod tests;

pub use index::{FORMAT, Head, INDEX, Index, Segment};
pub use read::{Archive, Place, verify};
pub use write::Writer;

/// The genesis file in an archive.
pub const GENESIS: &str = "genesis.json";
/// Heights of a segment, at most.
pub const SEGMENT_HEIGHTS: u64 = 1000;
/// A segment that is so large takes no further height.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes of a segment, at most: those and the block that filled it.
pub const FILE_BYTES_MAX: u64 = 512 << 20;

/// BLAKE3, in hex.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
