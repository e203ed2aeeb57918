//! A turn in a trial, with all that has to be asked for and sent.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_proto::lockstep::trial::v1::Trial;
use tokio::task::spawn_blocking;

use super::PlayError;
use super::evidence::Evidence;
use super::moves::{Intent, Move, Node};
use super::seat::{Seat, Turn};
use super::strategy::Now;

/// A node of the chain, however it is reached.
pub trait Court: Sync {
    /// Why it was not reached, or refused.
    type Error: Display + From<PlayError> + Send;

    /// A job's trial; none where it is not on trial.
    fn trial(&self, job: u64) -> impl Future<Output = Result<Option<Trial>, Self::Error>> + Send;

    /// What was opened below a node, 32 bytes each; nothing where it was not opened.
    fn nodes(
        &self,
        job: u64,
        node: Node,
    ) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;

    /// Sends a move.
    fn send(&self, job: u64, it: Move) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A seat that can be used from several tasks, one at a time.
pub type Shared<E> = Arc<Mutex<Seat<E>>>;

/// Looks at a trial and makes the moves that are due; what became of each.
///
/// # Errors
/// Where the node cannot be asked, or the trial not be played at all.
pub async fn turn<C: Court, E: Evidence + 'static>(
    court: &C,
    seat: &Shared<E>,
    job: u64,
    now: Now,
) -> Result<Vec<(Intent, Result<(), C::Error>)>, C::Error> {
    let Some(trial) = court.trial(job).await? else { return Ok(Vec::new()) };
    let trial = Arc::new(trial);
    let mut lists = Vec::new();
    let turn = loop {
        let turn = think(seat, &trial, now, std::mem::take(&mut lists)).await?;
        if turn.missing.is_empty() {
            break turn;
        }
        for node in turn.missing {
            lists.push((node, court.nodes(job, node).await?));
        }
    };
    let failures = turn.failures.into_iter();
    let mut done: Vec<_> = failures.map(|(intent, error)| (intent, Err(error.into()))).collect();
    for (intent, it) in turn.moves {
        done.push((intent, court.send(job, it).await));
    }
    Ok(done)
}

/// Decides on a thread where hashing and recomputing hold up nobody.
async fn think<E: Evidence + 'static>(
    seat: &Shared<E>,
    trial: &Arc<Trial>,
    now: Now,
    lists: Vec<(Node, Vec<u8>)>,
) -> Result<Turn, PlayError> {
    let (seat, trial) = (Arc::clone(seat), Arc::clone(trial));
    let thought = spawn_blocking(move || {
        let mut seat = seat.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, bytes) in lists {
            seat.put(&trial, &now, node, &bytes)?;
        }
        seat.turn(&trial, &now)
    });
    thought.await.map_err(PlayError::trace)?
}
