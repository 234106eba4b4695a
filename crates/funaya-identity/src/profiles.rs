//! Instance profiles (COMP-040 to COMP-046, IAM-05).

use funaya_gate::{Permit, action::iam};
use funaya_ports::identity::{self as rows, Link, Relation};
use funaya_types::AccountId;
use serde_json::Value;

use crate::{Error, Held, Identities, Page, PageAt, Result, Role, Tag, account, recorded, shapes, tags};

const PROFILES: (&str, usize) = ("InstanceProfilesPerAccount", 1_000);
const ROLES_MAX: usize = 1;

/// An instance profile with the role in it.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Row and body.
    pub held: Held<rows::InstanceProfile>,
    /// One at most.
    pub roles: Vec<Role>,
}

impl Identities {
    /// Makes an instance profile without a role.
    pub async fn create_profile(
        &self,
        permit: &Permit<iam::CreateInstanceProfile>,
        name: &str,
        path: &str,
        labels: &[Tag],
    ) -> Result<Profile> {
        let (account, id) = (account(permit), self.unique_id("AIPA"));
        self.change(|| async {
            let body = rows::InstanceProfile { name: name.to_owned(), tags: tags::fresh(labels)? };
            self.vacant::<rows::InstanceProfile>(account, name, PROFILES).await?;
            let held = Held::new(account, id.clone(), path, body, permit.now());
            let mut change = recorded(permit, shapes::profile(&held));
            change.put.push(held.clone().put());
            Ok((change, Profile { held, roles: Vec::new() }))
        })
        .await
    }

    /// An instance profile.
    pub async fn profile(&self, permit: &Permit<iam::GetInstanceProfile>, name: &str) -> Result<Profile> {
        let held = self.get(account(permit), name).await?;
        self.filled(held).await
    }

    /// Instance profiles by name.
    pub async fn profiles(
        &self,
        permit: &Permit<iam::ListInstanceProfiles>,
        path_prefix: Option<&str>,
        at: &PageAt,
    ) -> Result<Page<Profile>> {
        let page = self.list::<rows::InstanceProfile>(account(permit), path_prefix, at).await?;
        let mut items = Vec::new();
        for held in page.items {
            items.push(self.filled(held).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// The instance profiles that hold a role.
    pub async fn profiles_with(
        &self,
        permit: &Permit<iam::ListInstanceProfilesForRole>,
        role: &str,
        at: &PageAt,
    ) -> Result<Page<Profile>> {
        let role = self.get::<rows::Role>(account(permit), role).await?;
        let profiles = self.profiles_holding(account(permit), role.id()).await?;
        Ok(at.of_all(profiles, |profile| profile.held.entity.place.key.clone()))
    }

    pub(crate) async fn profiles_holding(&self, account: AccountId, role_id: &str) -> Result<Vec<Profile>> {
        let mut profiles = Vec::new();
        for id in self.store().links_to(&account, Relation::Holds, role_id, "", u32::MAX).await? {
            if let Some(held) = self.by_id(&id).await? {
                profiles.push(self.filled(held).await?);
            }
        }
        Ok(profiles)
    }

    async fn filled(&self, held: Held<rows::InstanceProfile>) -> Result<Profile> {
        let mut roles = Vec::new();
        for id in self.store().links_from(&held.entity.place.account, Relation::Holds, held.id()).await? {
            if let Some(role) = self.by_id(&id).await? {
                roles.push(self.plain(role).await?);
            }
        }
        Ok(Profile { held, roles })
    }

    /// Puts a role into an instance profile that has none.
    pub async fn add_role(
        &self,
        permit: &Permit<iam::AddRoleToInstanceProfile>,
        profile: &str,
        role: &str,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (profile, role) = self.profile_and_role(account, profile, role).await?;
            if !self.store().links_from(&account, Relation::Holds, profile.id()).await?.is_empty() {
                return Err(Error::Quota { name: "InstanceSessionsPerInstanceProfile", max: ROLES_MAX });
            }
            let mut change = recorded(permit, Value::Null);
            change.guard.extend([profile.guard(), role.guard()]);
            change.link.push(holds(account, profile.id(), role.id()));
            Ok((change, ()))
        })
        .await
    }

    /// Takes a role out of an instance profile.
    pub async fn remove_role(
        &self,
        permit: &Permit<iam::RemoveRoleFromInstanceProfile>,
        profile: &str,
        role: &str,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (profile, role) = self.profile_and_role(account, profile, role).await?;
            let held = self.store().links_from(&account, Relation::Holds, profile.id()).await?;
            if !held.iter().any(|id| id == role.id()) {
                let (member, of) =
                    (format!("Role {}", role.body.name), format!("instance profile {}", profile.body.name));
                return Err(Error::NotMember { member, of });
            }
            let mut change = recorded(permit, Value::Null);
            change.guard.extend([profile.guard(), role.guard()]);
            change.unlink.push(holds(account, profile.id(), role.id()));
            Ok((change, ()))
        })
        .await
    }

    /// Deletes an instance profile that holds no role.
    pub async fn delete_profile(&self, permit: &Permit<iam::DeleteInstanceProfile>, name: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<rows::InstanceProfile>(account, name).await?;
            if !self.store().links_from(&account, Relation::Holds, held.id()).await?.is_empty() {
                return Err(Error::DeleteConflict("remove roles from instance profile"));
            }
            let mut change = recorded(permit, Value::Null);
            let version = held.entity.version;
            change.delete.push((held.entity, version));
            Ok((change, ()))
        })
        .await
    }

    async fn profile_and_role(
        &self,
        account: AccountId,
        profile: &str,
        role: &str,
    ) -> Result<(Held<rows::InstanceProfile>, Held<rows::Role>)> {
        Ok((self.get(account, profile).await?, self.get(account, role).await?))
    }
}

fn holds(account: AccountId, profile: &str, role: &str) -> Link {
    Link { account, relation: Relation::Holds, from: profile.to_owned(), to: role.to_owned() }
}
