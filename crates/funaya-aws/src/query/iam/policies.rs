//! Managed policies (COMP-048 to COMP-056).

use funaya_gate::action::iam as actions;
use funaya_identity::{Filter, NewPolicy};
use funaya_wire::iam::{
    CreatePolicyRequest, CreatePolicyResponse, CreatePolicyVersionRequest, CreatePolicyVersionResponse,
    DeletePolicyRequest, DeletePolicyResponse, DeletePolicyVersionRequest, DeletePolicyVersionResponse,
    GetPolicyRequest, GetPolicyResponse, GetPolicyVersionRequest, GetPolicyVersionResponse, ListPoliciesRequest,
    ListPoliciesResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse, Policy, PolicyScopeType,
    PolicyUsageType, SetDefaultPolicyVersionRequest, SetDefaultPolicyVersionResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreatePolicyRequest = desk.read()?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreatePolicy>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let new = NewPolicy {
        name: request.policy_name,
        path: request.path.unwrap_or_else(|| "/".into()),
        document: request.policy_document,
        description: request.description,
        tags,
    };
    let made = desk.hall().create_policy(&permit, new).await;
    // The answer to its maker has no description.
    let shape = |policy| Policy { description: None, ..shapes::policy(policy) };
    desk.tell(&permit, made, |policy| CreatePolicyResponse { policy: Some(shape(policy)) }).await
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetPolicyRequest = desk.read()?;
    let permit = desk.permit::<actions::GetPolicy>(Said::default()).await?;
    let found = desk.hall().managed_policy(&permit, &request.policy_arn).await;
    desk.tell(&permit, found, |policy| GetPolicyResponse { policy: Some(shapes::policy(policy)) }).await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListPoliciesRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListPolicies>(Said::default()).await?;
    let usage = request.policy_usage_filter;
    let filter = Filter {
        aws: request.scope != Some(PolicyScopeType::Local),
        own: request.scope != Some(PolicyScopeType::Aws),
        attached: request.only_attached.unwrap_or_default() || usage == Some(PolicyUsageType::PermissionsPolicy),
        bounding: usage == Some(PolicyUsageType::PermissionsBoundary),
        path_prefix: request.path_prefix.unwrap_or_else(|| "/".into()),
    };
    let found = desk.hall().policies(&permit, &filter, &at).await;
    desk.tell(&permit, found, |page| {
        // A list tells neither of labels nor of descriptions.
        let shape = |policy| Policy { description: None, tags: None, ..shapes::policy(policy) };
        ListPoliciesResponse {
            is_truncated: Some(page.next.is_some()),
            marker: desk.marker(page.next),
            policies: Some(page.items.into_iter().map(shape).collect()),
        }
    })
    .await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeletePolicyRequest = desk.read()?;
    let permit = desk.permit::<actions::DeletePolicy>(Said::default()).await?;
    let done = desk.hall().delete_policy(&permit, &request.policy_arn).await;
    desk.tell(&permit, done, |()| DeletePolicyResponse {}).await
}

pub(super) async fn create_version(desk: &Desk<'_>) -> Answered {
    let request: CreatePolicyVersionRequest = desk.read()?;
    let permit = desk.permit::<actions::CreatePolicyVersion>(Said::default()).await?;
    let as_default = request.set_as_default.unwrap_or_default();
    let made = desk.hall().create_policy_version(&permit, &request.policy_arn, &request.policy_document, as_default);
    let shape = |version| CreatePolicyVersionResponse { policy_version: Some(shapes::version(version, false)) };
    desk.tell(&permit, made.await, shape).await
}

pub(super) async fn get_version(desk: &Desk<'_>) -> Answered {
    let request: GetPolicyVersionRequest = desk.read()?;
    let permit = desk.permit::<actions::GetPolicyVersion>(Said::default()).await?;
    let found = desk.hall().policy_version(&permit, &request.policy_arn, &request.version_id).await;
    let shape = |version| GetPolicyVersionResponse { policy_version: Some(shapes::version(version, true)) };
    desk.tell(&permit, found, shape).await
}

pub(super) async fn list_versions(desk: &Desk<'_>) -> Answered {
    let request: ListPolicyVersionsRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListPolicyVersions>(Said::default()).await?;
    let found = desk.hall().policy_versions(&permit, &request.policy_arn, &at).await;
    desk.tell(&permit, found, |page| ListPolicyVersionsResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        versions: Some(page.items.into_iter().map(|version| shapes::version(version, false)).collect()),
    })
    .await
}

pub(super) async fn set_default_version(desk: &Desk<'_>) -> Answered {
    let request: SetDefaultPolicyVersionRequest = desk.read()?;
    let permit = desk.permit::<actions::SetDefaultPolicyVersion>(Said::default()).await?;
    let done = desk.hall().set_default_version(&permit, &request.policy_arn, &request.version_id).await;
    desk.tell(&permit, done, |()| SetDefaultPolicyVersionResponse {}).await
}

pub(super) async fn delete_version(desk: &Desk<'_>) -> Answered {
    let request: DeletePolicyVersionRequest = desk.read()?;
    let permit = desk.permit::<actions::DeletePolicyVersion>(Said::default()).await?;
    let done = desk.hall().delete_policy_version(&permit, &request.policy_arn, &request.version_id).await;
    desk.tell(&permit, done, |()| DeletePolicyVersionResponse {}).await
}
