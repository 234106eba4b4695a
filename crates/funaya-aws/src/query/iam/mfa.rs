//! Virtual MFA devices (COMP-019 to COMP-023).

use funaya_gate::action::iam as actions;
use funaya_identity::{Assigned, Device, Owner, User};
use funaya_wire::{
    Blob,
    iam::{
        AssignmentStatusType, CreateVirtualMFADeviceRequest, CreateVirtualMFADeviceResponse,
        DeactivateMFADeviceRequest, DeactivateMFADeviceResponse, DeleteVirtualMFADeviceRequest,
        DeleteVirtualMFADeviceResponse, EnableMFADeviceRequest, EnableMFADeviceResponse, GetMFADeviceRequest,
        GetMFADeviceResponse, ListMFADeviceTagsRequest, ListMFADeviceTagsResponse, ListMFADevicesRequest,
        ListMFADevicesResponse, ListVirtualMFADevicesRequest, ListVirtualMFADevicesResponse, MFADevice,
        ResyncMFADeviceRequest, ResyncMFADeviceResponse, TagMFADeviceRequest, TagMFADeviceResponse,
        UntagMFADeviceRequest, UntagMFADeviceResponse, VirtualMFADevice,
    },
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    png, shapes,
};
use crate::fail::Fail;

/// What IAM calls the root where it would name a user.
const ROOT: &str = "root";

/// Whose device: root names itself by that word.
fn owner(desk: &Desk<'_>, user_name: Option<String>) -> Result<Owner, Fail> {
    let caller = desk.owner(None).ok();
    match user_name {
        Some(name) if name == ROOT && caller == Some(Owner::Root) => Ok(Owner::Root),
        user_name => desk.owner(user_name),
    }
}

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request: CreateVirtualMFADeviceRequest = desk.read()?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreateVirtualMFADevice>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let path = request.path.unwrap_or_else(|| "/".into());
    let made = desk.hall().create_device(&permit, &path, &request.virtual_mfa_device_name, &tags).await;
    desk.tell(&permit, made, |fresh| CreateVirtualMFADeviceResponse {
        virtual_mfa_device: VirtualMFADevice {
            serial_number: fresh.serial,
            qr_code_png: png::qr(fresh.uri.expose()).map(Blob),
            base32_string_seed: Some(Blob(fresh.seed.expose().as_bytes().to_vec())),
            tags: shapes::tags(&fresh.tags),
            ..VirtualMFADevice::default()
        },
    })
    .await
}

pub(super) async fn enable(desk: &Desk<'_>) -> Answered {
    let request: EnableMFADeviceRequest = desk.read()?;
    let owner = owner(desk, Some(request.user_name))?;
    let codes = [request.authentication_code1.as_str(), request.authentication_code2.as_str()];
    let permit = desk.permit::<actions::EnableMFADevice>(Said::default()).await?;
    let done = desk.hall().enable_device(&permit, &owner, &request.serial_number, codes).await;
    desk.tell(&permit, done, |()| EnableMFADeviceResponse {}).await
}

pub(super) async fn resync(desk: &Desk<'_>) -> Answered {
    let request: ResyncMFADeviceRequest = desk.read()?;
    let owner = owner(desk, Some(request.user_name))?;
    let codes = [request.authentication_code1.as_str(), request.authentication_code2.as_str()];
    let permit = desk.permit::<actions::ResyncMFADevice>(Said::default()).await?;
    let done = desk.hall().resync_device(&permit, &owner, &request.serial_number, codes).await;
    desk.tell(&permit, done, |()| ResyncMFADeviceResponse {}).await
}

pub(super) async fn deactivate(desk: &Desk<'_>) -> Answered {
    let request: DeactivateMFADeviceRequest = desk.read()?;
    let owner = owner(desk, request.user_name)?;
    let permit = desk.permit::<actions::DeactivateMFADevice>(Said::default()).await?;
    let done = desk.hall().deactivate_device(&permit, &owner, &request.serial_number).await;
    desk.tell(&permit, done, |()| DeactivateMFADeviceResponse {}).await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request: DeleteVirtualMFADeviceRequest = desk.read()?;
    let permit = desk.permit::<actions::DeleteVirtualMFADevice>(Said::default()).await?;
    let done = desk.hall().delete_device(&permit, &request.serial_number).await;
    desk.tell(&permit, done, |()| DeleteVirtualMFADeviceResponse {}).await
}

