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
    /// it. Needs --chain-id: the same keys may sign for several networks.
    #[arg(long, global = true)]
    validators_hash: Vec<String>,
    /// The hash of a header that you trust, in hex.
    #[arg(long, global = true)]
    header_hash: Vec<String>,
    /// The network; --genesis says it, too.
    #[arg(long, global = true)]
    chain_id: Option<String>,
}

impl Trust {
    /// Reads it.
    ///
    /// # Errors
    /// Where the file is no genesis file or that of another network, a hash is none, or a validator
    /// set is trusted for no network.
    pub(crate) fn anchor(&self) -> Result<Anchor> {
        let mut anchor = Anchor {
            chain_id: self.chain_id.clone(),
            validators: hashes(&self.validators_hash)?,
            headers: hashes(&self.header_hash)?,
        };
        if let Some(path) = &self.genesis {
            let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
            let usage = |stop: lockstep_audit::Stop| {
                Error::usage(stop.to_string(), "cometbft/config/genesis.json of a node's folder")
            };
            let file = GenesisFile::parse(&bytes).map_err(usage)?;
            anchor.genesis(&file).map_err(usage)?;
        }
        if !anchor.validators.is_empty() && anchor.chain_id.is_none() {
            let hint = "--chain-id NAME: the same keys may sign for several networks";
            return Err(Error::usage("--validators-hash is trusted for which network?", hint));
        }
        if self.chain_id.is_some() && self.chain_id != anchor.chain_id {
            let what = "--genesis and --chain-id are of two networks";
            return Err(Error::usage(what, "one of them is enough"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validator_set_is_trusted_for_one_network_only() {
        let set = Trust { validators_hash: vec!["07".repeat(32)], ..Trust::default() };
        let error = set.anchor().unwrap_err();
        assert!(error.to_string().contains("which network"), "{error}");
        let anchor = Trust { chain_id: Some("net".into()), ..set }.anchor().unwrap();
        assert_eq!((anchor.chain_id.as_deref(), anchor.validators.len()), (Some("net"), 1));
        // A header names its network itself.
        let header = Trust { header_hash: vec!["07".repeat(32)], ..Trust::default() };
        assert_eq!(header.anchor().unwrap().headers, [[7; 32]]);
    }
}
