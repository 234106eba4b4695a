//! Principals whose pulls do not count for `lastRecordedPullTime`.

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{DeregisterPullTimeUpdateExclusion, ListPullTimeUpdateExclusions, RegisterPullTimeUpdateExclusion},
};
use funaya_types::PrincipalArn;
use funaya_wire::{
    EpochSeconds,
    ecr::{
        DeregisterPullTimeUpdateExclusionRequest, DeregisterPullTimeUpdateExclusionResponse,
        ListPullTimeUpdateExclusionsRequest, ListPullTimeUpdateExclusionsResponse,
        RegisterPullTimeUpdateExclusionRequest, RegisterPullTimeUpdateExclusionResponse,
    },
};

use crate::{
    answer::json,
    door::{Door, Visit},
    fail::Fail,
    paging::{self, Paging},
};

/// Principals of a page where the caller names no number (API-48).
const PAGE_DEFAULT: u32 = 100;

/// API-54
pub(crate) async fn register(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = RegisterPullTimeUpdateExclusionRequest::from_json(&visit.body)?;
    let principal = principal(&request.principal_arn)?;
    let permit: Permit<RegisterPullTimeUpdateExclusion> = door.permit(visit, &door.own_registry(visit), ()).await?;
    let done = door.hall.exclude_pulls(&permit, &principal).await;
    let created_at = door.checked(&permit, done).await?;
    Ok(json(&RegisterPullTimeUpdateExclusionResponse {
        principal_arn: Some(request.principal_arn),
        created_at: Some(EpochSeconds(created_at.epoch_seconds())),
    }))
}

/// API-37
pub(crate) async fn deregister(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = DeregisterPullTimeUpdateExclusionRequest::from_json(&visit.body)?;
    let principal = principal(&request.principal_arn)?;
    let permit: Permit<DeregisterPullTimeUpdateExclusion> = door.permit(visit, &door.own_registry(visit), ()).await?;
    let done = door.hall.include_pulls(&permit, &principal).await;
    door.checked(&permit, done).await?;
    Ok(json(&DeregisterPullTimeUpdateExclusionResponse { principal_arn: Some(request.principal_arn) }))
}

/// API-48
pub(crate) async fn list(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = ListPullTimeUpdateExclusionsRequest::from_json(&visit.body)?;
    let registry = door.own_registry(visit);
    let permit: Permit<ListPullTimeUpdateExclusions> = door.permit(visit, &registry, ()).await?;
    let paging = Paging::new(
        &door.tokens,
        "ListPullTimeUpdateExclusions",
        &[registry.account.as_str(), registry.region.as_str()],
    );
    let after = paging.open(request.next_token.as_deref())?.unwrap_or_default();
    let limit = paging::limit(request.max_results, PAGE_DEFAULT);
    let found = door.hall.pull_exclusions(&permit, &after, limit).await;
    let found = door.checked(&permit, found).await?;
    door.gate.record_read(&permit).await;
    let next = (found.len() == limit as usize).then(|| found.last().map(ToString::to_string)).flatten();
    Ok(json(&ListPullTimeUpdateExclusionsResponse {
        pull_time_update_exclusions: Some(found.iter().map(ToString::to_string).collect()),
        next_token: next.map(|last| paging.seal(&last)),
    }))
}

fn principal(text: &str) -> Result<PrincipalArn, Fail> {
    text.parse().map_err(|_| Fail::parameter("principalArn", "Invalid ARN of a user or role"))
}
