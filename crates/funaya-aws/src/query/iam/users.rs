//! Users (COMP-001 to COMP-005).

use funaya_gate::action::iam as actions;
use funaya_identity::{NewUser, Owner, User};
use funaya_wire::iam::{
    CreateUserRequest, CreateUserResponse, DeleteUserRequest, DeleteUserResponse, GetUserRequest, GetUserResponse,
    ListUsersRequest, ListUsersResponse, UpdateUserRequest, UpdateUserResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateUserRequest = desk.read()?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreateUser>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let path = request.path.unwrap_or_else(|| "/".into());
    let new = NewUser { name: request.user_name, path, boundary: request.permissions_boundary, tags };
    let made = desk.hall().create_user(&permit, new).await;
    desk.tell(&permit, made, |user| CreateUserResponse { user: Some(shapes::user(user)) }).await
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetUserRequest = desk.read()?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::GetUser>(Said::default()).await?;
    match owner {
        Owner::User(name) => {
            let found = desk.hall().user(&permit, &name).await;
            desk.tell(&permit, found, |user| GetUserResponse { user: shapes::user(user) }).await
        }
        Owner::Root => {
            let found = desk.hall().root_user(&permit).await;
            desk.tell(&permit, found, |root| GetUserResponse { user: shapes::root(root) }).await
        }
    }
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListUsersRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListUsers>(Said::default()).await?;
    let found = desk.hall().users(&permit, request.path_prefix.as_deref(), &at).await;
    desk.tell(&permit, found, |page| ListUsersResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        users: page.items.into_iter().map(|held| bare(User { held, boundary: None })).collect(),
    })
    .await
}

/// A list tells neither of labels nor of boundaries.
pub(super) fn bare(user: User) -> funaya_wire::iam::User {
    funaya_wire::iam::User { tags: None, ..shapes::user(user) }
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request: UpdateUserRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateUser>(Said::default()).await?;
    let (name, path) = (request.new_user_name.as_deref(), request.new_path.as_deref());
    let done = desk.hall().update_user(&permit, &request.user_name, name, path).await;
    desk.tell(&permit, done, |()| UpdateUserResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteUserRequest = desk.read()?;
    let permit = desk.permit::<actions::DeleteUser>(Said::default()).await?;
    let done = desk.hall().delete_user(&permit, &request.user_name).await;
    desk.tell(&permit, done, |()| DeleteUserResponse {}).await
}
