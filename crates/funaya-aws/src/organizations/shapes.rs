//! From the hall's values to the shapes of Organizations.

use funaya_identity::{ControlPolicy, ControlTarget, Member, Org, Request, Tag, Unit, is_account};
use funaya_types::Timestamp;
use funaya_wire::{
    EpochSeconds, Hidden,
    organizations::{
        Account, AccountJoinedMethod, AccountState, AccountStatus, CreateAccountFailureReason, CreateAccountState,
        CreateAccountStatus, Organization, OrganizationFeatureSet, OrganizationalUnit, Policy, PolicySummary,
        PolicyTargetSummary, PolicyType, PolicyTypeStatus, PolicyTypeSummary, Root, Tag as Label, TargetType,
    },
};

fn time(at: Timestamp) -> Option<EpochSeconds> {
    Some(EpochSeconds(at.epoch_seconds()))
}

pub(super) fn given(tags: Option<Vec<Label>>) -> Vec<Tag> {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

pub(super) fn labels(tags: Vec<Tag>) -> Vec<Label> {
    tags.into_iter().map(|(key, value)| Label { key, value }).collect()
}

fn policy_types() -> Vec<PolicyTypeSummary> {
    let summary =
        PolicyTypeSummary { r#type: Some(PolicyType::ServiceControlPolicy), status: Some(PolicyTypeStatus::Enabled) };
    vec![summary]
}

pub(super) fn organization(org: &Org) -> Organization {
    let account = org.account();
    Organization {
        id: Some(org.id().to_owned()),
        arn: Some(org.arn(org.id())),
        feature_set: Some(OrganizationFeatureSet::All),
        master_account_arn: Some(org.arn(account.as_str())),
        master_account_id: Some(account.to_string()),
        master_account_email: Some(Hidden(org.management.email.clone())),
        // What could be enabled; whether it is, the root tells.
        available_policy_types: Some(policy_types()),
    }
}

pub(super) fn root(org: &Org) -> Root {
    Root {
        id: Some(org.root_id().to_owned()),
        arn: Some(org.arn(org.root_id())),
        name: Some("Root".into()),
        policy_types: Some(if org.row.body.service_control { policy_types() } else { Vec::new() }),
    }
}

pub(super) fn account(org: &Org, member: Member) -> Account {
    let closed = member.body.closed_at.is_some();
    let own = member.id == org.account();
    Account {
        id: Some(member.id.to_string()),
        arn: Some(org.arn(member.id.as_str())),
        email: Some(Hidden(member.body.email)),
        name: Some(Hidden(member.body.name)),
        status: Some(if closed { AccountStatus::Suspended } else { AccountStatus::Active }),
        state: Some(if closed { AccountState::Suspended } else { AccountState::Active }),
        paths: None,
        joined_method: Some(if own { AccountJoinedMethod::Invited } else { AccountJoinedMethod::Created }),
        joined_timestamp: time(member.joined_at),
    }
}

pub(super) fn request(request: Request) -> CreateAccountStatus {
    let made = request.account().map(str::to_owned);
    CreateAccountStatus {
        id: Some(request.entity.id.clone()),
        account_name: Some(Hidden(request.body.name.clone())),
        state: Some(if made.is_some() { CreateAccountState::Succeeded } else { CreateAccountState::Failed }),
        requested_timestamp: time(request.entity.created_at),
        completed_timestamp: time(request.entity.created_at),
        failure_reason: made.is_none().then_some(CreateAccountFailureReason::EmailAlreadyExists),
        account_id: made,
        gov_cloud_account_id: None,
    }
}

pub(super) fn unit(org: &Org, unit: Unit) -> OrganizationalUnit {
    OrganizationalUnit {
        arn: Some(org.arn(unit.id())),
        id: Some(unit.id().to_owned()),
        name: Some(unit.body.name),
        path: None,
    }
}

pub(super) fn summary(org: &Org, policy: &ControlPolicy) -> PolicySummary {
    PolicySummary {
        id: Some(policy.id().to_owned()),
        arn: Some(org.arn(policy.id())),
        name: Some(policy.body.name.clone()),
        description: Some(policy.body.description.clone()),
        r#type: Some(PolicyType::ServiceControlPolicy),
        aws_managed: Some(policy.is_managed()),
    }
}

pub(super) fn policy(org: &Org, policy: ControlPolicy) -> Policy {
    Policy { policy_summary: Some(summary(org, &policy)), content: Some(policy.body.document) }
}

pub(super) fn target(org: &Org, target: ControlTarget) -> PolicyTargetSummary {
    let of = match target.id.as_str() {
        id if is_account(id) => TargetType::Account,
        id if id == org.root_id() => TargetType::Root,
        _ => TargetType::OrganizationalUnit,
    };
    PolicyTargetSummary {
        arn: Some(org.arn(&target.id)),
        target_id: Some(target.id),
        name: Some(target.name),
        r#type: Some(of),
    }
}
