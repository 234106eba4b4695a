//! Images: put, list, describe, delete (05-images).

use std::sync::Arc;

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{BatchDeleteImage, DescribeImages, ListImages, PutImage},
};
use funaya_registry::{DeleteOutcome, DeleteTarget, ImagePlace, ImageRef, Listed, NewManifest};
use funaya_types::{Digest, ImageTag, Registry};
use funaya_wire::{
    EpochSeconds,
    ecr::{
        BatchDeleteImageRequest, BatchDeleteImageResponse, DescribeImagesRequest, DescribeImagesResponse, Image,
        ImageDetail, ImageFailure, ImageFailureCode, ImageIdentifier, ImageScanStatus, ImageStatus, ImageStatusFilter,
        ListImagesRequest, ListImagesResponse, PutImageRequest, PutImageResponse, ScanStatus, TagStatus,
    },
};

use crate::{
    answer::json,
    door::{Door, Visit, repository_name},
    fail::Fail,
    paging::{self, Paging},
};

const TAG_RULE: &str = "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'";

/// API-20, IMG-28
pub(crate) async fn put(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = PutImageRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<PutImage> = door.permit(visit, &registry, name).await?;
    let tag = request.image_tag.as_deref();
    let tag: Option<ImageTag> =
        tag.map(|text| text.parse().map_err(|_| Fail::parameter("imageTag", TAG_RULE))).transpose()?;
    let digest = request.image_digest.as_deref();
    let digest: Option<Digest> =
        digest.map(|text| text.parse().map_err(|_| Fail::parameter("imageDigest", "Invalid digest"))).transpose()?;
    let new = NewManifest {
        bytes: request.image_manifest.clone().into_bytes(),
        media_type: request.image_manifest_media_type,
        digest,
        tags: tag.into_iter().collect(),
        refuse_existing: true,
    };
    let stored = door.hall.put_image(&permit, new).await;
    let stored = door.checked(&permit, stored).await?;
    Ok(json(&PutImageResponse {
        image: Some(Image {
            registry_id: Some(registry.account.to_string()),
            repository_name: Some(request.repository_name),
            image_id: Some(ImageIdentifier {
                image_digest: Some(stored.digest.to_string()),
                image_tag: request.image_tag,
            }),
            image_manifest: Some(request.image_manifest),
            image_manifest_media_type: Some(stored.media_type.to_string()),
        }),
    }))
}

/// API-18, IMG-57: tags in byte order, then images without a tag in the order of their push.
pub(crate) async fn list(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = ListImagesRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<ListImages> = door.permit(visit, &registry, name).await?;
    let filter = request.filter.unwrap_or_default();
    check_status(filter.image_status)?;
    let status = filter.tag_status.unwrap_or(TagStatus::Any);
    let account = registry.account.to_string();
    let bound = [account.as_str(), registry.region.as_str(), &request.repository_name, status.as_str()];
    let paging = Paging::new(&door.tokens, "ListImages", &bound);
    let place = paging.open(request.next_token.as_deref())?;
    let limit = paging::limit(request.max_results, paging::DEFAULT) as usize;
    let (mut ids, mut next) = (Vec::new(), None);
    let in_untagged = place.as_deref().and_then(|text| text.strip_prefix("u:"));
    if status != TagStatus::Untagged && in_untagged.is_none() {
        let after = place.as_deref().and_then(|text| text.strip_prefix("t:"));
        let page = door.hall.tagged_images(&permit, after, limit as u32 + 1).await;
        let mut page = door.checked(&permit, page).await?;
        if page.len() > limit {
            page.truncate(limit);
            next = page.last().map(|(tag, _)| format!("t:{tag}"));
        }
        ids.extend(page.iter().map(|(tag, digest)| id(digest, Some(tag))));
    }
    if status != TagStatus::Tagged && next.is_none() {
        let (room, after) = (limit - ids.len(), in_untagged.and_then(parse_place));
        let page = door.hall.untagged_images(&permit, after, room as u32 + 1).await;
        let mut page = door.checked(&permit, page).await?;
        if page.len() > room {
            page.truncate(room);
            let start = (i64::MIN, 0);
            let (pushed_at, row_id) = page.last().map_or(start, |image| (image.pushed_at.micros(), image.row_id));
            next = Some(format!("u:{pushed_at}:{row_id}"));
        }
        ids.extend(page.iter().map(|image| id(&image.digest, None)));
    }
    door.gate.record_read(&permit).await;
    let next_token = next.map(|place| paging.seal(&place));
    Ok(json(&ListImagesResponse { image_ids: Some(ids), next_token }))
}

