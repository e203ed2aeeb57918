//! What the system tests share: keys, a genesis, executors of every kind, a network in one process
//! that calls the state machine as CometBFT would, and networks of real processes.

pub mod actions;
pub mod cluster;
pub mod executor;
pub mod genesis;
pub mod keys;
pub mod model;
pub mod network;
pub mod party;
pub mod rng;
pub mod story;

use std::path::PathBuf;

/// A binary of this workspace, built beside the one that runs now.
///
/// # Panics
/// Where the running program has no path.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    // Tests run from `deps`, one folder below.
    let mut folders = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    folders.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}
