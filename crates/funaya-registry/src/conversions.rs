//! Serving clients that do not understand what is stored (MAN-10 to MAN-19).
//!
//! A conversion is made once and stored beside its image, so that its digest can
//! be asked for, at any replica and after a restart. It is no image: it counts
//! nowhere and goes with the image that it was made of.

use std::collections::BTreeMap;

use funaya_gate::{Permit, action::BatchGetImage};
use funaya_ports::{
    StoreError,
    meta::{Conversion, ConversionKey, Image},
};
use funaya_rules::{
    convert::{self, Fate, NoConversion},
    format::{Accepted, Format, Way},
    jws::Signer,
    manifest, schema1,
};
use funaya_types::{Algorithm, Digest, ImageTag, MediaType, Reference};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

use crate::{
    Error, Manifest, Place, Registries,
    error::Context,
    images::{Pulled, verified},
};

/// Conversions made at a time: each may hold a config of some MiB.
const AT_A_TIME: usize = 4;
/// Images of an index that are converted.
const CHILDREN_MAX: usize = 200;
/// What the conversions of an index may have together, in bytes.
const CHILDREN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Makes conversions.
pub(crate) struct Converter {
    signer: Signer,
    turns: Semaphore,
}

impl Converter {
    pub(crate) fn new(signer: Signer) -> Self {
        Self { signer, turns: Semaphore::new(AT_A_TIME) }
    }
}

/// A stored image, verified, to be told otherwise.
pub(crate) struct Source {
    pub(crate) image: Image,
    pub(crate) bytes: Vec<u8>,
}

/// Why there is no conversion.
enum Fault {
    /// The image has none.
    None(NoConversion),
    /// It could not be made.
    Failed(Error),
}

