//! Events: what observers are told. One for each change of an object's state.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind, for example `job_verified`.
    pub kind: String,
    /// Names and values.
    pub attributes: Vec<(String, String)>,
}

impl Event {
    /// An event without attributes.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_string(), attributes: Vec::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl core::fmt::Display) -> Self {
        self.attributes.push((name.to_string(), value.to_string()));
        self
    }
}
