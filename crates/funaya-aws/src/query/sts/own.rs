//! Operations on the caller itself (COMP-098 to COMP-101).

use funaya_gate::{Resource, Resources, action::sts as actions};
use funaya_identity::{Made, Wish, federated_arn};
use funaya_wire::sts::{
    DecodeAuthorizationMessageRequest, DecodeAuthorizationMessageResponse, FederatedUser, GetAccessKeyInfoRequest,
    GetAccessKeyInfoResponse, GetCallerIdentityRequest, GetCallerIdentityResponse, GetFederationTokenRequest,
    GetFederationTokenResponse, GetSessionTokenRequest, GetSessionTokenResponse,
};

use super::{
    super::{Answered, Said},
    desk::{self, Desk},
};

pub(super) async fn identity(desk: &Desk<'_>) -> Answered {
    desk.visit.judge();
    let _: GetCallerIdentityRequest = desk.read()?;
    let permit = desk.free::<actions::GetCallerIdentity>(Resources::all())?;
    let caller = desk.hall().caller_identity(&permit);
    let answer = GetCallerIdentityResponse {
        user_id: Some(caller.id),
        account: Some(caller.account.to_string()),
        arn: Some(caller.arn),
    };
    desk.visit.well(&permit, answer).await
}

pub(super) async fn session_token(desk: &Desk<'_>) -> Answered {
    desk.visit.judge();
    let request: GetSessionTokenRequest = desk.read()?;
    let proof = desk.proof(request.serial_number.as_deref(), request.token_code.as_deref()).await?;
    let permit = desk.free::<actions::GetSessionToken>(Resources::all())?;
    let duration_s = desk::seconds(request.duration_seconds);
    let made = desk.hall().session_token(&desk.visit.door.gate, &permit, duration_s, proof).await;
    desk.tell(&permit, made, |issued| GetSessionTokenResponse { credentials: Some(desk::credentials(issued)) }).await
}

pub(super) async fn federation_token(desk: &Desk<'_>) -> Answered {
    let request: GetFederationTokenRequest = desk.read()?;
    let wish = Wish {
        name: request.name,
        duration_s: desk::seconds(request.duration_seconds),
        policy: request.policy,
        policy_arns: desk::arns(request.policy_arns),
        tags: desk::tags(request.tags)?,
        ..Wish::default()
    };
    let account = desk.visit.account();
    let registry = desk.registry(account);
    let resource = Resource::plain(federated_arn(account, &wish.name));
    let said = || Said { tags: wish.tags.clone(), ..Said::default() }.of(resource.clone());
    let permit = desk.visit.permit::<actions::GetFederationToken>(&registry, said()).await?;
    if !wish.tags.is_empty() {
        desk.visit.permit::<actions::TagSession>(&registry, said()).await?;
    }
    let made = desk.hall().federation_token(&desk.visit.door.gate, &permit, wish).await;
    desk.tell(&permit, made, |made| {
        let Made { credentials, id: federated_user_id, arn, packed, .. } = made;
        GetFederationTokenResponse {
            credentials: Some(desk::credentials(credentials)),
            federated_user: Some(FederatedUser { federated_user_id, arn }),
            packed_policy_size: desk::packed(packed),
        }
    })
    .await
}

pub(super) async fn key_info(desk: &Desk<'_>) -> Answered {
    let request: GetAccessKeyInfoRequest = desk.read()?;
    let registry = desk.registry(desk.visit.account());
    let permit = desk.visit.permit::<actions::GetAccessKeyInfo>(&registry, Resources::all()).await?;
    let found = desk.hall().key_account(&permit, &request.access_key_id).await;
    desk.tell(&permit, found, |account| GetAccessKeyInfoResponse { account: Some(account.to_string()) }).await
}

pub(super) async fn decode_message(desk: &Desk<'_>) -> Answered {
    let request: DecodeAuthorizationMessageRequest = desk.read()?;
    let registry = desk.registry(desk.visit.account());
    let permit = desk.visit.permit::<actions::DecodeAuthorizationMessage>(&registry, Resources::all()).await?;
    let decoded = desk.hall().decoded_message(&permit, &request.encoded_message).await;
    desk.tell(&permit, decoded, |text| DecodeAuthorizationMessageResponse { decoded_message: Some(text) }).await
}
