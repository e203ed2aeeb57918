//! Blobs: what is verified, what survives a cut, what is refused, what is collected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::Network;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use lockstep_executor::backend::golden_artefact;
use lockstep_executor::blobs::{BlobError, BlobStore, Collector, Peers, Reference, Root};
use lockstep_executor::node::Node;
use lockstep_executor::references::References;
use lockstep_vm::artefact::Reader;
use object_store::ObjectStoreExt as _;

struct Golden {
    bytes: bytes::Bytes,
    leaves: Vec<u8>,
    root: Root,
    reference: Reference,
}

fn golden() -> Golden {
    let bytes = golden_artefact().unwrap();
    let mut reader = Reader::new(std::io::Cursor::new(bytes.clone())).unwrap();
    let leaves = reader.each_leaf(|_, _| {}).unwrap().concat();
    let manifest = reader.manifest().encode().to_vec().into();
    let reference = Reference::Artefact { version: 1, manifest };
    Golden { bytes, leaves, root: reader.manifest().root(), reference }
}

/// A peer that gives `bytes[start..end]` of what it is asked for, and counts what it gave.
async fn peer(bytes: Vec<u8>, leaves: Vec<u8>, end: usize) -> (String, Arc<AtomicU64>) {
    let given = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&given);
    let blob = move |headers: HeaderMap| {
        let range = headers.get("range").map(|range| range.to_str().unwrap().to_owned());
        let start: usize = range
            .as_ref()
            .map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        let part = bytes[start.min(end)..end].to_vec();
        counted.fetch_add(part.len() as u64, Ordering::Relaxed);
        let status = if start > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        std::future::ready((status, part))
    };
    let router = Router::new()
        .route("/v1/blobs/{root}", get(blob))
        .route("/v1/blobs/{root}/leaves", get(move || std::future::ready(leaves.clone())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, given)
}

/// Where a test's blobs lie: a folder of its own, or a prefix of its own in the bucket that
/// `LOCKSTEP_TEST_BLOBS` names (`docs/executor.md`).
struct Place {
    home: tempfile::TempDir,
    blobs: String,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let blobs = std::env::var("LOCKSTEP_TEST_BLOBS")
            .map_or_else(|_| "blobs".into(), |bucket| format!("{bucket}{}", home.path().display()));
        Self { home, blobs }
    }

    fn open(&self) -> BlobStore {
        BlobStore::open(self.home.path(), &self.blobs).unwrap()
    }

    /// Changes a blob behind the store's back.
    async fn spoil(&self, root: &Root, change: impl FnOnce(&mut Vec<u8>)) {
        let url = if self.blobs.starts_with("s3://") {
            self.blobs.clone()
        } else {
            format!("file://{}", self.home.path().join(&self.blobs).display())
        };
        let (objects, folder) =
            object_store::parse_url_opts(&url.parse().unwrap(), std::env::vars()).unwrap();
        let key = folder.join(hex::encode(root));
        let mut bytes = objects.get(&key).await.unwrap().bytes().await.unwrap().to_vec();
        change(&mut bytes);
        objects.put(&key, bytes.into()).await.unwrap();
    }
}

fn empty() -> (Place, BlobStore) {
    let place = Place::new();
    let store = place.open();
    (place, store)
}

async fn fill(store: &BlobStore, golden: &Golden) {
    let layout = store.expect(&golden.root, golden.reference.clone(), &golden.leaves);
    let mut intake = store.intake(layout.await.unwrap()).await.unwrap();
    intake.push(&golden.bytes).await.unwrap();
    assert!(store.finish(intake).await.unwrap());
}

fn peers(urls: &[String]) -> Peers {
    let once = backon::ExponentialBuilder::default().with_max_times(0);
    Peers::new(urls).unwrap().with_backoff(once)
}

#[tokio::test]
async fn a_corrupt_block_from_a_peer_is_refused_and_another_peer_gives_the_rest() {
    let golden = golden();
    let mut bad = golden.bytes.to_vec();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    let end = bad.len();
    let (liar, _) = peer(bad, golden.leaves.clone(), end).await;
    let (honest, given) = peer(golden.bytes.to_vec(), golden.leaves.clone(), end).await;
    let (_home, store) = empty();
    let lonely = peers(std::slice::from_ref(&liar));
    let error = lonely.fetch(&store, &golden.root, &golden.reference).await.unwrap_err();
    assert!(error.to_string().contains("corrupt block"), "{error}");
    assert!(!store.has(&golden.root).await.unwrap());
    peers(&[liar, honest]).fetch(&store, &golden.root, &golden.reference).await.unwrap();
    assert_eq!(store.bytes(&golden.root).await.unwrap(), golden.bytes);
    // What the first gave before its corrupt block was right, and was not fetched again.
    let given = given.load(Ordering::Relaxed);
    assert!(given < golden.bytes.len() as u64 * 3 / 4, "{given}");
}

