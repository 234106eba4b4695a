//! Layer bytes: sealed objects under keys that are never reused (D2, D7).

use std::pin::Pin;

use bytes::Bytes;
use funaya_types::{Algorithm, Digest, Registry, StorageKey};
use futures_util::Stream;

use crate::{Fut, StoreError};

/// Bytes on their way to a client, each piece already verified.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// How far an upload has come: everything needed to go on after a crash (D4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Plain bytes received and durable.
    pub received: u64,
    /// What the bytes are hashed with.
    pub algorithm: Algorithm,
    /// The running hash, empty at the start.
    pub hash_state: Vec<u8>,
    /// The object's data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// The last bytes, short of a segment, sealed; empty if there are none.
    pub tail: Vec<u8>,
}

/// A whole object, durable, with the digest of its plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What the bytes hash to.
    pub digest: Digest,
    /// How many plain bytes.
    pub size: u64,
    /// The data key, wrapped anew so that it opens for this digest and size only.
    pub wrapped_key: Vec<u8>,
}

/// A stored blob, as its row describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// The registry that owns it: its encryption domain.
    pub registry: Registry,
    /// Where its bytes are.
    pub key: StorageKey,
    /// The digest of the plain bytes.
    pub digest: Digest,
    /// How many plain bytes.
    pub size: u64,
    /// The wrapped data key.
    pub wrapped_key: Vec<u8>,
}

/// One writer of one object. Owned bytes go in; nothing is promised before
/// [`Appender::pause`] or [`Appender::finish`] has answered.
pub trait Appender: Send {
    /// Takes more plain bytes.
    fn append(&mut self, bytes: Bytes) -> Fut<'_, Result<(), StoreError>>;

    /// Plain bytes taken so far, those of earlier requests included.
    fn received(&self) -> u64;

    /// Makes all bytes durable and tells how to go on later.
    fn pause(self: Box<Self>) -> Fut<'static, Result<Progress, StoreError>>;

    /// Makes the whole object durable. Hashes with `algorithm`, even if the
    /// upload was begun with another.
    fn finish(self: Box<Self>, algorithm: Algorithm) -> Fut<'static, Result<Finished, StoreError>>;
}

/// A store of sealed objects.
pub trait BlobStore: Send + Sync {
    /// Begins an object: a fresh data key, no bytes. Touches no storage.
    fn begin(&self, registry: &Registry, key: &StorageKey, algorithm: Algorithm) -> Result<Progress, StoreError>;

    /// A writer that goes on where `progress` stands.
    fn appender(
        &self,
        registry: &Registry,
        key: &StorageKey,
        progress: Progress,
    ) -> Result<Box<dyn Appender>, StoreError>;

    /// Reads `length` plain bytes from `offset`. Fails before the first byte if
    /// the object is missing or its first segments are damaged.
    fn read<'a>(&'a self, blob: &'a StoredBlob, offset: u64, length: u64) -> Fut<'a, Result<ByteStream, StoreError>>;

    /// Deletes an object; one that is missing already is fine.
    fn delete<'a>(&'a self, key: &'a StorageKey) -> Fut<'a, Result<(), StoreError>>;

    /// Deletes many; those that are missing already are fine.
    fn delete_all<'a>(&'a self, keys: &'a [StorageKey]) -> Fut<'a, Result<(), StoreError>>;

    /// All objects of a shard.
    fn list<'a>(&'a self, shard: &'a str) -> Fut<'a, Result<Vec<StorageKey>, StoreError>>;

    /// The shards to list.
    fn shards(&self) -> Fut<'_, Result<Vec<String>, StoreError>>;
}
