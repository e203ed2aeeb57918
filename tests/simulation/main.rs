//! The state machine under CometBFT's call grammar, over replicas in one process.

mod scenarios;