#[tokio::test]
async fn leaf_hashes_that_do_not_lead_to_the_root_are_refused_before_any_leaf() {
    let golden = golden();
    let mut leaves = golden.leaves.clone();
    leaves[40] ^= 1;
    let (liar, given) = peer(golden.bytes.to_vec(), leaves, golden.bytes.len()).await;
    let (_home, store) = empty();
    let fetched = peers(&[liar]).fetch(&store, &golden.root, &golden.reference).await;
    assert!(fetched.unwrap_err().to_string().contains("do not add up to the root"));
    assert_eq!(given.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_ended_even_after_a_crash_tore_the_file() {
    let golden = golden();
    let (total, third) = (golden.bytes.len(), golden.bytes.len() / 3);
    let (cut, _) = peer(golden.bytes.to_vec(), golden.leaves.clone(), third).await;
    let (whole, given) = peer(golden.bytes.to_vec(), golden.leaves.clone(), total).await;
    let (place, store) = empty();
    peers(&[cut]).fetch(&store, &golden.root, &golden.reference).await.unwrap_err();
    let verified = store.verified(&golden.root).await.unwrap();
    assert!(verified > 0 && verified <= third as u64);
    // A crash: half a block more, of which nothing is known.
    let part = place.home.path().join(format!("incoming/{}.part", hex::encode(golden.root)));
    let mut torn = std::fs::read(&part).unwrap();
    torn.extend([9; 1000]);
    std::fs::write(&part, torn).unwrap();
    let store = place.open();
    assert_eq!(store.verified(&golden.root).await.unwrap(), verified);
    peers(&[whole]).fetch(&store, &golden.root, &golden.reference).await.unwrap();
    assert_eq!(given.load(Ordering::Relaxed), total as u64 - verified);
    assert_eq!(store.bytes(&golden.root).await.unwrap(), golden.bytes);
    assert!(!part.exists());
}

#[tokio::test]
async fn a_byte_that_rots_on_the_disk_is_never_served_and_the_blob_is_set_aside() {
    let golden = golden();
    let (place, store) = empty();
    fill(&store, &golden).await;
    place.spoil(&golden.root, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let error = store.bytes(&golden.root).await.unwrap_err();
    assert!(matches!(error, BlobError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("hint: check the disk"));
    assert!(!store.has(&golden.root).await.unwrap());
    let (whole, _) = peer(golden.bytes.to_vec(), golden.leaves.clone(), golden.bytes.len()).await;
    peers(&[whole]).fetch(&store, &golden.root, &golden.reference).await.unwrap();
    assert_eq!(store.bytes(&golden.root).await.unwrap(), golden.bytes);
}

#[tokio::test]
async fn a_blob_that_lost_its_end_is_set_aside() {
    let golden = golden();
    for kept in [0, 1000, golden.bytes.len() - 1] {
        let (place, store) = empty();
        fill(&store, &golden).await;
        place.spoil(&golden.root, |bytes| bytes.truncate(kept)).await;
        // What is left is served as far as it is right; the rest is missed, wherever it began.
        let layout = store.layout(&golden.root).await.unwrap();
        let end = layout.bytes();
        let tail = std::pin::pin!(store.read(layout, end - 1, end));
        let error = futures_util::TryStreamExt::try_collect::<Vec<_>>(tail).await.unwrap_err();
        assert!(matches!(error, BlobError::Damaged { .. }), "{kept} bytes left: {error}");
        assert!(!store.has(&golden.root).await.unwrap());
    }
}

#[tokio::test]
async fn two_transfers_of_one_blob_do_not_mix() {
    let golden = golden();
    let (_home, store) = empty();
    let layout = store.expect(&golden.root, golden.reference.clone(), &golden.leaves);
    let layout = layout.await.unwrap();
    let first = store.intake(Arc::clone(&layout)).await.unwrap();
    assert!(matches!(store.intake(Arc::clone(&layout)).await, Err(BlobError::Busy { .. })));
    drop(first);
    assert!(store.intake(layout).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_version_and_no_open_job_references_goes_after_the_grace() {
    let network = Network::start(2);
    let golden = golden();
    let (_home, store) = empty();
    fill(&store, &golden).await;
    let references = References::new(Node::new(&network.socket(0)).unwrap());
    let slow = Duration::from_hours(1);
    let mut patient = Collector::new(store.clone(), references.clone(), slow);
    assert_eq!(patient.collect().await.unwrap(), 0);
    let mut quick = Collector::new(store.clone(), references, Duration::ZERO);
    network.publish();
    assert_eq!(quick.collect().await.unwrap(), 0, "a version references it");
    let other = Network::start(2);
    let references = References::new(Node::new(&other.socket(0)).unwrap());
    let mut quick = Collector::new(store.clone(), references, Duration::ZERO);
    assert_eq!(quick.collect().await.unwrap(), 1, "nothing references it");
    assert!(!store.has(&golden.root).await.unwrap());
}
