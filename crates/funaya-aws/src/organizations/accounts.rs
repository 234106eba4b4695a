//! Accounts of the organization, and labels.

use funaya_gate::action::organizations as actions;
use funaya_identity::{Member, NewAccount, Org, Page};
use funaya_wire::organizations::{
    Account, CloseAccountRequest, CreateAccountRequest, CreateAccountResponse, CreateAccountState,
    DescribeAccountRequest, DescribeAccountResponse, DescribeCreateAccountStatusRequest,
    DescribeCreateAccountStatusResponse, ListAccountsForParentRequest, ListAccountsForParentResponse,
    ListAccountsRequest, ListAccountsResponse, ListCreateAccountStatusRequest, ListCreateAccountStatusResponse,
    ListTagsForResourceRequest, ListTagsForResourceResponse, MoveAccountRequest, TagResourceRequest,
    UntagResourceRequest,
};

use super::{
    Answered,
    desk::{Desk, Said},
    shapes,
};

pub(super) async fn create(desk: &Desk<'_>) -> Answered {
    let request = desk.read(CreateAccountRequest::from_json)?;
    let tags = shapes::given(request.tags);
    let permit = desk.permit::<actions::CreateAccount>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let new =
        NewAccount { name: request.account_name.0, email: Some(request.email.0), role_name: request.role_name, tags };
    let made = desk.hall().create_account(&permit, &new).await;
    desk.tell(&permit, made, |made| CreateAccountResponse { create_account_status: Some(shapes::request(made)) }).await
}

pub(super) async fn describe_request(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DescribeCreateAccountStatusRequest::from_json)?;
    let permit = desk.permit::<actions::DescribeCreateAccountStatus>(Said::default()).await?;
    let found = desk.hall().account_request(&permit, &request.create_account_request_id).await;
    desk.tell(&permit, found, |found| DescribeCreateAccountStatusResponse {
        create_account_status: Some(shapes::request(found)),
    })
    .await
}

pub(super) async fn list_requests(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListCreateAccountStatusRequest::from_json)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListCreateAccountStatus>(Said::default()).await?;
    let states = request.states.filter(|states| !states.is_empty());
    let wanted = |well: bool| {
        let state = if well { CreateAccountState::Succeeded } else { CreateAccountState::Failed };
        states.as_ref().is_none_or(|states| states.contains(&state))
    };
    let found = desk.hall().account_requests(&permit, wanted, &at).await;
    desk.tell(&permit, found, |page| ListCreateAccountStatusResponse {
        next_token: desk.next(page.next),
        create_account_statuses: Some(page.items.into_iter().map(shapes::request).collect()),
    })
    .await
}

pub(super) async fn describe(desk: &Desk<'_>) -> Answered {
    let request = desk.read(DescribeAccountRequest::from_json)?;
    let permit = desk.permit::<actions::DescribeAccount>(Said::default()).await?;
    let found = desk.hall().describe_account(&permit, &request.account_id).await;
    desk.tell(&permit, found, |(org, member)| DescribeAccountResponse { account: Some(shapes::account(&org, member)) })
        .await
}

fn accounts(org: &Org, page: Page<Member>) -> Option<Vec<Account>> {
    Some(page.items.into_iter().map(|member| shapes::account(org, member)).collect())
}

pub(super) async fn list(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListAccountsRequest::from_json)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListAccounts>(Said::default()).await?;
    let found = desk.hall().accounts(&permit, &at).await;
    desk.tell(&permit, found, |(org, page)| ListAccountsResponse {
        next_token: desk.next(page.next.clone()),
        accounts: accounts(&org, page),
    })
    .await
}

pub(super) async fn list_in(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListAccountsForParentRequest::from_json)?;
    let at = desk.page(request.next_token.as_deref(), request.max_results)?;
    let permit = desk.permit::<actions::ListAccountsForParent>(Said::default()).await?;
    let found = desk.hall().accounts_in(&permit, &request.parent_id, &at).await;
    desk.tell(&permit, found, |(org, page)| ListAccountsForParentResponse {
        next_token: desk.next(page.next.clone()),
        accounts: accounts(&org, page),
    })
    .await
}

pub(super) async fn move_to(desk: &Desk<'_>) -> Answered {
    let request = desk.read(MoveAccountRequest::from_json)?;
    let permit = desk.permit::<actions::MoveAccount>(Said::default()).await?;
    let (from, to) = (&request.source_parent_id, &request.destination_parent_id);
    let done = desk.hall().move_account(&permit, &request.account_id, from, to).await;
    desk.done(&permit, done).await
}

pub(super) async fn close(desk: &Desk<'_>) -> Answered {
    let request = desk.read(CloseAccountRequest::from_json)?;
    let permit = desk.permit::<actions::CloseAccount>(Said::default()).await?;
    let done = desk.hall().close_account(&permit, &request.account_id).await;
    desk.done(&permit, done).await
}

pub(super) async fn tag(desk: &Desk<'_>) -> Answered {
    let request = desk.read(TagResourceRequest::from_json)?;
    let tags = shapes::given(Some(request.tags));
    let permit = desk.permit::<actions::TagResource>(Said { tags: tags.clone(), ..Said::default() }).await?;
    let done = desk.hall().tag_member(&permit, &request.resource_id, &tags).await;
    desk.done(&permit, done).await
}

pub(super) async fn untag(desk: &Desk<'_>) -> Answered {
    let request = desk.read(UntagResourceRequest::from_json)?;
    let said = Said { keys: request.tag_keys.clone(), ..Said::default() };
    let permit = desk.permit::<actions::UntagResource>(said).await?;
    let done = desk.hall().untag_member(&permit, &request.resource_id, &request.tag_keys).await;
    desk.done(&permit, done).await
}

pub(super) async fn tags(desk: &Desk<'_>) -> Answered {
    let request = desk.read(ListTagsForResourceRequest::from_json)?;
    let permit = desk.permit::<actions::ListTagsForResource>(Said::default()).await?;
    let found = desk.hall().member_tags(&permit, &request.resource_id).await;
    desk.tell(&permit, found, |tags| ListTagsForResourceResponse { tags: Some(shapes::labels(tags)), next_token: None })
        .await
}
