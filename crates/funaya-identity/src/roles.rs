//! Roles (COMP-031 to COMP-036, COMP-047, IAM-04).

use funaya_gate::{Action, Permit, action::iam, principals};
use funaya_policy::{Document, Kind};
use funaya_ports::identity::{self as rows, BoundPolicy, LastUse, Relation};
use funaya_types::AccountId;
use serde_json::Value;

use crate::{Error, Held, Identities, Page, PageAt, Result, Tag, account, recorded, tags};

const ROLES: (&str, usize) = ("RolesPerAccount", 1_000);
const SESSION_S: u32 = 3_600;
const TRUST_QUOTA: &str = "ACLSizePerRole";

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Row and body.
    pub held: Held<rows::Role>,
    /// The trust policy, with the names that its principals have now.
    pub trust: String,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// When it was last used.
    pub last_use: Option<LastUse>,
}

/// A role to be made.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// `/` where none is given.
    pub path: String,
    /// Who may assume it.
    pub trust: String,
    /// For people.
    pub description: Option<String>,
    /// Longest session.
    pub session_seconds_max: Option<u32>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

impl Identities {
    /// Makes a role.
    pub async fn create_role(&self, permit: &Permit<iam::CreateRole>, new: NewRole) -> Result<Role> {
        let (account, id) = (account(permit), self.unique_id("AROA"));
        self.change(|| async {
            let body = rows::Role {
                name: new.name.clone(),
                description: new.description.clone(),
                trust: self.trust(&new.trust).await?,
                session_seconds_max: new.session_seconds_max.unwrap_or(SESSION_S),
                inline: Default::default(),
                tags: tags::fresh(&new.tags)?,
            };
            self.vacant::<rows::Role>(account, &new.name, ROLES).await?;
            let held = Held::new(account, id.clone(), &new.path, body, permit.now());
            let (trust, boundary) = (new.trust.clone(), new.boundary.clone());
            let role = Role { held: held.clone(), trust, boundary, last_use: None };
            let mut change = recorded(permit, role.shown());
            if let Some(arn) = &new.boundary {
                self.bound(account, &id, arn, &mut change).await?;
            }
            change.put.push(held.put());
            Ok((change, role))
        })
        .await
    }

    /// Reads a trust policy. Users and roles that it names must be there (POL-14), and are meant by their ids.
    async fn trust(&self, text: &str) -> Result<BoundPolicy> {
        let document = Document::parse(text, Kind::Trust).map_err(|fault| match fault.over_limit() {
            Some(max) => Error::Quota { name: TRUST_QUOTA, max },
            None => Error::Malformed(fault.text().to_owned()),
        })?;
        Ok(principals::bind(self.store(), &document, text).await?)
    }

    /// A role.
    pub async fn role(&self, permit: &Permit<iam::GetRole>, name: &str) -> Result<Role> {
        let held = self.get(account(permit), name).await?;
        self.whole(held).await
    }

    /// Roles by name.
    pub async fn roles(
        &self,
        permit: &Permit<iam::ListRoles>,
        path_prefix: Option<&str>,
        at: &PageAt,
    ) -> Result<Page<Role>> {
        let page = self.list::<rows::Role>(account(permit), path_prefix, at).await?;
        let mut items = Vec::new();
        for held in page.items {
            items.push(self.plain(held).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// With all that is known of it.
    pub(crate) async fn whole(&self, held: Held<rows::Role>) -> Result<Role> {
        let role = self.plain(held).await?;
        let account = role.held.entity.place.account;
        let boundary = self.boundary(account, role.held.id()).await?;
        let last_use = self.store().last_use(role.held.id()).await?;
        Ok(Role { boundary, last_use, ..role })
    }

    /// As lists tell of it: with neither boundary nor last use.
    pub(crate) async fn plain(&self, held: Held<rows::Role>) -> Result<Role> {
        let policy = &held.body.trust;
        let document = Document::parse_within(&policy.text, Kind::Trust, usize::MAX);
        let document = document.map_err(|_| crate::damaged("a trust policy"))?;
        let trust = principals::render(self.store(), &document, policy).await?;
        Ok(Role { held, trust, boundary: None, last_use: None })
    }

    /// Changes what is given, and leaves the rest.
    pub async fn update_role(
        &self,
        permit: &Permit<iam::UpdateRole>,
        name: &str,
        description: Option<&str>,
        session_seconds_max: Option<u32>,
    ) -> Result<()> {
        self.change_role(permit, name, |body| {
            if let Some(text) = description {
                body.description = Some(text.to_owned());
            }
            body.session_seconds_max = session_seconds_max.unwrap_or(body.session_seconds_max);
        })
        .await?;
        Ok(())
    }

    /// Changes the description.
    pub async fn update_role_description(
        &self,
        permit: &Permit<iam::UpdateRoleDescription>,
        name: &str,
        description: &str,
    ) -> Result<Role> {
        let change = |body: &mut rows::Role| body.description = Some(description.to_owned());
        let held = self.change_role(permit, name, change).await?;
        self.whole(held).await
    }

    async fn change_role<A: Action>(
        &self,
        permit: &Permit<A>,
        name: &str,
        how: impl Fn(&mut rows::Role) + Sync,
    ) -> Result<Held<rows::Role>> {
        self.change(|| async {
            let mut held = self.get::<rows::Role>(account(permit), name).await?;
            how(&mut held.body);
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.clone().put());
            Ok((change, held))
        })
        .await
    }

    /// Says anew who may assume a role.
    pub async fn update_trust(
        &self,
        permit: &Permit<iam::UpdateAssumeRolePolicy>,
        name: &str,
        text: &str,
    ) -> Result<()> {
        self.change(|| async {
            let mut held = self.get::<rows::Role>(account(permit), name).await?;
            held.body.trust = self.trust(text).await?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// Deletes a role on which nothing hangs any more.
    pub async fn delete_role(&self, permit: &Permit<iam::DeleteRole>, name: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<rows::Role>(account, name).await?;
            self.check_free(account, &held).await?;
            let mut change = recorded(permit, Value::Null);
            let version = held.entity.version;
            change.delete.push((held.entity, version));
            Ok((change, ()))
        })
        .await
    }

    async fn check_free(&self, account: AccountId, role: &Held<rows::Role>) -> Result<()> {
        if !self.store().links_to(&account, Relation::Holds, role.id(), "", 1).await?.is_empty() {
            return Err(Error::DeleteConflict("remove roles from instance profile"));
        }
        if !self.attached_to(account, role.id()).await?.is_empty() {
            return Err(Error::DeleteConflict("detach all policies"));
        }
        if !role.body.inline.is_empty() {
            return Err(Error::DeleteConflict("delete policies"));
        }
        Ok(())
    }

    /// There are no roles of services here (IAM-14).
    pub fn create_service_linked_role(&self, _: &Permit<iam::CreateServiceLinkedRole>, service: &str) -> Error {
        Error::InvalidInput(format!("Service-linked roles are not supported for {service}."))
    }
}
