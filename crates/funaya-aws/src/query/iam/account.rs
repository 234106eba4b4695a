//! The account: alias, summary, rules for passwords, reports (COMP-084 to COMP-087).

use funaya_gate::action::iam as actions;
use funaya_identity::{PasswordPolicy, Section};
use funaya_wire::{
    Blob,
    iam::{
        self, CreateAccountAliasRequest, CreateAccountAliasResponse, DeleteAccountAliasRequest,
        DeleteAccountAliasResponse, DeleteAccountPasswordPolicyResponse, EntityType, GenerateCredentialReportResponse,
        GetAccountAuthorizationDetailsRequest, GetAccountAuthorizationDetailsResponse,
        GetAccountPasswordPolicyResponse, GetAccountSummaryResponse, GetCredentialReportResponse,
        ListAccountAliasesRequest, ListAccountAliasesResponse, ReportFormatType, ReportStateType, SummaryKeyType,
        UpdateAccountPasswordPolicyRequest, UpdateAccountPasswordPolicyResponse,
    },
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

/// The shortest password where the rules name none.
const LENGTH_MIN: u32 = 6;

pub(super) async fn create_alias(desk: &Desk<'_>) -> Answered {
    let request: CreateAccountAliasRequest = desk.read()?;
    let permit = desk.permit::<actions::CreateAccountAlias>(Said::default()).await?;
    let done = desk.hall().create_alias(&permit, &request.account_alias).await;
    desk.tell(&permit, done, |()| CreateAccountAliasResponse {}).await
}

pub(super) async fn list_aliases(desk: &Desk<'_>) -> Answered {
    let request: ListAccountAliasesRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::ListAccountAliases>(Said::default()).await?;
    let found = desk.hall().aliases(&permit, &at).await;
    desk.tell(&permit, found, |page| ListAccountAliasesResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        account_aliases: page.items,
    })
    .await
}

pub(super) async fn delete_alias(desk: &Desk<'_>) -> Answered {
    let request: DeleteAccountAliasRequest = desk.read()?;
    let permit = desk.permit::<actions::DeleteAccountAlias>(Said::default()).await?;
    let done = desk.hall().delete_alias(&permit, &request.account_alias).await;
    desk.tell(&permit, done, |()| DeleteAccountAliasResponse {}).await
}

pub(super) async fn summary(desk: &Desk<'_>) -> Answered {
    let permit = desk.permit::<actions::GetAccountSummary>(Said::default()).await?;
    let found = desk.hall().summary(&permit).await;
    desk.tell(&permit, found, |summary| {
        let known = summary.into_iter().filter_map(|(name, count)| Some((SummaryKeyType::parse(name)?, count)));
        GetAccountSummaryResponse { summary_map: Some(known.collect()) }
    })
    .await
}

pub(super) async fn get_password_policy(desk: &Desk<'_>) -> Answered {
    let permit = desk.permit::<actions::GetAccountPasswordPolicy>(Said::default()).await?;
    let found = desk.hall().password_policy(&permit).await;
    desk.tell(&permit, found, |policy| GetAccountPasswordPolicyResponse {
        password_policy: iam::PasswordPolicy {
            minimum_password_length: Some(policy.length_min.into()),
            require_symbols: Some(policy.symbols),
            require_numbers: Some(policy.numbers),
            require_uppercase_characters: Some(policy.uppercase),
            require_lowercase_characters: Some(policy.lowercase),
            allow_users_to_change_password: Some(policy.users_may_change),
            expire_passwords: Some(policy.days_max.is_some()),
            max_password_age: policy.days_max.map(i64::from),
            password_reuse_prevention: policy.reuse_prevention.map(i64::from),
            hard_expiry: policy.hard_expiry,
        },
    })
    .await
}

pub(super) async fn update_password_policy(desk: &Desk<'_>) -> Answered {
    let request: UpdateAccountPasswordPolicyRequest = desk.read()?;
    let permit = desk.permit::<actions::UpdateAccountPasswordPolicy>(Said::default()).await?;
    // What is not said is not kept, but set to what IAM has at first.
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let policy = PasswordPolicy {
        length_min: number(request.minimum_password_length).unwrap_or(LENGTH_MIN),
        symbols: request.require_symbols.unwrap_or_default(),
        numbers: request.require_numbers.unwrap_or_default(),
        uppercase: request.require_uppercase_characters.unwrap_or_default(),
        lowercase: request.require_lowercase_characters.unwrap_or_default(),
        users_may_change: request.allow_users_to_change_password.unwrap_or_default(),
        days_max: number(request.max_password_age),
        reuse_prevention: number(request.password_reuse_prevention),
        hard_expiry: request.hard_expiry,
    };
    let done = desk.hall().update_password_policy(&permit, &policy).await;
    desk.tell(&permit, done, |()| UpdateAccountPasswordPolicyResponse {}).await
}

pub(super) async fn delete_password_policy(desk: &Desk<'_>) -> Answered {
    let permit = desk.permit::<actions::DeleteAccountPasswordPolicy>(Said::default()).await?;
    let done = desk.hall().delete_password_policy(&permit).await;
    desk.tell(&permit, done, |()| DeleteAccountPasswordPolicyResponse {}).await
}

pub(super) async fn generate_report(desk: &Desk<'_>) -> Answered {
    let permit = desk.permit::<actions::GenerateCredentialReport>(Said::default()).await?;
    let made = desk.hall().generate_report(&permit).await;
    desk.tell(&permit, made, |made| match made {
        true => GenerateCredentialReportResponse {
            state: Some(ReportStateType::Started),
            description: Some("No report exists. Starting a new report generation task".into()),
        },
        false => GenerateCredentialReportResponse { state: Some(ReportStateType::Complete), description: None },
    })
    .await
}

pub(super) async fn get_report(desk: &Desk<'_>) -> Answered {
    let permit = desk.permit::<actions::GetCredentialReport>(Said::default()).await?;
    let found = desk.hall().report(&permit).await;
    desk.tell(&permit, found, |(at, text)| GetCredentialReportResponse {
        content: Some(Blob(text.into_bytes())),
        report_format: Some(ReportFormatType::TextCsv),
        generated_time: Some(shapes::time(at)),
    })
    .await
}

pub(super) async fn details(desk: &Desk<'_>) -> Answered {
    let request: GetAccountAuthorizationDetailsRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::GetAccountAuthorizationDetails>(Said::default()).await?;
    let wanted: Vec<Section> = request.filter.unwrap_or_default().into_iter().map(section).collect();
    let found = desk.hall().details(&permit, &wanted, &at).await;
    desk.tell(&permit, found, |details| GetAccountAuthorizationDetailsResponse {
        user_detail_list: Some(details.users.into_iter().map(shapes::user_detail).collect()),
        group_detail_list: Some(details.groups.into_iter().map(shapes::group_detail).collect()),
        role_detail_list: Some(details.roles.into_iter().map(shapes::role_detail).collect()),
        policies: Some(details.policies.into_iter().map(shapes::policy_detail).collect()),
        is_truncated: Some(details.next.is_some()),
        marker: desk.marker(details.next),
    })
    .await
}

fn section(filter: EntityType) -> Section {
    match filter {
        EntityType::User => Section::Users,
        EntityType::Group => Section::Groups,
        EntityType::Role => Section::Roles,
        EntityType::LocalManagedPolicy => Section::OwnPolicies,
        EntityType::AWSManagedPolicy => Section::AwsPolicies,
    }
}
