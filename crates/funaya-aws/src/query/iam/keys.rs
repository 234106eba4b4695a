//! Access keys (COMP-014 to COMP-018), and lists of the credentials that are none of them.

use funaya_gate::action::iam as actions;
use funaya_wire::{
    Hidden,
    iam::{
        AccessKey, AccessKeyLastUsed, CreateAccessKeyRequest, CreateAccessKeyResponse, DeleteAccessKeyRequest,
        DeleteAccessKeyResponse, GetAccessKeyLastUsedRequest, GetAccessKeyLastUsedResponse, ListAccessKeysRequest,
        ListAccessKeysResponse, ListSSHPublicKeysRequest, ListSSHPublicKeysResponse,
        ListServiceSpecificCredentialsRequest, ListServiceSpecificCredentialsResponse, ListSigningCertificatesRequest,
        ListSigningCertificatesResponse, StatusType, UpdateAccessKeyRequest, UpdateAccessKeyResponse,
    },
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};
use crate::fail::Fail;

/// What IAM says of a root's keys where it would name the user.
const ROOT: &str = "root";
/// What IAM says of a key that was never used.
const NEVER: &str = "N/A";

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateAccessKeyRequest = desk.read()?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::CreateAccessKey>(Said::default()).await?;
    let made = desk.hall().create_access_key(&permit, &owner).await;
    desk.tell(&permit, made, |fresh| CreateAccessKeyResponse {
        access_key: AccessKey {
            user_name: fresh.key.user_name.unwrap_or_else(|| ROOT.into()),
            access_key_id: fresh.key.id,
            status: shapes::status(fresh.key.active),
            secret_access_key: Hidden(fresh.secret.expose().to_owned()),
            create_date: fresh.key.created_at.map(shapes::time),
        },
    })
    .await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListAccessKeysRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::ListAccessKeys>(Said::default()).await?;
    let found = desk.hall().access_keys(&permit, &owner, &at).await;
    desk.tell(&permit, found, |page| ListAccessKeysResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        access_key_metadata: page.items.into_iter().map(shapes::key).collect(),
    })
    .await
}

/// Nobody has an SSH key: there is no CodeCommit to upload one for. Who deletes a user asks nevertheless.
pub(super) async fn list_ssh(desk: &Desk<'_>) -> Answered {
    let request: ListSSHPublicKeysRequest = desk.read()?;
    desk.page(request.marker.as_deref(), request.max_items)?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::ListSSHPublicKeys>(Said::default()).await?;
    let none = desk.hall().no_other_credentials(&permit, &owner).await;
    desk.tell(&permit, none, |()| ListSSHPublicKeysResponse {
        ssh_public_keys: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
    .await
}

/// Nobody has a certificate: requests are signed by access keys alone.
pub(super) async fn list_certificates(desk: &Desk<'_>) -> Answered {
    let request: ListSigningCertificatesRequest = desk.read()?;
    desk.page(request.marker.as_deref(), request.max_items)?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::ListSigningCertificates>(Said::default()).await?;
    let none = desk.hall().no_other_credentials(&permit, &owner).await;
    desk.tell(&permit, none, |()| ListSigningCertificatesResponse {
        certificates: Vec::new(),
        is_truncated: Some(false),
        marker: None,
    })
    .await
}

/// Nobody has a password for another service: there is no other service that takes one.
pub(super) async fn list_service_specific(desk: &Desk<'_>) -> Answered {
    let request: ListServiceSpecificCredentialsRequest = desk.read()?;
    desk.page(request.marker.as_deref(), request.max_items)?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::ListServiceSpecificCredentials>(Said::default()).await?;
    let none = desk.hall().no_other_credentials(&permit, &owner).await;
    desk.tell(&permit, none, |()| ListServiceSpecificCredentialsResponse {
        service_specific_credentials: Some(Vec::new()),
        is_truncated: Some(false),
        marker: None,
    })
    .await
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request: UpdateAccessKeyRequest = desk.read()?;
    let owner = desk.owner(request.user_name)?;
    let active = match request.status {
        StatusType::Active => true,
        StatusType::Inactive => false,
        StatusType::Expired => return Err(Fail::new("ValidationError", "A key can't be made Expired.")),
    };
    let permit = desk.permit::<actions::UpdateAccessKey>(Said::default()).await?;
    let done = desk.hall().update_access_key(&permit, &owner, &request.access_key_id, active).await;
    desk.tell(&permit, done, |()| UpdateAccessKeyResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteAccessKeyRequest = desk.read()?;
    let owner = desk.owner(request.user_name)?;
    let permit = desk.permit::<actions::DeleteAccessKey>(Said::default()).await?;
    let done = desk.hall().delete_access_key(&permit, &owner, &request.access_key_id).await;
    desk.tell(&permit, done, |()| DeleteAccessKeyResponse {}).await
}

pub(super) async fn last_used(desk: &Desk<'_>) -> Answered {
    let request: GetAccessKeyLastUsedRequest = desk.read()?;
    let permit = desk.permit::<actions::GetAccessKeyLastUsed>(Said::default()).await?;
    let found = desk.hall().access_key_last_used(&permit, &request.access_key_id).await;
    desk.tell(&permit, found, |used| {
        let last = match used.last {
            Some(last) => AccessKeyLastUsed {
                last_used_date: Some(shapes::time(last.at)),
                service_name: last.service,
                region: last.region,
            },
            None => AccessKeyLastUsed { last_used_date: None, service_name: NEVER.into(), region: NEVER.into() },
        };
        GetAccessKeyLastUsedResponse { user_name: used.user_name, access_key_last_used: Some(last) }
    })
    .await
}
