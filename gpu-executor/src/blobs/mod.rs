//! Blobs, artefacts of models and inputs of jobs, by Merkle root. Every block is verified before it
//! is stored, and again before it is served or used.

mod collect;
mod error;
mod fetch;
mod intake;
mod layout;
mod store;

pub use collect::Collector;
pub use error::BlobError;
pub use fetch::Peers;
pub use intake::Intake;
pub use layout::{INPUT_LEAF_BYTES, Layout, LayoutError, Piece, Reference, Root};
pub use store::BlobStore;
