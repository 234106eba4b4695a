//! Instance profiles (COMP-040 to COMP-046).

use funaya_gate::action::iam as actions;
use funaya_wire::iam::{
    AddRoleToInstanceProfileRequest, AddRoleToInstanceProfileResponse, CreateInstanceProfileRequest,
    CreateInstanceProfileResponse, DeleteInstanceProfileRequest, DeleteInstanceProfileResponse,
    GetInstanceProfileRequest, GetInstanceProfileResponse, ListInstanceProfilesForRoleRequest,
    ListInstanceProfilesForRoleResponse, ListInstanceProfilesRequest, ListInstanceProfilesResponse,
    RemoveRoleFromInstanceProfileRequest, RemoveRoleFromInstanceProfileResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateInstanceProfileRequest = desk.read()?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreateInstanceProfile>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let path = request.path.as_deref().unwrap_or("/");
    let made = desk.hall().create_profile(&permit, &request.instance_profile_name, path, &tags).await;
    let shape = |profile| CreateInstanceProfileResponse { instance_profile: shapes::profile(profile) };
    desk.tell(&permit, made, shape).await
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetInstanceProfileRequest = desk.read()?;
    let permit = desk.permit::<actions::GetInstanceProfile>(Said::default()).await?;
    let found = desk.hall().profile(&permit, &request.instance_profile_name).await;
    let shape = |profile| GetInstanceProfileResponse { instance_profile: shapes::profile(profile) };
    desk.tell(&permit, found, shape).await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListInstanceProfilesRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListInstanceProfiles>(Said::default()).await?;
    let found = desk.hall().profiles(&permit, request.path_prefix.as_deref(), &at).await;
    desk.tell(&permit, found, |page| ListInstanceProfilesResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        instance_profiles: page.items.into_iter().map(shapes::profile).collect(),
    })
    .await
}

pub(super) async fn list_of_role(desk: &Desk<'_>) -> Answered {
    let request: ListInstanceProfilesForRoleRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListInstanceProfilesForRole>(Said::default()).await?;
    let found = desk.hall().profiles_with(&permit, &request.role_name, &at).await;
    desk.tell(&permit, found, |page| ListInstanceProfilesForRoleResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        instance_profiles: page.items.into_iter().map(shapes::profile).collect(),
    })
    .await
}

pub(super) async fn add_role(desk: &Desk<'_>) -> Answered {
    let request: AddRoleToInstanceProfileRequest = desk.read()?;
    let permit = desk.permit::<actions::AddRoleToInstanceProfile>(Said::default()).await?;
    desk.pass_role(&permit, &request.role_name).await?;
    let done = desk.hall().add_role(&permit, &request.instance_profile_name, &request.role_name).await;
    desk.tell(&permit, done, |()| AddRoleToInstanceProfileResponse {}).await
}

pub(super) async fn remove_role(desk: &Desk<'_>) -> Answered {
    let request: RemoveRoleFromInstanceProfileRequest = desk.read()?;
    let permit = desk.permit::<actions::RemoveRoleFromInstanceProfile>(Said::default()).await?;
    let done = desk.hall().remove_role(&permit, &request.instance_profile_name, &request.role_name).await;
    desk.tell(&permit, done, |()| RemoveRoleFromInstanceProfileResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteInstanceProfileRequest = desk.read()?;
    let permit = desk.permit::<actions::DeleteInstanceProfile>(Said::default()).await?;
    let done = desk.hall().delete_profile(&permit, &request.instance_profile_name).await;
    desk.tell(&permit, done, |()| DeleteInstanceProfileResponse {}).await
}
