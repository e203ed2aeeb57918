//! The executor as a whole: blobs between peers, and work for the real state machine.

#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]

mod blobs;
mod common;
mod trial;
mod worker;
