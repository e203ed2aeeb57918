//! Artefacts: a program with everything that it needs, as one canonical file.
//!
//! ```text
//! "LOCKSTEP" | format u32 | length of the manifest u32 | manifest | leaf 0 | leaf 1 | ...
//! ```
//!
//! The manifest alone fixes the program, the length and rules of every leaf, and through a Merkle
//! root their content. Its hash is the artefact root, which is all that consensus knows.

mod file;
mod layout;
mod manifest;
#[cfg(test)]
pub(crate) mod tests;

pub use file::{ArtefactError, HEADER_BYTES, Reader, Writer, leaf_hashes, validate, validate_file};
pub use layout::{Content, Layout, LeafError, Span};
pub use manifest::{Attachment, Description, Manifest, ManifestError};
