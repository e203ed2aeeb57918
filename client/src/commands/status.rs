//! `lockstep status`.

use lockstep_client::{Result, query};

use super::client;
use crate::cli::Globals;
use crate::console::{say, to_json};

pub(super) async fn run(globals: &Globals) -> Result<()> {
    let client = client(globals)?;
    let status = client.status().await?;
    // A node that is still catching up may not answer for its state yet.
    let totals = query::totals(&client).await.ok();
    let mut value = to_json(&status);
    value["totals"] = to_json(&totals);
    let state = if status.catching_up { "catching up" } else { "up to date" };
    let mut text = format!(
        "network   {}\nnode      {} (CometBFT {}), {state}\nheight    {} at {}\napp hash  {}\n",
        status.chain_id,
        status.moniker,
        status.cometbft,
        status.height,
        status.time,
        status.app_hash
    );
    if let Some(totals) = totals {
        let jobs = format!("jobs      {} open of {}\n", totals.open_jobs, totals.jobs);
        text.push_str(&jobs);
    }
    say(globals.json, &value, &text);
    Ok(())
}
