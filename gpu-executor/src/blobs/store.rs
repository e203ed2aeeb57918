//! The blob store: what lies on this validator's disk (or in its bucket), by Merkle root.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart, path::Path as Key};
use tokio::io::AsyncReadExt as _;

use super::error::BlobError;
use super::intake::Intake;
use super::layout::{Layout, Reference, Root, hashes};

/// Bytes that are read from the store, and verified, at a time.
const WINDOW_BYTES: u64 = 1 << 20;
/// Layouts that are kept in memory.
const LAYOUTS_MAX: usize = 256;

/// Blobs under `<root>` and their layouts under `<root>.layout`; a blob without a layout does not
/// exist. What is not complete lies in a local folder, also where the store is a bucket.
#[derive(Debug, Clone)]
pub struct BlobStore {
    objects: Arc<dyn ObjectStore>,
    incoming: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    layouts: BTreeMap<Root, Arc<Layout>>,
    claimed: BTreeSet<Root>,
}

/// The right to write one blob; given back when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    root: Root,
    shared: Arc<Mutex<Shared>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.shared).claimed.remove(&self.root);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Nothing panics while it is held, and both collections are valid between any two operations.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlobStore {
    /// A store over `objects` that keeps incomplete blobs in the folder `incoming`.
    ///
    /// # Errors
    /// [`BlobError::Disk`] where the folder cannot be made.
    pub fn new(objects: Arc<dyn ObjectStore>, incoming: &Path) -> Result<Self, BlobError> {
        let made = std::fs::create_dir_all(incoming);
        made.map_err(BlobError::disk("making the folder", incoming))?;
        let incoming = incoming.to_owned();
        Ok(Self { objects, incoming, shared: Arc::default() })
    }

    /// Opens the store that the configuration names: a folder relative to `home`, or
    /// `s3://bucket/prefix`, whose credentials come from the usual `AWS_…` variables.
    ///
    /// # Errors
    /// [`BlobError`] where it cannot be opened.
    pub fn open(home: &Path, place: &str) -> Result<Self, BlobError> {
        let incoming = home.join("incoming");
        if place.starts_with("s3://") {
            return Self::new(bucket(place)?, &incoming);
        }
        let folder = home.join(place);
        std::fs::create_dir_all(&folder).map_err(BlobError::disk("making the folder", &folder))?;
        let local = object_store::local::LocalFileSystem::new_with_prefix(&folder)?;
        Self::new(Arc::new(local), &incoming)
    }

    /// Whether the whole blob is here.
    ///
    /// # Errors
    /// [`BlobError`] where the store fails.
    pub async fn has(&self, root: &Root) -> Result<bool, BlobError> {
        match self.layout(root).await {
            Ok(_) => Ok(true),
            Err(BlobError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The layout of a blob that is here as a whole.
    ///
    /// # Errors
    /// [`BlobError::Missing`], or the store failed.
    pub async fn layout(&self, root: &Root) -> Result<Arc<Layout>, BlobError> {
        if let Some(layout) = lock(&self.shared).layouts.get(root) {
            return Ok(Arc::clone(layout));
        }
        let missing = || BlobError::Missing { root: hex::encode(root) };
        let bytes = match self.objects.get(&layout_key(root)).await {
            Ok(found) => found.bytes().await.map_err(BlobError::store)?,
            Err(object_store::Error::NotFound { .. }) => return Err(missing()),
            Err(error) => return Err(BlobError::store(error)),
        };
        let Ok(layout) = Layout::decode(*root, &bytes) else {
            tracing::error!(root = hex::encode(root), "a stored layout is damaged; set aside");
            self.remove(root).await?;
            return Err(missing());
        };
        let layout = Arc::new(layout);
        self.remember(&layout);
        Ok(layout)
    }

    fn remember(&self, layout: &Arc<Layout>) {
        let mut shared = lock(&self.shared);
        if shared.layouts.len() >= LAYOUTS_MAX {
            shared.layouts.clear();
        }
        shared.layouts.insert(*layout.root(), Arc::clone(layout));
    }

    /// The bytes from `start` up to `end` of a blob, every one verified before it is given out. A
    /// damaged block ends the stream with [`BlobError::Damaged`] and sets the blob aside.
    pub fn read(
        &self,
        layout: Arc<Layout>,
        start: u64,
        end: u64,
    ) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + use<> {
        let store = self.clone();
        futures_util::stream::try_unfold(start, move |at| {
            let (store, layout) = (store.clone(), Arc::clone(&layout));
            async move {
                if at >= end {
                    return Ok(None);
                }
                let bytes = store.window(&layout, at, end).await?;
                let next = at + bytes.len() as u64;
                Ok(Some((bytes, next)))
            }
        })
    }

    /// Whole pieces around `at`, verified, cut to `at..end`.
    async fn window(&self, layout: &Layout, at: u64, end: u64) -> Result<Bytes, BlobError> {
        let first = layout.piece_at(at);
        let start = layout.piece(first).map_or(at, |piece| piece.offset);
        let mut stop = start;
        let mut last = first;
        while let Some(piece) = layout.piece(last)
            && stop < end
            && (last == first || piece.offset + piece.len - start <= WINDOW_BYTES)
        {
            stop = piece.offset + piece.len;
            last += 1;
        }
        let damaged = |offset| BlobError::Damaged { root: hex::encode(layout.root()), offset };
        let bytes = match self.objects.get_range(&blob_key(layout.root()), start..stop).await {
            Ok(bytes) if bytes.len() as u64 == stop - start => bytes,
            Err(error) if self.is_whole(layout).await => return Err(BlobError::store(error)),
            // Stores answer a range past the end with fewer bytes, or with errors of many kinds.
            Ok(_) | Err(_) => {
                self.remove(layout.root()).await?;
                return Err(damaged(start));
            }
        };
        for index in first..last {
            let Some(piece) = layout.piece(index) else { break };
            let range = offset(piece.offset - start)..offset(piece.offset + piece.len - start);
            if !layout.holds(index, &bytes[range]) {
                tracing::error!(root = hex::encode(layout.root()), piece.offset, "damaged blob");
                self.remove(layout.root()).await?;
                return Err(damaged(piece.offset));
            }
        }
        Ok(bytes.slice(offset(at - start)..offset(stop.min(end) - start)))
    }

    /// Whether as many bytes lie there as the layout says; also where the store does not answer.
    async fn is_whole(&self, layout: &Layout) -> bool {
        match self.objects.head(&blob_key(layout.root())).await {
            Ok(found) => found.size == layout.bytes(),
            Err(object_store::Error::NotFound { .. }) => false,
            Err(_) => true,
        }
    }

    /// The whole blob, verified.
    ///
    /// # Errors
    /// [`BlobError::Missing`] and [`BlobError::Damaged`], or the store failed.
    pub async fn bytes(&self, root: &Root) -> Result<Bytes, BlobError> {
        let layout = self.layout(root).await?;
        let end = layout.bytes();
        let whole = BytesMut::with_capacity(offset(end));
        let stream = self.read(layout, 0, end);
        let whole = stream.try_fold(whole, async |mut whole, bytes| {
            whole.extend_from_slice(&bytes);
            Ok(whole)
        });
        Ok(whole.await?.freeze())
    }

    /// One leaf, verified.
    ///
    /// # Errors
    /// As [`BlobStore::bytes`]; [`BlobError::Missing`] where the blob has no such leaf.
    pub async fn leaf(&self, root: &Root, index: u64) -> Result<Bytes, BlobError> {
        let layout = self.layout(root).await?;
        let piece = layout.leaf(index);
        let piece = piece.ok_or_else(|| BlobError::Missing { root: hex::encode(root) })?;
        self.window(&layout, piece.offset, piece.offset + piece.len).await
    }

    /// Notes the leaf hashes of a blob that is to come.
    ///
    /// # Errors
    /// [`BlobError::Layout`] where they are not those of the root, or the disk failed.
    pub async fn expect(
        &self,
        root: &Root,
        reference: Reference,
        leaves: &[u8],
    ) -> Result<Arc<Layout>, BlobError> {
        let root_hex = || hex::encode(root);
        let refused = |source| BlobError::Layout { root: root_hex(), source };
        let given = hashes(leaves).ok_or(super::layout::LayoutError::Root).map_err(refused)?;
        let layout = Layout::new(*root, reference, given).map_err(refused)?;
        let path = self.incoming.join(format!("{}.layout", root_hex()));
        let new = path.with_extension("layout-new");
        let written = tokio::fs::write(&new, layout.encode()).await;
        written.map_err(BlobError::disk("writing", &new))?;
        tokio::fs::rename(&new, &path).await.map_err(BlobError::disk("renaming", &new))?;
        Ok(Arc::new(layout))
    }

    /// The layout of a blob that is on its way, or complete.
    ///
    /// # Errors
    /// [`BlobError::NoLeaves`], or the disk failed.
    pub async fn expected(&self, root: &Root) -> Result<Arc<Layout>, BlobError> {
        match self.layout(root).await {
            Err(BlobError::Missing { .. }) => {}
            found => return found,
        }
        let path = self.incoming.join(format!("{}.layout", hex::encode(root)));
        let none = || BlobError::NoLeaves { root: hex::encode(root) };
        let bytes = match tokio::fs::read(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(BlobError::disk("reading", &path)(error)),
        };
        Layout::decode(*root, &bytes).map(Arc::new).map_err(|_| none())
    }

    /// Starts or goes on with taking in a blob.
    ///
    /// # Errors
    /// [`BlobError::Busy`] where it is being taken in, or the disk failed.
    pub async fn intake(&self, layout: Arc<Layout>) -> Result<Intake, BlobError> {
        let claim = self.claim(layout.root())?;
        let path = self.incoming.join(format!("{}.part", hex::encode(layout.root())));
        Intake::open(layout, path, claim).await
    }

    fn claim(&self, root: &Root) -> Result<Claim, BlobError> {
        if !lock(&self.shared).claimed.insert(*root) {
            return Err(BlobError::Busy { root: hex::encode(root) });
        }
        Ok(Claim { root: *root, shared: Arc::clone(&self.shared) })
    }

    /// How many bytes of a blob are here; without taking anything in.
    ///
    /// # Errors
    /// Where the disk fails.
    pub async fn verified(&self, root: &Root) -> Result<u64, BlobError> {
        match self.expected(root).await {
            Ok(layout) if self.has(root).await? => Ok(layout.bytes()),
            Ok(layout) => Ok(self.intake(layout).await?.verified()),
            Err(BlobError::NoLeaves { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Ends an intake. A complete blob moves into the store and exists from then on; of another the
    /// verified part stays for later. Says whether it is complete.
    ///
    /// # Errors
    /// Where the disk or the store fails; nothing verified is lost.
    pub async fn finish(&self, intake: Intake) -> Result<bool, BlobError> {
        let complete = intake.is_complete();
        let (layout, path, claim) = intake.close().await?;
        if !complete {
            return Ok(false);
        }
        self.copy(layout.root(), &path).await?;
        // The layout comes last: with it the blob exists.
        let put = self.objects.put(&layout_key(layout.root()), layout.encode().into()).await;
        put.map_err(BlobError::store)?;
        self.remember(&layout);
        for leftover in [path.with_extension("layout"), path] {
            if let Err(error) = tokio::fs::remove_file(&leftover).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %leftover.display(), %error, "cannot remove a leftover");
            }
        }
        drop(claim);
        Ok(true)
    }

    async fn copy(&self, root: &Root, path: &Path) -> Result<(), BlobError> {
        let failed = || BlobError::disk("reading", path);
        let mut file = tokio::fs::File::open(path).await.map_err(failed())?;
        let upload = self.objects.put_multipart(&blob_key(root)).await.map_err(BlobError::store)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, 8 << 20);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).await.map_err(failed())?;
            if read == 0 {
                break;
            }
            writer.wait_for_capacity(4).await.map_err(BlobError::store)?;
            writer.write(&buffer[..read]);
        }
        writer.finish().await.map(drop).map_err(BlobError::store)
    }

    /// Stores a small blob that is here as a whole.
    ///
    /// # Errors
    /// [`BlobError::Layout`] where the bytes are another blob; or the disk or the store failed.
    pub async fn put_input(
        &self,
        root: &Root,
        reference: Reference,
        input: &[u8],
    ) -> Result<(), BlobError> {
        let layout = Layout::of_input(*root, reference, input)
            .map_err(|source| BlobError::Layout { root: hex::encode(root), source })?;
        let mut intake = self.intake(Arc::new(layout)).await?;
        if intake.verified() < input.len() as u64 {
            intake.push(&input[offset(intake.verified())..]).await?;
        }
        self.finish(intake).await.map(drop)
    }

    /// Roots of all complete blobs.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn list(&self) -> Result<Vec<Root>, BlobError> {
        let mut roots = Vec::new();
        let mut objects = self.objects.list(None);
        while let Some(object) = objects.next().await {
            let location = object.map_err(BlobError::store)?.location;
            if let Some(root) = location.filename().and_then(|name| name.strip_suffix(".layout"))
                && let Ok(root) = hex::decode(root)
                && let Ok(root) = Root::try_from(root.as_slice())
            {
                roots.push(root);
            }
        }
        Ok(roots)
    }

    /// Removes a blob; fine where there is none.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn remove(&self, root: &Root) -> Result<(), BlobError> {
        lock(&self.shared).layouts.remove(root);
        // The layout goes first: without it the blob does not exist.
        for key in [layout_key(root), blob_key(root)] {
            match self.objects.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(BlobError::store(error)),
            }
        }
        Ok(())
    }

    /// Incomplete blobs, as roots and when their file was last written.
    pub(super) fn unfinished(&self) -> Vec<(PathBuf, std::time::SystemTime)> {
        let Ok(entries) = std::fs::read_dir(&self.incoming) else { return Vec::new() };
        let dated = entries.flatten().filter_map(|entry| {
            let written = entry.metadata().ok()?.modified().ok()?;
            Some((entry.path(), written))
        });
        dated.collect()
    }
}

fn blob_key(root: &Root) -> Key {
    Key::from(hex::encode(root))
}

fn layout_key(root: &Root) -> Key {
    Key::from(format!("{}.layout", hex::encode(root)))
}

/// A length within memory; blobs that are read are.
fn offset(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(feature = "s3")]
fn bucket(url: &str) -> Result<Arc<dyn ObjectStore>, BlobError> {
    let (bucket, prefix) = url
        .trim_start_matches("s3://")
        .split_once('/')
        .unwrap_or((url.trim_start_matches("s3://"), ""));
    let builder = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket);
    let store = builder.build().map_err(BlobError::store)?;
    Ok(Arc::new(object_store::prefix::PrefixStore::new(store, prefix)))
}

#[cfg(not(feature = "s3"))]
fn bucket(url: &str) -> Result<Arc<dyn ObjectStore>, BlobError> {
    let source = std::io::Error::other(
        "this build has no S3; hint: cargo build --release -p lockstep-executor --features s3",
    );
    Err(BlobError::Disk { what: format!("opening {url}"), source })
}
