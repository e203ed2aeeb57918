//! Plays the trials that this executor has a part in, beside its other work.
//!
//! Where the processor computes another answer than the backend revealed, the device was at fault,
//! and the executor concedes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_audit::play::{self, Intent, Now};
use lockstep_proto::lockstep::trial::v1::{GameState, Trial};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fault::Kind;
use crate::plan::Docket;
use crate::steps::{StepError, contain};
use crate::table::{Table, is_traced};

/// Plays until there are no more dockets.
pub(crate) async fn play(table: Arc<Table>, mut dockets: watch::Receiver<Docket>) {
    let mut turns = JoinSet::new();
    // By job, since which height a turn is under way.
    let mut busy = BTreeSet::new();
    let mut looked: BTreeMap<u64, u64> = BTreeMap::new();
    loop {
        tokio::select! {
            changed = dockets.changed() => if changed.is_err() { return },
            Some(ended) = turns.join_next() => drop(ended.map(|job: u64| busy.remove(&job))),
        }
        let docket = dockets.borrow_and_update().clone();
        table.leave_seats(&docket);
        looked.retain(|job, _| docket.trials.iter().any(|(on_trial, _)| on_trial == job));
        for (job, fault) in docket.trials.iter().copied() {
            let silent = matches!(fault, Some(Kind::Silent | Kind::WrongSilent));
            if silent || looked.get(&job) == Some(&docket.height) || !busy.insert(job) {
                continue;
            }
            looked.insert(job, docket.height);
            let table = Arc::clone(&table);
            turns.spawn(async move {
                let turn = async move { table.turn(job, fault).await };
                if let Err(error) = contain(turn).await {
                    tracing::warn!(job, %error, "a trial was not played");
                }
                job
            });
        }
    }
}

impl Table {
    /// Looks at a trial and makes the moves that are due.
    async fn turn(&self, id: u64, fault: Option<Kind>) -> Result<(), StepError> {
        let Some(trial) = self.tools.node.trial(id).await? else { return Ok(()) };
        self.note(&trial);
        let part = self.has_part(&trial);
        if !part && fault.is_none() && self.settings.watch_percent == 0 {
            return Ok(());
        }
        // Others' trials must never keep this account from playing its own.
        let lane = if part { &self.own } else { &self.others };
        let deadline = deadline(&trial);
        let (seat, place) = match self.seat(id) {
            Some(seat) if is_traced(&seat) => (seat, None),
            Some(seat) => (seat, Some(lane.place(deadline).await)),
            None => {
                let job = self.tools.node.job(id).await?;
                // A member of the job cannot challenge what it revealed.
                let own = job.members.iter().any(|it| it.validator == self.tools.me.operator);
                let fault = fault.filter(|fault| !own || *fault != Kind::FalseChallenge);
                let (run, place) = self.recompute(&job, fault, lane, deadline).await?;
                (self.take_seat(id, Some(&trial), run, fault), Some(place))
            }
        };
        let now = Now::of(&self.tools.node.tip().await?, &self.tools.node.params().await?);
        let moves = play::turn(self, &seat, id, now).await;
        drop(place);
        let errors = moves.iter().flatten().filter_map(|(_, result)| result.as_ref().err());
        if errors.chain(moves.as_ref().err()).any(StepError::retake) {
            self.leave_seat(id);
        }
        for (intent, result) in moves? {
            report(id, &intent, result);
        }
        Ok(())
    }
}

/// What the trial clock shows when something has to be done at the latest.
fn deadline(trial: &Trial) -> u64 {
    let runs = |state| matches!(state, GameState::Open | GameState::Call);
    let games = trial.games.iter().filter(|game| runs(game.state())).map(|it| it.move_counter);
    let window = if trial.defend_over { trial.call_counter } else { trial.defend_counter };
    games.chain([window]).min().unwrap_or(window)
}

fn report(job: u64, intent: &Intent, result: Result<(), StepError>) {
    match result {
        Ok(()) if *intent == Intent::Concede => tracing::warn!(
            job,
            "conceding: this machine's processor computes another answer than its backend \
             revealed; hint: test the device with `lockstep-executor --home DIR self-test`"
        ),
        Ok(()) => tracing::info!(job, "trial: {intent}"),
        Err(error) => tracing::warn!(job, %error, "trial: could not {intent}"),
    }
}
