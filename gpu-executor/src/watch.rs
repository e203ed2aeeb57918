//! Runs again what other validators answered, and challenges what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_audit::play::{Evidence as _, Sample};
use lockstep_proto::lockstep::job::v1::{Job, MemberState};

use crate::blobs::Root;
use crate::fault::Kind;
use crate::metrics;
use crate::plan::{Me, Order};
use crate::steps::{StepError, answer};
use crate::trial::{Settings, Table};

/// What was looked at, and what is to be.
pub(crate) struct Watch {
    operator: Vec<u8>,
    sample: Sample,
    batch_jobs_max: usize,
    /// Jobs and the answers that were found right, or challenged.
    seen: BTreeSet<(u64, Root)>,
    /// Jobs that were challenged because a fault was injected: once is enough.
    accused: BTreeSet<u64>,
}

impl Watch {
    pub(crate) fn new(me: &Me, settings: &Settings) -> Self {
        // Nobody can guess a salt, and no job has the id 0.
        let sample = Sample::new(me.key.salt(&me.chain_id, 0, 0), settings.watch_percent);
        Self {
            operator: me.operator.to_vec(),
            sample,
            batch_jobs_max: settings.batch_jobs_max,
            seen: BTreeSet::new(),
            accused: BTreeSet::new(),
        }
    }

    /// Runs what can still be challenged and was not looked at.
    pub(crate) async fn look(
        &mut self,
        table: &Arc<Table>,
        accused: &[u64],
    ) -> Result<(), StepError> {
        let mut by_version: BTreeMap<u64, Vec<Job>> = BTreeMap::new();
        let jobs = table.tools.node.verified().await?;
        let present: BTreeSet<u64> = jobs.iter().map(|job| job.id).collect();
        self.seen.retain(|(job, _)| present.contains(job));
        for job in jobs {
            if root(&job).is_none_or(|root| self.seen.contains(&(job.id, root))) {
                continue;
            }
            if accused.contains(&job.id) && !self.is_own(&job) {
                if self.accused.insert(job.id) {
                    self.accuse(table, &job).await?;
                }
            } else if self.sample.takes(job.id) && !self.is_own(&job) {
                by_version.entry(job.version).or_default().push(job);
            }
        }
        for (version, jobs) in by_version {
            // One that cannot be run must not keep the others from being looked at.
            if let Err(error) = table.tools.prepare(version).await {
                tracing::warn!(version, %error, "what others answered was not looked at");
                continue;
            }
            for jobs in jobs.chunks(self.batch_jobs_max) {
                if let Err(error) = self.check(table, version, jobs).await {
                    tracing::warn!(version, %error, "what others answered was not looked at");
                }
            }
        }
        Ok(())
    }

    async fn accuse(&self, table: &Arc<Table>, job: &Job) -> Result<(), StepError> {
        let fault = Some(Kind::FalseChallenge);
        let run = table.recompute(job, fault).await?;
        table.challenge(job, run, fault).await
    }

    /// Whether the own validator revealed the answer that stands.
    fn is_own(&self, job: &Job) -> bool {
        job.members.iter().any(|member| {
            member.validator == self.operator
                && member.state() == MemberState::Revealed
                && member.result_root == job.result_root
        })
    }

    async fn check(
        &mut self,
        table: &Arc<Table>,
        version: u64,
        jobs: &[Job],
    ) -> Result<(), StepError> {
        let tools = &table.tools;
        let mut inputs = Vec::new();
        for job in jobs {
            if let Some(root) = crate::plan::input_root(job) {
                tools.fetch_input(job, &root).await?;
            }
            inputs.push(tools.input(job).await?);
        }
        let outcomes = tools.runner.run(version, inputs).await?;
        metrics::watched(jobs.len());
        let record = tools.references.version(version).await?;
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let Some(root) = root(job) else { continue };
            let order = Order { job: job.clone(), falsify: false };
            if answer(&record, &order, outcome)?.result_root != root {
                // Before a bond is at stake, the processor has to say the same.
                let run = table.recompute(job, None).await?;
                if run.answer().result_root == root {
                    tracing::warn!(
                        job = job.id,
                        "the backend computes another answer than this machine's processor; hint: \
                         test the device with `lockstep-executor --home DIR self-test`"
                    );
                } else {
                    table.challenge(job, run, None).await?;
                }
            }
            self.seen.insert((job.id, root));
        }
        Ok(())
    }
}

fn root(job: &Job) -> Option<Root> {
    job.result_root.as_slice().try_into().ok()
}
