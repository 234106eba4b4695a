//! The organization: its root, its units, who is in which (COMP-919, IAM-23).
//!
//! All of it stands under the management account, which is the account that was there first. Every change counts up
//! the organization's own row, so all changes of one organization are in one order.

use funaya_gate::{
    Action, FULL_ACCESS_ID, ORGANIZATION, Permit, Resource, Resources, action::organizations as actions,
};
use funaya_ports::{
    StoreError,
    identity::{Account, Change, Kind, Link, Organization, OrganizationalUnit, Relation},
    meta,
};
use funaya_types::{AccountId, Timestamp};
use serde_json::{Value, json};

use crate::{
    Error, Identities, Page, PageAt, Tag, recorded,
    row::{Row, key},
    tags,
};

const UNITS_MAX: usize = 2_000;
/// Units between the root and an account.
pub(crate) const DEPTH_MAX: usize = 5;
/// Children read at once.
const BATCH: u32 = 1_000;
const UNIT_LETTERS: usize = 8;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why an operation on the organization failed.
#[derive(Debug, thiserror::Error)]
pub enum OrganizationError {
    /// There is none.
    #[error("Your account is not a member of an organization.")]
    NotInUse,
    /// There is one.
    #[error("The AWS account is already a member of an organization.")]
    AlreadyIn,
    /// Only the management account may.
    #[error("You don't have permissions to access this resource.")]
    Denied,
    /// Something named is not there. The name of the error says what.
    #[error("{1}")]
    Missing(&'static str, &'static str),
    /// Something is there already. The name of the error says what.
    #[error("{1}")]
    Duplicate(&'static str, &'static str),
    /// Something is in the way. The name of the error says what.
    #[error("{1}")]
    Conflict(&'static str, &'static str),
    /// A limit of the organization.
    #[error("{0}")]
    Constraint(&'static str),
    /// A document is no policy.
    #[error("{0}")]
    Malformed(String),
    /// A parameter does not make sense.
    #[error("{0}")]
    Invalid(String),
    /// Others changed the organization all the time.
    #[error("The target of the operation is currently being modified by a different request. Try again later.")]
    Concurrent,
    /// The store failed.
    #[error("Organizations can't complete your request because of an internal service error. Try again later.")]
    Store(#[from] StoreError),
}

impl From<Error> for OrganizationError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => Self::Store(error),
            Error::Concurrent => Self::Concurrent,
            Error::TooManyTags => Self::Constraint("You have exceeded the number of tags allowed."),
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<meta::Error> for OrganizationError {
    fn from(error: meta::Error) -> Self {
        Error::from(error).into()
    }
}

pub(crate) const NO_PARENT: OrganizationError = OrganizationError::Missing(
    "ParentNotFoundException",
    "You provided parent that does not exist in this organization.",
);
pub(crate) const NO_UNIT: OrganizationError = OrganizationError::Missing(
    "OrganizationalUnitNotFoundException",
    "You specified an organizational unit that does not exist.",
);
pub(crate) const NO_TARGET: OrganizationError =
    OrganizationError::Missing("TargetNotFoundException", "You specified a target that does not exist.");
const NO_ROOT: OrganizationError =
    OrganizationError::Missing("RootNotFoundException", "You specified a root that does not exist.");
const NO_CHILD: OrganizationError =
    OrganizationError::Missing("ChildNotFoundException", "You specified a child that does not exist.");
const UNIT_EXISTS: OrganizationError = OrganizationError::Duplicate(
    "DuplicateOrganizationalUnitException",
    "An OU with the same name already exists in the parent.",
);
const UNIT_NOT_EMPTY: OrganizationError = OrganizationError::Conflict(
    "OrganizationalUnitNotEmptyException",
    "The specified OU is not empty. Move all accounts to another root or to other OUs, remove all child OUs, and try the operation again.",
);

/// What an operation on the organization gives.
pub type OrganizationResult<T> = Result<T, OrganizationError>;

/// The organization.
#[derive(Clone, Debug)]
pub struct Org {
    /// Row and body.
    pub row: Row<Organization>,
    /// The management account's row.
    pub management: Account,
}

impl Org {
    /// `o-…`
    pub fn id(&self) -> &str {
        &self.row.entity.id
    }

    /// `r-…`
    pub fn root_id(&self) -> &str {
        &self.row.body.root_id
    }

    /// The management account.
    pub fn account(&self) -> AccountId {
        self.row.entity.place.account
    }

    /// The ARN of something in it.
    pub fn arn(&self, id: &str) -> String {
        let (account, own) = (self.account(), self.id());
        let arn = |kind: &str| format!("arn:aws:organizations::{account}:{kind}/{own}/{id}");
        match id {
            FULL_ACCESS_ID => format!("arn:aws:organizations::aws:policy/service_control_policy/{id}"),
            id if id == own => format!("arn:aws:organizations::{account}:organization/{id}"),
            id if id.starts_with("r-") => arn("root"),
            id if id.starts_with("ou-") => arn("ou"),
            id if id.starts_with("p-") => {
                format!("arn:aws:organizations::{account}:policy/{own}/service_control_policy/{id}")
            }
            _ => arn("account"),
        }
    }

    /// A change that happens only if the organization stands still meanwhile.
    pub(crate) fn fenced<A: Action>(&self, permit: &Permit<A>, answer: Value) -> Change {
        let mut change = recorded(permit, answer);
        change.guard.push((self.row.entity.place.clone(), self.row.entity.version));
        change
    }

    pub(crate) fn link(&self, relation: Relation, from: &str, to: &str) -> Link {
        Link { account: self.account(), relation, from: from.to_owned(), to: to.to_owned() }
    }

    /// The policy that everything has at first, if policies count.
    pub(crate) fn full_access(&self, target: &str) -> Option<Link> {
        let counts = self.row.body.service_control;
        counts.then(|| self.link(Relation::ControlledBy, target, FULL_ACCESS_ID))
    }
}

/// A unit.
pub type Unit = Row<OrganizationalUnit>;

impl Row<OrganizationalUnit> {
    /// `ou-…`
    pub fn id(&self) -> &str {
        &self.entity.id
    }
}

/// Whether an id is of an account.
pub fn is_account(id: &str) -> bool {
    id.parse::<AccountId>().is_ok()
}

impl Identities {
    /// What the gate is to judge: these things of the organization, or all of it.
    pub async fn organization_resources(&self, ids: &[&str]) -> OrganizationResult<Resources> {
        let found = self.find_organization(Timestamp::default()).await?;
        Ok(match found {
            Some(org) if !ids.is_empty() => {
                let resources = ids.iter().map(|id| Resource::plain(org.arn(id))).collect();
                Resources { resources, ..Resources::default() }
            }
            _ => Resources::all(),
        })
    }

    /// The organization, for its management account.
    pub(crate) async fn organization<A: Action>(&self, permit: &Permit<A>) -> OrganizationResult<Org> {
        let found = self.find_organization(permit.now()).await?.ok_or(OrganizationError::NotInUse)?;
        let own = permit.registry().account == found.account();
        if own { Ok(found) } else { Err(OrganizationError::Denied) }
    }

    async fn find_organization(&self, now: Timestamp) -> OrganizationResult<Option<Org>> {
        let management = self.parts.management;
        let Some(row) = self.row(&key(management, Kind::Organization, ORGANIZATION)).await? else { return Ok(None) };
        let management = self.account_row(management, now).await?.1;
        Ok(Some(Org { row, management }))
    }

    /// As `change`, with the errors of the organization.
    pub(crate) async fn reorganize<T, F>(&self, decide: impl Fn() -> F) -> OrganizationResult<T>
    where
        F: Future<Output = OrganizationResult<(Change, T)>>,
    {
        for _ in 0..crate::TRIES {
            let (change, answer) = decide().await?;
            match self.store().change(change).await {
                Ok(()) => return Ok(answer),
                Err(meta::Error::Refused(meta::Refusal::Changed)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(OrganizationError::Concurrent)
    }

    /// Letters and digits in lower case.
    pub(crate) fn small_letters(&self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.parts.random.fill(&mut bytes);
        bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
    }

    /// Makes the organization, with the account that was there first as its management account.
    pub async fn create_organization(&self, permit: &Permit<actions::CreateOrganization>) -> OrganizationResult<Org> {
        let management = self.parts.management;
        if permit.registry().account != management {
            return Err(OrganizationError::AlreadyIn);
        }
        let (id, root) = (format!("o-{}", self.small_letters(10)), format!("r-{}", self.small_letters(4)));
        self.reorganize(|| async {
            if self.find_organization(permit.now()).await?.is_some() {
                return Err(OrganizationError::AlreadyIn);
            }
            let (mut entity, mut account) = self.account_row(management, permit.now()).await?;
            if account.name.is_empty() {
                account.name = "management".to_owned();
            }
            entity = entity.with(&account);
            let body = Organization { root_id: root.clone(), service_control: false };
            let row = Row::new(key(management, Kind::Organization, ORGANIZATION), id.clone(), body, permit.now());
            let org = Org { row, management: account };
            let mut change = recorded(permit, json!({"organization": {"id": id}}));
            change.link.push(org.link(Relation::ChildOf, management.as_str(), &root));
            change.put.push(entity);
            change.put.push(org.row.clone().put());
            Ok((change, org))
        })
        .await
    }

    /// The organization, for whoever is in it.
    pub async fn describe_organization(
        &self,
        permit: &Permit<actions::DescribeOrganization>,
    ) -> OrganizationResult<Org> {
        self.find_organization(permit.now()).await?.ok_or(OrganizationError::NotInUse)
    }

    /// Its root.
    pub async fn roots(&self, permit: &Permit<actions::ListRoots>) -> OrganizationResult<Org> {
        self.organization(permit).await
    }

    /// Where an account or unit is.
    pub async fn parent(&self, permit: &Permit<actions::ListParents>, child: &str) -> OrganizationResult<String> {
        let org = self.organization(permit).await?;
        self.parent_of(&org, child).await?.ok_or(NO_CHILD)
    }

    pub(crate) async fn parent_of(&self, org: &Org, child: &str) -> OrganizationResult<Option<String>> {
        Ok(self.store().links_from(&org.account(), Relation::ChildOf, child).await?.into_iter().next())
    }

    /// What is in a unit or the root: accounts, or units.
    pub async fn children(
        &self,
        permit: &Permit<actions::ListChildren>,
        parent: &str,
        accounts: bool,
        at: &PageAt,
    ) -> OrganizationResult<Page<String>> {
        let org = self.organization(permit).await?;
        self.check_parent(&org, parent).await?;
        let mut ids = self.children_of(&org, parent).await?;
        ids.retain(|id| is_account(id) == accounts);
        Ok(at.of_all(ids, Clone::clone))
    }

    pub(crate) async fn children_of(&self, org: &Org, parent: &str) -> OrganizationResult<Vec<String>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.store().links_to(&org.account(), Relation::ChildOf, parent, &after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after.clone_from(last);
            all.extend(page);
        }
    }

    /// Everything below the root: accounts and units.
    pub(crate) async fn everything(&self, org: &Org) -> OrganizationResult<Vec<String>> {
        let (mut all, mut open) = (Vec::new(), vec![org.root_id().to_owned()]);
        while let Some(parent) = open.pop() {
            for id in self.children_of(org, &parent).await? {
                if !is_account(&id) {
                    open.push(id.clone());
                }
                all.push(id);
            }
        }
        Ok(all)
    }

    pub(crate) async fn check_parent(&self, org: &Org, id: &str) -> OrganizationResult<()> {
        if id == org.root_id() || self.unit(org, id).await?.is_some() { Ok(()) } else { Err(NO_PARENT) }
    }

    /// Whether a policy or label can be put on it.
    pub(crate) async fn check_target(&self, org: &Org, id: &str) -> OrganizationResult<()> {
        let there = match id {
            id if id == org.root_id() => true,
            id if is_account(id) => self.parent_of(org, id).await?.is_some(),
            id => self.unit(org, id).await?.is_some(),
        };
        if there { Ok(()) } else { Err(NO_TARGET) }
    }

    pub(crate) async fn unit(&self, org: &Org, id: &str) -> OrganizationResult<Option<Unit>> {
        Ok(self.row(&key(org.account(), Kind::OrganizationalUnit, id)).await?)
    }

    /// Makes a unit.
    pub async fn create_unit(
        &self,
        permit: &Permit<actions::CreateOrganizationalUnit>,
        parent: &str,
        name: &str,
        tags: &[Tag],
    ) -> OrganizationResult<(Org, Unit)> {
        let letters = self.small_letters(UNIT_LETTERS);
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            self.check_parent(&org, parent).await?;
            self.check_depth(&org, parent).await?;
            self.check_name(&org, parent, name, "").await?;
            let id = format!("ou-{}-{letters}", org.root_id().trim_start_matches("r-"));
            let body = OrganizationalUnit { name: name.to_owned(), tags: tags::fresh(tags)? };
            let place = key(org.account(), Kind::OrganizationalUnit, &id);
            let unit = Row::new(place, id.clone(), body, permit.now());
            let mut change = org.fenced(permit, json!({"organizationalUnit": {"id": id}}));
            change.put.push(unit.clone().put());
            change.link.push(org.link(Relation::ChildOf, &id, parent));
            change.link.extend(org.full_access(&id));
            Ok((change, (org, unit)))
        })
        .await
    }

    async fn check_depth(&self, org: &Org, parent: &str) -> OrganizationResult<()> {
        let mut depth = 0;
        let mut at = parent.to_owned();
        while let Some(next) = self.parent_of(org, &at).await? {
            depth += 1;
            at = next;
        }
        if depth >= DEPTH_MAX {
            return Err(OrganizationError::Constraint("You have exceeded the depth of the OU tree allowed."));
        }
        let count = self.store().entity_count(&org.account(), Kind::OrganizationalUnit).await?;
        match usize::try_from(count) {
            Ok(count) if count < UNITS_MAX => Ok(()),
            _ => Err(OrganizationError::Constraint("You have exceeded the number of OUs that you can have.")),
        }
    }

    /// No two units of one parent have the same name. `except`: the unit that shall have it.
    async fn check_name(&self, org: &Org, parent: &str, name: &str, except: &str) -> OrganizationResult<()> {
        for id in self.children_of(org, parent).await?.iter().filter(|id| !is_account(id) && *id != except) {
            if self.unit(org, id).await?.is_some_and(|unit| unit.body.name == name) {
                return Err(UNIT_EXISTS);
            }
        }
        Ok(())
    }

    /// A unit.
    pub async fn describe_unit(
        &self,
        permit: &Permit<actions::DescribeOrganizationalUnit>,
        id: &str,
    ) -> OrganizationResult<(Org, Unit)> {
        let org = self.organization(permit).await?;
        let unit = self.unit(&org, id).await?.ok_or(NO_UNIT)?;
        Ok((org, unit))
    }

    /// Units in a unit or the root.
    pub async fn units(
        &self,
        permit: &Permit<actions::ListOrganizationalUnitsForParent>,
        parent: &str,
        at: &PageAt,
    ) -> OrganizationResult<(Org, Page<Unit>)> {
        let org = self.organization(permit).await?;
        self.check_parent(&org, parent).await?;
        let mut units = Vec::new();
        for id in self.children_of(&org, parent).await?.iter().filter(|id| !is_account(id)) {
            units.extend(self.unit(&org, id).await?);
        }
        Ok((org, at.of_all(units, |unit| unit.entity.id.clone())))
    }

    /// Gives a unit another name.
    pub async fn update_unit(
        &self,
        permit: &Permit<actions::UpdateOrganizationalUnit>,
        id: &str,
        name: Option<&str>,
    ) -> OrganizationResult<(Org, Unit)> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let mut unit = self.unit(&org, id).await?.ok_or(NO_UNIT)?;
            if let Some(name) = name {
                let parent = self.parent_of(&org, id).await?.ok_or(NO_UNIT)?;
                self.check_name(&org, &parent, name, id).await?;
                name.clone_into(&mut unit.body.name);
            }
            let mut change = org.fenced(permit, Value::Null);
            change.put.push(unit.clone().put());
            Ok((change, (org, unit)))
        })
        .await
    }

    /// Deletes a unit in which nothing is any more.
    pub async fn delete_unit(
        &self,
        permit: &Permit<actions::DeleteOrganizationalUnit>,
        id: &str,
    ) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let unit = self.unit(&org, id).await?.ok_or(NO_UNIT)?;
            if !self.children_of(&org, id).await?.is_empty() {
                return Err(UNIT_NOT_EMPTY);
            }
            let mut change = org.fenced(permit, Value::Null);
            let version = unit.entity.version;
            change.delete.push((unit.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// Lets service control policies count: everything has one that allows all, at first.
    pub async fn enable_policies(
        &self,
        permit: &Permit<actions::EnablePolicyType>,
        root: &str,
    ) -> OrganizationResult<Org> {
        self.switch_policies(permit, root, true).await
    }

    /// Lets them count no more; what was attached is attached no more.
    pub async fn disable_policies(
        &self,
        permit: &Permit<actions::DisablePolicyType>,
        root: &str,
    ) -> OrganizationResult<Org> {
        self.switch_policies(permit, root, false).await
    }

    async fn switch_policies<A: Action>(&self, permit: &Permit<A>, root: &str, on: bool) -> OrganizationResult<Org> {
        self.reorganize(|| async {
            let mut org = self.organization(permit).await?;
            if root != org.root_id() {
                return Err(NO_ROOT);
            }
            if org.row.body.service_control == on {
                return Err(already(on));
            }
            org.row.body.service_control = on;
            let mut change = recorded(permit, Value::Null);
            change.put.push(org.row.clone().put());
            for target in self.everything(&org).await?.iter().map(String::as_str).chain([root]) {
                match on {
                    true => change.link.extend(org.full_access(target)),
                    false => {
                        for policy in self.store().links_from(&org.account(), Relation::ControlledBy, target).await? {
                            change.unlink.push(org.link(Relation::ControlledBy, target, &policy));
                        }
                    }
                }
            }
            Ok((change, org))
        })
        .await
    }
}

fn already(on: bool) -> OrganizationError {
    if on {
        OrganizationError::Duplicate(
            "PolicyTypeAlreadyEnabledException",
            "The policy type is already enabled in the specified root.",
        )
    } else {
        OrganizationError::Missing(
            "PolicyTypeNotEnabledException",
            "The policy type is not enabled in the specified root.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns() {
        let account: AccountId = "123456789012".parse().unwrap();
        let body = Organization { root_id: "r-abcd".into(), service_control: true };
        let row = Row::new(key(account, Kind::Organization, ORGANIZATION), "o-abc".into(), body, Timestamp::default());
        let org = Org { row, management: Account::default() };
        let start = "arn:aws:organizations::123456789012:";
        assert_eq!(org.arn("o-abc"), format!("{start}organization/o-abc"));
        assert_eq!(org.arn("r-abcd"), format!("{start}root/o-abc/r-abcd"));
        assert_eq!(org.arn("ou-abcd-1"), format!("{start}ou/o-abc/ou-abcd-1"));
        assert_eq!(org.arn("111122223333"), format!("{start}account/o-abc/111122223333"));
        assert_eq!(org.arn("p-1"), format!("{start}policy/o-abc/service_control_policy/p-1"));
        assert_eq!(org.arn(FULL_ACCESS_ID), "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess");
    }
}
