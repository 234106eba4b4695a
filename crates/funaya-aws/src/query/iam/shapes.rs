//! From the hall's values to IAM's shapes.

use std::collections::BTreeMap;

use funaya_identity::{Attached, Group, Key, Policy, Profile, Role, Root, Tag, User, Version};
use funaya_types::Timestamp;
use funaya_wire::{
    EpochSeconds,
    iam::{self, AttachedPermissionsBoundary, PermissionsBoundaryAttachmentType, RoleLastUsed, StatusType},
};

pub(super) fn time(at: Timestamp) -> EpochSeconds {
    EpochSeconds(at.epoch_seconds())
}

/// None is told of as nothing.
pub(super) fn tags(tags: &[Tag]) -> Option<Vec<iam::Tag>> {
    (!tags.is_empty()).then(|| all_tags(tags))
}

pub(super) fn all_tags(tags: &[Tag]) -> Vec<iam::Tag> {
    tags.iter().map(|(key, value)| iam::Tag { key: key.clone(), value: value.clone() }).collect()
}

/// Labels of a request.
pub(super) fn given(tags: Option<Vec<iam::Tag>>) -> Vec<Tag> {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

pub(super) fn boundary(arn: Option<String>) -> Option<AttachedPermissionsBoundary> {
    arn.map(|arn| AttachedPermissionsBoundary {
        permissions_boundary_type: Some(PermissionsBoundaryAttachmentType::PermissionsBoundaryPolicy),
        permissions_boundary_arn: Some(arn),
    })
}

pub(super) fn user(user: User) -> iam::User {
    let arn = user.held.arn();
    let entity = user.held.entity;
    iam::User {
        path: entity.path,
        user_name: user.held.body.name,
        user_id: entity.id,
        arn,
        create_date: time(entity.created_at),
        password_last_used: None,
        permissions_boundary: boundary(user.boundary),
        tags: tags(&user.held.body.tags),
    }
}

pub(super) fn status(active: bool) -> StatusType {
    if active { StatusType::Active } else { StatusType::Inactive }
}

pub(super) fn key(key: Key) -> iam::AccessKeyMetadata {
    iam::AccessKeyMetadata {
        user_name: key.user_name,
        access_key_id: Some(key.id),
        status: Some(status(key.active)),
        create_date: key.created_at.map(time),
    }
}

/// The root as `GetUser` shows it to itself.
pub(super) fn root(root: Root) -> iam::User {
    iam::User {
        path: "/".into(),
        user_name: root.alias.unwrap_or_default(),
        user_id: root.account.to_string(),
        arn: format!("arn:aws:iam::{}:root", root.account),
        create_date: root.created_at.map(time).unwrap_or_default(),
        password_last_used: None,
        permissions_boundary: None,
        tags: None,
    }
}

/// Policies travel encoded as in URLs, RFC 3986.
pub(super) fn encoded(document: &str) -> String {
    let mut text = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

pub(super) fn group(group: Group) -> iam::Group {
    let arn = group.arn();
    let entity = group.entity;
    iam::Group {
        path: entity.path,
        group_name: group.body.name,
        group_id: entity.id,
        arn,
        create_date: time(entity.created_at),
    }
}

pub(super) fn role(role: Role) -> iam::Role {
    let arn = role.held.arn();
    let last =
        role.last_use.map(|last| RoleLastUsed { last_used_date: Some(time(last.at)), region: Some(last.region) });
    let (entity, body) = (role.held.entity, role.held.body);
    iam::Role {
        path: entity.path,
        role_name: body.name,
        role_id: entity.id,
        arn,
        create_date: time(entity.created_at),
        assume_role_policy_document: Some(encoded(&role.trust)),
        description: body.description,
        max_session_duration: Some(body.session_seconds_max.into()),
        permissions_boundary: boundary(role.boundary),
        tags: tags(&body.tags),
        role_last_used: Some(last.unwrap_or_default()),
    }
}

/// As lists tell of it.
pub(super) fn bare_role(role: Role) -> iam::Role {
    iam::Role { permissions_boundary: None, tags: None, role_last_used: None, ..self::role(role) }
}

pub(super) fn profile(profile: Profile) -> iam::InstanceProfile {
    let arn = profile.held.arn();
    let entity = profile.held.entity;
    iam::InstanceProfile {
        path: entity.path,
        instance_profile_name: profile.held.body.name,
        instance_profile_id: entity.id,
        arn,
        create_date: time(entity.created_at),
        roles: profile.roles.into_iter().map(bare_role).collect(),
        tags: tags(&profile.held.body.tags),
    }
}

pub(super) fn policy(policy: Policy) -> iam::Policy {
    iam::Policy {
        policy_name: Some(policy.name),
        policy_id: Some(policy.id),
        arn: Some(policy.arn),
        path: Some(policy.path),
        default_version_id: Some(policy.default_version),
        attachment_count: Some(count(policy.attached)),
        permissions_boundary_usage_count: Some(count(policy.bounding)),
        is_attachable: Some(true),
        description: policy.description,
        create_date: Some(time(policy.created_at)),
        update_date: Some(time(policy.updated_at)),
        tags: tags(&policy.tags),
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn version(version: Version, with_document: bool) -> iam::PolicyVersion {
    iam::PolicyVersion {
        document: with_document.then(|| encoded(&version.document)),
        version_id: Some(version.name),
        is_default_version: Some(version.is_default),
        create_date: Some(time(version.created_at)),
    }
}

pub(super) fn attached(policy: Attached) -> iam::AttachedPolicy {
    iam::AttachedPolicy { policy_name: Some(policy.name), policy_arn: Some(policy.arn) }
}

fn all_attached(policies: Vec<Attached>) -> Option<Vec<iam::AttachedPolicy>> {
    Some(policies.into_iter().map(attached).collect())
}

fn inline(policies: &BTreeMap<String, String>) -> Option<Vec<iam::PolicyDetail>> {
    let detail = |(name, document): (&String, &String)| iam::PolicyDetail {
        policy_name: Some(name.clone()),
        policy_document: Some(encoded(document)),
    };
    Some(policies.iter().map(detail).collect())
}

pub(super) fn user_detail((user, policies, groups): (User, Vec<Attached>, Vec<String>)) -> iam::UserDetail {
    let user_policy_list = inline(&user.held.body.inline);
    let shown = self::user(user);
    iam::UserDetail {
        path: Some(shown.path),
        user_name: Some(shown.user_name),
        user_id: Some(shown.user_id),
        arn: Some(shown.arn),
        create_date: Some(shown.create_date),
        user_policy_list,
        group_list: Some(groups),
        attached_managed_policies: all_attached(policies),
        permissions_boundary: shown.permissions_boundary,
        tags: shown.tags,
    }
}

pub(super) fn group_detail((group, policies): (Group, Vec<Attached>)) -> iam::GroupDetail {
    let group_policy_list = inline(&group.body.inline);
    let shown = self::group(group);
    iam::GroupDetail {
        path: Some(shown.path),
        group_name: Some(shown.group_name),
        group_id: Some(shown.group_id),
        arn: Some(shown.arn),
        create_date: Some(shown.create_date),
        group_policy_list,
        attached_managed_policies: all_attached(policies),
    }
}

pub(super) fn role_detail((role, policies, profiles): (Role, Vec<Attached>, Vec<Profile>)) -> iam::RoleDetail {
    let role_policy_list = inline(&role.held.body.inline);
    let shown = self::role(role);
    iam::RoleDetail {
        path: Some(shown.path),
        role_name: Some(shown.role_name),
        role_id: Some(shown.role_id),
        arn: Some(shown.arn),
        create_date: Some(shown.create_date),
        assume_role_policy_document: shown.assume_role_policy_document,
        instance_profile_list: Some(profiles.into_iter().map(profile).collect()),
        role_policy_list,
        attached_managed_policies: all_attached(policies),
        permissions_boundary: shown.permissions_boundary,
        tags: shown.tags,
        role_last_used: shown.role_last_used,
    }
}

pub(super) fn policy_detail((policy, versions): (Policy, Vec<Version>)) -> iam::ManagedPolicyDetail {
    let shown = self::policy(policy);
    iam::ManagedPolicyDetail {
        policy_name: shown.policy_name,
        policy_id: shown.policy_id,
        arn: shown.arn,
        path: shown.path,
        default_version_id: shown.default_version_id,
        attachment_count: shown.attachment_count,
        permissions_boundary_usage_count: shown.permissions_boundary_usage_count,
        is_attachable: shown.is_attachable,
        description: shown.description,
        create_date: shown.create_date,
        update_date: shown.update_date,
        policy_version_list: Some(versions.into_iter().map(|version| self::version(version, true)).collect()),
    }
}
