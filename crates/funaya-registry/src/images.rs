//! Images: push, pull, list, describe, delete, referrers (05-images).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use funaya_gate::{
    Permit,
    action::{BatchDeleteImage, BatchGetImage, DescribeImages, ListImageReferrers, ListImages, PutImage},
};
use funaya_ports::{
    StoreError, audit,
    meta::{self, DeleteImages, DeleteOutcome, DeleteTarget, Image, ImagePlace},
};
use funaya_rules::{
    format::Accepted,
    manifest,
    schema1::{EMPTY_LAYER, is_empty_layer},
};
use funaya_types::{Algorithm, Digest, ImageTag, MediaType, Reference};
use serde_json::{Value, json};

use crate::{Error, ImageRef, Place, Registries, conversions::Source, error::Context};

/// A manifest to be stored.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// Byte for byte.
    pub bytes: Vec<u8>,
    /// The media type that the client sent with it.
    pub media_type: Option<String>,
    /// The digest that the client expects.
    pub digest: Option<Digest>,
    /// Tags to set.
    pub tags: Vec<ImageTag>,
    /// Refuse if image and tags exist already (IMG-28); else that is a success (IMG-29).
    pub refuse_existing: bool,
}

/// A manifest that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// What it is attached to.
    pub subject: Option<Digest>,
}

/// A stored manifest, verified.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Byte for byte.
    pub bytes: Vec<u8>,
}

/// What a pull finds.
#[derive(Clone, Debug)]
pub enum Pulled {
    /// A manifest that the client accepts.
    Image(Manifest),
    /// There is no such image.
    NoImage,
    /// There is one of this media type, and none that the client accepts can be made of it.
    NotAccepted(MediaType),
}

/// An image with its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its row.
    pub image: Image,
    /// Its tags in byte order.
    pub tags: Vec<ImageTag>,
}

/// An image attached to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its row.
    pub image: Image,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A page of referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrers {
    /// In the order of their push.
    pub items: Vec<Referrer>,
    /// Where the next page begins, if there may be one.
    pub next: Option<i64>,
}

impl Registries {
    /// Stores an image and sets its tags.
    pub async fn put_image(&self, permit: &Permit<PutImage>, new: NewManifest) -> Result<Stored, Error> {
        let place = self.place(permit.registry(), permit.target());
        let parsed = manifest::parse(&new.bytes, new.media_type.as_deref())?;
        let algorithm = new.digest.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = manifest::digest(&new.bytes, parsed.media_type.as_str(), algorithm);
        if let Some(given) = new.digest.filter(|given| *given != digest) {
            return Err(Error::ManifestDigest { calculated: digest, given });
        }
        // The empty layer is always here, so no row says its size.
        let empty = |blob: &manifest::Descriptor| is_empty_layer(&blob.digest);
        let wrong = |blob: &manifest::Descriptor| blob.size.is_some_and(|size| size != EMPTY_LAYER.len() as u64);
        if let Some(blob) = parsed.blobs.iter().find(|blob| empty(blob) && wrong(blob)) {
            return Err(Error::LayerSize(blob.digest));
        }
        let answer = answer(&place, &digest, &new);
        let stored = Stored { digest, media_type: parsed.media_type.clone(), subject: parsed.subject };
        let context = Context { digest: Some(digest), tag: new.tags.first().cloned(), ..Context::of(&place) };
        let command = self.put_command(permit, parsed, new, digest, answer);
        let images_max = command.images_max;
        let put = self.parts.meta.put_image(command).await;
        put.map_err(|error| context.quota(images_max).error(error))?;
        Ok(stored)
    }

    fn put_command(
        &self,
        permit: &Permit<PutImage>,
        parsed: manifest::Manifest,
        new: NewManifest,
        digest: Digest,
        answer: Value,
    ) -> meta::PutImage {
        // One row a digest, in digest order, so that concurrent pushes lock alike.
        let blobs: BTreeMap<Digest, (MediaType, Option<u64>)> = parsed
            .blobs
            .iter()
            .filter(|blob| !blob.foreign && !is_empty_layer(&blob.digest))
            .map(|blob| (blob.digest, (blob.media_type.clone(), blob.size)))
            .collect();
        let children: BTreeSet<Digest> = parsed.children.iter().map(|child| child.digest).collect();
        meta::PutImage {
            registry: permit.registry().clone(),
            repository: permit.target().clone(),
            digest,
            image_bytes: parsed.image_bytes(),
            media_type: parsed.media_type,
            artifact_type: parsed.artifact_type,
            subject: parsed.subject,
            body: new.bytes,
            blobs: blobs.into_iter().map(|(digest, (media_type, size))| (digest, media_type, size)).collect(),
            children: children.into_iter().collect(),
            tags: new.tags,
            row_id: self.parts.random.row_id(permit.now()),
            now: permit.now(),
            spans: self.parts.spans,
            images_max: self.parts.quotas.images(&permit.registry().account),
            refuse_existing: new.refuse_existing,
            audit: permit.record(answer),
        }
    }

