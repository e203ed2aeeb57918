//! A turn in a trial, with all that has to be asked for and sent.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::trial::v1::Trial;
use lockstep_vm::hash::Hash;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::PlayError;
use super::evidence::Evidence;
use super::moves::{Claim, Intent, Move, Node};
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

    /// Sends a move: all its messages in one transaction.
    fn send(&self, job: u64, it: Move) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether an error says that the chain refuses what was sent, rather than that it was not heard.
    fn refuses(error: &Self::Error) -> bool;
}

/// A seat that can be used from several tasks, one at a time.
pub type Shared<E> = Arc<Mutex<Seat<E>>>;

fn locked<E>(seat: &Shared<E>) -> MutexGuard<'_, Seat<E>> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at a trial and makes the moves that are due; what became of each. Lists that could not be had
/// count as calls that failed. Where an error says [`PlayError::retake`], the seat is to be taken anew.
///
/// # Errors
/// Where the node cannot be asked.
pub async fn turn<C: Court, E: Evidence + 'static>(
    court: &C,
    seat: &Shared<E>,
    job: u64,
    now: Now,
) -> Result<Vec<(Intent, Result<(), C::Error>)>, C::Error> {
    let Some(trial) = court.trial(job).await? else { return Ok(Vec::new()) };
    let trial = Arc::new(trial);
    let (mut done, mut lists, mut unheard) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let turn = think(seat, &trial, now, std::mem::take(&mut lists)).await?;
        let failures = turn.failures.into_iter();
        done.extend(failures.map(|(intent, error)| (intent, Err(error.into()))));
        // At once: what needs no list must not wait for one.
        for (intent, it) in turn.moves {
            done.push((intent, send(court, job, it).await));
        }
        if turn.missing.is_empty() {
            break;
        }
        for node in turn.missing {
            let list = court.nodes(job, node).await.unwrap_or_else(|error| {
                unheard.push((Intent::Call(node), Err(error)));
                Vec::new()
            });
            lists.push((node, list));
        }
    }
    let mut seat = locked(seat);
    done.iter().filter(|(_, result)| result.is_err()).for_each(|(it, _)| seat.forget(it));
    done.extend(unheard);
    Ok(done)
}

/// Sends a move; where a challenge is refused with an own answer, without it: one bond fells a lie.
async fn send<C: Court>(court: &C, job: u64, it: Move) -> Result<(), C::Error> {
    let alone = match &it {
        Move::Challenge { answer, own: Some(_) } => {
            Some(Move::Challenge { answer: *answer, own: None })
        }
        _ => None,
    };
    match (court.send(job, it).await, alone) {
        (Err(error), Some(alone)) if C::refuses(&error) => court.send(job, alone).await,
        (sent, _) => sent,
    }
}

/// Puts a verified answer on trial that is not the own one, and brings the own one with its trace;
/// without it, where the trace is not made in half of the time that is left to challenge.
///
/// # Errors
/// [`PlayError`] where the own computation is in doubt, else where the node refuses.
pub async fn accuse<C: Court, E: Evidence + 'static>(
    court: &C,
    seat: &Shared<E>,
    job: &Job,
    now_ms: u64,
) -> Result<(), C::Error> {
    let answer: Hash = job.result_root.as_slice().try_into().map_err(PlayError::trace)?;
    let confirmed = Arc::clone(seat);
    let confirmed = spawn_blocking(move || locked(&confirmed).confirm());
    confirmed.await.map_err(PlayError::trace)??;
    let claim = Arc::clone(seat);
    let claim = spawn_blocking(move || Claim::of(locked(&claim).evidence()));
    let left = Duration::from_millis(job.challenge_time_ms.saturating_sub(now_ms) / 2);
    let own = match timeout(left, claim).await {
        Ok(claim) => Some(claim.map_err(PlayError::trace)??),
        Err(_) => None,
    };
    send(court, job.id, Move::Challenge { answer, own }).await
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
        let mut seat = locked(&seat);
        let mut false_lists = Vec::new();
        for (node, bytes) in lists {
            if let Err(error) = seat.put(&trial, &now, node, &bytes) {
                false_lists.push((Intent::Call(node), error));
            }
        }
        let mut turn = seat.turn(&trial, &now);
        turn.failures.extend(false_lists);
        turn
    });
    thought.await.map_err(PlayError::trace)
}
