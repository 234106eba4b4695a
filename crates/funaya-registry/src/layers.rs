//! Layers: availability, reading, mounting, deleting.

use funaya_gate::{
    Download, Permit,
    action::{BatchCheckLayerAvailability, BatchDeleteImage, GetDownloadUrlForLayer, InitiateLayerUpload},
};
use funaya_ports::{
    blobs::{ByteStream, StoredBlob},
    meta::{self, Mount},
};
use funaya_rules::{
    manifest::DOCKER_LAYER,
    schema1::{EMPTY_LAYER, is_empty_layer},
};
use funaya_types::{Digest, RepositoryName};
use futures_util::stream;
use serde_json::json;

use crate::{Error, Registries, error::Context, repositories::only_store};

/// A layer that is in a repository (IMG-26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// Its size in bytes.
    pub size: u64,
    /// What a manifest called it; a Docker layer until one has.
    pub media_type: String,
}

/// A layer to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readable {
    /// One that was pushed.
    Stored(StoredBlob),
    /// The empty layer of schema 1, which every repository has (MAN-19).
    Empty(Digest),
}

impl Readable {
    /// The digest of its bytes.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Stored(blob) => &blob.digest,
            Self::Empty(digest) => digest,
        }
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Stored(blob) => blob.size,
            Self::Empty(_) => EMPTY_LAYER.len() as u64,
        }
    }
}

impl Registries {
    /// Whether a layer is there. A yes holds for twelve hours (I4).
    pub async fn check_layer(
        &self,
        permit: &Permit<BatchCheckLayerAvailability>,
        digest: &Digest,
    ) -> Result<Option<Availability>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let found =
            self.parts.meta.promise_layer(&place.registry, &place.repository, digest, permit.now(), self.parts.spans);
        let layer = found.await.map_err(|error| Context::of(&place).error(error))?;
        if is_empty_layer(digest) {
            return Ok(Some(Availability { size: EMPTY_LAYER.len() as u64, media_type: DOCKER_LAYER.into() }));
        }
        // A damaged one must be sent again.
        let layer = layer.filter(|layer| !self.damage.has(&layer.blob));
        Ok(layer.map(|layer| Availability {
            size: layer.blob.size,
            media_type: layer.media_type.unwrap_or_else(|| DOCKER_LAYER.into()),
        }))
    }

    /// Finds a layer to read.
    pub async fn layer(&self, permit: &Permit<GetDownloadUrlForLayer>, digest: &Digest) -> Result<Readable, Error> {
        let place = self.place(permit.registry(), permit.target());
        let layer = self.parts.meta.layer(&place.registry, &place.repository, digest).await;
        match layer.map_err(|error| Context::of(&place).error(error))? {
            _ if is_empty_layer(digest) => Ok(Readable::Empty(*digest)),
            Some(layer) => Ok(Readable::Stored(layer.blob)),
            None => Err(Error::NoLayer { place, digest: *digest }),
        }
    }

    /// Finds a layer that some image refers to: only such get a download URL (IMG-27).
    pub async fn layer_of_image(&self, permit: &Permit<GetDownloadUrlForLayer>, digest: &Digest) -> Result<(), Error> {
        if let Readable::Empty(_) = self.layer(permit, digest).await? {
            return Ok(());
        }
        let place = self.place(permit.registry(), permit.target());
        let in_use = self.parts.meta.layer_in_use(&place.registry, &place.repository, digest).await;
        if in_use.map_err(|error| Context::of(&place).error(error))? {
            Ok(())
        } else {
            Err(Error::LayerInaccessible { place, digest: *digest })
        }
    }

    /// The layer that a checked download URL names.
    pub async fn download(&self, download: &Download) -> Result<Option<Readable>, Error> {
        if is_empty_layer(download.digest()) {
            return Ok(Some(Readable::Empty(*download.digest())));
        }
        let blob = self.parts.meta.blob(download.registry(), download.digest()).await.map_err(only_store)?;
        Ok(blob.map(Readable::Stored))
    }

    /// Verified bytes of a layer that was found before. `offset` and `length` lie within it.
    pub async fn read(&self, layer: &Readable, offset: u64, length: u64) -> Result<ByteStream, Error> {
        match layer {
            Readable::Stored(blob) => self.read_stored(blob, offset, length).await,
            Readable::Empty(_) => {
                let part = EMPTY_LAYER.iter().copied().skip(offset as usize).take(length as usize);
                Ok(Box::pin(stream::iter([Ok(part.collect())])))
            }
        }
    }

    pub(crate) async fn read_stored(&self, blob: &StoredBlob, offset: u64, length: u64) -> Result<ByteStream, Error> {
        let stream = self.parts.blobs.read(blob, offset, length).await;
        let stream = stream.inspect_err(|error| self.damage.note(blob, error))?;
        Ok(self.damage.watch(blob, stream))
    }

    /// Which repositories hold a layer, for a mount that names none. Each still
    /// needs a permit before it is told to anybody.
    pub async fn holders(
        &self,
        permit: &Permit<InitiateLayerUpload>,
        digest: &Digest,
    ) -> Result<Vec<RepositoryName>, Error> {
        const LOOKED_AT_MAX: u32 = 100;
        self.parts.meta.layer_holders(permit.registry(), digest, LOOKED_AT_MAX).await.map_err(only_store)
    }

    /// Makes a layer that `source` permits to read a layer of this repository; false if
    /// it is not there.
    pub async fn mount(
        &self,
        permit: &Permit<InitiateLayerUpload>,
        source: &Permit<GetDownloadUrlForLayer>,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let place = self.place(permit.registry(), permit.target());
        let is_damaged = self.damage.replaceable(permit.registry(), digest).is_some();
        if source.registry() != permit.registry() || is_damaged {
            return Ok(false);
        }
        let command = Mount {
            registry: place.registry.clone(),
            target: place.repository.clone(),
            source: source.target().clone(),
            digest: *digest,
            now: permit.now(),
            spans: self.parts.spans,
            audit: permit.record(json!({"layerDigest": digest.to_string()})),
        };
        match self.parts.meta.mount(command).await {
            Ok(()) => Ok(true),
            Err(meta::Error::Refused(meta::Refusal::NoLayer)) => Ok(false),
            Err(error) => Err(Context::of(&place).error(error)),
        }
    }

    /// Takes a layer out of a repository, unless an image refers to it.
    pub async fn delete_layer(&self, permit: &Permit<BatchDeleteImage>, digest: &Digest) -> Result<(), Error> {
        let place = self.place(permit.registry(), permit.target());
        let record = permit.record(json!({"layerDigest": digest.to_string()}));
        let deleted =
            self.parts.meta.delete_layer(&place.registry, &place.repository, digest, permit.now(), record).await;
        deleted.map_err(|error| Context { digest: Some(*digest), ..Context::of(&place) }.error(error))
    }
}
