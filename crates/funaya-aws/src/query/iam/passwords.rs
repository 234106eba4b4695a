//! Console passwords (COMP-009 to COMP-013).

use funaya_gate::action::iam as actions;
use funaya_identity::{LoginChange, LoginProfile, Owner};
use funaya_types::Secret;
use funaya_wire::iam::{
    self, ChangePasswordRequest, ChangePasswordResponse, CreateLoginProfileRequest, CreateLoginProfileResponse,
    DeleteLoginProfileRequest, DeleteLoginProfileResponse, GetLoginProfileRequest, GetLoginProfileResponse,
    UpdateLoginProfileRequest, UpdateLoginProfileResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};
use crate::fail::Fail;

/// Roots sign in otherwise.
fn user(owner: Owner) -> Result<String, Fail> {
    match owner {
        Owner::User(name) => Ok(name),
        Owner::Root => {
            Err(Fail::new("ValidationError", "Must specify userName when calling with non-User credentials"))
        }
    }
}

fn shape(profile: LoginProfile) -> iam::LoginProfile {
    iam::LoginProfile {
        user_name: profile.user_name,
        create_date: shapes::time(profile.created_at),
        password_reset_required: Some(profile.reset_required),
    }
}

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateLoginProfileRequest = desk.read()?;
    let name = user(desk.owner(request.user_name)?)?;
    let missing = || Fail::new("ValidationError", "The request must contain the parameter Password.");
    let password = Secret::new(request.password.ok_or_else(missing)?.0);
    let permit = desk.permit::<actions::CreateLoginProfile>(Said::default()).await?;
    let reset = request.password_reset_required.unwrap_or_default();
    let made = desk.hall().create_login_profile(&permit, &name, &password, reset).await;
    desk.tell(&permit, made, |profile| CreateLoginProfileResponse { login_profile: shape(profile) }).await
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetLoginProfileRequest = desk.read()?;
    let name = user(desk.owner(request.user_name)?)?;
    let permit = desk.permit::<actions::GetLoginProfile>(Said::default()).await?;
    let found = desk.hall().login_profile(&permit, &name).await;
    desk.tell(&permit, found, |profile| GetLoginProfileResponse { login_profile: shape(profile) }).await
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request: UpdateLoginProfileRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateLoginProfile>(Said::default()).await?;
    let password = request.password.map(|password| Secret::new(password.0));
    let new = LoginChange { password, reset_required: request.password_reset_required };
    let done = desk.hall().update_login_profile(&permit, &request.user_name, &new).await;
    desk.tell(&permit, done, |()| UpdateLoginProfileResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteLoginProfileRequest = desk.read()?;
    let name = user(desk.owner(request.user_name)?)?;
    let permit = desk.permit::<actions::DeleteLoginProfile>(Said::default()).await?;
    let done = desk.hall().delete_login_profile(&permit, &name).await;
    desk.tell(&permit, done, |()| DeleteLoginProfileResponse {}).await
}

pub(super) async fn change(desk: &Desk<'_>) -> Answered {
    let request: ChangePasswordRequest = desk.read()?;
    let permit = desk.permit::<actions::ChangePassword>(Said::default()).await?;
    let (old, new) = (Secret::new(request.old_password.0), Secret::new(request.new_password.0));
    let done = desk.hall().change_password(&permit, &old, &new).await;
    desk.tell(&permit, done, |()| ChangePasswordResponse {}).await
}