    /// One image's manifest: byte for byte, or by tag in a format that the client accepts
    /// (MAN-10 to MAN-16).
    pub async fn manifest(
        &self,
        permit: &Permit<BatchGetImage>,
        reference: &Reference,
        accepted: &Accepted,
    ) -> Result<Pulled, Error> {
        let place = self.place(permit.registry(), permit.target());
        let found = self.parts.meta.manifest(&place.registry, &place.repository, reference).await;
        let Some((image, bytes)) = found.map_err(|error| Context::of(&place).error(error))? else {
            return match reference {
                Reference::Digest(digest) => self.pull_conversion(permit, &place, digest, accepted).await,
                Reference::Tag(_) => Ok(Pulled::NoImage),
            };
        };
        self.pulls.note(&place, &image, permit.call().caller().principal(), permit.now());
        let source = verified(image, bytes)?;
        if accepted.takes(source.image.media_type.as_str()) {
            return Ok(Pulled::Image(source.into_manifest()));
        }
        let converted = match reference {
            Reference::Tag(tag) => self.converted(&place, &source, tag, accepted).await?,
            Reference::Digest(_) => None,
        };
        Ok(converted.map_or(Pulled::NotAccepted(source.image.media_type), Pulled::Image))
    }

    /// The repository whose images are to be described.
    pub async fn described_repository(&self, permit: &Permit<DescribeImages>) -> Result<meta::Repository, Error> {
        let place = self.place(permit.registry(), permit.target());
        let found = self.parts.meta.repository(&place.registry, &place.repository).await;
        found.map_err(|error| Context::of(&place).error(error))
    }

