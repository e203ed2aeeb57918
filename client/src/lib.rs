//! The wallet, the transactions and the queries of Lockstep, for programs and for `lockstep`.
//!
//! ```no_run
//! # async fn example() -> Result<(), lockstep_client::Error> {
//! use lockstep_client::{rpc::Client, tx, wallet::Wallet};
//!
//! let client = Client::new("http://127.0.0.1:26657")?;
//! let wallet = Wallet::test_account("dev0")?;
//! let message = tx::message::send(&wallet, &wallet.address_text(), 5);
//! let included = tx::send(&client, &wallet, vec![message], &tx::Options::default()).await?;
//! println!("in block {}", included.height);
//! # Ok(())
//! # }
//! ```

pub mod amount;
pub mod blobs;
pub mod codes;
mod error;
mod headers;
pub mod job;
pub mod keystore;
pub mod model;
pub mod npy;
pub mod proof;
pub mod query;
pub mod receipt;
pub mod render;
pub mod rpc;
pub mod text;
pub mod tx;
pub mod wallet;

pub use error::{Error, Result};
