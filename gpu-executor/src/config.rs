//! `executor.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fault::{Fault, Kind};

/// Everything that can be configured; each field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the blob service listens.
    pub listen: SocketAddr,
    /// Blob services of other validators, `http://host:port`, tried in turn.
    pub peers: Vec<String>,
    /// The node's socket; relative to the home folder.
    pub node_socket: PathBuf,
    /// What runs the models.
    pub backend: BackendKind,
    /// Instruction set of the CPU backend: `best`, `scalar`, `avx2` or `vnni`.
    pub isa: String,
    /// Threads of the CPU backend.
    pub threads: usize,
    /// Bytes that loaded models may take together, working memory included.
    pub memory_bytes_max: u64,
    /// A run that takes longer gives no answer.
    pub run_seconds_max: u64,
    /// Jobs of one version that are run together.
    pub batch_jobs_max: usize,
    /// Where blobs lie: a folder, relative to the home folder, or `s3://bucket/prefix`.
    pub blobs: String,
    /// How long a blob that the chain no longer references is kept.
    pub gc_grace_seconds: u64,
    /// Of other validators' verified jobs, so many percent are run again, and challenged with a bond
    /// where they are wrong.
    pub watch_percent: u8,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Misbehaviour for tests and demonstrations; refused on other networks.
    pub fault: Vec<Fault>,
}

/// What runs the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// This machine's processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the configuration is no good.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or a field is unknown or of the wrong type.
    #[error("{path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("{path}: {field} = {value} {problem}")]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it, and a hint.
        problem: &'static str,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 26690)),
            peers: Vec::new(),
            node_socket: PathBuf::from("../executor.sock"),
            backend: BackendKind::Cpu,
            isa: "best".to_owned(),
            threads: 1,
            memory_bytes_max: 4 << 30,
            run_seconds_max: 60,
            batch_jobs_max: 16,
            blobs: "blobs".to_owned(),
            gc_grace_seconds: 600,
            watch_percent: 100,
            log_format: LogFormat::Text,
            fault: Vec::new(),
        }
    }
}

impl Config {
    /// Reads `executor.toml` in `home`; the defaults where there is none.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(home: &Path) -> Result<Self, ConfigError> {
        let path = home.join("executor.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.clone(),
            source: Box::new(source),
        })?;
        config.check(&path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let refuse = |field, value: String, problem| {
            Err(ConfigError::OutOfRange { path: path.to_owned(), field, value, problem })
        };
        if !(1..=1024).contains(&self.threads) {
            return refuse("threads", self.threads.to_string(), "is not in 1..=1024");
        }
        if !(1..=256).contains(&self.batch_jobs_max) {
            return refuse("batch_jobs_max", self.batch_jobs_max.to_string(), "is not in 1..=256");
        }
        if self.run_seconds_max == 0 {
            return refuse("run_seconds_max", "0".to_owned(), "would never let a job finish");
        }
        if self.watch_percent > 100 {
            return refuse("watch_percent", self.watch_percent.to_string(), "is over 100");
        }
        for peer in &self.peers {
            if !peer.starts_with("http://") || reqwest::Url::parse(peer).is_err() {
                return refuse("peers", peer.clone(), "is no address; hint: http://host:port");
            }
        }
        let unnamed = |fault: &&Fault| fault.kind == Kind::FalseChallenge && fault.job.is_none();
        if let Some(fault) = self.fault.iter().find(unnamed) {
            let problem = "challenges a job of others; hint: job = 7";
            return refuse("fault", format!("{fault:?}"), problem);
        }
        if let Some(fault) = self.fault.iter().find(|fault| !fault.names_one_job()) {
            let problem = "must name exactly one job; hint: job = 7, or nth = 1";
            return refuse("fault", format!("{fault:?}"), problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("executor.toml"), text).unwrap();
        Config::read(home.path())
    }

    #[test]
    fn a_home_without_a_file_gets_the_defaults() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Config::read(home.path()).unwrap(), Config::default());
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let error = read("thread = 2").unwrap_err().to_string();
        assert!(error.contains("unknown field `thread`"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_value() {
        for text in
            ["threads = 0", "batch_jobs_max = 0", "run_seconds_max = 0", "watch_percent = 101"]
        {
            let error = read(text).unwrap_err();
            assert!(matches!(error, ConfigError::OutOfRange { .. }), "{text}: {error}");
        }
        let error = read("peers = [\"10.0.0.1:80\"]").unwrap_err().to_string();
        assert!(error.contains("hint: http://host:port"), "{error}");
    }

    #[test]
    fn faults_are_read_and_each_names_one_job() {
        let text = "fault = [{ nth = 3, kind = \"wrong-output\" }, { job = 7, kind = \"copy\" }]";
        let config = read(text).unwrap();
        assert_eq!(config.fault[0].kind, Kind::WrongOutput);
        assert_eq!(config.fault[1].job, Some(7));
        assert!(read("fault = [{ kind = \"copy\" }]").is_err());
        assert!(read("fault = [{ nth = 1, job = 2, kind = \"copy\" }]").is_err());
        assert!(read("fault = [{ nth = 1, kind = \"false-challenge\" }]").is_err());
    }
}
