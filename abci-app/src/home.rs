//! The folder of a node, and its settings in `lockstep.toml`.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::transport::SOCKET_PATH_BYTES_MAX;

/// Where everything of a node lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// A home folder, by its absolute path.
    ///
    /// # Errors
    /// Where the current folder is not known.
    pub fn new(path: &Path) -> io::Result<Self> {
        std::path::absolute(path).map(Self)
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Settings of the node.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("lockstep.toml")
    }

    /// Home of CometBFT.
    #[must_use]
    pub fn cometbft(&self) -> PathBuf {
        self.0.join("cometbft")
    }

    /// CometBFT's configuration.
    #[must_use]
    pub fn cometbft_config(&self) -> PathBuf {
        self.cometbft().join("config/config.toml")
    }

    /// The genesis file.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.cometbft().join("config/genesis.json")
    }

    /// The state.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Home of the executor.
    #[must_use]
    pub fn executor(&self) -> PathBuf {
        self.0.join("executor")
    }

    /// Logs of CometBFT and the executor.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Process ids while the node runs.
    #[must_use]
    pub fn run_file(&self) -> PathBuf {
        self.0.join("run.json")
    }

    /// Where to bind the socket `name`: in the home folder, or where that path is too long for a
    /// socket, in a private folder of the system's temporary folder. The place is then recorded in
    /// `<name>.path`, for the executor and for people.
    ///
    /// # Errors
    /// Where no private folder can be made.
    pub fn socket(&self, name: &str) -> anyhow::Result<PathBuf> {
        let wanted = self.0.join(name);
        let record = self.0.join(format!("{name}.path"));
        // One byte for the name under which it is bound first.
        if wanted.as_os_str().len() < SOCKET_PATH_BYTES_MAX {
            let _ = std::fs::remove_file(record);
            return Ok(wanted);
        }
        let id =
            lockstep_vm::hash::hash("lockstep/home/v1", &[self.0.as_os_str().as_encoded_bytes()]);
        let user = rustix::process::getuid().as_raw();
        let folder =
            std::env::temp_dir().join(format!("lockstep-{user}-{}", hex::encode(&id[..6])));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            bail!("cannot create {} for the node's sockets: {error}", folder.display());
        }
        let found = std::fs::symlink_metadata(&folder)?;
        if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
            bail!(
                "{} is not a private folder of this user\n\
                 hint: remove it, or use a home folder with a shorter path",
                folder.display()
            );
        }
        let short = folder.join(name);
        if short.as_os_str().len() >= SOCKET_PATH_BYTES_MAX {
            bail!(
                "the socket path {} is longer than {SOCKET_PATH_BYTES_MAX} bytes\n\
                 hint: set TMPDIR to a shorter folder",
                short.display()
            );
        }
        std::fs::write(&record, format!("{}\n", short.display()))
            .with_context(|| format!("cannot write {}", record.display()))?;
        Ok(short)
    }
}

/// `lockstep.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where `/healthz`, `/readyz`, `/metrics` and `/version` are served; loopback only.
    pub http_listen: SocketAddr,
    /// Queries and proofs reach back so many heights; 0 keeps all.
    pub heights_retained: u64,
    /// CometBFT keeps so many blocks; 0 keeps all.
    pub blocks_retained: u64,
    /// Memory for values of the state.
    pub cache_bytes_max: u64,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// Whether the executor is started with the node.
    pub executor: bool,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http_listen: SocketAddr::from(([127, 0, 0, 1], 26660)),
            heights_retained: 0,
            blocks_retained: 0,
            cache_bytes_max: 256 << 20,
            log_format: LogFormat::Text,
            executor: true,
        }
    }
}

/// Blocks that evidence of misbehaviour may refer to; CometBFT must keep them.
pub const BLOCKS_RETAINED_MIN: u64 = 100_000;

impl Settings {
    /// Reads them from a home folder that `init` made.
    ///
    /// # Errors
    /// Where the file is missing or wrong.
    pub fn read(home: &Home) -> anyhow::Result<Self> {
        let path = home.settings();
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "{} is no home folder of a node: cannot read {}\n\
                 hint: `lockstepd init --home {}` makes one",
                home.path().display(),
                path.display(),
                home.path().display()
            )
        })?;
        let settings: Self =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        if !settings.http_listen.ip().is_loopback() {
            bail!(
                "{}: http_listen = {} is not a loopback address\n\
                 hint: put a proxy in front, since there is no password",
                path.display(),
                settings.http_listen
            );
        }
        if (1..BLOCKS_RETAINED_MIN).contains(&settings.blocks_retained) {
            bail!(
                "{}: blocks_retained = {} is below {BLOCKS_RETAINED_MIN}, which evidence may refer to\n\
                 hint: 0 keeps all blocks",
                path.display(),
                settings.blocks_retained
            );
        }
        Ok(settings)
    }

    /// Writes them with a line on each.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, home: &Home) -> anyhow::Result<()> {
        let text = format!(
            "# Settings of the node; docs/node.md explains each.\n\n{}",
            toml::to_string(self)?
        );
        let path = home.settings();
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_with_a_long_path_gets_a_short_private_socket() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(60)).join("e".repeat(60));
        std::fs::create_dir_all(&deep).unwrap();
        let home = Home::new(&deep).unwrap();
        let path = home.socket("abci.sock").unwrap();
        assert!(path.as_os_str().len() < SOCKET_PATH_BYTES_MAX);
        let recorded = std::fs::read_to_string(deep.join("abci.sock.path")).unwrap();
        assert_eq!(Path::new(recorded.trim_end()), path);
        assert!(crate::transport::bind_private(&path).is_ok());
        let mode = std::fs::metadata(path.parent().unwrap()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn settings_are_read_as_written_and_bad_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path()).unwrap();
        let error = Settings::read(&home).unwrap_err();
        assert!(format!("{error:#}").contains("lockstepd init"), "{error:#}");
        let settings = Settings { heights_retained: 7, ..Settings::default() };
        settings.write(&home).unwrap();
        assert_eq!(Settings::read(&home).unwrap(), settings);
        for (text, needle) in [
            ("http_listen = \"0.0.0.0:1\"", "loopback"),
            ("blocks_retained = 5", "100000"),
            ("retain = 5", "retain"),
        ] {
            std::fs::write(home.settings(), text).unwrap();
            let error = format!("{:#}", Settings::read(&home).unwrap_err());
            assert!(error.contains(needle), "{error}");
        }
    }
}
