//! Killing a validator with -9, all of its processes, and waiting until it is back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lockstep_tests::network::Crasher;

use crate::figures::Killed;

/// How long a validator may need to come back.
const RETURN_MAX: Duration = Duration::from_mins(1);

/// Kills a validator, starts it again a moment later, and waits until it stands where the others do.
pub(crate) async fn kill_and_return(
    crasher: &mut Crasher,
    victim: usize,
) -> anyhow::Result<Killed> {
    crasher.kill(victim)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    crasher.restart(victim)?;
    let client = crasher.client(victim)?;
    let other = crasher.client(0)?;
    loop {
        if start.elapsed() > RETURN_MAX {
            bail!("the killed validator did not catch up within {RETURN_MAX:?}; see its logs");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Ok(status) = client.status().await else { continue };
        let height = other.status().await.context("the first node is gone")?.height;
        if !status.catching_up && status.height + 1 >= height {
            let caught_up_seconds = start.elapsed().as_secs_f64();
            return Ok(Killed { validator: crasher.moniker(victim), caught_up_seconds });
        }
    }
}
