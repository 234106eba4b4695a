//! Users (COMP-001 to COMP-005).

use funaya_gate::{Permit, action::iam};
use funaya_ports::identity::{self as rows, Link, Relation};
use funaya_types::AccountId;
use serde_json::Value;

use crate::{Error, Held, Identities, Page, PageAt, Result, Tag, User, account, body::place, recorded, tags};

const USERS: (&str, usize) = ("UsersPerAccount", 5_000);

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Its name.
    pub name: String,
    /// `/` where none is given.
    pub path: String,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

impl Identities {
    /// Makes a user, who may do nothing yet (IAM-08).
    pub async fn create_user(&self, permit: &Permit<iam::CreateUser>, new: NewUser) -> Result<User> {
        let (account, id) = (account(permit), self.unique_id("AIDA"));
        self.change(|| async {
            self.vacant::<rows::User>(account, &new.name, USERS).await?;
            let labels = tags::fresh(&new.tags)?;
            let body = rows::User { name: new.name.clone(), tags: labels, ..rows::User::default() };
            let held = Held::new(account, id.clone(), &new.path, body, permit.now());
            let user = User { held: held.clone(), boundary: new.boundary.clone() };
            let mut change = recorded(permit, user.shown());
            if let Some(arn) = &new.boundary {
                self.bound(account, &id, arn, &mut change).await?;
            }
            change.put.push(held.put());
            Ok((change, user))
        })
        .await
    }

    /// A user.
    pub async fn user(&self, permit: &Permit<iam::GetUser>, name: &str) -> Result<User> {
        let held = self.get(account(permit), name).await?;
        self.with_boundary(held).await
    }

    /// Users by name.
    pub async fn users(
        &self,
        permit: &Permit<iam::ListUsers>,
        path_prefix: Option<&str>,
        at: &PageAt,
    ) -> Result<Page<Held<rows::User>>> {
        self.list(account(permit), path_prefix, at).await
    }

    /// Deletes a user on whom nothing hangs any more.
    pub async fn delete_user(&self, permit: &Permit<iam::DeleteUser>, name: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<rows::User>(account, name).await?;
            self.check_bare(account, &held).await?;
            let mut change = recorded(permit, Value::Null);
            let version = held.entity.version;
            change.delete.push((held.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// DeleteUser asks that all be taken away one by one. The texts are IAM's.
    async fn check_bare(&self, account: AccountId, user: &Held<rows::User>) -> Result<()> {
        if user.body.login.is_some() {
            return Err(Error::DeleteConflict("delete login profile"));
        }
        if !user.body.inline.is_empty() {
            return Err(Error::DeleteConflict("delete policies"));
        }
        let links = [
            (Relation::HasKey, "delete access keys"),
            (Relation::HasMfa, "deactivate MFA devices"),
            (Relation::Attached, "detach all policies"),
            (Relation::MemberOf, "remove users from group"),
        ];
        for (relation, what) in links {
            if !self.store().links_from(&account, relation, user.id()).await?.is_empty() {
                return Err(Error::DeleteConflict(what));
            }
        }
        Ok(())
    }

    /// Gives a user another name, another path, or both. Whatever it has stays, and so does its id.
    pub async fn update_user(
        &self,
        permit: &Permit<iam::UpdateUser>,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<rows::User>(account, name).await?;
            let mut change = recorded(permit, Value::Null);
            let links = self.links_of(account, held.id(), &OF_USER).await?;
            self.renamed(held, new_name, new_path, links, &mut change).await?;
            Ok((change, ()))
        })
        .await
    }

    pub(crate) async fn with_boundary(&self, held: Held<rows::User>) -> Result<User> {
        let boundary = self.boundary(held.entity.place.account, held.id()).await?;
        Ok(User { held, boundary })
    }

    /// The links that begin at an entity.
    pub(crate) async fn links_of(&self, account: AccountId, from: &str, relations: &[Relation]) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for &relation in relations {
            for to in self.store().links_from(&account, relation, from).await? {
                links.push(Link { account, relation, from: from.to_owned(), to });
            }
        }
        Ok(links)
    }

    /// Moves an entity to another name or path. A row can't change its key, so with another name the row goes and
    /// comes anew with the same id; its links go with it and are made again.
    pub(crate) async fn renamed<B: crate::Body>(
        &self,
        mut held: Held<B>,
        new_name: Option<&str>,
        new_path: Option<&str>,
        links: Vec<Link>,
        change: &mut rows::Change,
    ) -> Result<()> {
        if let Some(path) = new_path {
            held.entity.path = path.to_owned();
        }
        let Some(name) = new_name else {
            change.put.push(held.put());
            return Ok(());
        };
        let to = place::<B>(held.entity.place.account, name);
        name.clone_into(held.body.name_mut());
        if to == held.entity.place {
            change.put.push(held.put());
            return Ok(());
        }
        if self.store().entity(&to).await?.is_some() {
            return Err(B::exists(name));
        }
        let old = held.entity.clone();
        let version = old.version;
        held.entity.place = to;
        held.entity.version = 0;
        change.delete.push((old, version));
        change.put.push(held.put());
        change.link.extend(links);
        Ok(())
    }
}

/// What users have.
const OF_USER: [Relation; 5] =
    [Relation::MemberOf, Relation::Attached, Relation::BoundedBy, Relation::HasKey, Relation::HasMfa];
