//! Identity providers (COMP-088 to COMP-094).

use funaya_gate::action::iam as actions;
use funaya_wire::iam::{
    self, CreateOpenIDConnectProviderRequest, CreateOpenIDConnectProviderResponse, CreateSAMLProviderRequest,
    CreateSAMLProviderResponse, GetOpenIDConnectProviderRequest, GetOpenIDConnectProviderResponse,
    GetSAMLProviderRequest, GetSAMLProviderResponse, ListOpenIDConnectProvidersRequest,
    ListOpenIDConnectProvidersResponse, ListSAMLProvidersRequest, ListSAMLProvidersResponse,
    OpenIDConnectProviderListEntry, SAMLProviderListEntry, UpdateOpenIDConnectProviderThumbprintRequest,
    UpdateOpenIDConnectProviderThumbprintResponse, UpdateSAMLProviderRequest, UpdateSAMLProviderResponse,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};
use crate::fail::Fail;

pub(super) async fn create_oidc(desk: &Desk<'_>) -> Answered {
    let request: CreateOpenIDConnectProviderRequest = desk.read()?;
    let tags = shapes::given(request.tags);
    let said = Said { tags: tags.clone(), ..Said::default() };
    let permit = desk.permit::<actions::CreateOpenIDConnectProvider>(said).await?;
    let (clients, thumbprints) =
        (request.client_id_list.unwrap_or_default(), request.thumbprint_list.unwrap_or_default());
    let made = desk.hall().create_oidc(&permit, &request.url, &clients, &thumbprints, &tags).await;
    desk.tell(&permit, made, |row| CreateOpenIDConnectProviderResponse {
        open_id_connect_provider_arn: Some(row.arn()),
        tags: shapes::tags(&row.body.tags),
    })
    .await
}

pub(super) async fn get_oidc(desk: &Desk<'_>) -> Answered {
    let request: GetOpenIDConnectProviderRequest = desk.read()?;
    let permit = desk.permit::<actions::GetOpenIDConnectProvider>(Said::default()).await?;
    let found = desk.hall().oidc(&permit, &request.open_id_connect_provider_arn).await;
    desk.tell(&permit, found, |row| GetOpenIDConnectProviderResponse {
        // Without the scheme, as IAM shows it.
        url: Some(row.entity.place.key.clone()),
        client_id_list: Some(row.body.client_ids),
        thumbprint_list: Some(row.body.thumbprints),
        create_date: Some(shapes::time(row.entity.created_at)),
        tags: shapes::tags(&row.body.tags),
    })
    .await
}

pub(super) async fn list_oidc(desk: &Desk<'_>) -> Answered {
    let _: ListOpenIDConnectProvidersRequest = desk.read()?;
    let permit = desk.permit::<actions::ListOpenIDConnectProviders>(Said::default()).await?;
    let found = desk.hall().all_oidc(&permit).await;
    desk.tell(&permit, found, |rows| {
        let entries = rows.iter().map(|row| OpenIDConnectProviderListEntry { arn: Some(row.arn()) });
        ListOpenIDConnectProvidersResponse { open_id_connect_provider_list: Some(entries.collect()) }
    })
    .await
}

pub(super) async fn set_thumbprints(desk: &Desk<'_>) -> Answered {
    let request: UpdateOpenIDConnectProviderThumbprintRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateOpenIDConnectProviderThumbprint>(Said::default()).await?;
    let (arn, thumbprints) = (&request.open_id_connect_provider_arn, &request.thumbprint_list);
    let done = desk.hall().set_thumbprints(&permit, arn, thumbprints).await;
    desk.tell(&permit, done, |()| UpdateOpenIDConnectProviderThumbprintResponse {}).await
}

/// Encrypted assertions are not taken, so keys for them would be of no use.
fn no_encryption(wanted: bool) -> Result<(), Fail> {
    match wanted {
        true => Err(Fail::new("InvalidInput", "Encrypted assertions are not supported.")),
        false => Ok(()),
    }
}

pub(super) async fn create_saml(desk: &Desk<'_>) -> Answered {
    let request: CreateSAMLProviderRequest = desk.read()?;
    no_encryption(request.assertion_encryption_mode.is_some() || request.add_private_key.is_some())?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreateSAMLProvider>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let made = desk.hall().create_saml(&permit, &request.name, &request.saml_metadata_document, &tags).await;
    desk.tell(&permit, made, |row| CreateSAMLProviderResponse {
        saml_provider_arn: Some(row.arn()),
        tags: shapes::tags(&row.body.tags),
    })
    .await
}

pub(super) async fn get_saml(desk: &Desk<'_>) -> Answered {
    let request: GetSAMLProviderRequest = desk.read()?;
    let permit = desk.permit::<actions::GetSAMLProvider>(Said::default()).await?;
    let found = desk.hall().saml(&permit, &request.saml_provider_arn).await;
    desk.tell(&permit, found, |row| GetSAMLProviderResponse {
        saml_metadata_document: Some(row.body.metadata),
        create_date: Some(shapes::time(row.entity.created_at)),
        valid_until: row.body.valid_until.map(shapes::time),
        tags: shapes::tags(&row.body.tags),
        ..GetSAMLProviderResponse::default()
    })
    .await
}

