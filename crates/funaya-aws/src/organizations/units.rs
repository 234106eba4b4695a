//! The organization, its root, its units.

use funaya_gate::action::organizations as actions;
use funaya_identity::is_account;
use funaya_wire::organizations::{
    Child, ChildType, CreateOrganizationRequest, CreateOrganizationResponse, CreateOrganizationalUnitRequest,
    CreateOrganizationalUnitResponse, DeleteOrganizationalUnitRequest, DescribeOrganizationResponse,
    DescribeOrganizationalUnitRequest, DescribeOrganizationalUnitResponse, ListChildrenRequest, ListChildrenResponse,
    ListOrganizationalUnitsForParentRequest, ListOrganizationalUnitsForParentResponse, ListParentsRequest,
    ListParentsResponse, ListRootsRequest, ListRootsResponse, OrganizationFeatureSet, Parent, ParentType,
    UpdateOrganizationalUnitRequest, UpdateOrganizationalUnitResponse,
};

use super::{
    Answered,
    desk::{Desk, Said},
    shapes,
};
use crate::fail::Fail;

pub(super) async fn create_organization(desk: &Desk<'_>) -> Answered {
    let request = desk.read(CreateOrganizationRequest::from_json)?;
    if request.feature_set == Some(OrganizationFeatureSet::ConsolidatedBilling) {
        return Err(Fail::new("InvalidInputException", "Only the feature set ALL is supported."));
    }
    let permit = desk.permit::<actions::CreateOrganization>(Said::default()).await?;
    let made = desk.hall().create_organization(&permit).await;
    desk.tell(&permit, made, |org| CreateOrganizationResponse { organization: Some(shapes::organization(&org)) }).await
}

pub(super) async fn describe_organization(desk: &Desk<'_>) -> Answered {
    let permit = desk.permit::<actions::DescribeOrganization>(Said::default()).await?;
    let found = desk.hall().describe_organization(&permit).await;
    desk.tell(&permit, found, |org| DescribeOrganizationResponse { organization: Some(shapes::organization(&org)) })
        .await
}

pub(super) async fn roots(desk: &Desk<'_>) -> Answered {
    desk.read(ListRootsRequest::from_json)?;
    let permit = desk.permit::<actions::ListRoots>(Said::default()).await?;
    let found = desk.hall().roots(&permit).await;
    desk.tell(&permit, found, |org| ListRootsResponse { roots: Some(vec![shapes::root(&org)]), next_token: None }).await
}

pub(super) async fn parents(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListParentsRequest::from_json)?;
    let permit = desk.permit::<actions::ListParents>(Said::default()).await?;
    let found = desk.hall().parent(&permit, &request.child_id).await;
    desk.tell(&permit, found, |id| {
        let of = if id.starts_with("r-") { ParentType::Root } else { ParentType::OrganizationalUnit };
        ListParentsResponse { parents: Some(vec![Parent { id: Some(id), r#type: Some(of) }]), next_token: None }
    })
    .await
}

pub(super) async fn children(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListChildrenRequest::from_json)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListChildren>(Said::default()).await?;
    let accounts = request.child_type == ChildType::Account;
    let found = desk.hall().children(&permit, &request.parent_id, accounts, &at).await;
    desk.tell(&permit, found, |page| {
        let child = |id: String| {
            let of = if is_account(&id) { ChildType::Account } else { ChildType::OrganizationalUnit };
            Child { id: Some(id), r#type: Some(of) }
        };
        ListChildrenResponse {
            next_token: desk.next(page.next),
            children: Some(page.items.into_iter().map(child).collect()),
        }
    })
    .await
}

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request = desk.read(CreateOrganizationalUnitRequest::from_json)?;
    let tags = shapes::given(request.tags);
    let said = Said { tags: tags.clone(), ..Said::default() };
    let permit = desk.permit::<actions::CreateOrganizationalUnit>(said).await?;
    let made = desk.hall().create_unit(&permit, &request.parent_id, &request.name, &tags).await;
    desk.tell(&permit, made, |(org, unit)| CreateOrganizationalUnitResponse {
        organizational_unit: Some(shapes::unit(&org, unit)),
    })
    .await
}

pub(super) async fn describe(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DescribeOrganizationalUnitRequest::from_json)?;
    let permit = desk.permit::<actions::DescribeOrganizationalUnit>(Said::default()).await?;
    let found = desk.hall().describe_unit(&permit, &request.organizational_unit_id).await;
    desk.tell(&permit, found, |(org, unit)| DescribeOrganizationalUnitResponse {
        organizational_unit: Some(shapes::unit(&org, unit)),
    })
    .await
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListOrganizationalUnitsForParentRequest::from_json)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListOrganizationalUnitsForParent>(Said::default()).await?;
    let found = desk.hall().units(&permit, &request.parent_id, &at).await;
    desk.tell(&permit, found, |(org, page)| ListOrganizationalUnitsForParentResponse {
        next_token: desk.next(page.next),
        organizational_units: Some(page.items.into_iter().map(|unit| shapes::unit(&org, unit)).collect()),
    })
    .await
}

pub(super) async fn update(desk: &Desk<'_>) -> Answered {
    let request = desk.read(UpdateOrganizationalUnitRequest::from_json)?;
    let permit = desk.permit::<actions::UpdateOrganizationalUnit>(Said::default()).await?;
    let done = desk.hall().update_unit(&permit, &request.organizational_unit_id, request.name.as_deref()).await;
    desk.tell(&permit, done, |(org, unit)| UpdateOrganizationalUnitResponse {
        organizational_unit: Some(shapes::unit(&org, unit)),
    })
    .await
}

pub(super) async fn delete(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DeleteOrganizationalUnitRequest::from_json)?;
    let permit = desk.permit::<actions::DeleteOrganizationalUnit>(Said::default()).await?;
    let done = desk.hall().delete_unit(&permit, &request.organizational_unit_id).await;
    desk.done(&permit, done).await
}
