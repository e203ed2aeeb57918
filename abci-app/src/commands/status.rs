//! `lockstepd status`: where a node stands, and one line on why it does not move.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use crate::cometbft;
use crate::exit;
use crate::home::{Home, Settings};
use crate::metrics::approximate;
use crate::rpc::{Rpc, number, text};

/// Looks are so far apart, and go on for so long, or until the height has moved twice.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS_MAX: u32 = 20;

/// Arguments of `lockstepd status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The node's folder.
    #[arg(long)]
    pub home: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Prints where the node stands. Returns 0 where it moves.
///
/// # Errors
/// Where the folder is none of a node.
pub fn run(arguments: &Status) -> anyhow::Result<i32> {
    let home = Home::new(&arguments.home)?;
    let settings = Settings::read(&home)?;
    let addresses = cometbft::addresses(&home)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(look(&home, &settings, &Rpc::new(addresses.rpc)?));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(if report["moves"] == true { 0 } else { exit::FAILED })
}

async fn look(home: &Home, settings: &Settings, rpc: &Rpc) -> Value {
    let executor = executor(home, settings).await;
    let first = match rpc.call("status", json!({})).await {
        Ok(status) => status,
        Err(error) => {
            return json!({
                "moves": false,
                "reason": format!("{error:#} (logs: {})", home.logs().display()),
                "executor": executor,
            });
        }
    };
    let height = number(&first["sync_info"], "latest_block_height");
    let catching_up = first["sync_info"]["catching_up"] == true;
    let start = Instant::now();
    let mut second = first.clone();
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK).await;
        second = rpc.call("status", json!({})).await.unwrap_or(second);
        if number(&second["sync_info"], "latest_block_height") >= height.saturating_add(2) {
            break;
        }
    }
    let now = number(&second["sync_info"], "latest_block_height");
    let net = rpc.call("net_info", json!({})).await.unwrap_or_default();
    let peers = number(&net, "n_peers");
    let speed = approximate(now.saturating_sub(height)) / start.elapsed().as_secs_f64();
    let moves = now > height;
    let reason = reason(rpc, catching_up, speed, peers, moves).await;
    json!({
        "moves": moves,
        "chain_id": text(&first["node_info"], "network"),
        "moniker": text(&first["node_info"], "moniker"),
        "height": now,
        "app_hash": text(&second["sync_info"], "latest_app_hash"),
        "block_time": text(&second["sync_info"], "latest_block_time"),
        "blocks_per_second": (speed * 100.0).round() / 100.0,
        "peers": peers,
        "catching_up": catching_up,
        "voting_power": text(&second["validator_info"], "voting_power"),
        "reason": reason,
        "executor": executor,
    })
}

/// One line: what the node waits for.
async fn reason(rpc: &Rpc, catching_up: bool, speed: f64, peers: u64, moves: bool) -> String {
    if catching_up && moves {
        return match best_height(rpc).await {
            Some((target, now)) if target > now => format!(
                "catching up: {} blocks behind, about {:.0} s at this speed",
                target - now,
                approximate(target - now) / speed
            ),
            _ => "catching up".to_owned(),
        };
    }
    if moves {
        return "in step".to_owned();
    }
    if peers == 0 {
        return "no block comes and no peer is connected; hint: check persistent_peers, the \
                network and the firewall"
            .to_owned();
    }
    let state = rpc.call("consensus_state", json!({})).await.unwrap_or_default();
    let rounds = state["round_state"]["height_vote_set"].as_array().cloned().unwrap_or_default();
    let power = |text: &str| text.rsplit("= ").next().and_then(|part| part.parse::<f64>().ok());
    let seen = rounds.iter().filter_map(|round| round["prevotes_bit_array"].as_str());
    let best = seen.max_by(|a, b| power(a).unwrap_or(0.0).total_cmp(&power(b).unwrap_or(0.0)));
    let votes = best.unwrap_or("unknown");
    format!(
        "no block comes: a quorum of more than 2/3 is needed, prevotes seen: {votes}; hint: other \
         validators are down or cannot be reached"
    )
}

/// The greatest height that a peer tells of, and the own.
async fn best_height(rpc: &Rpc) -> Option<(u64, u64)> {
    let state = rpc.call("dump_consensus_state", json!({})).await.ok()?;
    let own = number(&state["round_state"], "height");
    let peers = state["peers"].as_array()?;
    let best =
        peers.iter().map(|peer| number(&peer["peer_state"]["round_state"], "height")).max()?;
    Some((best, own))
}

/// What the executor says of itself.
async fn executor(home: &Home, settings: &Settings) -> Value {
    if !settings.executor {
        return json!("not configured");
    }
    let file = home.executor().join("executor.toml");
    let listen = std::fs::read_to_string(file).ok().and_then(|text| {
        let table: toml::Table = text.parse().ok()?;
        Some(table.get("listen")?.as_str()?.to_owned())
    });
    let Some(listen) = listen else { return json!("executor.toml names no `listen`") };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).no_proxy().build();
    let Ok(client) = client else { return json!("cannot be asked") };
    match client.get(format!("http://{listen}/healthz")).send().await {
        Ok(answer) => {
            let body = answer.text().await.unwrap_or_default();
            serde_json::from_str(&body).unwrap_or_else(|_| json!(body.trim()))
        }
        Err(_) => json!(format!("down: nothing answers at {listen}")),
    }
}

fn print(report: &Value) {
    let Some(fields) = report.as_object() else { return };
    for (name, value) in fields {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{name:18} {shown}");
    }
}