fn user_name(device: &Device) -> String {
    device.user.as_ref().map_or_else(|| ROOT.to_owned(), |held| held.body.name.clone())
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request: ListMFADevicesRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let owner = owner(desk, request.user_name)?;
    let permit = desk.permit::<actions::ListMFADevices>(Said::default()).await?;
    let found = desk.hall().devices_of(&permit, &owner, &at).await;
    let shape = |device: Device| MFADevice {
        user_name: user_name(&device),
        serial_number: device.serial().to_owned(),
        enable_date: device.row.body.enabled_at.map(shapes::time).unwrap_or_default(),
    };
    desk.tell(&permit, found, |page| ListMFADevicesResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        mfa_devices: page.items.into_iter().map(shape).collect(),
    })
    .await
}

pub(super) async fn list_virtual(desk: &Desk<'_>) -> Answered {
    let request: ListVirtualMFADevicesRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let assigned = match request.assignment_status {
        Some(AssignmentStatusType::Assigned) => Assigned::Yes,
        Some(AssignmentStatusType::Unassigned) => Assigned::No,
        Some(AssignmentStatusType::Any) | None => Assigned::Any,
    };
    let permit = desk.permit::<actions::ListVirtualMFADevices>(Said::default()).await?;
    let found = desk.hall().virtual_devices(&permit, assigned, &at).await;
    let shape = |device: Device| VirtualMFADevice {
        serial_number: device.serial().to_owned(),
        enable_date: device.row.body.enabled_at.map(shapes::time),
        user: device.user.map(|held| shapes::user(User { held, boundary: None })),
        ..VirtualMFADevice::default()
    };
    desk.tell(&permit, found, |page| ListVirtualMFADevicesResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        virtual_mfa_devices: page.items.into_iter().map(shape).collect(),
    })
    .await
}

pub(super) async fn get(desk: &Desk<'_>) -> Answered {
    let request: GetMFADeviceRequest = desk.read()?;
    let permit = desk.permit::<actions::GetMFADevice>(Said::default()).await?;
    let found = desk.hall().one_device(&permit, &request.serial_number).await;
    desk.tell(&permit, found, |device| GetMFADeviceResponse {
        user_name: device.user.as_ref().map(|held| held.body.name.clone()),
        serial_number: device.serial().to_owned(),
        enable_date: device.row.body.enabled_at.map(shapes::time),
        certifications: None,
    })
    .await
}

pub(super) async fn tag(desk: &Desk<'_>) -> Answered {
    let request: TagMFADeviceRequest = desk.read()?;
    let tags = shapes::given(Some(request.tags));
    let permit = desk.permit::<actions::TagMFADevice>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let done = desk.hall().tag_device(&permit, &request.serial_number, &tags).await;
    desk.tell(&permit, done, |()| TagMFADeviceResponse {}).await
}

pub(super) async fn untag(desk: &Desk<'_>) -> Answered {
    let request: UntagMFADeviceRequest = desk.read()?;
    let said = Said { keys: request.tag_keys.clone(), ..Said::default() };
    let permit = desk.permit::<actions::UntagMFADevice>(said).await?;
    let done = desk.hall().untag_device(&permit, &request.serial_number, &request.tag_keys).await;
    desk.tell(&permit, done, |()| UntagMFADeviceResponse {}).await
}

pub(super) async fn tags(desk: &Desk<'_>) -> Answered {
    let request: ListMFADeviceTagsRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListMFADeviceTags>(Said::default()).await?;
    let found = desk.hall().device_tags(&permit, &request.serial_number, &at).await;
    desk.tell(&permit, found, |page| ListMFADeviceTagsResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        tags: shapes::all_tags(&page.items),
    })
    .await
}
