//! Misbehaviour on demand, for tests and demonstrations: what the protocol must survive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockstep_audit::play::Lie;
use serde::{Deserialize, Serialize};

/// One fault, for exactly one job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The job's id.
    #[serde(default)]
    pub job: Option<u64>,
    /// The how-manieth job that this executor is asked to run, from 1.
    #[serde(default)]
    pub nth: Option<u64>,
    /// What to do.
    pub kind: Kind,
}

/// How to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Flips a bit of the output before it is hashed, and stands by that answer: on trial it posts a
    /// trace in which only the last steps lie, and calls the traces of others.
    WrongOutput,
    /// Flips that bit, and says nothing on trial.
    WrongSilent,
    /// Flips that bit once, as hardware might: on trial it finds out, and concedes.
    HardwareFault,
    /// Gives the right answer, and on trial a trace of it that is wrong.
    BogusTrace,
    /// Challenges the right answer of others, once it is verified.
    FalseChallenge,
    /// Never commits; everything else is done.
    NoShow,
    /// Offers another member's commitment as its own.
    Copy,
    /// Commits, and reveals only when it is too late.
    LateReveal,
    /// Does nothing at all for the job.
    Silent,
}

/// Why faults cannot be injected.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The network is no test network.
    #[error(
        "faults are configured, but `{0}` is no test network; hint: remove `fault` from \
         executor.toml (faults are for chain ids lockstep-devnet… and …-test…)"
    )]
    Network(String),
    /// What was asked so far could not be read or kept: the count of jobs would start again.
    #[error("cannot keep {path}: {source}")]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Fault {
    pub(crate) fn names_one_job(&self) -> bool {
        self.job.is_some() != self.nth.is_some() && self.nth != Some(0)
    }
}

/// Whether faults may be injected on this network.
#[must_use]
pub fn is_test_network(chain_id: &str) -> bool {
    chain_id.starts_with("lockstep-devnet") || chain_id.contains("-test")
}

/// The faults of a run. Remembers over a restart which jobs were asked for: without that, "the third
/// job" would come again after each.
#[derive(Debug, Default)]
pub struct Faults {
    configured: Vec<Fault>,
    file: Option<PathBuf>,
    memory: Memory,
}

/// What survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// How many different jobs this executor was asked to run.
    asked: u64,
    /// The last of them; ids grow, but members may be asked for an older job later.
    jobs: BTreeMap<u64, u64>,
}

/// Jobs whose number is remembered.
const JOBS_MAX: usize = 4096;

impl Faults {
    /// Checks the network, and reads which jobs were asked for before.
    ///
    /// # Errors
    /// [`FaultError`].
    pub fn new(configured: Vec<Fault>, chain_id: &str, home: &Path) -> Result<Self, FaultError> {
        if configured.is_empty() {
            return Ok(Self::default());
        }
        if !is_test_network(chain_id) {
            return Err(FaultError::Network(chain_id.to_owned()));
        }
        for fault in &configured {
            tracing::warn!(?fault, "THIS EXECUTOR WILL MISBEHAVE: fault injection is configured");
        }
        let path = home.join("fault-state.json");
        let memory = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| FaultError::Storage {
                path: path.clone(),
                source: error.into(),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Memory::default(),
            Err(source) => return Err(FaultError::Storage { path, source }),
        };
        Ok(Self { configured, file: Some(path), memory })
    }

    /// Notes that the executor is asked to run `job`.
    ///
    /// # Errors
    /// [`FaultError::Storage`].
    pub fn asked(&mut self, job: u64) -> Result<(), FaultError> {
        let Some(path) = self.file.clone() else { return Ok(()) };
        if self.memory.jobs.contains_key(&job) {
            return Ok(());
        }
        self.memory.asked += 1;
        self.memory.jobs.insert(job, self.memory.asked);
        while self.memory.jobs.len() > JOBS_MAX {
            self.memory.jobs.pop_first();
        }
        let failed = |source| FaultError::Storage { path: path.clone(), source };
        let text = serde_json::to_vec(&self.memory).map_err(|error| failed(error.into()))?;
        let new = path.with_extension("new");
        std::fs::write(&new, text).map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)?;
        if let Some(kind) = self.of(job) {
            tracing::warn!(job, ?kind, "MISBEHAVING for this job, as configured");
        }
        Ok(())
    }

    /// What to do wrong for a job.
    #[must_use]
    pub fn of(&self, job: u64) -> Option<Kind> {
        let nth = self.memory.jobs.get(&job).copied();
        let hit =
            |fault: &&Fault| fault.job == Some(job) || (fault.nth.is_some() && fault.nth == nth);
        self.configured.iter().find(hit).map(|fault| fault.kind)
    }

    /// The jobs whose right answers are to be challenged.
    #[must_use]
    pub fn accused(&self) -> Vec<u64> {
        let kind = |fault: &&Fault| fault.kind == Kind::FalseChallenge;
        self.configured.iter().filter(kind).filter_map(|fault| fault.job).collect()
    }
}

impl Kind {
    /// Whether the output that is committed to is wrong.
    #[must_use]
    pub fn falsifies(self) -> bool {
        matches!(self, Self::WrongOutput | Self::WrongSilent | Self::HardwareFault)
    }

    /// What is said on trial instead of what was computed.
    #[must_use]
    pub fn lie(self) -> Option<Lie> {
        match self {
            Self::WrongOutput | Self::FalseChallenge => Some(Lie::Output),
            Self::BogusTrace => Some(Lie::Trace),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nth(nth: u64) -> Vec<Fault> {
        vec![Fault { job: None, nth: Some(nth), kind: Kind::WrongOutput }]
    }

    #[test]
    fn faults_are_refused_outside_test_networks() {
        let home = tempfile::tempdir().unwrap();
        for chain in ["lockstep-1", "devnet", "lockstep-main"] {
            let error = Faults::new(nth(1), chain, home.path()).unwrap_err();
            assert!(error.to_string().contains("hint"), "{error}");
        }
        for chain in ["lockstep-devnet", "lockstep-devnet-3", "consortium-test-2"] {
            assert!(Faults::new(nth(1), chain, home.path()).is_ok(), "{chain}");
        }
    }

    #[test]
    fn no_faults_are_fine_everywhere() {
        let home = tempfile::tempdir().unwrap();
        let mut faults = Faults::new(Vec::new(), "lockstep-1", home.path()).unwrap();
        faults.asked(1).unwrap();
        assert_eq!(faults.of(1), None);
    }

    #[test]
    fn the_nth_job_is_lied_about_once_even_over_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let mut lies = Vec::new();
        for jobs in [vec![4, 4, 9], vec![9, 11, 12], vec![13, 14]] {
            let mut faults = Faults::new(nth(3), "lockstep-devnet", home.path()).unwrap();
            for job in jobs {
                faults.asked(job).unwrap();
                if faults.of(job).is_some() {
                    lies.push(job);
                }
            }
        }
        assert_eq!(lies, [11]);
    }
}