/// API-10, IMG-58
pub(crate) async fn describe(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = DescribeImagesRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    if request.image_ids.is_some() && (request.max_results.is_some() || request.next_token.is_some()) {
        return Err(Fail::parameter("imageIds", "must not be used with maxResults or nextToken"));
    }
    let permit: Permit<DescribeImages> = door.permit(visit, &registry, name).await?;
    let repository = door.hall.described_repository(&permit).await;
    let scan_on_push = door.checked(&permit, repository).await?.scan_on_push;
    let filter = request.filter.unwrap_or_default();
    check_status(filter.image_status)?;
    let tagged = match filter.tag_status {
        None | Some(TagStatus::Any) => None,
        Some(TagStatus::Tagged) => Some(true),
        Some(TagStatus::Untagged) => Some(false),
    };
    let account = registry.account.to_string();
    let status = filter.tag_status.unwrap_or(TagStatus::Any);
    let bound = [account.as_str(), registry.region.as_str(), &request.repository_name, status.as_str()];
    let paging = Paging::new(&door.tokens, "DescribeImages", &bound);
    let (mut listed, mut next_token) = (Vec::new(), None);
    if let Some(ids) = &request.image_ids {
        for id in ids {
            let image = image_ref(&registry, &request.repository_name, id)?;
            let found = door.hall.describe_image(&permit, &image).await;
            listed.push(door.checked(&permit, found).await?);
        }
    } else {
        let after = paging.open(request.next_token.as_deref())?.as_deref().and_then(parse_place);
        let limit = paging::limit(request.max_results, paging::DEFAULT);
        let page = door.hall.describe_images(&permit, tagged, after, limit + 1).await;
        listed = door.checked(&permit, page).await?;
        if listed.len() > limit as usize {
            listed.truncate(limit as usize);
            let place = |last: &Listed| format!("{}:{}", last.image.pushed_at.micros(), last.image.row_id);
            next_token = listed.last().map(|last| paging.seal(&place(last)));
        }
    }
    door.gate.record_read(&permit).await;
    let details = listed.into_iter().map(|listed| detail(&registry, &request.repository_name, listed, scan_on_push));
    Ok(json(&DescribeImagesResponse { image_details: Some(details.collect()), next_token }))
}

fn detail(registry: &Registry, repository: &str, listed: Listed, scan_on_push: bool) -> ImageDetail {
    let Listed { image, tags } = listed;
    let size = if image.image_bytes == 0 { image.manifest_bytes } else { image.image_bytes };
    // A repository that scans on push says of each image what became of that.
    let scan = scan_on_push.then(|| ImageScanStatus {
        status: Some(ScanStatus::FindingsUnavailable),
        description: Some("Image scanning is not available in this version.".into()),
    });
    ImageDetail {
        registry_id: Some(registry.account.to_string()),
        repository_name: Some(repository.into()),
        image_digest: Some(image.digest.to_string()),
        image_tags: (!tags.is_empty()).then(|| tags.iter().map(ToString::to_string).collect()),
        image_size_in_bytes: Some(i64::try_from(size).unwrap_or(i64::MAX)),
        image_pushed_at: Some(EpochSeconds(image.pushed_at.epoch_seconds())),
        image_scan_status: scan,
        image_manifest_media_type: Some(image.media_type.to_string()),
        artifact_media_type: image.artifact_type,
        last_recorded_pull_time: image.pulled_at.map(|at| EpochSeconds(at.epoch_seconds())),
        image_status: Some(ImageStatus::Active),
        subject_manifest_digest: image.subject.map(|subject| subject.to_string()),
        ..Default::default()
    }
}

