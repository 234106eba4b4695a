//! Roles (COMP-031 to COMP-036, COMP-047).

use funaya_gate::action::iam as actions;
use funaya_identity::NewRole;
use funaya_wire::iam::{
    CreateRoleRequest, CreateRoleResponse, CreateServiceLinkedRoleRequest, CreateServiceLinkedRoleResponse,
    DeleteRoleRequest, DeleteRoleResponse, GetRoleRequest, GetRoleResponse, ListRolesRequest, ListRolesResponse, Role,
    UpdateAssumeRolePolicyRequest, UpdateAssumeRolePolicyResponse, UpdateRoleDescriptionRequest,
    UpdateRoleDescriptionResponse, UpdateRoleRequest, UpdateRoleResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateRoleRequest = desk.read()?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreateRole>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let new = NewRole {
        name: request.role_name,
        path: request.path.unwrap_or_else(|| "/".into()),
        trust: request.assume_role_policy_document,
        description: request.description,
        session_seconds_max: seconds(request.max_session_duration),
        boundary: request.permissions_boundary,
        tags,
    };
    let made = desk.hall().create_role(&permit, new).await;
    desk.tell(&permit, made, |role| CreateRoleResponse { role: Role { role_last_used: None, ..shapes::role(role) } })
        .await
}

/// The shapes have checked its bounds.
fn seconds(value: Option<i64>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetRoleRequest = desk.read()?;
    let permit = desk.permit::<actions::GetRole>(Said::default()).await?;
    let found = desk.hall().role(&permit, &request.role_name).await;
    desk.tell(&permit, found, |role| GetRoleResponse { role: shapes::role(role) }).await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListRolesRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListRoles>(Said::default()).await?;
    let found = desk.hall().roles(&permit, request.path_prefix.as_deref(), &at).await;
    desk.tell(&permit, found, |page| ListRolesResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        roles: page.items.into_iter().map(shapes::bare_role).collect(),
    })
    .await
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request: UpdateRoleRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateRole>(Said::default()).await?;
    let (text, session) = (request.description.as_deref(), seconds(request.max_session_duration));
    let done = desk.hall().update_role(&permit, &request.role_name, text, session).await;
    desk.tell(&permit, done, |()| UpdateRoleResponse {}).await
}

pub(super) async fn update_description(desk: &Desk<'_>) -> Answered {
    let request: UpdateRoleDescriptionRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateRoleDescription>(Said::default()).await?;
    let done = desk.hall().update_role_description(&permit, &request.role_name, &request.description).await;
    desk.tell(&permit, done, |role| UpdateRoleDescriptionResponse { role: Some(shapes::role(role)) }).await
}

pub(super) async fn update_trust(desk: &Desk<'_>) -> Answered {
    let request: UpdateAssumeRolePolicyRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateAssumeRolePolicy>(Said::default()).await?;
    let done = desk.hall().update_trust(&permit, &request.role_name, &request.policy_document).await;
    desk.tell(&permit, done, |()| UpdateAssumeRolePolicyResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteRoleRequest = desk.read()?;
    let permit = desk.permit::<actions::DeleteRole>(Said::default()).await?;
    let done = desk.hall().delete_role(&permit, &request.role_name).await;
    desk.tell(&permit, done, |()| DeleteRoleResponse {}).await
}

/// IAM-14: always refused, but only to those who may ask.
pub(super) async fn create_service_linked(desk: &Desk<'_>) -> Answered {
    let request: CreateServiceLinkedRoleRequest = desk.read()?;
    let permit = desk.permit::<actions::CreateServiceLinkedRole>(Said::default()).await?;
    let refused = Err(desk.hall().create_service_linked_role(&permit, &request.aws_service_name));
    desk.tell(&permit, refused, |()| CreateServiceLinkedRoleResponse { role: None }).await
}
