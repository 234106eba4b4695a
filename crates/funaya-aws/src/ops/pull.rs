//! Pulling: manifests, download URLs, referrers.

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{BatchGetImage, GetDownloadUrlForLayer, ListImageReferrers},
};
use funaya_registry::{Accepted, Manifest, Pulled};
use funaya_types::{Digest, Reference};
use funaya_wire::ecr::{
    ArtifactStatusFilter, BatchGetImageRequest, BatchGetImageResponse, GetDownloadUrlForLayerRequest,
    GetDownloadUrlForLayerResponse, Image, ImageFailure, ImageFailureCode, ImageIdentifier, ImageReferrer,
    ListImageReferrersRequest, ListImageReferrersResponse,
};
use http::StatusCode;

use crate::{
    answer::json,
    door::{Door, Visit, repository_name},
    fail::Fail,
    ops::images::{failure, read_id},
    paging::{self, Paging},
};

/// Referrers of a page where the caller names no number (API-47).
const REFERRERS_DEFAULT: u32 = 20;

/// API-03, IMG-55, IMG-65
pub(crate) async fn batch_get(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = BatchGetImageRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<BatchGetImage> = door.permit(visit, &registry, name).await?;
    let accepted = Accepted::from_media_types(request.accepted_media_types.as_deref().unwrap_or_default());
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for id in &request.image_ids {
        match get_one(door, &permit, id, &accepted).await? {
            Ok(manifest) => images.push(Image {
                registry_id: Some(registry.account.to_string()),
                repository_name: Some(request.repository_name.clone()),
                image_id: Some(ImageIdentifier {
                    image_digest: Some(manifest.digest.to_string()),
                    image_tag: id.image_tag.clone(),
                }),
                image_manifest: Some(String::from_utf8_lossy(&manifest.bytes).into_owned()),
                image_manifest_media_type: Some(manifest.media_type.to_string()),
            }),
            Err(failure) => failures.push(failure),
        }
    }
    door.gate.record_read(&permit).await;
    Ok(json(&BatchGetImageResponse { images: Some(images), failures: Some(failures) }))
}

async fn get_one(
    door: &Door,
    permit: &Permit<BatchGetImage>,
    id: &ImageIdentifier,
    accepted: &Accepted,
) -> Result<Result<Manifest, ImageFailure>, Fail> {
    let target = match read_id(id) {
        Ok(target) => target,
        Err(code) => return Ok(Err(failure(id, code))),
    };
    // With a digest there is no conversion (MAN-13); the stored manifest tells whether both agree.
    let all = Accepted::default();
    let (reference, wanted) = match (&target.tag, target.digest) {
        (Some(tag), None) => (Reference::Tag(tag.clone()), accepted),
        (Some(tag), Some(_)) => (Reference::Tag(tag.clone()), &all),
        (None, Some(digest)) => (Reference::Digest(digest), accepted),
        (None, None) => return Ok(Err(failure(id, ImageFailureCode::MissingDigestAndTag))),
    };
    let found = door.hall.manifest(permit, &reference, wanted).await;
    Ok(match door.checked(permit, found).await? {
        Pulled::NoImage | Pulled::NotAccepted(_) => Err(failure(id, ImageFailureCode::ImageNotFound)),
        Pulled::Image(manifest) if target.tag.is_some() && target.digest.is_some_and(|one| one != manifest.digest) => {
            Err(failure(id, ImageFailureCode::ImageTagDoesNotMatchDigest))
        }
        Pulled::Image(manifest) if !accepted.takes(manifest.media_type.as_str()) => {
            Err(failure(id, ImageFailureCode::ImageNotFound))
        }
        Pulled::Image(manifest) => Ok(manifest),
    })
}

/// API-13, IMG-27
pub(crate) async fn download_url(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = GetDownloadUrlForLayerRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<GetDownloadUrlForLayer> = door.permit(visit, &registry, name).await?;
    let digest: Digest = request.layer_digest.parse().map_err(|_| {
        Fail::new("LayersNotFoundException", format!("The layer with digest '{}' does not exist", request.layer_digest))
    })?;
    let found = door.hall.layer_of_image(&permit, &digest).await;
    door.checked(&permit, found).await?;
    door.gate.record_read(&permit).await;
    let url = door.hall.endpoints().registry_url(&registry);
    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    let failed = || Fail::new("ServerException", "").status(StatusCode::INTERNAL_SERVER_ERROR);
    let target = door.gate.sign_download(&permit, &digest, host).ok_or_else(failed)?;
    Ok(json(&GetDownloadUrlForLayerResponse {
        download_url: Some(format!("{url}{target}")),
        layer_digest: Some(digest.to_string()),
    }))
}

/// API-47
pub(crate) async fn referrers(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = ListImageReferrersRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<ListImageReferrers> = door.permit(visit, &registry, name).await?;
    let filter = request.filter.unwrap_or_default();
    match filter.artifact_status {
        None | Some(ArtifactStatusFilter::Active | ArtifactStatusFilter::Any) => {}
        Some(_) => return Err(Fail::parameter("filter.artifactStatus", "This feature is disabled")),
    }
    let types = filter.artifact_types.unwrap_or_default();
    let subject = &request.subject_id.image_digest;
    let digest: Digest = subject.parse().map_err(|_| Fail::parameter("subjectId.imageDigest", "Invalid digest"))?;
    let account = registry.account.to_string();
    let mut bound = vec![account.as_str(), registry.region.as_str(), request.repository_name.as_str(), subject];
    bound.extend(types.iter().map(String::as_str));
    let paging = Paging::new(&door.tokens, "ListImageReferrers", &bound);
    let after = paging.open(request.next_token.as_deref())?.and_then(|text| text.parse().ok()).unwrap_or_default();
    let limit = paging::limit(request.max_results, REFERRERS_DEFAULT);
    let found = door.hall.referrers(&permit, &digest, &types, after, limit).await;
    let found = door.checked(&permit, found).await?;
    door.gate.record_read(&permit).await;
    let referrers = found.items.into_iter().map(|item| ImageReferrer {
        digest: item.image.digest.to_string(),
        media_type: item.image.media_type.to_string(),
        artifact_type: item.image.artifact_type,
        size: i64::try_from(item.image.manifest_bytes).unwrap_or(i64::MAX),
        annotations: (!item.annotations.is_empty()).then_some(item.annotations),
        artifact_status: None,
    });
    Ok(json(&ListImageReferrersResponse {
        referrers: Some(referrers.collect()),
        next_token: found.next.map(|next| paging.seal(&next.to_string())),
    }))
}