/// API-02, IMG-60 to IMG-66
pub(crate) async fn batch_delete(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = BatchDeleteImageRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Arc<Permit<BatchDeleteImage>> = Arc::new(door.permit(visit, &registry, name).await?);
    let (mut targets, mut asked, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for id in &request.image_ids {
        match read_id(id) {
            Ok(image) => {
                targets.push(DeleteTarget { digest: image.digest, tag: image.tag });
                asked.push(id);
            }
            Err(code) => failures.push(failure(id, code)),
        }
    }
    let outcomes = door.hall.delete_images(&permit, targets).await;
    let outcomes = door.checked(&permit, outcomes).await?;
    let mut ids = Vec::new();
    for (id, outcome) in asked.into_iter().zip(outcomes) {
        match outcome {
            DeleteOutcome::Deleted { digest, tags, .. } => ids.extend(deleted(&digest, &tags)),
            DeleteOutcome::NotFound => failures.push(failure(id, ImageFailureCode::ImageNotFound)),
            DeleteOutcome::TagMismatch => failures.push(failure(id, ImageFailureCode::ImageTagDoesNotMatchDigest)),
            DeleteOutcome::Referenced(_) => {
                failures.push(failure(id, ImageFailureCode::ImageReferencedByManifestList));
            }
        }
    }
    Ok(json(&BatchDeleteImageResponse { image_ids: Some(ids), failures: Some(failures) }))
}

/// By digest one entry for each tag; one without a tag for an untagged image (IMG-64).
fn deleted(digest: &Digest, tags: &[ImageTag]) -> Vec<ImageIdentifier> {
    if tags.is_empty() { vec![id(digest, None)] } else { tags.iter().map(|tag| id(digest, Some(tag))).collect() }
}

fn id(digest: &Digest, tag: Option<&ImageTag>) -> ImageIdentifier {
    ImageIdentifier { image_digest: Some(digest.to_string()), image_tag: tag.map(ToString::to_string) }
}

/// Reads an image id of a batch call; a bad one is a failure of that item (IMG-65).
pub(crate) fn read_id(id: &ImageIdentifier) -> Result<ImageRef, ImageFailureCode> {
    let digest = id.image_digest.as_deref().map(str::parse::<Digest>).transpose();
    let digest = digest.map_err(|_| ImageFailureCode::InvalidImageDigest)?;
    let tag = id.image_tag.as_deref().map(str::parse::<ImageTag>).transpose();
    let tag = tag.map_err(|_| ImageFailureCode::InvalidImageTag)?;
    if digest.is_none() && tag.is_none() {
        return Err(ImageFailureCode::MissingDigestAndTag);
    }
    Ok(ImageRef { digest, tag })
}

/// IMG-65
pub(crate) fn failure(id: &ImageIdentifier, code: ImageFailureCode) -> ImageFailure {
    let reason = match code {
        ImageFailureCode::ImageNotFound => "Requested image not found",
        ImageFailureCode::MissingDigestAndTag => "Invalid request parameters: both tag and digest cannot be null",
        ImageFailureCode::InvalidImageDigest => {
            "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
        }
        ImageFailureCode::InvalidImageTag => {
            "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'"
        }
        ImageFailureCode::ImageTagDoesNotMatchDigest => "Requested image tag does not match the image digest",
        ImageFailureCode::ImageReferencedByManifestList => "Requested image referenced by manifest list",
        _ => "The image is not accessible",
    };
    ImageFailure { image_id: Some(id.clone()), failure_code: Some(code), failure_reason: Some(reason.into()) }
}

/// Reads an image id of a call that fails as a whole: what can't exist is not found (ERR-07).
fn image_ref(registry: &Registry, repository: &str, id: &ImageIdentifier) -> Result<ImageRef, Fail> {
    match read_id(id) {
        Ok(image) => Ok(image),
        Err(ImageFailureCode::MissingDigestAndTag) => {
            Err(Fail::parameter("imageIds", "both tag and digest cannot be null"))
        }
        Err(_) => {
            let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "null".into());
            Err(Fail::new(
                "ImageNotFoundException",
                format!(
                    "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository \
                     with name '{repository}' in the registry with id '{}'",
                    text(&id.image_digest),
                    text(&id.image_tag),
                    registry.account
                ),
            ))
        }
    }
}

/// There is one storage class; asking for images of another is refused (API-81).
fn check_status(status: Option<ImageStatusFilter>) -> Result<(), Fail> {
    match status {
        None | Some(ImageStatusFilter::Active | ImageStatusFilter::Any) => Ok(()),
        Some(_) => Err(Fail::parameter("filter.imageStatus", "This feature is disabled")),
    }
}

fn parse_place(text: &str) -> Option<ImagePlace> {
    let (pushed_at, row_id) = text.split_once(':')?;
    Some(ImagePlace { pushed_at: pushed_at.parse().ok()?, row_id: row_id.parse().ok()? })
}
