//! What makes a header's validators the network's own.

use std::path::PathBuf;

use clap::Args;
use lockstep_audit::comet::GenesisFile;
use lockstep_audit::light::Anchor;
use lockstep_client::{Error, Result};

/// Signatures show that somebody signed; these say who the validators are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Trust {
    /// The genesis file that you trust: its validators are the network's as long as no stake has
    /// moved.
    #[arg(long, global = true)]
    genesis: Option<PathBuf>,
    /// The hash of a validator set that you trust, in hex; the report of `lockstep audit replay` says
    /// it.
    #[arg(long, global = true)]
    validators_hash: Vec<String>,
    /// The hash of a header that you trust, in hex.
    #[arg(long, global = true)]
    header_hash: Vec<String>,
}

impl Trust {
    /// Reads it.
    ///
    /// # Errors
    /// Where the file is no genesis file, or a hash is none.
    pub(crate) fn anchor(&self) -> Result<Anchor> {
        let mut anchor = Anchor {
            validators: hashes(&self.validators_hash)?,
            headers: hashes(&self.header_hash)?,
            ..Anchor::default()
        };
        if let Some(path) = &self.genesis {
            let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
            let usage = |stop: lockstep_audit::Stop| {
                Error::usage(stop.to_string(), "cometbft/config/genesis.json of a node's folder")
            };
            let file = GenesisFile::parse(&bytes).map_err(usage)?;
            anchor.genesis(&file).map_err(usage)?;
        }
        Ok(anchor)
    }
}

fn hashes(texts: &[String]) -> Result<Vec<[u8; 32]>> {
    let hash = |text: &String| {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| Error::usage(format!("`{text}` is no hash"), "64 hex digits"))
    };
    texts.iter().map(hash).collect()
}
