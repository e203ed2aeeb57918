//! abci-app

pub mod store;
