//! Groups (COMP-024 to COMP-030).

use funaya_gate::action::iam as actions;
use funaya_identity::User;
use funaya_wire::iam::{
    AddUserToGroupRequest, AddUserToGroupResponse, CreateGroupRequest, CreateGroupResponse, DeleteGroupRequest,
    DeleteGroupResponse, GetGroupRequest, GetGroupResponse, ListGroupsForUserRequest, ListGroupsForUserResponse,
    ListGroupsRequest, ListGroupsResponse, RemoveUserFromGroupRequest, RemoveUserFromGroupResponse, UpdateGroupRequest,
    UpdateGroupResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes, users,
};

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateGroupRequest = desk.read()?;
    let permit = desk.permit::<actions::CreateGroup>(Said::default()).await?;
    let path = request.path.as_deref().unwrap_or("/");
    let made = desk.hall().create_group(&permit, &request.group_name, path).await;
    desk.tell(&permit, made, |group| CreateGroupResponse { group: shapes::group(group) }).await
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetGroupRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::GetGroup>(Said::default()).await?;
    let found = desk.hall().group(&permit, &request.group_name, &at).await;
    desk.tell(&permit, found, |(group, page)| GetGroupResponse {
        group: shapes::group(group),
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        users: page.items.into_iter().map(|held| users::bare(User { held, boundary: None })).collect(),
    })
    .await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListGroupsRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListGroups>(Said::default()).await?;
    let found = desk.hall().groups(&permit, request.path_prefix.as_deref(), &at).await;
    desk.tell(&permit, found, |page| ListGroupsResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        groups: page.items.into_iter().map(shapes::group).collect(),
    })
    .await
}

pub(super) async fn list_of_user(desk: &Desk<'_>) -> Answered {
    let request: ListGroupsForUserRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListGroupsForUser>(Said::default()).await?;
    let found = desk.hall().groups_of(&permit, &request.user_name, &at).await;
    desk.tell(&permit, found, |page| ListGroupsForUserResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        groups: page.items.into_iter().map(shapes::group).collect(),
    })
    .await
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request: UpdateGroupRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateGroup>(Said::default()).await?;
    let (name, path) = (request.new_group_name.as_deref(), request.new_path.as_deref());
    let done = desk.hall().update_group(&permit, &request.group_name, name, path).await;
    desk.tell(&permit, done, |()| UpdateGroupResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteGroupRequest = desk.read()?;
    let permit = desk.permit::<actions::DeleteGroup>(Said::default()).await?;
    let done = desk.hall().delete_group(&permit, &request.group_name).await;
    desk.tell(&permit, done, |()| DeleteGroupResponse {}).await
}

pub(super) async fn add(desk: &Desk<'_>) -> Answered {
    let request: AddUserToGroupRequest = desk.read()?;
    let permit = desk.permit::<actions::AddUserToGroup>(Said::default()).await?;
    let done = desk.hall().add_user_to_group(&permit, &request.group_name, &request.user_name).await;
    desk.tell(&permit, done, |()| AddUserToGroupResponse {}).await
}

pub(super) async fn remove(desk: &Desk<'_>) -> Answered {
    let request: RemoveUserFromGroupRequest = desk.read()?;
    let permit = desk.permit::<actions::RemoveUserFromGroup>(Said::default()).await?;
    let done = desk.hall().remove_user_from_group(&permit, &request.group_name, &request.user_name).await;
    desk.tell(&permit, done, |()| RemoveUserFromGroupResponse {}).await
}
