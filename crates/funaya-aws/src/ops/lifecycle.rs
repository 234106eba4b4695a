//! Lifecycle policies (06-lifecycle-policies).

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{
        DeleteLifecyclePolicy, GetLifecyclePolicy, GetLifecyclePolicyPreview, PutLifecyclePolicy,
        StartLifecyclePolicyPreview,
    },
};
use funaya_registry::{Attached, ImageRef, Listed, PreviewStatus, preview_token};
use funaya_types::{ImageTag, Registry};
use funaya_wire::{
    EpochSeconds,
    ecr::{
        DeleteLifecyclePolicyRequest, DeleteLifecyclePolicyResponse, GetLifecyclePolicyPreviewRequest,
        GetLifecyclePolicyPreviewResponse, GetLifecyclePolicyRequest, GetLifecyclePolicyResponse, ImageActionType,
        ImageFailureCode, ImageIdentifier, LifecyclePolicyPreviewResult, LifecyclePolicyPreviewStatus,
        LifecyclePolicyPreviewSummary, LifecyclePolicyRuleAction, PutLifecyclePolicyRequest,
        PutLifecyclePolicyResponse, StartLifecyclePolicyPreviewRequest, StartLifecyclePolicyPreviewResponse, TagStatus,
    },
};

use crate::{
    answer::json,
    door::{Door, Visit, repository_name},
    fail::Fail,
    ops::images::read_id,
    paging::{self, Paging},
};

/// API-23. With the header of a preview's token the policy is put only if its outcome is still
/// the one that was shown.
pub(crate) async fn put(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = PutLifecyclePolicyRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<PutLifecyclePolicy> = door.permit(visit, &registry, name).await?;
    let token = visit.lifecycle_token.as_deref();
    let done = door.hall.put_lifecycle_policy(&permit, &request.lifecycle_policy_text, token).await;
    door.checked(&permit, done).await?;
    Ok(json(&PutLifecyclePolicyResponse {
        registry_id: id(&registry),
        repository_name: Some(request.repository_name),
        lifecycle_policy_text: Some(request.lifecycle_policy_text),
    }))
}

/// API-14
pub(crate) async fn get(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = GetLifecyclePolicyRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<GetLifecyclePolicy> = door.permit(visit, &registry, name).await?;
    let attached = door.hall.lifecycle_policy(&permit).await;
    let attached = door.checked(&permit, attached).await?;
    door.gate.record_read(&permit).await;
    Ok(json(&GetLifecyclePolicyResponse {
        registry_id: id(&registry),
        repository_name: Some(request.repository_name),
        last_evaluated_at: evaluated_at(&attached),
        lifecycle_policy_text: Some(attached.text),
    }))
}

/// API-06
pub(crate) async fn delete(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = DeleteLifecyclePolicyRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<DeleteLifecyclePolicy> = door.permit(visit, &registry, name).await?;
    let attached = door.hall.delete_lifecycle_policy(&permit).await;
    let attached = door.checked(&permit, attached).await?;
    Ok(json(&DeleteLifecyclePolicyResponse {
        registry_id: id(&registry),
        repository_name: Some(request.repository_name),
        last_evaluated_at: evaluated_at(&attached),
        lifecycle_policy_text: Some(attached.text),
    }))
}

/// LIFE-42
fn evaluated_at(attached: &Attached) -> Option<EpochSeconds> {
    Some(EpochSeconds(attached.evaluated_at.unwrap_or_default().epoch_seconds()))
}

/// API-26
pub(crate) async fn start_preview(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = StartLifecyclePolicyPreviewRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<StartLifecyclePolicyPreview> = door.permit(visit, &registry, name).await?;
    let text = door.hall.start_lifecycle_preview(&permit, request.lifecycle_policy_text).await;
    let text = door.checked(&permit, text).await?;
    door.gate.record_read(&permit).await;
    Ok(json(&StartLifecyclePolicyPreviewResponse {
        registry_id: id(&registry),
        repository_name: Some(request.repository_name),
        lifecycle_policy_text: Some(text),
        status: Some(LifecyclePolicyPreviewStatus::InProgress),
    }))
}

