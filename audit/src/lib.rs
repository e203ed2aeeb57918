//! The audit of a chain: recomputes it from its blocks, and says where they differ from it.

pub mod play;
