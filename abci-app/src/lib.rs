//! abci-app
