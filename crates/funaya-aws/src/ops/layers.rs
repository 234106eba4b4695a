//! The layer upload API (05-images, "Direct layer upload by API").

use std::sync::Arc;

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{BatchCheckLayerAvailability, CompleteLayerUpload, InitiateLayerUpload, UploadLayerPart},
};
use funaya_registry::{Error, Part};
use funaya_types::{Algorithm, Digest, Registry, UploadId, limits};
use funaya_wire::ecr::{
    BatchCheckLayerAvailabilityRequest, BatchCheckLayerAvailabilityResponse, CompleteLayerUploadRequest,
    CompleteLayerUploadResponse, InitiateLayerUploadRequest, InitiateLayerUploadResponse, Layer, LayerAvailability,
    LayerFailure, LayerFailureCode, UploadLayerPartRequest, UploadLayerPartResponse,
};
use serde_json::json as value;

use crate::{
    answer::json,
    door::{Door, Visit, repository_name},
    fail::Fail,
};

/// API-01
pub(crate) async fn batch_check(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = BatchCheckLayerAvailabilityRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<BatchCheckLayerAvailability> = door.permit(visit, &registry, name).await?;
    let (mut layers, mut failures) = (Vec::new(), Vec::new());
    for text in &request.layer_digests {
        let Ok(digest) = text.parse::<Digest>() else {
            failures.push(layer_failure(text));
            continue;
        };
        let found = door.hall.check_layer(&permit, &digest).await;
        let found = door.checked(&permit, found).await?;
        layers.push(Layer {
            layer_digest: Some(text.clone()),
            layer_availability: Some(match &found {
                Some(_) => LayerAvailability::Available,
                None => LayerAvailability::Unavailable,
            }),
            layer_size: found.as_ref().map(|layer| i64::try_from(layer.size).unwrap_or(i64::MAX)),
            media_type: found.map(|layer| layer.media_type),
        });
    }
    door.gate.record_read(&permit).await;
    Ok(json(&BatchCheckLayerAvailabilityResponse { layers: Some(layers), failures: Some(failures) }))
}

fn layer_failure(text: &str) -> LayerFailure {
    let (code, reason) = if text.is_empty() {
        (LayerFailureCode::MissingLayerDigest, "Invalid request parameters: layer digest cannot be null".to_owned())
    } else {
        let reason = "Invalid request parameters: layer digest should satisfy the regex \
                      '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'";
        (LayerFailureCode::InvalidLayerDigest, reason.to_owned())
    };
    LayerFailure { layer_digest: Some(text.into()), failure_code: Some(code), failure_reason: Some(reason) }
}

/// API-17
pub(crate) async fn initiate(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = InitiateLayerUploadRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<InitiateLayerUpload> = door.permit(visit, &registry, name).await?;
    let id = door.hall.initiate_upload(&permit, Algorithm::Sha256).await;
    let id = door.checked(&permit, id).await?;
    Ok(json(&InitiateLayerUploadResponse {
        upload_id: Some(id.to_string()),
        part_size: Some(limits::PART_BYTES_RECOMMENDED as i64),
    }))
}

/// API-29, IMG-21 to IMG-24
pub(crate) async fn upload_part(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = UploadLayerPartRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let id = upload_id(&request.upload_id)?;
    let blob = Bytes::from(request.layer_part_blob.0);
    let (first, last) = (request.part_first_byte, request.part_last_byte);
    let asked = value!({
        "registryId": registry.account.as_str(),
        "repositoryName": name.as_str(),
        "uploadId": id.to_string(),
        "partFirstByte": first,
        "partLastByte": last,
    });
    let permit: Arc<Permit<UploadLayerPart>> = Arc::new(door.permit_with(visit, &registry, name, asked).await?);
    let length = i64::try_from(blob.len()).unwrap_or(i64::MAX);
    if length == 0 || first.checked_add(length - 1) != Some(last) {
        let received = door.hall.upload_status(&permit, id).await;
        let received = door.checked(&permit, received).await?;
        let fail = Fail::new(
            "InvalidLayerPartException",
            format!("The part's bytes {first} to {last} do not agree with its length of {length} bytes"),
        );
        let fail = fail.with("lastValidByteReceived", value!(received.saturating_sub(1)));
        return Err(about_part(fail, &registry, &request.repository_name, id));
    }
    let part = Part {
        body: Box::pin(futures_util::stream::once(async move { Ok(blob) })),
        offset: Some(first.unsigned_abs()),
        length: Some(length.unsigned_abs()),
        counted: true,
    };
    let received = door.hall.append(&permit, id, part).await;
    let is_part_fault = matches!(received, Err(Error::WrongOffset { .. } | Error::UploadBusy(_)));
    match door.checked(&permit, received).await {
        Ok(received) => Ok(json(&UploadLayerPartResponse {
            registry_id: Some(registry.account.to_string()),
            repository_name: Some(request.repository_name),
            upload_id: Some(id.to_string()),
            last_byte_received: Some(i64::try_from(received).unwrap_or(i64::MAX) - 1),
        })),
        Err(fail) if is_part_fault => Err(about_part(fail, &registry, &request.repository_name, id)),
        Err(fail) => Err(fail),
    }
}

/// The members that `InvalidLayerPartException` carries beside its message.
fn about_part(fail: Fail, registry: &Registry, repository: &str, id: UploadId) -> Fail {
    fail.with("registryId", value!(registry.account.as_str()))
        .with("repositoryName", value!(repository))
        .with("uploadId", value!(id.to_string()))
}

/// API-04, IMG-25
pub(crate) async fn complete(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = CompleteLayerUploadRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let id = upload_id(&request.upload_id)?;
    let permit: Arc<Permit<CompleteLayerUpload>> = Arc::new(door.permit(visit, &registry, name).await?);
    let digest = request.layer_digests.iter().find_map(|text| text.parse::<Digest>().ok());
    let digest = digest.ok_or_else(|| Fail::new("InvalidLayerException", "No layer digest is a SHA-256 digest"))?;
    let done = door.hall.complete(&permit, None, id, digest, true).await;
    door.checked(&permit, done).await?;
    Ok(json(&CompleteLayerUploadResponse {
        registry_id: Some(registry.account.to_string()),
        repository_name: Some(request.repository_name),
        upload_id: Some(id.to_string()),
        layer_digest: Some(digest.to_string()),
    }))
}

fn upload_id(text: &str) -> Result<UploadId, Fail> {
    text.to_ascii_lowercase().parse().map_err(|_| Fail::parameter("uploadId", "Invalid id"))
}
