//! Groups and who is in them (COMP-024 to COMP-030, IAM-26).

use funaya_gate::{Permit, action::iam};
use funaya_ports::identity::{self as rows, Link, Relation};
use funaya_types::AccountId;
use serde_json::Value;

use crate::{Error, Held, Identities, Page, PageAt, Result, account, recorded, shapes};

const GROUPS: (&str, usize) = ("GroupsPerAccount", 300);
const GROUPS_PER_USER: usize = 10;

/// A group.
pub type Group = Held<rows::Group>;

impl Identities {
    /// Makes a group.
    pub async fn create_group(&self, permit: &Permit<iam::CreateGroup>, name: &str, path: &str) -> Result<Group> {
        let (account, id) = (account(permit), self.unique_id("AGPA"));
        self.change(|| async {
            self.vacant::<rows::Group>(account, name, GROUPS).await?;
            let body = rows::Group { name: name.to_owned(), ..rows::Group::default() };
            let held = Held::new(account, id.clone(), path, body, permit.now());
            let mut change = recorded(permit, shapes::group(&held));
            change.put.push(held.clone().put());
            Ok((change, held))
        })
        .await
    }

    /// A group and a page of its members.
    pub async fn group(
        &self,
        permit: &Permit<iam::GetGroup>,
        name: &str,
        at: &PageAt,
    ) -> Result<(Group, Page<Held<rows::User>>)> {
        let account = account(permit);
        let group = self.get::<rows::Group>(account, name).await?;
        let ids = self.store().links_to(&account, Relation::MemberOf, group.id(), &at.after, at.probe()).await?;
        let page = at.page(ids, String::clone);
        let mut items = Vec::new();
        for id in &page.items {
            // One that was deleted just now is left out.
            items.extend(self.by_id::<rows::User>(id).await?);
        }
        Ok((group, Page { items, next: page.next }))
    }

    /// Groups by name.
    pub async fn groups(
        &self,
        permit: &Permit<iam::ListGroups>,
        path_prefix: Option<&str>,
        at: &PageAt,
    ) -> Result<Page<Group>> {
        self.list(account(permit), path_prefix, at).await
    }

    /// The groups that a user is in.
    pub async fn groups_of(
        &self,
        permit: &Permit<iam::ListGroupsForUser>,
        name: &str,
        at: &PageAt,
    ) -> Result<Page<Group>> {
        let user = self.get::<rows::User>(account(permit), name).await?;
        let groups = self.groups_with(account(permit), user.id()).await?;
        Ok(at.of_all(groups, |group| group.entity.place.key.clone()))
    }

    pub(crate) async fn groups_with(&self, account: AccountId, user_id: &str) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        for id in self.store().links_from(&account, Relation::MemberOf, user_id).await? {
            groups.extend(self.by_id::<rows::Group>(&id).await?);
        }
        Ok(groups)
    }

    /// Gives a group another name, another path, or both. Members and policies stay.
    pub async fn update_group(
        &self,
        permit: &Permit<iam::UpdateGroup>,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let group = self.get::<rows::Group>(account, name).await?;
            let mut change = recorded(permit, Value::Null);
            let mut links = self.links_of(account, group.id(), &[Relation::Attached]).await?;
            let members = self.store().links_to(&account, Relation::MemberOf, group.id(), "", u32::MAX).await?;
            links.extend(members.iter().map(|user| member(account, user, group.id())));
            self.renamed(group, new_name, new_path, links, &mut change).await?;
            Ok((change, ()))
        })
        .await
    }

    /// Deletes a group that is empty and has no policies.
    pub async fn delete_group(&self, permit: &Permit<iam::DeleteGroup>, name: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let group = self.get::<rows::Group>(account, name).await?;
            if !self.store().links_to(&account, Relation::MemberOf, group.id(), "", 1).await?.is_empty() {
                return Err(Error::DeleteConflict("remove users from group"));
            }
            if !self.attached_to(account, group.id()).await?.is_empty() {
                return Err(Error::DeleteConflict("detach all policies"));
            }
            if !group.body.inline.is_empty() {
                return Err(Error::DeleteConflict("delete policies"));
            }
            let mut change = recorded(permit, Value::Null);
            let version = group.entity.version;
            change.delete.push((group.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// Puts a user into a group; one that is in it stays.
    pub async fn add_user_to_group(&self, permit: &Permit<iam::AddUserToGroup>, group: &str, user: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (group, user) = self.group_and_user(account, group, user).await?;
            let groups = self.store().links_from(&account, Relation::MemberOf, user.id()).await?;
            if groups.len() >= GROUPS_PER_USER && !groups.iter().any(|id| id == group.id()) {
                return Err(Error::Quota { name: "GroupsPerUser", max: GROUPS_PER_USER });
            }
            let mut change = recorded(permit, Value::Null);
            change.guard.extend([group.guard(), user.guard()]);
            change.link.push(member(account, user.id(), group.id()));
            Ok((change, ()))
        })
        .await
    }

    /// Takes a user out of a group.
    pub async fn remove_user_from_group(
        &self,
        permit: &Permit<iam::RemoveUserFromGroup>,
        group: &str,
        user: &str,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (group, user) = self.group_and_user(account, group, user).await?;
            let groups = self.store().links_from(&account, Relation::MemberOf, user.id()).await?;
            if !groups.iter().any(|id| id == group.id()) {
                let (member, of) = (format!("User {}", user.body.name), format!("group {}", group.body.name));
                return Err(Error::NotMember { member, of });
            }
            let mut change = recorded(permit, Value::Null);
            change.guard.extend([group.guard(), user.guard()]);
            change.unlink.push(member(account, user.id(), group.id()));
            Ok((change, ()))
        })
        .await
    }

    async fn group_and_user(&self, account: AccountId, group: &str, user: &str) -> Result<(Group, Held<rows::User>)> {
        Ok((self.get(account, group).await?, self.get(account, user).await?))
    }
}

fn member(account: AccountId, user: &str, group: &str) -> Link {
    Link { account, relation: Relation::MemberOf, from: user.to_owned(), to: group.to_owned() }
}
