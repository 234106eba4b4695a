//! The account: its root, alias, rules for passwords and summary (COMP-084 to COMP-087, IAM-12).

use funaya_gate::{Permit, action::iam};
use funaya_ports::identity::{
    self as rows, Change, Entity, EntityKey, EntityPage, Kind, MfaDevice, PasswordPolicy, Relation,
};
use funaya_types::{AccountId, Timestamp};
use serde_json::Value;

use crate::{Error, Identities, Page, PageAt, Result, account, recorded};

/// The most entities of one kind that a summary looks into.
const SUMMED_MAX: u32 = 10_000;

/// The root of an account.
#[derive(Clone, Debug)]
pub struct Root {
    /// The account.
    pub account: AccountId,
    /// Its alias, which is the root's name.
    pub alias: Option<String>,
    /// When the account was made, if that is known.
    pub created_at: Option<Timestamp>,
}

impl Identities {
    /// The caller's root, for itself.
    pub async fn root_user(&self, permit: &Permit<iam::GetUser>) -> Result<Root> {
        let account = account(permit);
        let (entity, body) = self.account_row(account, permit.now()).await?;
        let created_at = (entity.version > 0).then_some(entity.created_at);
        Ok(Root { account, alias: body.alias, created_at })
    }

    /// Gives the account an alias in place of the one it had. An alias belongs to one account only: a row of its own,
    /// whose id is the alias, keeps others out.
    pub async fn create_alias(&self, permit: &Permit<iam::CreateAccountAlias>, alias: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (entity, mut body) = self.account_row(account, permit.now()).await?;
            let mut change = recorded(permit, Value::Null);
            if body.alias.as_deref() == Some(alias) {
                return Err(Error::AliasTaken(alias.to_owned()));
            }
            if self.store().entity_by_id(&alias_key(alias)).await?.is_some() {
                return Err(Error::AliasTaken(alias.to_owned()));
            }
            if let Some(old) = &body.alias {
                self.free_alias(account, old, &mut change).await?;
            }
            let key = alias_key(alias);
            let place = EntityKey { account, kind: Kind::Account, key: key.clone() };
            let (path, body_text) = ("/".to_owned(), "{}".to_owned());
            change.put.push(Entity { place, id: key, path, body: body_text, created_at: permit.now(), version: 0 });
            body.alias = Some(alias.to_owned());
            change.put.push(entity.with(&body));
            Ok((change, ()))
        })
        .await
    }

    /// The account's alias, if it has one.
    pub async fn aliases(&self, permit: &Permit<iam::ListAccountAliases>, at: &PageAt) -> Result<Page<String>> {
        let (_, body) = self.account_row(account(permit), permit.now()).await?;
        Ok(at.of_all(body.alias.into_iter().collect(), String::clone))
    }

    /// Takes the account's alias away.
    pub async fn delete_alias(&self, permit: &Permit<iam::DeleteAccountAlias>, alias: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (entity, mut body) = self.account_row(account, permit.now()).await?;
            if body.alias.as_deref() != Some(alias) {
                return Err(Error::NoAlias(alias.to_owned()));
            }
            let mut change = recorded(permit, Value::Null);
            self.free_alias(account, alias, &mut change).await?;
            body.alias = None;
            change.put.push(entity.with(&body));
            Ok((change, ()))
        })
        .await
    }

    async fn free_alias(&self, account: AccountId, alias: &str, change: &mut Change) -> Result<()> {
        let place = EntityKey { account, kind: Kind::Account, key: alias_key(alias) };
        if let Some(row) = self.store().entity(&place).await? {
            let version = row.version;
            change.delete.push((row, version));
        }
        Ok(())
    }

    /// The account's rules for passwords.
    pub async fn password_policy(&self, permit: &Permit<iam::GetAccountPasswordPolicy>) -> Result<PasswordPolicy> {
        let account = account(permit);
        let (_, body) = self.account_row(account, permit.now()).await?;
        body.password_policy.ok_or_else(|| Error::NoPasswordPolicy(account.to_string()))
    }

    /// Sets the account's rules for passwords.
    pub async fn update_password_policy(
        &self,
        permit: &Permit<iam::UpdateAccountPasswordPolicy>,
        policy: &PasswordPolicy,
    ) -> Result<()> {
        self.change(|| async {
            let (entity, mut body) = self.account_row(account(permit), permit.now()).await?;
            body.password_policy = Some(policy.clone());
            let mut change = recorded(permit, Value::Null);
            change.put.push(entity.with(&body));
            Ok((change, ()))
        })
        .await
    }

    /// Takes the account's rules for passwords away.
    pub async fn delete_password_policy(&self, permit: &Permit<iam::DeleteAccountPasswordPolicy>) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let (entity, mut body) = self.account_row(account, permit.now()).await?;
            body.password_policy.take().ok_or_else(|| Error::NoPasswordPolicy(account.to_string()))?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(entity.with(&body));
            Ok((change, ()))
        })
        .await
    }

    /// How much there is, and how much there may be.
    pub async fn summary(&self, permit: &Permit<iam::GetAccountSummary>) -> Result<Vec<(&'static str, i64)>> {
        let account = account(permit);
        let mut summary = QUOTAS.to_vec();
        let counted = [
            ("Users", Kind::User),
            ("Groups", Kind::Group),
            ("Roles", Kind::Role),
            ("Policies", Kind::Policy),
            ("InstanceProfiles", Kind::InstanceProfile),
            ("MFADevices", Kind::MfaDevice),
        ];
        for (name, kind) in counted {
            summary.push((name, self.count(account, kind).await?));
        }
        let providers =
            self.count(account, Kind::OidcProvider).await? + self.count(account, Kind::SamlProvider).await?;
        summary.push(("Providers", providers));
        let devices = self.bodies::<MfaDevice>(account, Kind::MfaDevice).await?;
        summary.push(("MFADevicesInUse", size(devices.iter().filter(|device| device.enabled_at.is_some()).count())));
        let policies = self.bodies::<rows::ManagedPolicy>(account, Kind::Policy).await?;
        summary.push(("PolicyVersionsInUse", size(policies.iter().map(|policy| policy.versions.len()).sum())));
        let mfa = self.store().links_from(&account, Relation::HasMfa, account.as_str()).await?;
        summary.push(("AccountMFAEnabled", i64::from(!mfa.is_empty())));
        let keys = self.root_keys(account, permit.now()).await?;
        summary.push(("AccountAccessKeysPresent", i64::from(!keys.is_empty())));
        Ok(summary)
    }

    async fn count(&self, account: AccountId, kind: Kind) -> Result<i64> {
        Ok(i64::try_from(self.store().entity_count(&account, kind).await?).unwrap_or(i64::MAX))
    }

    async fn bodies<B: for<'a> serde::Deserialize<'a>>(&self, account: AccountId, kind: Kind) -> Result<Vec<B>> {
        let (path_prefix, after) = ("/".to_owned(), String::new());
        let page = EntityPage { account, kind, path_prefix, after, limit: SUMMED_MAX };
        let rows = self.store().entities(page).await?;
        Ok(rows.iter().map(Entity::read).collect::<funaya_ports::meta::Result<_>>()?)
    }
}

