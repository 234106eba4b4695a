//! The registry itself, and its authorization tokens.

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{DescribeRegistry, GetAuthorizationToken},
};
use funaya_types::Registry;
use funaya_wire::{
    EpochSeconds, Hidden,
    ecr::{
        AuthorizationData, DescribeRegistryRequest, DescribeRegistryResponse, GetAuthorizationTokenRequest,
        GetAuthorizationTokenResponse, ReplicationConfiguration,
    },
};

use crate::{
    answer::json,
    door::{Door, Visit},
    fail::Fail,
};

/// API-41: replication is not built, so there are no rules (API-72).
pub(crate) async fn describe(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    DescribeRegistryRequest::from_json(&visit.body)?;
    let registry = door.own_registry(visit);
    let permit: Permit<DescribeRegistry> = door.permit(visit, &registry, ()).await?;
    door.gate.record_read(&permit).await;
    Ok(json(&DescribeRegistryResponse {
        registry_id: Some(registry.account.to_string()),
        replication_configuration: Some(ReplicationConfiguration { rules: Vec::new() }),
    }))
}

/// API-12, AUTH-10 to AUTH-17.
pub(crate) async fn authorization_token(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = GetAuthorizationTokenRequest::from_json(&visit.body)?;
    let own = door.own_registry(visit);
    let permit: Permit<GetAuthorizationToken> = door.permit(visit, &own, ()).await?;
    let mut registries = Vec::new();
    for id in request.registry_ids.iter().flatten() {
        registries.push(door.registry(visit, Some(id))?);
    }
    if registries.is_empty() {
        registries.push(own);
    }
    let data = registries.iter().map(|registry| authorization(door, &permit, registry)).collect();
    door.gate.record_read(&permit).await;
    Ok(json(&GetAuthorizationTokenResponse { authorization_data: Some(data) }))
}

fn authorization(door: &Door, permit: &Permit<GetAuthorizationToken>, registry: &Registry) -> AuthorizationData {
    let token = door.gate.issue_token(permit);
    AuthorizationData {
        authorization_token: Some(Hidden(token.authorization)),
        expires_at: Some(EpochSeconds(token.expires_at.epoch_seconds())),
        proxy_endpoint: Some(door.hall.endpoints().registry_url(registry)),
    }
}