pub(super) async fn list_saml(desk: &Desk<'_>) -> Answered {
    let _: ListSAMLProvidersRequest = desk.read()?;
    let permit = desk.permit::<actions::ListSAMLProviders>(Said::default()).await?;
    let found = desk.hall().all_saml(&permit).await;
    desk.tell(&permit, found, |rows| {
        let entries = rows.iter().map(|row| SAMLProviderListEntry {
            arn: Some(row.arn()),
            valid_until: row.body.valid_until.map(shapes::time),
            create_date: Some(shapes::time(row.entity.created_at)),
        });
        ListSAMLProvidersResponse { saml_provider_list: Some(entries.collect()) }
    })
    .await
}

pub(super) async fn update_saml(desk: &Desk<'_>) -> Answered {
    let request: UpdateSAMLProviderRequest = desk.read()?;
    let encryption = request.assertion_encryption_mode.is_some()
        || request.add_private_key.is_some()
        || request.remove_private_key.is_some();
    no_encryption(encryption)?;
    let missing = || Fail::new("InvalidInput", "SAMLMetadataDocument is required.");
    let metadata = request.saml_metadata_document.ok_or_else(missing)?;
    let permit = desk.permit::<actions::UpdateSAMLProvider>(Said::default()).await?;
    let arn = request.saml_provider_arn;
    let done = desk.hall().update_saml(&permit, &arn, &metadata).await;
    desk.tell(&permit, done, |()| UpdateSAMLProviderResponse { saml_provider_arn: Some(arn) }).await
}

/// Operations that have nothing but the provider's ARN and one more member.
macro_rules! plain {
    ($($function:ident $action:ident $request:ident $response:ident: $hall:ident($arn:ident $(, $more:ident)?);)*) => {
        $(pub(super) async fn $function(desk: &Desk<'_>) -> Answered {
            let request: iam::$request = desk.read()?;
            let permit = desk.permit::<actions::$action>(Said::default()).await?;
            let done = desk.hall().$hall(&permit, &request.$arn $(, &request.$more)?).await;
            desk.tell(&permit, done, |()| iam::$response {}).await
        })*
    };
}

plain! {
    delete_oidc DeleteOpenIDConnectProvider DeleteOpenIDConnectProviderRequest DeleteOpenIDConnectProviderResponse:
        delete_oidc(open_id_connect_provider_arn);
    add_client AddClientIDToOpenIDConnectProvider AddClientIDToOpenIDConnectProviderRequest
        AddClientIDToOpenIDConnectProviderResponse: add_client_id(open_id_connect_provider_arn, client_id);
    remove_client RemoveClientIDFromOpenIDConnectProvider RemoveClientIDFromOpenIDConnectProviderRequest
        RemoveClientIDFromOpenIDConnectProviderResponse: remove_client_id(open_id_connect_provider_arn, client_id);
    delete_saml DeleteSAMLProvider DeleteSAMLProviderRequest DeleteSAMLProviderResponse:
        delete_saml(saml_provider_arn);
}

/// The three operations on labels of one kind.
macro_rules! labels {
    ($arn:ident: $tag:ident $tag_action:ident $tag_request:ident $tag_response:ident $hall_tag:ident,
     $untag:ident $untag_action:ident $untag_request:ident $untag_response:ident $hall_untag:ident,
     $list:ident $list_action:ident $list_request:ident $list_response:ident $hall_list:ident) => {
        pub(super) async fn $tag(desk: &Desk<'_>) -> Answered {
            let request: iam::$tag_request = desk.read()?;
            let tags = shapes::given(Some(request.tags));
            let permit = desk.permit::<actions::$tag_action>(Said { tags: tags.clone(), ..Said::default() }).await?;
            let done = desk.hall().$hall_tag(&permit, &request.$arn, &tags).await;
            desk.tell(&permit, done, |()| iam::$tag_response {}).await
        }

        pub(super) async fn $untag(desk: &Desk<'_>) -> Answered {
            let request: iam::$untag_request = desk.read()?;
            let said = Said { keys: request.tag_keys.clone(), ..Said::default() };
            let permit = desk.permit::<actions::$untag_action>(said).await?;
            let done = desk.hall().$hall_untag(&permit, &request.$arn, &request.tag_keys).await;
            desk.tell(&permit, done, |()| iam::$untag_response {}).await
        }

        pub(super) async fn $list(desk: &Desk<'_>) -> Answered {
            let request: iam::$list_request = desk.read()?;
            let at = desk.page(request.marker.as_deref(), request.max_items)?;
            let permit = desk.permit::<actions::$list_action>(Said::default()).await?;
            let found = desk.hall().$hall_list(&permit, &request.$arn, &at).await;
            desk.tell(&permit, found, |page| iam::$list_response {
                is_truncated: Some(page.next.is_some()),
                marker: desk.marker(page.next),
                tags: shapes::all_tags(&page.items),
            })
            .await
        }
    };
}

labels!(open_id_connect_provider_arn:
    tag_oidc TagOpenIDConnectProvider TagOpenIDConnectProviderRequest TagOpenIDConnectProviderResponse tag_oidc,
    untag_oidc UntagOpenIDConnectProvider UntagOpenIDConnectProviderRequest UntagOpenIDConnectProviderResponse untag_oidc,
    oidc_tags ListOpenIDConnectProviderTags ListOpenIDConnectProviderTagsRequest ListOpenIDConnectProviderTagsResponse
        oidc_tags);
labels!(saml_provider_arn:
    tag_saml TagSAMLProvider TagSAMLProviderRequest TagSAMLProviderResponse tag_saml,
    untag_saml UntagSAMLProvider UntagSAMLProviderRequest UntagSAMLProviderResponse untag_saml,
    saml_tags ListSAMLProviderTags ListSAMLProviderTagsRequest ListSAMLProviderTagsResponse saml_tags);