/// What is always so.
const QUOTAS: [(&str, i64); 21] = [
    ("UsersQuota", 5_000),
    ("GroupsQuota", 300),
    ("RolesQuota", 1_000),
    ("PoliciesQuota", 1_500),
    ("InstanceProfilesQuota", 1_000),
    ("ServerCertificates", 0),
    ("ServerCertificatesQuota", 20),
    ("UserPolicySizeQuota", 2_048),
    ("GroupPolicySizeQuota", 5_120),
    ("RolePolicySizeQuota", 10_240),
    ("PolicySizeQuota", 6_144),
    ("AssumeRolePolicySizeQuota", 2_048),
    ("GroupsPerUserQuota", 10),
    ("SigningCertificatesPerUserQuota", 2),
    ("AccessKeysPerUserQuota", 2),
    ("AttachedPoliciesPerUserQuota", 10),
    ("AttachedPoliciesPerGroupQuota", 10),
    ("AttachedPoliciesPerRoleQuota", 10),
    ("VersionsPerPolicyQuota", 5),
    ("PolicyVersionsInUseQuota", 10_000),
    ("GlobalEndpointTokenVersion", 2),
];

/// The id of the row that keeps an alias.
fn alias_key(alias: &str) -> String {
    format!("alias:{alias}")
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
