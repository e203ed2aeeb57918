//! One place for whoever computes, given to whoever has the least time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A place, and those who wait for it.
#[derive(Default)]
pub(crate) struct Lane(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    taken: bool,
    /// By deadline, then in order of coming.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Place>>,
    tickets: u64,
}

/// The place; free again when this goes.
pub(crate) struct Place(Arc<Lane>);

impl Lane {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, deadline: u64) -> Option<oneshot::Receiver<Place>> {
        let mut queue = self.queue();
        if !std::mem::replace(&mut queue.taken, true) {
            return None;
        }
        let (give, given) = oneshot::channel();
        queue.tickets += 1;
        let ticket = queue.tickets;
        queue.waiting.insert((deadline, ticket), give);
        Some(given)
    }

    /// Waits for the place, behind those whose deadline comes first.
    pub(crate) async fn place(self: &Arc<Self>, deadline: u64) -> Place {
        let given = match self.enter(deadline) {
            Some(given) => given.await.ok(),
            None => None,
        };
        // Nobody who waits is forgotten before it has the place.
        given.unwrap_or_else(|| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut queue = self.0.queue();
            let next = queue.waiting.pop_first();
            queue.taken = next.is_some();
            next
        };
        // The place itself is given: where whoever waited has left, before or after, it goes on.
        if let Some((_, next)) = next {
            drop(next.send(Place(Arc::clone(&self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn whoever_has_the_least_time_is_next_and_those_who_left_are_passed_over() {
        let lane = Arc::<Lane>::default();
        let first = lane.place(9).await;
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let come = |deadline| {
            let (lane, done) = (Arc::clone(&lane), done.clone());
            tokio::spawn(async move {
                let _place = lane.place(deadline).await;
                done.send(deadline).unwrap();
            })
        };
        let waiting = [7, 3, 5].map(come);
        tokio::task::yield_now().await;
        waiting[1].abort();
        tokio::task::yield_now().await;
        // One leaves after it was given the place, and before it could take it.
        let mut leaver = Box::pin(lane.place(1));
        assert!(
            std::future::poll_fn(|cx| Poll::Ready(leaver.as_mut().poll(cx).is_pending())).await
        );
        drop(first);
        drop(leaver);
        assert_eq!([order.recv().await, order.recv().await], [Some(5), Some(7)]);
        for task in waiting {
            drop(task.await);
        }
        assert!(!lane.queue().taken);
    }
}
