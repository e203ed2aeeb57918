//! The blob service of an executor: artefacts and inputs go up, tokenizers come down.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_vm::artefact::{Attachment, Content, HEADER_BYTES, Manifest, Reader, leaf_hashes};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};

use crate::{Error, Result, rpc};

/// Bytes of one request: what a broken connection can lose.
const CHUNK_BYTES: u64 = 8 << 20;
/// How long to go on trying while the service does not know the root yet, is busy or restarts.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of an attachment that are fetched at most.
const ATTACHMENT_BYTES_MAX: usize = 64 << 20;

/// A blob service.
#[derive(Debug, Clone)]
pub struct Blobs {
    http: reqwest::Client,
    url: String,
}

/// How much of a blob the service holds.
enum Held {
    All,
    Bytes(u64),
}

impl Blobs {
    /// The service at `http://HOST:PORT`.
    ///
    /// # Errors
    /// Where the address is malformed.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { http: rpc::http(url)?, url: url.trim_end_matches('/').to_owned() })
    }

    /// Uploads the artefact in a file, going on where an earlier upload broke off. The chain must
    /// know its root already. `progress` gets bytes done and bytes in all.
    ///
    /// # Errors
    /// Where the file is no artefact, or the service refuses or is gone for a minute.
    pub async fn upload(&self, path: &Path, progress: impl Fn(u64, u64)) -> Result<()> {
        let manifest = open(path)?.manifest().clone();
        let root = hex::encode(manifest.root());
        let total = total_bytes(&manifest);
        if matches!(self.held(&root).await?, Held::All) {
            progress(total, total);
            return Ok(());
        }
        let hashes = leaf_hashes(path).map_err(|cause| wrong_file(path, cause))?.concat();
        self.put(&format!("{root}/leaves"), None, hashes).await?;
        let mut file = File::open(path).map_err(|cause| Error::file("read", path, cause))?;
        let mut stuck = Instant::now();
        let mut before = None;
        loop {
            let Held::Bytes(at) = self.held(&root).await? else { break };
            progress(at, total);
            if before != Some(at) {
                (before, stuck) = (Some(at), Instant::now());
            } else if stuck.elapsed() > PATIENCE {
                return Err(self.stopped(&root, at));
            }
            let bytes = read_at(&mut file, path, at, CHUNK_BYTES.min(total.saturating_sub(at)))?;
            if bytes.is_empty() {
                return Err(self.stopped(&root, at));
            }
            let end = at + u64::try_from(bytes.len()).unwrap_or(0) - 1;
            self.put(&root, Some(format!("bytes {at}-{end}/{total}")), bytes).await?;
        }
        progress(total, total);
        Ok(())
    }

    /// Uploads the input of a job whose transaction is in a block.
    ///
    /// # Errors
    /// Where the service refuses or is gone for a minute.
    pub async fn upload_input(&self, root: &[u8; 32], bytes: Vec<u8>) -> Result<()> {
        self.put(&hex::encode(root), None, bytes).await
    }

    /// Fetches a file that travels with an artefact, and checks its hash.
    ///
    /// # Errors
    /// Where the artefact has no such file, or the service none of its bytes.
    pub async fn attachment(&self, manifest: &Manifest, name: &str) -> Result<Vec<u8>> {
        let files = &manifest.description().attachments;
        let number = files.iter().position(|file| file.name == name).ok_or_else(|| {
            Error::usage(format!("the model carries no {name}"), "give token ids by --ids")
        })?;
        let file = &files[number];
        let leaves = manifest.layout().leaves_of(Content::Attachment(number));
        let offset = manifest.layout().offset(leaves.start).unwrap_or(0);
        let start = head_bytes(manifest) + offset;
        let range = format!("bytes={start}-{}", start + file.bytes - 1);
        let url = format!("{}/v1/blobs/{}", self.url, hex::encode(manifest.root()));
        let reply = self.http.get(&url).header(RANGE, range).send().await;
        let reply = reply.map_err(|cause| rpc::unreachable(&self.url, &cause))?;
        let status = reply.status();
        let bytes = rpc::read(reply, &self.url, ATTACHMENT_BYTES_MAX).await?;
        if !status.is_success() {
            return Err(self.refused(status, &bytes));
        }
        if Attachment::hash_of(&bytes) != file.hash {
            return Err(Error::protocol(
                &self.url,
                format!("{name} with other bytes than its hash"),
            ));
        }
        Ok(bytes)
    }

    async fn held(&self, root: &str) -> Result<Held> {
        let url = format!("{}/v1/blobs/{root}", self.url);
        let start = Instant::now();
        loop {
            let failed = match self.http.head(&url).send().await {
                Ok(reply) if reply.status().is_success() => return Ok(Held::All),
                Ok(reply) if reply.status() == StatusCode::NOT_FOUND => {
                    let held = reply.headers().get("lockstep-verified-bytes");
                    let held = held.and_then(|it| it.to_str().ok()?.parse().ok());
                    return Ok(Held::Bytes(held.unwrap_or(0)));
                }
                Ok(reply) => Error::protocol(&self.url, format!("status {}", reply.status())),
                Err(cause) => rpc::unreachable(&self.url, &cause),
            };
            if start.elapsed() > PATIENCE {
                return Err(failed);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Puts, and tries again while the service is behind the chain, busy, or restarting.
    async fn put(&self, path: &str, range: Option<String>, body: Vec<u8>) -> Result<()> {
        let url = format!("{}/v1/blobs/{path}", self.url);
        let body = bytes::Bytes::from(body);
        let start = Instant::now();
        loop {
            let mut request = self.http.put(&url).body(body.clone());
            if let Some(range) = &range {
                request = request.header(CONTENT_RANGE, range);
            }
            let failed = match request.send().await {
                Ok(reply) if reply.status().is_success() => return Ok(()),
                Ok(reply) => {
                    let status = reply.status();
                    let words = rpc::read(reply, &self.url, 1 << 16).await.unwrap_or_default();
                    let error = self.refused(status, &words);
                    let passes = [StatusCode::NOT_FOUND, StatusCode::CONFLICT];
                    if !passes.contains(&status) && status != StatusCode::SERVICE_UNAVAILABLE {
                        return Err(error);
                    }
                    error
                }
                Err(cause) => rpc::unreachable(&self.url, &cause),
            };
            if start.elapsed() > PATIENCE {
                return Err(failed);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn refused(&self, status: StatusCode, words: &[u8]) -> Error {
        let words = String::from_utf8_lossy(words);
        let (what, hint) = words.trim().split_once("; hint: ").unwrap_or((words.trim(), ""));
        let hint = if hint.is_empty() { "see the executor's log" } else { hint };
        Error::usage(format!("{} refused ({}): {what}", self.url, status.as_u16()), hint)
    }

    fn stopped(&self, root: &str, at: u64) -> Error {
        let what = format!("the upload of {root} does not get beyond byte {at}");
        Error::usage(what, format!("see the log of the executor at {}", self.url))
    }
}

/// [`Blobs::upload`] to one service.
///
/// # Errors
/// As there.
pub async fn upload(url: &str, artefact: &Path, progress: impl Fn(u64, u64)) -> Result<()> {
    Blobs::new(url)?.upload(artefact, progress).await
}

/// Bytes before the first leaf.
fn head_bytes(manifest: &Manifest) -> u64 {
    HEADER_BYTES.saturating_add(u64::try_from(manifest.encode().len()).unwrap_or(u64::MAX))
}

fn total_bytes(manifest: &Manifest) -> u64 {
    head_bytes(manifest).saturating_add(manifest.leaves_bytes())
}

/// Reads from an artefact file, which is the blob.
fn read_at(file: &mut File, path: &Path, at: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.take(length).read_to_end(&mut bytes))
        .map_err(|cause| Error::file("read", path, cause))?;
    Ok(bytes)
}

/// Opens an artefact, with its header and manifest checked.
///
/// # Errors
/// Where the file is missing or is no artefact.
pub fn open(path: &Path) -> Result<Reader<std::io::BufReader<File>>> {
    Reader::open(path).map_err(|cause| wrong_file(path, cause))
}

/// Names the file beside what is wrong with it.
pub(crate) fn wrong_file(path: &Path, cause: impl std::fmt::Display) -> Error {
    let words = cause.to_string();
    let (what, hint) = words.split_once("; hint: ").unwrap_or((
        words.as_str(),
        "import the model again: `lockstep model import MODEL_DIR --out ARTEFACT`",
    ));
    Error::usage(format!("{}: {what}", path.display()), hint)
}
