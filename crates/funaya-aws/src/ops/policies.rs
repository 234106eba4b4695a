//! Policies of repositories and registries (03-repository-policies).

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{
        DeleteRegistryPolicy, DeleteRepositoryPolicy, GetRegistryPolicy, GetRepositoryPolicy, PutRegistryPolicy,
        SetRepositoryPolicy,
    },
};
use funaya_types::Registry;
use funaya_wire::ecr::{
    DeleteRegistryPolicyRequest, DeleteRegistryPolicyResponse, DeleteRepositoryPolicyRequest,
    DeleteRepositoryPolicyResponse, GetRegistryPolicyRequest, GetRegistryPolicyResponse, GetRepositoryPolicyRequest,
    GetRepositoryPolicyResponse, PutRegistryPolicyRequest, PutRegistryPolicyResponse, SetRepositoryPolicyRequest,
    SetRepositoryPolicyResponse,
};

use crate::{
    answer::json,
    door::{Door, Visit, repository_name},
    fail::Fail,
};

/// API-24
pub(crate) async fn set(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = SetRepositoryPolicyRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<SetRepositoryPolicy> = door.permit(visit, &registry, name).await?;
    let (text, force) = (&request.policy_text, request.force.unwrap_or_default());
    let done = door.hall.set_repository_policy(&door.gate, &permit, text, force).await;
    door.checked(&permit, done).await?;
    Ok(json(&SetRepositoryPolicyResponse {
        registry_id: id(&registry),
        repository_name: Some(request.repository_name),
        policy_text: Some(request.policy_text),
    }))
}

/// API-16
pub(crate) async fn get(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = GetRepositoryPolicyRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<GetRepositoryPolicy> = door.permit(visit, &registry, name).await?;
    let text = door.hall.repository_policy(&permit).await;
    let policy_text = Some(door.checked(&permit, text).await?);
    door.gate.record_read(&permit).await;
    let repository_name = Some(request.repository_name);
    Ok(json(&GetRepositoryPolicyResponse { registry_id: id(&registry), repository_name, policy_text }))
}

/// API-08
pub(crate) async fn delete(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = DeleteRepositoryPolicyRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<DeleteRepositoryPolicy> = door.permit(visit, &registry, name).await?;
    let text = door.hall.delete_repository_policy(&permit).await;
    let policy_text = Some(door.checked(&permit, text).await?);
    let repository_name = Some(request.repository_name);
    Ok(json(&DeleteRepositoryPolicyResponse { registry_id: id(&registry), repository_name, policy_text }))
}

/// API-50
pub(crate) async fn put_registry(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = PutRegistryPolicyRequest::from_json(&visit.body)?;
    let registry = door.own_registry(visit);
    let permit: Permit<PutRegistryPolicy> = door.permit(visit, &registry, ()).await?;
    let done = door.hall.put_registry_policy(&permit, &request.policy_text).await;
    door.checked(&permit, done).await?;
    Ok(json(&PutRegistryPolicyResponse { registry_id: id(&registry), policy_text: Some(request.policy_text) }))
}

/// API-44
pub(crate) async fn get_registry(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    GetRegistryPolicyRequest::from_json(&visit.body)?;
    let registry = door.own_registry(visit);
    let permit: Permit<GetRegistryPolicy> = door.permit(visit, &registry, ()).await?;
    let text = door.hall.registry_policy(&permit).await;
    let policy_text = Some(door.checked(&permit, text).await?);
    door.gate.record_read(&permit).await;
    Ok(json(&GetRegistryPolicyResponse { registry_id: id(&registry), policy_text }))
}

/// API-34
pub(crate) async fn delete_registry(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    DeleteRegistryPolicyRequest::from_json(&visit.body)?;
    let registry = door.own_registry(visit);
    let permit: Permit<DeleteRegistryPolicy> = door.permit(visit, &registry, ()).await?;
    let text = door.hall.delete_registry_policy(&permit).await;
    let policy_text = Some(door.checked(&permit, text).await?);
    Ok(json(&DeleteRegistryPolicyResponse { registry_id: id(&registry), policy_text }))
}

fn id(registry: &Registry) -> Option<String> {
    Some(registry.account.to_string())
}
