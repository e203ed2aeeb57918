//! The worker: carries out what the plan says, and tells it what became of it.

use std::sync::Arc;
use std::time::Duration;

use lockstep_proto::lockstep::block::v1::VoteExtension;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fault::{FaultError, Faults};
use crate::metrics;
use crate::node::Node;
use crate::plan::{Docket, Effect, Event, Order, Plan};
use crate::references::References;
use crate::steps::{Tools, contain};
use crate::table::{Settings, Table};
use crate::{trial, watch as watcher};

/// Pauses between attempts to reach the node.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Works until `stop` says so.
///
/// # Errors
/// Only where injected faults cannot be kept.
pub async fn work(
    tools: Tools,
    faults: Faults,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) -> Result<(), FaultError> {
    // Unbounded, but every sender but one waits for an effect, and effects are bounded by duties.
    let (events, mut coming) = mpsc::unbounded_channel();
    let (offers, offered) = watch::channel(VoteExtension::default());
    let mut plan = Plan::new(tools.me.clone(), faults, settings.batch_jobs_max);
    let (dockets, held) = watch::channel(Docket::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(listen(tools.node.clone(), tools.references.clone(), events.clone()));
    tasks.spawn(send_offers(tools.node.clone(), offered));
    tasks.spawn(preload(tools.clone(), events.clone()));
    let table = Arc::new(Table::new(tools.clone(), settings, held.clone()));
    tasks.spawn(trial::play(Arc::clone(&table), held.clone()));
    tasks.spawn(watcher::keep(Arc::clone(&table), held));
    loop {
        let event = tokio::select! {
            event = coming.recv() => event,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(event) = event else { break };
        if let Event::Prepared(version, Ok(())) = event {
            tasks.spawn(warm(Arc::clone(&table), version));
        }
        for effect in plan.handle(event)? {
            match effect {
                // Only the newest offer matters: it replaces all before.
                Effect::Offer(offer) => drop(offers.send_replace(offer)),
                Effect::Trials(docket) => drop(dockets.send_replace(docket)),
                other => drop(tasks.spawn(carry_out(tools.clone(), other, events.clone()))),
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    tasks.shutdown().await;
    Ok(())
}

/// Waits for duties, for as long as the process lives.
async fn listen(node: Node, references: References, events: UnboundedSender<Event>) {
    let mut after = 0;
    let mut pause = PAUSE_MIN;
    loop {
        match node.duties(after).await {
            Ok(duties) => {
                pause = PAUSE_MIN;
                after = duties.height;
                metrics::duties(
                    duties.height,
                    &[
                        ("commit", duties.commit.len()),
                        ("reveal", duties.reveal.len()),
                        ("deliver", duties.deliver.len()),
                        ("hold", duties.hold.len()),
                        ("possess", duties.possess.len()),
                        ("trial", duties.trials.len()),
                    ],
                );
                references.note(&duties.hold).await;
                if events.send(Event::Duties(Box::new(duties))).is_err() {
                    return;
                }
            }
            Err(error) => {
                metrics::node_failed();
                tracing::warn!(%error, "no duties");
                // It may come back with an empty memory, or with another height.
                after = 0;
                if events.send(Event::NodeLost).is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Hands the newest offer to the node, again and again until it has it.
async fn send_offers(node: Node, mut offered: watch::Receiver<VoteExtension>) {
    while offered.changed().await.is_ok() {
        let mut pause = PAUSE_MIN;
        loop {
            let offer = offered.borrow_and_update().clone();
            match node.offer(&offer).await {
                Ok(()) => break,
                Err(error) => {
                    metrics::node_failed();
                    tracing::warn!(%error, "the node did not take an offer");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// Loads what can be called, newest first, as long as there is room: the first job after a start is
/// as quick as any.
async fn preload(tools: Tools, events: UnboundedSender<Event>) {
    let versions = match tools.loadable().await {
        Ok(versions) => versions,
        Err(error) => {
            tracing::warn!(%error, "models are loaded when their first job comes");
            return;
        }
    };
    for version in versions {
        let tools = tools.clone();
        match contain(async move { tools.preload(version).await }).await {
            Ok(true) => {
                tracing::info!(version, "model loaded");
                if events.send(Event::Prepared(version, Ok(()))).is_err() {
                    return;
                }
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(version, %error, "a model was not loaded"),
        }
    }
}

/// Makes ready for trials about what the backend has ready.
async fn warm(table: Arc<Table>, version: u64) {
    match contain(async move { table.warm(version).await }).await {
        Ok(()) => tracing::debug!(version, "ready for trials"),
        Err(error) => tracing::warn!(version, %error, "a trial about it would begin slowly"),
    }
}

async fn carry_out(tools: Tools, effect: Effect, events: UnboundedSender<Event>) {
    let done = match effect {
        Effect::Prepare(version) => {
            let result = contain(async move { tools.prepare(version).await }).await;
            vec![Event::Prepared(version, result)]
        }
        Effect::FetchInput(job, root) => {
            let result = contain(async move { tools.fetch_input(&job, &root).await }).await;
            vec![Event::Input(root, result)]
        }
        Effect::Run(version, orders) => run(tools, version, orders).await,
        Effect::Prove(version) => {
            let result = contain(async move { tools.prove(version).await }).await;
            vec![Event::Proved(version, result)]
        }
        Effect::Send(items) => {
            let (steps, messages): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            let result = contain(async move { tools.send(messages, 0).await }).await;
            vec![Event::Sent(steps, result)]
        }
        Effect::Offer(_) | Effect::Trials(_) => Vec::new(),
    };
    for event in done {
        // The worker is gone when the process ends.
        drop(events.send(event));
    }
}

async fn run(tools: Tools, version: u64, orders: Vec<Order>) -> Vec<Event> {
    let jobs: Vec<u64> = orders.iter().map(|order| order.job.id).collect();
    match contain(async move { tools.run(version, orders).await }).await {
        Ok(answers) => {
            let answers = answers.into_iter();
            answers.map(|(job, answer)| Event::Ran(job, answer)).collect()
        }
        Err(error) => jobs.into_iter().map(|job| Event::Ran(job, Err(error.clone()))).collect(),
    }
}
