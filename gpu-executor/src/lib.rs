//! The executor: the worker that runs models for a validator, beside its node.
//!
//! It learns its jobs from the node ([`node`]), fetches artefacts and inputs by hash ([`blobs`]),
//! runs them ([`runner`], on a [`backend`]) and puts commitments and reveals on offer; the node adds
//! them to its votes. What to do next is decided by one pure state machine ([`plan`]); disputes are
//! played beside it ([`table`]). Nothing here
//! can hold up consensus: the node only ever copies from what is on offer.

pub mod backend;
pub mod blobs;
pub mod config;
pub mod executor;
pub mod fault;
pub mod key;
mod lane;
pub mod metrics;
pub mod node;
pub mod outputs;
pub mod plan;
pub mod references;
pub mod runner;
pub mod service;
pub mod steps;
pub mod table;
mod trial;
mod watch;
pub mod worker;
