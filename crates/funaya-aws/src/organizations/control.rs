//! Service control policies (IAM-23).

use funaya_gate::action::organizations as actions;
use funaya_identity::NewControlPolicy;
use funaya_wire::organizations::{
    AttachPolicyRequest, CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, DescribePolicyRequest,
    DescribePolicyResponse, DetachPolicyRequest, DisablePolicyTypeRequest, DisablePolicyTypeResponse,
    EnablePolicyTypeRequest, EnablePolicyTypeResponse, ListPoliciesForTargetRequest, ListPoliciesForTargetResponse,
    ListPoliciesRequest, ListPoliciesResponse, ListTargetsForPolicyRequest, ListTargetsForPolicyResponse, PolicyType,
    UpdatePolicyRequest, UpdatePolicyResponse,
};

use super::{
    Answered,
    desk::{Desk, Said},
    shapes,
};
use crate::fail::Fail;

fn said() -> Said {
    Said { policies: true, ..Said::default() }
}

/// Of all types of policies there is one.
fn available(of: &PolicyType) -> Result<(), Fail> {
    let text = "You can't use the specified policy type with the feature set currently enabled for this organization.";
    match of {
        PolicyType::ServiceControlPolicy => Ok(()),
        _ => Err(Fail::new("PolicyTypeNotAvailableForOrganizationException", text)),
    }
}

/// Lists have no policies of other types.
fn listed(of: &PolicyType) -> Result<(), Fail> {
    match of {
        PolicyType::ServiceControlPolicy => Ok(()),
        _ => Err(Fail::new("InvalidInputException", "Only SERVICE_CONTROL_POLICY is supported.")),
    }
}

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request = desk.read(CreatePolicyRequest::from_json)?;
    available(&request.r#type)?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreatePolicy>(Said { tags: tags.clone(), ..said() }).await?;
    let new =
        NewControlPolicy { name: request.name, description: request.description, document: request.content, tags };
    let made = desk.hall().create_control_policy(&permit, &new).await;
    desk.tell(&permit, made, |(org, policy)| CreatePolicyResponse { policy: Some(shapes::policy(&org, policy)) }).await
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request = desk.read(UpdatePolicyRequest::from_json)?;
    let permit = desk.permit::<actions::UpdatePolicy>(said()).await?;
    let (name, description, content) =
        (request.name.as_deref(), request.description.as_deref(), request.content.as_deref());
    let done = desk.hall().update_control_policy(&permit, &request.policy_id, name, description, content).await;
    desk.tell(&permit, done, |(org, policy)| UpdatePolicyResponse { policy: Some(shapes::policy(&org, policy)) }).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DeletePolicyRequest::from_json)?;
    let permit = desk.permit::<actions::DeletePolicy>(said()).await?;
    let done = desk.hall().delete_control_policy(&permit, &request.policy_id).await;
    desk.done(&permit, done).await
}

pub(super) async fn describe(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DescribePolicyRequest::from_json)?;
    let permit = desk.permit::<actions::DescribePolicy>(said()).await?;
    let found = desk.hall().describe_control_policy(&permit, &request.policy_id).await;
    desk.tell(&permit, found, |(org, policy)| DescribePolicyResponse { policy: Some(shapes::policy(&org, policy)) })
        .await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListPoliciesRequest::from_json)?;
    listed(&request.filter)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListPolicies>(said()).await?;
    let found = desk.hall().list_control_policies(&permit, &at).await;
    desk.tell(&permit, found, |(org, page)| ListPoliciesResponse {
        next_token: desk.next(page.next),
        policies: Some(page.items.iter().map(|policy| shapes::summary(&org, policy)).collect()),
    })
    .await
}

pub(super) async fn attach(desk: &Desk<'_>) -> Answered {
    let request = desk.read(AttachPolicyRequest::from_json)?;
    let permit = desk.permit::<actions::AttachPolicy>(said()).await?;
    let done = desk.hall().attach_control_policy(&permit, &request.policy_id, &request.target_id).await;
    desk.done(&permit, done).await
}

pub(super) async fn detach(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DetachPolicyRequest::from_json)?;
    let permit = desk.permit::<actions::DetachPolicy>(said()).await?;
    let done = desk.hall().detach_control_policy(&permit, &request.policy_id, &request.target_id).await;
    desk.done(&permit, done).await
}

pub(super) async fn of_target(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListPoliciesForTargetRequest::from_json)?;
    listed(&request.filter)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListPoliciesForTarget>(said()).await?;
    let found = desk.hall().policies_of_target(&permit, &request.target_id, &at).await;
    desk.tell(&permit, found, |(org, page)| ListPoliciesForTargetResponse {
        next_token: desk.next(page.next),
        policies: Some(page.items.iter().map(|policy| shapes::summary(&org, policy)).collect()),
    })
    .await
}

pub(super) async fn targets(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListTargetsForPolicyRequest::from_json)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListTargetsForPolicy>(said()).await?;
    let found = desk.hall().targets_of_policy(&permit, &request.policy_id, &at).await;
    desk.tell(&permit, found, |(org, page)| ListTargetsForPolicyResponse {
        next_token: desk.next(page.next),
        targets: Some(page.items.into_iter().map(|target| shapes::target(&org, target)).collect()),
    })
    .await
}

pub(super) async fn enable(desk: &Desk<'_>) -> Answered {
    let request = desk.read(EnablePolicyTypeRequest::from_json)?;
    available(&request.policy_type)?;
    let permit = desk.permit::<actions::EnablePolicyType>(said()).await?;
    let done = desk.hall().enable_policies(&permit, &request.root_id).await;
    desk.tell(&permit, done, |org| EnablePolicyTypeResponse { root: Some(shapes::root(&org)) }).await
}

pub(super) async fn disable(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DisablePolicyTypeRequest::from_json)?;
    available(&request.policy_type)?;
    let permit = desk.permit::<actions::DisablePolicyType>(said()).await?;
    let done = desk.hall().disable_policies(&permit, &request.root_id).await;
    desk.tell(&permit, done, |org| DisablePolicyTypeResponse { root: Some(shapes::root(&org)) }).await
}
