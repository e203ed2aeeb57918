//! What the system tests share: keys, a genesis, executors of every kind, and a network in one
//! process that calls the state machine as CometBFT would.

pub mod actions;
pub mod cluster;
pub mod executor;
pub mod genesis;
pub mod keys;
pub mod rng;
