//! A store in a temporary folder, and short words for what tests do with it.

use std::{path::PathBuf, sync::Arc};

use aws_lc_rs::digest;
use bytes::Bytes;
use funaya_blobs::{FileStore, KeyRing};
use funaya_ports::{
    StoreError,
    blobs::{Appender, BlobStore, Finished, Progress, StoredBlob},
};
use funaya_testkit::SeededRandom;
use funaya_types::{Algorithm, Digest, Registry, StorageKey};
use futures_util::StreamExt as _;

/// Plain bytes of a segment.
pub const PLAIN: usize = 65_536;
/// The same, sealed.
pub const SEALED: usize = PLAIN + 28;

pub type Outcome<T> = Result<T, StoreError>;

pub struct Shelf {
    pub folder: tempfile::TempDir,
    pub store: FileStore,
    pub registry: Registry,
}

impl Shelf {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder, 1);
        Self { store, folder, registry: registry("us-east-1") }
    }

    /// The same folder after a restart.
    pub fn reopen(&mut self) {
        self.store = open(&self.folder, 2);
    }

    pub fn path(&self, key: &StorageKey) -> PathBuf {
        self.folder.path().join("blobs").join(&key.as_str()[24..]).join(key.as_str())
    }

    pub fn file(&self, key: &StorageKey) -> Vec<u8> {
        std::fs::read(self.path(key)).unwrap()
    }

    pub fn begin(&self, key: &StorageKey) -> Progress {
        self.store.begin(&self.registry, key, Algorithm::Sha256).unwrap()
    }

    pub fn appender(&self, key: &StorageKey, progress: &Progress) -> Box<dyn Appender> {
        self.store.appender(&self.registry, key, progress.clone()).unwrap()
    }

    /// Goes on from `progress` with `bytes` in pieces of `piece`, and pauses.
    pub async fn part(&self, key: &StorageKey, progress: &Progress, bytes: &[u8], piece: usize) -> Progress {
        let mut appender = self.appender(key, progress);
        feed(&mut *appender, bytes, piece).await.unwrap();
        assert_eq!(appender.received(), progress.received + bytes.len() as u64);
        let paused = appender.pause().await.unwrap();
        assert_eq!(paused.received, progress.received + bytes.len() as u64);
        paused
    }

    pub fn blob(&self, key: &StorageKey, finished: Finished) -> StoredBlob {
        let Finished { digest, size, wrapped_key } = finished;
        StoredBlob { registry: self.registry.clone(), key: key.clone(), digest, size, wrapped_key }
    }

    /// Stores an object in one go.
    pub async fn put(&self, key: &StorageKey, bytes: &[u8], piece: usize) -> StoredBlob {
        let mut appender = self.appender(key, &self.begin(key));
        feed(&mut *appender, bytes, piece).await.unwrap();
        let blob = self.blob(key, appender.finish(Algorithm::Sha256).await.unwrap());
        assert_eq!((blob.size, blob.digest), (bytes.len() as u64, sha256(bytes)));
        blob
    }

    pub async fn read(&self, blob: &StoredBlob, offset: u64, length: u64) -> Outcome<Vec<u8>> {
        let mut stream = self.store.read(blob, offset, length).await?;
        let mut out = Vec::new();
        while let Some(piece) = stream.next().await {
            out.extend_from_slice(&piece?);
        }
        Ok(out)
    }

    pub async fn read_all(&self, blob: &StoredBlob) -> Outcome<Vec<u8>> {
        self.read(blob, 0, u64::MAX).await
    }
}

fn open(folder: &tempfile::TempDir, seed: u64) -> FileStore {
    let keys = KeyRing::new(&[42; 32], Arc::new(SeededRandom::new(seed)));
    FileStore::open(&folder.path().join("blobs"), keys).unwrap()
}

pub async fn feed(appender: &mut dyn Appender, bytes: &[u8], piece: usize) -> Outcome<()> {
    for piece in bytes.chunks(piece.max(1)) {
        appender.append(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

pub fn registry(region: &str) -> Registry {
    Registry { account: "123456789012".parse().unwrap(), region: region.parse().unwrap() }
}

pub fn key(number: u8) -> StorageKey {
    StorageKey::new(u64::from(number), [number; 10])
}

/// Bytes that do not repeat.
pub fn bytes(length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    funaya_ports::Random::fill(&SeededRandom::new(length as u64), &mut out);
    out
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, digest::digest(&digest::SHA256, bytes).as_ref()).unwrap()
}

pub fn sha512(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha512, digest::digest(&digest::SHA512, bytes).as_ref()).unwrap()
}

#[track_caller]
pub fn damaged<T: std::fmt::Debug>(outcome: Outcome<T>) {
    assert!(matches!(outcome, Err(StoreError::Damaged(_))), "{outcome:?}");
}
