//! What the hall tells of its entities, and how the audit log shows them (TRAIL-13).

use funaya_ports::identity::{self as rows, Tag};
use funaya_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::{Held, Policy, Role, Version};

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Row and body.
    pub held: Held<rows::User>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
}

/// Members of an answer in the log; those without a value are left out.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let there = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(there.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

pub(crate) fn time(at: Timestamp) -> Value {
    at.audit_text().into()
}

pub(crate) fn tags(tags: &[Tag]) -> Value {
    if tags.is_empty() {
        return Value::Null;
    }
    tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

pub(crate) fn boundary(arn: Option<&str>) -> Value {
    arn.map_or(
        Value::Null,
        |arn| json!({"permissionsBoundaryType": "PermissionsBoundaryPolicy", "permissionsBoundaryArn": arn}),
    )
}

impl User {
    pub(crate) fn shown(&self) -> Value {
        let Held { entity, body } = &self.held;
        let user = object([
            ("path", json!(entity.path)),
            ("userName", json!(body.name)),
            ("userId", json!(entity.id)),
            ("arn", json!(self.held.arn())),
            ("createDate", time(entity.created_at)),
            ("permissionsBoundary", boundary(self.boundary.as_deref())),
            ("tags", tags(&body.tags)),
        ]);
        json!({"user": user})
    }
}

pub(crate) fn group(group: &Held<rows::Group>) -> Value {
    let entity = &group.entity;
    json!({"group": object([
        ("path", json!(entity.path)),
        ("groupName", json!(group.body.name)),
        ("groupId", json!(entity.id)),
        ("arn", json!(group.arn())),
        ("createDate", time(entity.created_at)),
    ])})
}

pub(crate) fn profile(profile: &Held<rows::InstanceProfile>) -> Value {
    let entity = &profile.entity;
    json!({"instanceProfile": object([
        ("path", json!(entity.path)),
        ("instanceProfileName", json!(profile.body.name)),
        ("instanceProfileId", json!(entity.id)),
        ("arn", json!(profile.arn())),
        ("createDate", time(entity.created_at)),
        ("roles", json!([])),
        ("tags", tags(&profile.body.tags)),
    ])})
}

impl Role {
    pub(crate) fn shown(&self) -> Value {
        let Held { entity, body } = &self.held;
        json!({"role": object([
            ("path", json!(entity.path)),
            ("roleName", json!(body.name)),
            ("roleId", json!(entity.id)),
            ("arn", json!(self.held.arn())),
            ("createDate", time(entity.created_at)),
            ("assumeRolePolicyDocument", json!(self.trust)),
            ("description", json!(body.description)),
            ("maxSessionDuration", json!(body.session_seconds_max)),
            ("permissionsBoundary", boundary(self.boundary.as_deref())),
            ("tags", tags(&body.tags)),
        ])})
    }
}

impl Policy {
    pub(crate) fn shown(&self) -> Value {
        json!({"policy": object([
            ("policyName", json!(self.name)),
            ("policyId", json!(self.id)),
            ("arn", json!(self.arn)),
            ("path", json!(self.path)),
            ("defaultVersionId", json!(self.default_version)),
            ("attachmentCount", json!(self.attached)),
            ("permissionsBoundaryUsageCount", json!(self.bounding)),
            ("isAttachable", json!(true)),
            ("description", json!(self.description)),
            ("createDate", time(self.created_at)),
            ("updateDate", time(self.updated_at)),
            ("tags", tags(&self.tags)),
        ])})
    }
}

pub(crate) fn version(version: &Version) -> Value {
    json!({"policyVersion": object([
        ("versionId", json!(version.name)),
        ("isDefaultVersion", json!(version.is_default)),
        ("createDate", time(version.created_at)),
    ])})
}
