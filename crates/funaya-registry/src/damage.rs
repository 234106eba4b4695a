//! Layers whose stored bytes were found damaged: they count as missing, so that
//! clients send them again, and the next push of one puts its bytes in place.
//!
//! Kept in memory: after a restart the next read, or `scrub`, finds them again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use funaya_ports::{
    StoreError,
    blobs::{ByteStream, StoredBlob},
};
use funaya_types::{Digest, Registry, StorageKey};
use futures_util::StreamExt as _;

/// Which objects are damaged.
#[derive(Clone, Default)]
pub(crate) struct Damage(Arc<Mutex<HashMap<(Registry, Digest), StorageKey>>>);

impl Damage {
    fn known(&self) -> MutexGuard<'_, HashMap<(Registry, Digest), StorageKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note if the error says that the blob is damaged.
    pub(crate) fn note(&self, blob: &StoredBlob, error: &StoreError) {
        if matches!(error, StoreError::Damaged(_)) {
            self.known().insert((blob.registry.clone(), blob.digest), blob.key.clone());
        }
    }

    /// Whether this blob, under this key, is known to be damaged.
    pub(crate) fn has(&self, blob: &StoredBlob) -> bool {
        // Asked for on every HEAD: without damage no key is made.
        let known = self.known();
        !known.is_empty() && known.get(&(blob.registry.clone(), blob.digest)) == Some(&blob.key)
    }

    /// The damaged object that new bytes of this digest may replace.
    pub(crate) fn replaceable(&self, registry: &Registry, digest: &Digest) -> Option<StorageKey> {
        self.known().get(&(registry.clone(), *digest)).cloned()
    }

    pub(crate) fn mended(&self, registry: &Registry, digest: &Digest) {
        self.known().remove(&(registry.clone(), *digest));
    }

    /// The same stream; damage met on the way is noted.
    pub(crate) fn watch(&self, blob: &StoredBlob, stream: ByteStream) -> ByteStream {
        let (damage, blob) = (self.clone(), blob.clone());
        Box::pin(stream.inspect(move |piece| {
            if let Err(error) = piece {
                damage.note(&blob, error);
            }
        }))
    }
}
