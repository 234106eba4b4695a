//! Data keys, and the key that wraps them.
//!
//! Each object has a random 256-bit data key. It is stored wrapped by its
//! domain's key: for `AES256`, a key derived from the server's root key and the
//! registry (KMS-01). While an upload is open the wrapped key is bound to the
//! storage key; once finished, also to digest and size.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use funaya_ports::{Random, StoreError, blobs::StoredBlob};
use funaya_types::{Registry, StorageKey};

use crate::seal::NONCE;

/// The server's root key and what is derived from it for blobs.
pub struct KeyRing {
    root: hkdf::Prk,
    random: Arc<dyn Random>,
    domains: RwLock<HashMap<Registry, Arc<LessSafeKey>>>,
}

struct Length32;

impl hkdf::KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

impl KeyRing {
    /// A key ring under a root key.
    pub fn new(root_key: &[u8; 32], random: Arc<dyn Random>) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"funaya blobs").extract(root_key);
        Self { root, random, domains: RwLock::default() }
    }

    pub(crate) fn random(&self) -> &Arc<dyn Random> {
        &self.random
    }

    /// A fresh data key for an upload: plain and wrapped.
    pub(crate) fn new_key(&self, registry: &Registry, key: &StorageKey) -> Result<Vec<u8>, StoreError> {
        let mut plain = [0; 32];
        self.random.fill(&mut plain);
        self.wrap(registry, &upload_binding(key), &plain)
    }

    pub(crate) fn unwrap_upload(
        &self,
        registry: &Registry,
        key: &StorageKey,
        wrapped: &[u8],
    ) -> Result<[u8; 32], StoreError> {
        self.unwrap(registry, &upload_binding(key), wrapped)
            .ok_or_else(|| StoreError::Damaged(format!("the data key of upload object {key}")))
    }

    pub(crate) fn unwrap_blob(&self, blob: &StoredBlob) -> Result<[u8; 32], StoreError> {
        self.unwrap(&blob.registry, &blob_binding(blob), &blob.wrapped_key)
            .ok_or_else(|| StoreError::Damaged(format!("{} (its data key)", blob.digest)))
    }

    /// Wraps the data key of a finished object for its digest and size.
    pub(crate) fn wrap_blob(&self, blob: &StoredBlob, plain: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
        self.wrap(&blob.registry, &blob_binding(blob), plain)
    }

    fn wrap(&self, registry: &Registry, binding: &[u8], plain: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
        let failed = |_| StoreError::failed("wrapping a data key failed");
        let mut nonce = [0; NONCE];
        self.random.fill(&mut nonce);
        let mut sealed = plain.to_vec();
        self.domain(registry)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(binding), &mut sealed)
            .map_err(failed)?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    fn unwrap(&self, registry: &Registry, binding: &[u8], wrapped: &[u8]) -> Option<[u8; 32]> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.domain(registry).ok()?.open_in_place(nonce, Aad::from(binding), &mut sealed).ok()?;
        (&*plain).try_into().ok()
    }

    fn domain(&self, registry: &Registry) -> Result<Arc<LessSafeKey>, StoreError> {
        if let Some(key) = self.domains.read().unwrap_or_else(PoisonError::into_inner).get(registry) {
            return Ok(key.clone());
        }
        let failed = |_| StoreError::failed("deriving a domain key failed");
        let name = registry.to_string();
        let info = [b"AES256 ".as_slice(), name.as_bytes()];
        let mut raw = [0; 32];
        self.root.expand(&info, Length32).and_then(|okm| okm.fill(&mut raw)).map_err(failed)?;
        let key = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &raw).map_err(failed)?));
        self.domains.write().unwrap_or_else(PoisonError::into_inner).insert(registry.clone(), key.clone());
        Ok(key)
    }
}

fn upload_binding(key: &StorageKey) -> Vec<u8> {
    [b"upload ", key.as_str().as_bytes()].concat()
}

fn blob_binding(blob: &StoredBlob) -> Vec<u8> {
    [b"blob ", blob.key.as_str().as_bytes(), &blob.digest.to_bytes(), &blob.size.to_le_bytes()].concat()
}
