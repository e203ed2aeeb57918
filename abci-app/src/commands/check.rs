//! `lockstepd check`: every invariant, and the root of the state, on a stopped or running node.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use lockstep_chain::invariants;
use lockstep_proto::lockstep::chain::v1::QueryInvariantsResponse;
use prost::Message as _;
use serde_json::json;

use crate::home::{Home, Settings};
use crate::rpc::{Rpc, number};
use crate::store::{Store, StoreOptions};
use crate::{cometbft, exit};

/// Arguments of `lockstepd check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The node's folder.
    #[arg(long)]
    pub home: PathBuf,
}

/// Prints what was checked. Returns 0 where everything holds, 10 where not.
///
/// # Errors
/// Where the state cannot be read.
pub fn run(arguments: &Check) -> anyhow::Result<i32> {
    let home = Home::new(&arguments.home)?;
    let settings = Settings::read(&home)?;
    let chain_id = cometbft::chain_id(&home)?;
    let options =
        StoreOptions { retained_heights: settings.heights_retained, ..StoreOptions::default() };
    let (height, broken) = match Store::open(&home.data(), &options, &mut |_| {}) {
        // Opening has rebuilt the tree and compared its root with the committed app hash.
        Ok(store) => stopped(&store, &chain_id)?,
        Err(fault) if fault.to_string().contains("in use by") => {
            let addresses = cometbft::addresses(&home)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(running(&Rpc::new(addresses.rpc)?))?
        }
        Err(fault) => bail!("{fault}"),
    };
    for line in &broken {
        println!("broken at height {height}: {line}");
    }
    if broken.is_empty() {
        println!("height {height}: every invariant holds");
        return Ok(0);
    }
    Ok(exit::BROKEN)
}

fn stopped(store: &Store, chain_id: &str) -> anyhow::Result<(u64, Vec<String>)> {
    if store.chain_id()?.is_some_and(|bound| bound != chain_id) {
        bail!("the data folder belongs to another chain than the genesis file (`{chain_id}`)");
    }
    let Some(height) = store.height() else { bail!("the chain has not started here") };
    println!("height {height}: the rebuilt root is the app hash {}", hex::encode(store.app_hash()));
    let at = store.at(None)?;
    Ok((height, invariants::broken(&at)?))
}

async fn running(rpc: &Rpc) -> anyhow::Result<(u64, Vec<String>)> {
    let answer = rpc.query("/lockstep.chain.v1.Query/Invariants", &[]).await?;
    if answer.code != 0 {
        bail!("the node refuses to check: {} (code {})", answer.log, answer.code);
    }
    let broken = QueryInvariantsResponse::decode(answer.value.as_slice())
        .context("the node's answer does not decode")?
        .broken;
    // The header of a height carries the app hash after the height before.
    let info = rpc.call("abci_info", json!({})).await?;
    let height = number(&info["response"], "last_block_height");
    println!("height {height}: app hash as the running node has it (stop it to rebuild the root)");
    Ok((answer.height, broken))
}