    /// Images in the order of their push, with their tags.
    pub async fn describe_images(
        &self,
        permit: &Permit<DescribeImages>,
        tagged: Option<bool>,
        after: Option<ImagePlace>,
        limit: u32,
    ) -> Result<Vec<Listed>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let images = self.parts.meta.images(&place.registry, &place.repository, tagged, after, limit).await;
        let mut listed = Vec::new();
        for image in images.map_err(|error| Context::of(&place).error(error))? {
            listed.push(self.with_tags(&place, image).await?);
        }
        Ok(listed)
    }

    /// One image with its tags.
    pub async fn describe_image(&self, permit: &Permit<DescribeImages>, image: &ImageRef) -> Result<Listed, Error> {
        let place = self.place(permit.registry(), permit.target());
        let found = self.find(&place, image).await?;
        let image = found.ok_or_else(|| Error::NoImage { place: place.clone(), image: image.clone() })?;
        self.with_tags(&place, image).await
    }

    /// By tag, digest or both; with both, they must agree.
    pub(crate) async fn find(&self, place: &Place, image: &ImageRef) -> Result<Option<Image>, Error> {
        let reference = match (&image.tag, image.digest) {
            (Some(tag), _) => Reference::Tag(tag.clone()),
            (None, Some(digest)) => Reference::Digest(digest),
            (None, None) => return Ok(None),
        };
        let found = self.parts.meta.image(&place.registry, &place.repository, &reference).await;
        let found = found.map_err(|error| Context::of(place).error(error))?;
        Ok(found.filter(|found| image.digest.is_none_or(|digest| digest == found.digest)))
    }

    pub(crate) async fn with_tags(&self, place: &Place, image: Image) -> Result<Listed, Error> {
        let tags = self.parts.meta.image_tags(&place.registry, &place.repository, image.row_id).await;
        Ok(Listed { image, tags: tags.map_err(|error| Context::of(place).error(error))? })
    }

    /// Tags with their digests in byte order: the first part of `ListImages` (IMG-57).
    pub async fn tagged_images(
        &self,
        permit: &Permit<ListImages>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(ImageTag, Digest)>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let page = self.parts.meta.tags(&place.registry, &place.repository, after, limit).await;
        page.map_err(|error| Context::of(&place).error(error))
    }

    /// Images without a tag in the order of their push: the second part of `ListImages`.
    pub async fn untagged_images(
        &self,
        permit: &Permit<ListImages>,
        after: Option<ImagePlace>,
        limit: u32,
    ) -> Result<Vec<Image>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let page = self.parts.meta.images(&place.registry, &place.repository, Some(false), after, limit).await;
        page.map_err(|error| Context::of(&place).error(error))
    }

    /// Tag names in byte order: `tags/list`.
    pub async fn tag_names(
        &self,
        permit: &Permit<ListImages>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let page = self.parts.meta.tag_names(&place.registry, &place.repository, after, limit).await;
        page.map_err(|error| Context::of(&place).error(error))
    }

    /// Images attached to `subject`; with types given, only those of one of them.
    pub async fn referrers(
        &self,
        permit: &Permit<ListImageReferrers>,
        subject: &Digest,
        artifact_types: &[String],
        after: i64,
        limit: u32,
    ) -> Result<Referrers, Error> {
        /// Rows looked at for one page, however few of them fit the filter.
        const LOOKED_AT: u32 = 100;
        let place = self.place(permit.registry(), permit.target());
        let (mut items, mut next) = (Vec::new(), after);
        loop {
            let page = self.parts.meta.referrers(&place.registry, &place.repository, subject, next, LOOKED_AT).await;
            let page = page.map_err(|error| Context::of(&place).error(error))?;
            let last_page = page.len() < LOOKED_AT as usize;
            for (image, bytes) in page {
                if items.len() == limit as usize {
                    return Ok(Referrers { items, next: Some(next) });
                }
                next = image.row_id;
                let wanted = artifact_types.is_empty()
                    || image.artifact_type.as_ref().is_some_and(|kind| artifact_types.contains(kind));
                if wanted {
                    items.push(Referrer { annotations: manifest::annotations(&bytes), image });
                }
            }
            if last_page {
                return Ok(Referrers { items, next: None });
            }
        }
    }

    /// Deletes images and tags; item faults are outcomes (IMG-60 to IMG-66).
    pub async fn delete_images(
        &self,
        permit: &Arc<Permit<BatchDeleteImage>>,
        targets: Vec<DeleteTarget>,
    ) -> Result<Vec<DeleteOutcome>, Error> {
        self.delete(permit, targets, false).await
    }

    /// Deletes one tag or image for the registry API. A tag whose image an index
    /// refers to goes alone; the image stays.
    pub async fn delete_reference(
        &self,
        permit: &Arc<Permit<BatchDeleteImage>>,
        reference: &Reference,
    ) -> Result<Option<DeleteOutcome>, Error> {
        let target = match reference.clone() {
            Reference::Digest(digest) => DeleteTarget { digest: Some(digest), tag: None },
            Reference::Tag(tag) => DeleteTarget { digest: None, tag: Some(tag) },
        };
        let outcome = self.delete(permit, vec![target.clone()], false).await?.pop();
        match outcome {
            Some(DeleteOutcome::Referenced(_)) if target.tag.is_some() => {
                Ok(self.delete(permit, vec![target], true).await?.pop())
            }
            outcome => Ok(outcome),
        }
    }

    async fn delete(
        &self,
        permit: &Arc<Permit<BatchDeleteImage>>,
        targets: Vec<DeleteTarget>,
        keep_untagged: bool,
    ) -> Result<Vec<DeleteOutcome>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let recorder = permit.clone();
        let audit: Arc<dyn Fn(&[DeleteOutcome]) -> audit::Batch + Send + Sync> =
            Arc::new(move |outcomes| recorder.record(deleted(outcomes)));
        let command = DeleteImages {
            registry: place.registry.clone(),
            repository: place.repository.clone(),
            targets,
            keep_untagged,
            now: permit.now(),
            purge_at: permit.now().plus(self.parts.spans.undo),
            audit,
        };
        let outcomes = self.parts.meta.delete_images(command).await;
        outcomes.map_err(|error| Context::of(&place).error(error))
    }
}

/// A manifest leaves only if its bytes still hash to its digest.
pub(crate) fn verified(image: Image, bytes: Vec<u8>) -> Result<Source, Error> {
    let calculated = manifest::digest(&bytes, image.media_type.as_str(), image.digest.algorithm());
    if calculated != image.digest {
        return Err(Error::Store(StoreError::Damaged(format!("{} (its manifest)", image.digest))));
    }
    Ok(Source { image, bytes })
}

fn answer(place: &Place, digest: &Digest, new: &NewManifest) -> Value {
    let mut id = json!({"imageDigest": digest.to_string()});
    if let Some(tag) = new.tags.first() {
        id["imageTag"] = json!(tag.as_str());
    }
    json!({"image": {
        "registryId": place.registry.account.as_str(),
        "repositoryName": place.repository.as_str(),
        "imageId": id,
        "imageManifest": String::from_utf8_lossy(&new.bytes),
    }})
}

fn deleted(outcomes: &[DeleteOutcome]) -> Value {
    let mut ids = Vec::new();
    for outcome in outcomes {
        if let DeleteOutcome::Deleted { digest, tags, .. } = outcome {
            if tags.is_empty() {
                ids.push(json!({"imageDigest": digest.to_string()}));
            }
            ids.extend(tags.iter().map(|tag| json!({"imageDigest": digest.to_string(), "imageTag": tag.as_str()})));
        }
    }
    json!({"imageIds": ids})
}
