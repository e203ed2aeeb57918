//! What the chain references: which blobs may be stored, how long they are, and when they may go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lockstep_chain::job::is_terminal;
use lockstep_proto::lockstep::job::v1::Job;
use lockstep_proto::lockstep::model::v1::Version;
use tokio::sync::Mutex;

use crate::blobs::{BlobError, Reference, Root};
use crate::node::{Node, NodeError};

/// How far back jobs are looked through after a start. Older open ones are known by their duties and
/// by the layouts of the blobs that are here.
const JOBS_BACK: u64 = 1000;

/// An index over the node's state, brought up to date when it is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct References {
    node: Node,
    inputs: Arc<Mutex<Inputs>>,
    versions: Arc<Mutex<BTreeMap<u64, Version>>>,
}

/// Versions that are kept in memory.
const VERSIONS_MAX: usize = 256;

/// Open jobs whose input is a blob.
#[derive(Debug, Default)]
struct Inputs {
    /// Every job up to this id was looked at.
    seen: u64,
    /// The jobs of an input, and its length.
    jobs: BTreeMap<Root, (BTreeSet<u64>, u64)>,
}

impl References {
    /// An index that asks `node`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, inputs: Arc::default(), versions: Arc::default() }
    }

    /// What the chain says of a root; `None` where no version and no open job references it.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn find(&self, root: &Root) -> Result<Option<Reference>, NodeError> {
        if let Some(version) = self.node.version_of(root).await? {
            let manifest = self.node.manifest(version.id).await?.into();
            return Ok(Some(Reference::Artefact { version: version.id, manifest }));
        }
        let mut inputs = self.inputs.lock().await;
        if inputs.find(root).is_none() {
            self.refresh(&mut inputs).await?;
        }
        Ok(inputs.find(root))
    }

    /// A version, as it was when it was first asked for: root, length and output never change.
    ///
    /// # Errors
    /// Where the node cannot be asked or there is no such version.
    pub async fn version(&self, id: u64) -> Result<Version, NodeError> {
        let mut versions = self.versions.lock().await;
        if let Some(version) = versions.get(&id) {
            return Ok(version.clone());
        }
        let version = self.node.version(id).await?;
        if versions.len() >= VERSIONS_MAX {
            versions.pop_first();
        }
        versions.insert(id, version.clone());
        Ok(version)
    }

    /// The root of a version's artefact, and the reference to it.
    ///
    /// # Errors
    /// Where the node cannot be asked or there is no such version.
    pub async fn artefact(&self, id: u64) -> Result<(Root, Reference), BlobError> {
        let version = self.version(id).await?;
        let manifest = Bytes::from(self.node.manifest(id).await?);
        let root = root_of(&version.artefact_root);
        let root = root.ok_or_else(|| BlobError::Unknown { root: format!("of version {id}") })?;
        Ok((root, Reference::Artefact { version: id, manifest }))
    }

    /// Notes the inputs of jobs that came as duties.
    pub async fn note(&self, jobs: &[Job]) {
        let mut inputs = self.inputs.lock().await;
        for job in jobs {
            inputs.note(job);
        }
    }

    /// Whether a blob that is here may go: no version references it, and no job that is open.
    ///
    /// # Errors
    /// Where the node cannot be asked; nothing may go then.
    pub async fn is_garbage(&self, root: &Root, reference: &Reference) -> Result<bool, NodeError> {
        if self.node.version_of(root).await?.is_some() {
            return Ok(false);
        }
        let mut inputs = self.inputs.lock().await;
        self.refresh(&mut inputs).await?;
        let mut jobs = inputs.jobs.get(root).map(|(jobs, _)| jobs.clone()).unwrap_or_default();
        if let Reference::Input { job, .. } = reference {
            jobs.insert(*job);
        }
        for id in jobs {
            match self.node.job(id).await {
                Ok(job) if !is_terminal(job.state()) && job.input_root == root => {
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        inputs.jobs.remove(root);
        Ok(true)
    }

    async fn refresh(&self, inputs: &mut Inputs) -> Result<(), NodeError> {
        let last = self.node.totals().await?.jobs;
        inputs.seen = inputs.seen.max(last.saturating_sub(JOBS_BACK));
        while inputs.seen < last {
            let jobs = self.node.jobs(inputs.seen + 1).await?;
            let Some(newest) = jobs.last() else { break };
            inputs.seen = newest.id;
            for job in &jobs {
                inputs.note(job);
            }
        }
        Ok(())
    }
}

impl Inputs {
    fn find(&self, root: &Root) -> Option<Reference> {
        let (jobs, bytes) = self.jobs.get(root)?;
        jobs.last().map(|job| Reference::Input { job: *job, bytes: *bytes })
    }

    fn note(&mut self, job: &Job) {
        if job.input.is_empty()
            && !is_terminal(job.state())
            && let Some(root) = root_of(&job.input_root)
        {
            let (jobs, bytes) = self.jobs.entry(root).or_default();
            jobs.insert(job.id);
            *bytes = job.input_bytes;
        }
    }
}

fn root_of(bytes: &[u8]) -> Option<Root> {
    bytes.try_into().ok()
}
