//! Service control policies (COMP-919, IAM-23).

use funaya_gate::{Action, FULL_ACCESS_ID, Permit, action::organizations as actions};
use funaya_policy::{Document, Kind as DocumentKind, managed};
use funaya_ports::identity::{Kind, Relation, ServiceControlPolicy};
use funaya_types::Timestamp;
use serde_json::{Value, json};

use crate::{
    Identities, Org, OrganizationError, OrganizationResult, Page, PageAt, Tag,
    row::{Row, key},
    tags,
};

const POLICIES_MAX: usize = 2_000;
const ATTACHED_MAX: usize = 5;
const POLICY_LETTERS: usize = 10;
const BATCH: u32 = 1_000;

const NO_POLICY: OrganizationError =
    OrganizationError::Missing("PolicyNotFoundException", "You specified a policy that does not exist.");
const POLICY_EXISTS: OrganizationError =
    OrganizationError::Duplicate("DuplicatePolicyException", "A policy with the same name already exists.");
const NOT_ENABLED: OrganizationError = OrganizationError::Missing(
    "PolicyTypeNotEnabledException",
    "This operation can be performed only for enabled policy types.",
);

/// A service control policy.
pub type ControlPolicy = Row<ServiceControlPolicy>;

impl Row<ServiceControlPolicy> {
    /// `p-…`
    pub fn id(&self) -> &str {
        &self.entity.id
    }

    /// Whether it is AWS's own, which nobody can change.
    pub fn is_managed(&self) -> bool {
        self.entity.id == FULL_ACCESS_ID
    }
}

