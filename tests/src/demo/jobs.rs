//! Posting jobs and following them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lockstep_client::rpc::Client;
use lockstep_client::tx::{self, Sender, message};
use lockstep_client::{job, npy, query};
use lockstep_proto::lockstep::job::v1::{Job, JobState, MsgPostJobResponse};

/// How long a job may take from posting to the end.
const JOB_MAX: Duration = Duration::from_mins(2);

/// A job that was posted.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) id: u64,
    /// Which text.
    pub(crate) text: usize,
    /// Which model.
    pub(crate) model: usize,
}

/// Asks a model for the embeddings of texts, given as token ids.
pub(crate) struct Poster<'a> {
    pub(crate) client: &'a Client,
    pub(crate) sender: &'a Sender,
    pub(crate) model: usize,
    pub(crate) name: &'a str,
}

impl Poster<'_> {
    /// Posts one job for each text, a few in each block, and waits until they stand in blocks.
    pub(crate) async fn post(&self, ids: &[(usize, Vec<u32>)]) -> anyhow::Result<Vec<Posted>> {
        let offer = job::Offer::of(self.client, self.name).await?;
        let mut posted = Vec::new();
        for few in ids.chunks(4) {
            let mut waiting = Vec::new();
            for (text, ids) in few {
                let quote = offer.quote(u32::try_from(ids.len())?)?;
                let post = message::post_job(self.sender.wallet(), self.name, ids, quote.fee);
                let unsigned = self.sender.prepare(vec![post]).await?;
                waiting.push((*text, self.sender.broadcast(unsigned).await?));
            }
            for (text, sent) in waiting {
                let included = tx::succeeded(self.sender.wait(&sent).await?)?;
                let response: MsgPostJobResponse = tx::response(&included, 0)?;
                posted.push(Posted { id: response.job, text, model: self.model });
            }
        }
        Ok(posted)
    }
}

/// Waits until every job has been paid out, and returns them.
pub(crate) async fn finish(client: &Client, posted: &[Posted]) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for one in posted {
        let job = job::wait(client, one.id, job::Until::Final, JOB_MAX).await?;
        if job.state() != JobState::Final {
            bail!("job {} ended as {}", one.id, job::state(job.state()));
        }
        jobs.push(job);
    }
    Ok(jobs)
}

/// The embedding that a job gave.
pub(crate) fn embedding(job: &Job) -> anyhow::Result<Vec<f32>> {
    npy::values(&job.output).with_context(|| format!("the output of job {}", job.id))
}

/// Waits until the verdict about one lie is recorded and carried out.
pub(crate) async fn wait_slashed(client: &Client) -> anyhow::Result<()> {
    let start = Instant::now();
    while !query::slashes(client).await?.iter().any(|slash| slash.executed) {
        if start.elapsed() > JOB_MAX {
            bail!("no verdict was carried out within {JOB_MAX:?}: did the liar lie?");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
