//! A node that is asked for its state: by RPC, or its folder through `lockstepd inspect`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockstep_proto::lockstep::audit::v1::{
    Entry, QueryChangesRequest, QueryChangesResponse, QueryEntriesRequest, QueryEntriesResponse,
    QueryHeightsResponse,
};
use prost::Message;
use serde_json::{Value, json};

use crate::comet::sha256;
use crate::source::Rpc;
use crate::{Result, Stop};

/// Keys of a block after which no more are asked for: no honest block writes so many.
const CHANGES_MAX: usize = 100_000;
const PATH: &str = "/lockstep.audit.v1.Query/";

/// A node that is asked for its state.
#[derive(Debug)]
pub struct Node {
    rpc: Rpc,
    /// `lockstepd inspect`, where the node itself does not run.
    served: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(child) = &mut self.served else { return };
        // By a termination, so that it ends its own child; it writes nothing.
        let stopped = Command::new("kill").arg(child.id().to_string()).status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
}

impl Node {
    /// The node behind an address, or behind a folder, which `lockstepd` then serves.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub fn open(place: &str, lockstepd: &Path) -> Result<Self> {
        if place.starts_with("http://") || place.starts_with("https://") {
            return Ok(Self { rpc: Rpc::new(place)?, served: None });
        }
        let lacks = |cause: &dyn std::fmt::Display| {
            let hint = "lockstepd must be installed beside lockstep, and the node must be stopped";
            Stop::incomplete(format!("lockstepd does not serve {place}: {cause}"), hint)
        };
        let mut child = Command::new(lockstepd)
            .args(["inspect", "--home"])
            .arg(PathBuf::from(place))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| lacks(&cause))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let url = line.trim();
        if !matches!(read, Some(Ok(_))) || !url.starts_with("http://") {
            let _ = child.kill();
            let status = child.wait().map_err(|cause| lacks(&cause))?;
            return Err(lacks(&format!("it ended with {status}")));
        }
        Ok(Self { rpc: Rpc::new(url)?, served: Some(child) })
    }

    /// The network.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub fn chain_id(&self) -> Result<String> {
        let status = self.rpc.call("status", json!({}))?;
        Ok(status["node_info"]["network"].as_str().unwrap_or_default().to_owned())
    }

    fn ask<T: Message + Default>(
        &self,
        name: &str,
        request: &impl Message,
        height: Option<u64>,
    ) -> Result<T> {
        let answer = self.rpc.query(&format!("{PATH}{name}"), &request.encode_to_vec(), height)?;
        T::decode(answer.as_slice()).map_err(|cause| {
            Stop::incomplete(format!("{name}: {cause}"), "is it the same version of lockstepd?")
        })
    }

    /// The states that it has.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub fn heights(&self) -> Result<QueryHeightsResponse> {
        self.ask("Heights", &(), None)
    }

    /// The root that it recorded for a height.
    ///
    /// # Errors
    /// Where the node does not answer or lacks the height.
    pub fn root(&self, height: u64) -> Result<Vec<u8>> {
        let request = QueryChangesRequest { limit: 0, ..QueryChangesRequest::default() };
        let found: QueryChangesResponse = self.ask("Changes", &request, Some(height))?;
        Ok(found.app_hash)
    }

    /// The keys that the block of a height wrote, in order; of very many, the first.
    ///
    /// # Errors
    /// Where the node does not answer or lacks the height.
    pub fn changes(&self, height: u64) -> Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = keys.last().cloned().unwrap_or_default();
            let request = QueryChangesRequest { after: after.clone(), limit: u32::MAX };
            let found: QueryChangesResponse = self.ask("Changes", &request, Some(height))?;
            // A node that means ill never ends.
            let more = found.more && found.keys.last().is_some_and(|last| *last > after);
            keys.extend(found.keys);
            if !more || keys.len() >= CHANGES_MAX {
                return Ok(keys);
            }
        }
    }

    /// The value at a key.
    ///
    /// # Errors
    /// Where the node does not answer or lacks the height.
    pub fn value(&self, key: &[u8], height: u64) -> Result<Option<Vec<u8>>> {
        let value = self.rpc.query(&format!("{PATH}Value"), key, Some(height))?;
        // No value of the state is empty but those of empty messages; they count as none on both
        // sides, and a key that is there on one side only is found by its entry.
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// Keys and values after a key.
    ///
    /// # Errors
    /// Where the node does not answer or lacks the height.
    pub fn entries(&self, after: &[u8], height: u64) -> Result<(Vec<Entry>, bool)> {
        let request = QueryEntriesRequest { after: after.to_vec() };
        let found: QueryEntriesResponse = self.ask("Entries", &request, Some(height))?;
        Ok((found.entries, found.more))
    }

    /// The hash of a block, and of each of its transactions with its code; none where the node does
    /// not have the block.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub fn block(&self, height: u64) -> Result<Option<(String, Vec<Value>)>> {
        let Ok(entry) = self.rpc.entry(height) else { return Ok(None) };
        let hash = entry.block.header.as_ref().map(crate::comet::header_hash).unwrap_or_default();
        let txs = entry.block.data.unwrap_or_default().txs;
        let tx = |(tx, result): (&Vec<u8>, &lockstep_proto::lockstep::audit::v1::TxResult)| json!({ "hash": hex::encode(sha256(tx)), "code": result.code });
        Ok(Some((hex::encode(hash), txs.iter().zip(&entry.results).map(tx).collect())))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn pages_that_never_end_are_left_where_they_bring_no_further_key() {
        let url = crate::testing::rpc(|_, _| {
            let page =
                QueryChangesResponse { keys: vec![vec![1]], more: true, ..Default::default() };
            json!({ "response": { "value": STANDARD.encode(page.encode_to_vec()) } })
        });
        let node = Node::open(&url, Path::new("")).unwrap();
        assert_eq!(node.changes(3).unwrap(), [[1], [1]]);
    }
}
