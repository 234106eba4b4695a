//! Managed policies on users, groups and roles (COMP-057 to COMP-066).

use funaya_gate::{Action, Permit, Resources, action::iam};
use funaya_policy::managed;
use funaya_ports::identity::{self as rows, Kind, Link, Relation};
use funaya_types::AccountId;
use serde_json::Value;

use crate::{Error, Holder, Identities, Page, PageAt, Result, account, body::check_own, recorded};

const ATTACHED_MAX: usize = 10;

family! {
    /// Attaches a policy.
    Attaches of Holder: AttachUserPolicy User, AttachGroupPolicy Group, AttachRolePolicy Role
}
family! {
    /// Detaches a policy.
    Detaches of Holder: DetachUserPolicy User, DetachGroupPolicy Group, DetachRolePolicy Role
}
family! {
    /// Lists attached policies.
    ListsAttached of Holder:
        ListAttachedUserPolicies User, ListAttachedGroupPolicies Group, ListAttachedRolePolicies Role
}

/// A policy that is attached to something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

impl Attached {
    pub(crate) fn new(arn: String) -> Self {
        Self { name: arn.rsplit('/').next().unwrap_or_default().to_owned(), arn }
    }

    /// Its path, as its ARN has it.
    fn path(&self) -> &str {
        let from = self.arn.find(":policy/").map_or(0, |at| at + ":policy".len());
        self.arn.get(from..self.arn.len() - self.name.len()).unwrap_or_default()
    }
}

/// Somebody who has a policy.
#[derive(Clone, Debug)]
pub struct Having {
    /// User, group or role.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// The unique id.
    pub id: String,
}

/// Which of those who have a policy.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only users, groups or roles.
    pub kind: Option<Kind>,
    /// Only those below this path.
    pub path_prefix: Option<String>,
    /// Only as a boundary (`true`), or not as one.
    pub as_boundary: Option<bool>,
}

impl Identities {
    /// Attaches a policy; one that is attached stays.
    pub async fn attach<A: Attaches>(&self, permit: &Permit<A>, name: &str, arn: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<A::Of>(account, name).await?;
            let attached = self.store().links_from(&account, Relation::Attached, held.id()).await?;
            if attached.len() >= ATTACHED_MAX && !attached.iter().any(|known| known == arn) {
                return Err(Error::Quota { name: A::Of::ATTACHED_QUOTA, max: ATTACHED_MAX });
            }
            let mut change = recorded(permit, Value::Null);
            change.guard.push(held.guard());
            self.lean_on(account, arn, &mut change).await?;
            change.link.push(link(account, held.id(), arn));
            Ok((change, ()))
        })
        .await
    }

    /// Detaches a policy.
    pub async fn detach<A: Detaches>(&self, permit: &Permit<A>, name: &str, arn: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<A::Of>(account, name).await?;
            let attached = self.store().links_from(&account, Relation::Attached, held.id()).await?;
            if !attached.iter().any(|known| known == arn) {
                return Err(Error::NotAttached(arn.to_owned()));
            }
            let mut change = recorded(permit, Value::Null);
            change.guard.push(held.guard());
            change.unlink.push(link(account, held.id(), arn));
            Ok((change, ()))
        })
        .await
    }

    /// The policies attached to a user, group or role.
    pub async fn attached<A: ListsAttached>(
        &self,
        permit: &Permit<A>,
        name: &str,
        path_prefix: Option<&str>,
        at: &PageAt,
    ) -> Result<Page<Attached>> {
        let held = self.get::<A::Of>(account(permit), name).await?;
        let all = self.attached_to(account(permit), held.id()).await?;
        let all = all.into_iter().filter(|policy| policy.path().starts_with(path_prefix.unwrap_or("/")));
        // Markers may not be long, and an ARN may.
        Ok(at.of_all(all.collect(), |policy| format!("{} {}", policy.name, managed::by_arn(&policy.arn).is_some())))
    }

    pub(crate) async fn attached_to(&self, account: AccountId, id: &str) -> Result<Vec<Attached>> {
        let arns = self.store().links_from(&account, Relation::Attached, id).await?;
        Ok(arns.into_iter().map(Attached::new).collect())
    }

    /// How many have a policy, and how many as their boundary.
    pub(crate) async fn uses(&self, account: AccountId, arn: &str) -> Result<(usize, usize)> {
        let attached = self.store().links_to(&account, Relation::Attached, arn, "", u32::MAX).await?.len();
        let bounding = self.store().links_to(&account, Relation::BoundedBy, arn, "", u32::MAX).await?.len();
        Ok((attached, bounding))
    }

    /// Who has a policy, by id.
    pub async fn having(
        &self,
        permit: &Permit<iam::ListEntitiesForPolicy>,
        arn: &str,
        wanted: &Wanted,
        at: &PageAt,
    ) -> Result<Page<Having>> {
        let account = account(permit);
        if managed::by_arn(arn).is_none() {
            check_own(account, arn)?;
            self.policy_by_arn(account, arn).await?.ok_or_else(|| Error::NoPolicy(arn.to_owned()))?;
        }
        let mut ids = Vec::new();
        for (relation, is_boundary) in [(Relation::Attached, false), (Relation::BoundedBy, true)] {
            if wanted.as_boundary.is_none_or(|wanted| wanted == is_boundary) {
                ids.extend(self.store().links_to(&account, relation, arn, "", u32::MAX).await?);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let mut found = Vec::new();
        for id in ids.into_iter().filter(|id| id.as_str() > at.after.as_str()) {
            found.extend(self.holder_by_id(&id, wanted).await?);
            if found.len() > usize::try_from(at.limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(at.page(found, |having| having.id.clone()))
    }

    async fn holder_by_id(&self, id: &str, wanted: &Wanted) -> Result<Option<Having>> {
        let Some(entity) = self.store().entity_by_id(id).await? else { return Ok(None) };
        let kind = entity.place.kind;
        let path = wanted.path_prefix.as_deref().unwrap_or("/");
        if wanted.kind.is_some_and(|wanted| wanted != kind) || !entity.path.starts_with(path) {
            return Ok(None);
        }
        let name = match kind {
            Kind::User => entity.read::<rows::User>()?.name,
            Kind::Group => entity.read::<rows::Group>()?.name,
            Kind::Role => entity.read::<rows::Role>()?.name,
            _ => return Ok(None),
        };
        Ok(Some(Having { kind, name, id: entity.id }))
    }
}

fn link(account: AccountId, id: &str, arn: &str) -> Link {
    Link { account, relation: Relation::Attached, from: id.to_owned(), to: arn.to_owned() }
}
