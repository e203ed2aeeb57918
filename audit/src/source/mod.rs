//! Where blocks come from.

use std::future::Future;
use std::path::Path;
use std::sync::LazyLock;

use lockstep_proto::lockstep::audit::v1::TxResult;
use tendermint_proto::v0_38::types::{Block, Commit};
use tokio::runtime::{Builder, Runtime};

use crate::archive::{Archive, INDEX, Place};
use crate::report::Difference;
use crate::{Result, Stop};

mod home;
pub mod http;
mod rpc;

pub use home::Inspected;
pub use rpc::Rpc;

/// One height, as a source gives it. Nothing about it is checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The block.
    pub block: Block,
    /// The votes for it.
    pub commit: Commit,
    /// What became of its transactions.
    pub results: Vec<TxResult>,
    /// The root of the state after it.
    pub app_hash: Vec<u8>,
    /// What is known to be wrong with it before anything is computed: a checksum.
    pub damage: Option<Difference>,
}

/// The heights that a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heights {
    /// The first.
    pub first: u64,
    /// The last, at this moment.
    pub last: u64,
}

/// Where blocks come from. Not to be called on a thread of an async runtime: it waits.
pub trait Source: Send {
    /// What it is, for people.
    fn name(&self) -> String;

    /// The heights that it has.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn heights(&mut self) -> Result<Heights>;

    /// The address of a node that may be asked for its state, where blocks come from one.
    fn node(&self) -> Option<String> {
        None
    }

    /// At least one height from `from` on, at most `max` of them, in order.
    ///
    /// # Errors
    /// Where `from` is not there, cannot be read, or is damaged.
    fn entries(&mut self, from: u64, max: usize) -> Result<Vec<Entry>>;
}

/// The source that a user names: the folder or the address of an archive, the address of a node's
/// RPC, or the folder of a stopped node.
///
/// # Errors
/// Where there is none.
pub fn open(place: &str) -> Result<Box<dyn Source>> {
    if place.starts_with("http://") || place.starts_with("https://") {
        let http = http::Http::new(place)?;
        return Ok(match Archive::open(Place::Http(http))? {
            Some(archive) => whole(archive)?,
            None => Box::new(Rpc::new(place)?),
        });
    }
    let folder = Path::new(place);
    if let Some(archive) = Archive::open(Place::Folder(folder.to_owned()))? {
        return whole(archive);
    }
    if folder.join("cometbft").is_dir() {
        return Ok(Box::new(Inspected::start(folder)?));
    }
    Err(Stop::usage(
        format!("{place} is neither an archive (it has no {INDEX}) nor a node's folder"),
        "give the folder or address of an archive, a node's folder, or a node's RPC address such as \
         http://127.0.0.1:26657",
    ))
}

/// An archive whose genesis file is as its index says; every other file is checked when it is read.
fn whole(archive: Archive) -> Result<Box<dyn Source>> {
    archive.genesis()?;
    Ok(Box::new(archive))
}

/// Waits for an answer over the network, on a runtime of this process that keeps connections open.
fn wait<T>(answer: impl Future<Output = T>) -> Result<T> {
    static RUNTIME: LazyLock<std::io::Result<Runtime>> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());
    match &*RUNTIME {
        Ok(runtime) => Ok(runtime.block_on(answer)),
        Err(cause) => Err(Stop::incomplete(cause.to_string(), "try again with less else running")),
    }
}