impl From<NoConversion> for Fault {
    fn from(reason: NoConversion) -> Self {
        Self::None(reason)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Registries {
    /// A tagged image in a format that the client accepts; `None`: there is none.
    pub(crate) async fn converted(
        &self,
        place: &Place,
        source: &Source,
        tag: &ImageTag,
        accepted: &Accepted,
    ) -> Result<Option<Manifest>, Error> {
        for way in source.ways(accepted) {
            let found = match way {
                Way::To(target) => self.conversion(place, source, target, tag).await?,
                Way::Platform => self.platform(place, source, tag, accepted).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The `linux/amd64` image of an index, as it is or converted (MAN-16).
    async fn platform(
        &self,
        place: &Place,
        index: &Source,
        tag: &ImageTag,
        accepted: &Accepted,
    ) -> Result<Option<Manifest>, Error> {
        let children = convert::children(&index.bytes).unwrap_or_default();
        let Some(child) = children.into_iter().find(|child| child.is_linux_amd64) else { return Ok(None) };
        let Some(source) = self.source(place, child.digest).await? else { return Ok(None) };
        if accepted.takes(source.image.media_type.as_str()) {
            return Ok(Some(source.into_manifest()));
        }
        for way in source.ways(accepted) {
            if let Way::To(target) = way
                && let Some(found) = self.conversion(place, &source, target, tag).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A conversion by its own digest (MAN-17).
    pub(crate) async fn pull_conversion(
        &self,
        permit: &Permit<BatchGetImage>,
        place: &Place,
        digest: &Digest,
        accepted: &Accepted,
    ) -> Result<Pulled, Error> {
        let found = self.parts.meta.conversion_by_digest(&place.registry, &place.repository, digest).await;
        let Some((image, found)) = found.map_err(|error| Context::of(place).error(error))? else {
            return Ok(Pulled::NoImage);
        };
        self.pulls.note(place, &image, permit.call().caller().principal(), permit.now());
        match found {
            found if !accepted.takes(found.key.media_type.as_str()) => Ok(Pulled::NotAccepted(found.key.media_type)),
            found if is_intact(&found) => Ok(Pulled::Image(into_manifest(found))),
            // Pulled by its tag, it is made anew.
            _ => Err(Error::Store(StoreError::Damaged(format!("{digest} (a converted manifest)")))),
        }
    }

    /// The conversion that is stored, or a new one.
    async fn conversion(
        &self,
        place: &Place,
        source: &Source,
        target: Format,
        tag: &ImageTag,
    ) -> Result<Option<Manifest>, Error> {
        let key = source.key(target, tag)?;
        let stored = self.parts.meta.conversion(&place.registry, &place.repository, &key).await;
        let stored = stored.map_err(|error| Context::of(place).error(error))?;
        if let Some(stored) = stored.filter(is_intact) {
            return Ok(Some(into_manifest(stored)));
        }
        let (made, images) = match self.make(place, source, target, tag, key).await {
            Ok(made) => made,
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::None(reason)) => {
                tracing::debug!(image = %source.image.digest, ?target, %reason, "no conversion");
                return Ok(None);
            }
        };
        let all = images.into_iter().chain([made.clone()]).collect();
        let put = self.parts.meta.put_conversions(&place.registry, &place.repository, all).await;
        let is_there = put.map_err(|error| Context::of(place).error(error))?;
        Ok(is_there.then(|| into_manifest(made)))
    }

    /// A conversion, and those that it refers to.
    async fn make(
        &self,
        place: &Place,
        source: &Source,
        target: Format,
        tag: &ImageTag,
        key: ConversionKey,
    ) -> Result<(Conversion, Vec<Conversion>), Fault> {
        // Never closed, so there always is a turn.
        let _turn = self.converter.turns.acquire().await;
        let mut images = Vec::new();
        let body = match target {
            Format::Schema2 | Format::Oci => convert::image(&source.bytes, target)?,
            Format::Schema1 => self.schema_1(place, source, tag).await?,
            Format::List | Format::Index => {
                let fates = self.children(place, source, target, tag, &mut images).await?;
                convert::index(&source.bytes, target, &fates)?
            }
        };
        Ok((conversion(key, body), images))
    }

    async fn schema_1(&self, place: &Place, source: &Source, tag: &ImageTag) -> Result<Vec<u8>, Fault> {
        let image = schema1::source(&source.bytes)?;
        let config = self.config(place, &image.config).await?;
        let payload = schema1::convert(&image, &config, &place.repository, tag)?;
        // Signed as of the push, so that equal manifests are equal.
        let signed = self.converter.signer.sign(&payload, source.image.pushed_at);
        signed.ok_or_else(|| NoConversion("the manifest can't be signed".into()).into())
    }

    async fn config(&self, place: &Place, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let layer = self.parts.meta.layer(&place.registry, &place.repository, digest).await;
        let layer = layer.map_err(|error| Context::of(place).error(error))?;
        let blob = layer.ok_or_else(|| NoConversion("the config is not in the repository".into()))?.blob;
        if blob.size > schema1::CONFIG_BYTES_MAX {
            return Err(NoConversion("the config is too large".into()).into());
        }
        let mut pieces = self.read_stored(&blob, 0, blob.size).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// What becomes of the images of an index, with the conversions that it then names.
    async fn children(
        &self,
        place: &Place,
        index: &Source,
        target: Format,
        tag: &ImageTag,
        images: &mut Vec<Conversion>,
    ) -> Result<BTreeMap<Digest, Fate>, Fault> {
        let children = convert::children(&index.bytes)?;
        if children.len() > CHILDREN_MAX {
            return Err(NoConversion("the index names too many images".into()).into());
        }
        let (mut fates, mut bytes) = (BTreeMap::new(), 0);
        for child in children {
            if fates.contains_key(&child.digest) {
                continue;
            }
            let (fate, made) = self.child(place, child.digest, target, tag).await?;
            fates.insert(child.digest, fate);
            if let Some(made) = made {
                bytes += made.body.len();
                images.push(made);
            }
            if bytes > CHILDREN_BYTES_MAX {
                return Err(NoConversion("the images of the index are too large together".into()).into());
            }
        }
        Ok(fates)
    }

    async fn child(
        &self,
        place: &Place,
        digest: Digest,
        index: Format,
        tag: &ImageTag,
    ) -> Result<(Fate, Option<Conversion>), Fault> {
        let Some(source) = self.source(place, digest).await? else { return Ok((Fate::Goes, None)) };
        let format = Format::of(source.image.media_type.as_str());
        let Some(target) = index.of_children().filter(|_| matches!(format, Some(Format::Schema2 | Format::Oci))) else {
            return Ok((Fate::Goes, None));
        };
        if format == Some(target) {
            return Ok((Fate::Stays, None));
        }
        let Ok(body) = convert::image(&source.bytes, target) else { return Ok((Fate::Goes, None)) };
        let made = conversion(source.key(target, tag)?, body);
        Ok((Fate::Becomes { digest: made.digest, size: made.body.len(), format: target }, Some(made)))
    }

    async fn source(&self, place: &Place, digest: Digest) -> Result<Option<Source>, Error> {
        let reference = Reference::Digest(digest);
        let found = self.parts.meta.manifest(&place.registry, &place.repository, &reference).await;
        let found = found.map_err(|error| Context::of(place).error(error))?;
        found.map(|(image, bytes)| verified(image, bytes)).transpose()
    }
}

impl Source {
    fn ways(&self, accepted: &Accepted) -> Vec<Way> {
        Format::of(self.image.media_type.as_str()).map(|format| accepted.ways(format)).unwrap_or_default()
    }

    fn key(&self, target: Format, tag: &ImageTag) -> Result<ConversionKey, Error> {
        let media_type: Result<MediaType, _> = target.media_type().parse();
        let media_type = media_type.map_err(|_| Error::Store(StoreError::failed("a format without a media type")))?;
        // Only schema 1 names its tag.
        let tag = (target == Format::Schema1).then(|| tag.clone());
        Ok(ConversionKey { image: self.image.row_id, media_type, tag })
    }

    pub(crate) fn into_manifest(self) -> Manifest {
        Manifest { digest: self.image.digest, media_type: self.image.media_type, bytes: self.bytes }
    }
}

fn conversion(key: ConversionKey, body: Vec<u8>) -> Conversion {
    let digest = manifest::digest(&body, key.media_type.as_str(), Algorithm::Sha256);
    Conversion { key, digest, body }
}

fn is_intact(stored: &Conversion) -> bool {
    manifest::digest(&stored.body, stored.key.media_type.as_str(), stored.digest.algorithm()) == stored.digest
}

fn into_manifest(made: Conversion) -> Manifest {
    Manifest { digest: made.digest, media_type: made.key.media_type, bytes: made.body }
}