/// A policy to be made.
#[derive(Clone, Debug)]
pub struct NewControlPolicy {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// The document.
    pub document: String,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// What has a policy.
#[derive(Clone, Debug)]
pub struct ControlTarget {
    /// Of a root, unit or account.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Identities {
    /// Makes a policy.
    pub async fn create_control_policy(
        &self,
        permit: &Permit<actions::CreatePolicy>,
        new: &NewControlPolicy,
    ) -> OrganizationResult<(Org, ControlPolicy)> {
        check(&new.document)?;
        let id = format!("p-{}", self.small_letters(POLICY_LETTERS));
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let all = self.control_policies(&org).await?;
            if all.iter().any(|policy| policy.body.name == new.name) {
                return Err(POLICY_EXISTS);
            }
            if all.len() >= POLICIES_MAX {
                return Err(OrganizationError::Constraint("You have exceeded the number of policies allowed."));
            }
            let body = ServiceControlPolicy {
                name: new.name.clone(),
                description: new.description.clone(),
                document: new.document.clone(),
                tags: tags::fresh(&new.tags)?,
            };
            let place = key(org.account(), Kind::ServiceControlPolicy, &id);
            let policy = Row::new(place, id.clone(), body, permit.now());
            let mut change = org.fenced(permit, json!({"policy": {"policySummary": {"id": id}}}));
            change.put.push(policy.clone().put());
            Ok((change, (org, policy)))
        })
        .await
    }

    /// Changes what is given, and leaves the rest.
    pub async fn update_control_policy(
        &self,
        permit: &Permit<actions::UpdatePolicy>,
        id: &str,
        name: Option<&str>,
        description: Option<&str>,
        document: Option<&str>,
    ) -> OrganizationResult<(Org, ControlPolicy)> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let mut policy = self.changeable(&org, id).await?;
            if let Some(name) = name {
                let taken = |other: &ControlPolicy| other.body.name == name && other.entity.id != id;
                if self.control_policies(&org).await?.iter().any(taken) {
                    return Err(POLICY_EXISTS);
                }
                name.clone_into(&mut policy.body.name);
            }
            if let Some(text) = description {
                text.clone_into(&mut policy.body.description);
            }
            if let Some(text) = document {
                check(text)?;
                text.clone_into(&mut policy.body.document);
            }
            let mut change = org.fenced(permit, Value::Null);
            change.put.push(policy.clone().put());
            Ok((change, (org, policy)))
        })
        .await
    }

    /// Deletes a policy that nothing has.
    pub async fn delete_control_policy(
        &self,
        permit: &Permit<actions::DeletePolicy>,
        id: &str,
    ) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let policy = self.changeable(&org, id).await?;
            if !self.store().links_to(&org.account(), Relation::ControlledBy, id, "", 1).await?.is_empty() {
                let text = "The policy is attached to one or more entities. You must detach it from all roots, OUs, and accounts before performing this operation.";
                return Err(OrganizationError::Conflict("PolicyInUseException", text));
            }
            let mut change = org.fenced(permit, Value::Null);
            let version = policy.entity.version;
            change.delete.push((policy.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// A policy.
    pub async fn describe_control_policy(
        &self,
        permit: &Permit<actions::DescribePolicy>,
        id: &str,
    ) -> OrganizationResult<(Org, ControlPolicy)> {
        let org = self.organization(permit).await?;
        let policy = self.any_policy(&org, id).await?.ok_or(NO_POLICY)?;
        Ok((org, policy))
    }

    /// All policies, AWS's own among them.
    pub async fn list_control_policies(
        &self,
        permit: &Permit<actions::ListPolicies>,
        at: &PageAt,
    ) -> OrganizationResult<(Org, Page<ControlPolicy>)> {
        let org = self.organization(permit).await?;
        let mut all = self.control_policies(&org).await?;
        all.push(full_access(&org));
        Ok((org, at.of_all(all, |policy| policy.entity.id.clone())))
    }

    /// Attaches a policy.
    pub async fn attach_control_policy(
        &self,
        permit: &Permit<actions::AttachPolicy>,
        id: &str,
        target: &str,
    ) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let (org, attached) = self.controlled(permit, id, target).await?;
            if attached.iter().any(|known| known == id) {
                let text = "The selected policy is already attached to the specified target.";
                return Err(OrganizationError::Duplicate("DuplicatePolicyAttachmentException", text));
            }
            if attached.len() >= ATTACHED_MAX {
                let text = "You have exceeded the number of policies that can be attached to a target.";
                return Err(OrganizationError::Constraint(text));
            }
            let mut change = org.fenced(permit, Value::Null);
            change.link.push(org.link(Relation::ControlledBy, target, id));
            Ok((change, ()))
        })
        .await
    }

    /// Detaches a policy. One must stay, or nothing would be allowed there.
    pub async fn detach_control_policy(
        &self,
        permit: &Permit<actions::DetachPolicy>,
        id: &str,
        target: &str,
    ) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let (org, attached) = self.controlled(permit, id, target).await?;
            if !attached.iter().any(|known| known == id) {
                let text = "The policy isn't attached to the specified target in the specified root.";
                return Err(OrganizationError::Missing("PolicyNotAttachedException", text));
            }
            if attached.len() == 1 {
                let text = "You cannot remove the last policy attached to the specified target. You must have at least one attached at all times.";
                return Err(OrganizationError::Constraint(text));
            }
            let mut change = org.fenced(permit, Value::Null);
            change.unlink.push(org.link(Relation::ControlledBy, target, id));
            Ok((change, ()))
        })
        .await
    }

    async fn controlled<A: Action>(
        &self,
        permit: &Permit<A>,
        id: &str,
        target: &str,
    ) -> OrganizationResult<(Org, Vec<String>)> {
        let org = self.organization(permit).await?;
        self.any_policy(&org, id).await?.ok_or(NO_POLICY)?;
        self.check_target(&org, target).await?;
        if !org.row.body.service_control {
            return Err(NOT_ENABLED);
        }
        let attached = self.store().links_from(&org.account(), Relation::ControlledBy, target).await?;
        Ok((org, attached))
    }

    /// The policies that a root, unit or account has itself.
    pub async fn policies_of_target(
        &self,
        permit: &Permit<actions::ListPoliciesForTarget>,
        target: &str,
        at: &PageAt,
    ) -> OrganizationResult<(Org, Page<ControlPolicy>)> {
        let org = self.organization(permit).await?;
        self.check_target(&org, target).await?;
        let mut policies = Vec::new();
        for id in self.store().links_from(&org.account(), Relation::ControlledBy, target).await? {
            policies.extend(self.any_policy(&org, &id).await?);
        }
        Ok((org, at.of_all(policies, |policy| policy.entity.id.clone())))
    }

    /// What has a policy.
    pub async fn targets_of_policy(
        &self,
        permit: &Permit<actions::ListTargetsForPolicy>,
        id: &str,
        at: &PageAt,
    ) -> OrganizationResult<(Org, Page<ControlTarget>)> {
        let org = self.organization(permit).await?;
        self.any_policy(&org, id).await?.ok_or(NO_POLICY)?;
        let ids = self.store().links_to(&org.account(), Relation::ControlledBy, id, &at.after, BATCH).await?;
        let page = at.of_all(ids, Clone::clone);
        let mut items = Vec::new();
        for id in page.items {
            let name = self.name_of(&org, &id).await?;
            items.push(ControlTarget { id, name });
        }
        Ok((org, Page { items, next: page.next }))
    }

    async fn name_of(&self, org: &Org, id: &str) -> OrganizationResult<String> {
        if id == org.root_id() {
            return Ok("Root".to_owned());
        }
        if let Some(member) = self.member(id).await? {
            return Ok(member.body.name);
        }
        Ok(self.unit(org, id).await?.map(|unit| unit.body.name).unwrap_or_default())
    }

    async fn control_policies(&self, org: &Org) -> OrganizationResult<Vec<ControlPolicy>> {
        Ok(self.rows(org.account(), Kind::ServiceControlPolicy).await?)
    }

    pub(crate) async fn control_policy(&self, org: &Org, id: &str) -> OrganizationResult<Option<ControlPolicy>> {
        Ok(self.row(&key(org.account(), Kind::ServiceControlPolicy, id)).await?)
    }

    async fn any_policy(&self, org: &Org, id: &str) -> OrganizationResult<Option<ControlPolicy>> {
        if id == FULL_ACCESS_ID {
            return Ok(Some(full_access(org)));
        }
        self.control_policy(org, id).await
    }

    async fn changeable(&self, org: &Org, id: &str) -> OrganizationResult<ControlPolicy> {
        if id == FULL_ACCESS_ID {
            let text = "You specified a policy that is managed by AWS and can't be modified.";
            return Err(OrganizationError::Invalid(text.to_owned()));
        }
        self.control_policy(org, id).await?.ok_or(NO_POLICY)
    }
}

/// The policy that every organization has.
fn full_access(org: &Org) -> ControlPolicy {
    let body = ServiceControlPolicy {
        name: "FullAWSAccess".to_owned(),
        description: "Allows access to every operation".to_owned(),
        document: managed::FULL_AWS_ACCESS.document.to_owned(),
        tags: Vec::new(),
    };
    let place = key(org.account(), Kind::ServiceControlPolicy, FULL_ACCESS_ID);
    Row::new(place, FULL_ACCESS_ID.to_owned(), body, Timestamp::default())
}

fn check(document: &str) -> OrganizationResult<()> {
    match Document::parse(document, DocumentKind::ServiceControl) {
        Ok(_) => Ok(()),
        Err(fault) if fault.over_limit().is_some() => {
            Err(OrganizationError::Constraint("You have exceeded the size of a policy document."))
        }
        Err(fault) => Err(OrganizationError::Malformed(fault.text().to_owned())),
    }
}