/// API-15
pub(crate) async fn get_preview(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = GetLifecyclePolicyPreviewRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<GetLifecyclePolicyPreview> = door.permit(visit, &registry, name).await?;
    let is_paged = request.next_token.is_some() || request.max_results.is_some();
    if request.image_ids.is_some() && is_paged {
        return Err(Fail::parameter("imageIds", "must not be given with nextToken or maxResults"));
    }
    let paging =
        Paging::new(&door.tokens, "GetLifecyclePolicyPreview", &[&registry.to_string(), &request.repository_name]);
    let from = match paging.open(request.next_token.as_deref())? {
        Some(place) => place.parse().map_err(|_| Fail::parameter("nextToken", "Invalid token"))?,
        None => 0,
    };
    let limit = paging::limit(request.max_results, paging::DEFAULT) as usize;
    let status = request.filter.and_then(|filter| filter.tag_status);
    let wanted = |listed: &Listed| has_status(listed, status);
    let page = match request.image_ids.as_deref() {
        Some(ids) if !ids.is_empty() => door.hall.lifecycle_preview_of(&permit, &image_refs(ids)?, wanted).await,
        _ => door.hall.lifecycle_preview(&permit, from, limit, wanted).await,
    };
    let page = door.checked(&permit, page).await?;
    door.gate.record_read(&permit).await;
    let complete = page.preview.status == PreviewStatus::Complete;
    if complete {
        // Set once for each visit.
        let _ = visit.preview_token.set(preview_token(&page.preview.policy, page.preview.marked.iter().copied()));
    }
    Ok(json(&GetLifecyclePolicyPreviewResponse {
        registry_id: id(&registry),
        repository_name: Some(request.repository_name),
        status: Some(match page.preview.status {
            PreviewStatus::InProgress => LifecyclePolicyPreviewStatus::InProgress,
            PreviewStatus::Complete => LifecyclePolicyPreviewStatus::Complete,
            PreviewStatus::Failed => LifecyclePolicyPreviewStatus::Failed,
        }),
        next_token: page.next.map(|next| paging.seal(&next.to_string())),
        preview_results: Some(page.images.iter().map(|(listed, rule)| result(listed, *rule)).collect()),
        summary: complete.then(|| LifecyclePolicyPreviewSummary {
            expiring_image_total_count: i64::try_from(page.preview.marked.len()).ok(),
            transitioning_image_total_counts: None,
        }),
        lifecycle_policy_text: Some(page.preview.policy),
    }))
}

fn has_status(listed: &Listed, status: Option<TagStatus>) -> bool {
    match status {
        Some(TagStatus::Tagged) => !listed.tags.is_empty(),
        Some(TagStatus::Untagged) => listed.tags.is_empty(),
        _ => true,
    }
}

/// Images that can't exist are in no preview.
fn image_refs(ids: &[ImageIdentifier]) -> Result<Vec<ImageRef>, Fail> {
    let read = |id| match read_id(id) {
        Ok(image) => Some(Ok(image)),
        Err(ImageFailureCode::MissingDigestAndTag) => {
            Some(Err(Fail::parameter("imageIds", "both tag and digest cannot be null")))
        }
        Err(_) => None,
    };
    ids.iter().filter_map(read).collect()
}

fn result(listed: &Listed, rule: u64) -> LifecyclePolicyPreviewResult {
    LifecyclePolicyPreviewResult {
        image_tags: Some(listed.tags.iter().map(ImageTag::to_string).collect()),
        image_digest: Some(listed.image.digest.to_string()),
        image_pushed_at: Some(EpochSeconds(listed.image.pushed_at.epoch_seconds())),
        action: Some(LifecyclePolicyRuleAction { r#type: Some(ImageActionType::Expire), target_storage_class: None }),
        applied_rule_priority: i64::try_from(rule).ok(),
        storage_class: None,
    }
}

fn id(registry: &Registry) -> Option<String> {
    Some(registry.account.to_string())
}
