//! The node: CometBFT on one side, the chain on the other, a disk below.

pub mod app;
pub mod child;
pub mod cometbft;
pub mod commands;
pub mod convert;
pub mod executor_api;
pub mod exit;
pub mod home;
pub mod http;
pub mod metrics;
pub mod query;
pub mod rpc;
pub mod store;
pub mod supervisor;
pub mod transport;
pub mod verdicts;
pub mod waiting;
