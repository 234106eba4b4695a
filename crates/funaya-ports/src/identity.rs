//! Identities: accounts, users, groups, roles, policies and what ties them together.
//!
//! The store keeps entities (a few keys and a body that the halls understand) and links
//! between them. A change names the versions that it was decided on and is refused if one
//! has moved on; so the rules of IAM live in the hall alone, and races end in a retry.

use std::collections::BTreeMap;

use funaya_types::{AccountId, Registry, RepositoryName, ResourceTag, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Fut, audit, meta::Result};

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An account, under itself; its key is its id.
    Account,
    /// An IAM user. Key: the name in lower case, as for the next four.
    User,
    /// A group of users.
    Group,
    /// A role.
    Role,
    /// A customer managed policy.
    Policy,
    /// An instance profile.
    InstanceProfile,
    /// An access key. Key: its id.
    AccessKey,
    /// A virtual MFA device. Key: its serial number, an ARN.
    MfaDevice,
    /// An OpenID Connect provider. Key: its URL without scheme.
    OidcProvider,
    /// A SAML provider. Key: its name.
    SamlProvider,
    /// The organization, under its management account.
    Organization,
    /// A root or organizational unit. Key: its id.
    OrganizationalUnit,
    /// A service control policy. Key: its id.
    ServiceControlPolicy,
    /// The request that made an account. Key: its id.
    AccountRequest,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Account,
        Self::User,
        Self::Group,
        Self::Role,
        Self::Policy,
        Self::InstanceProfile,
        Self::AccessKey,
        Self::MfaDevice,
        Self::OidcProvider,
        Self::SamlProvider,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::ServiceControlPolicy,
        Self::AccountRequest,
    ];

    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Policy => "policy",
            Self::InstanceProfile => "instance-profile",
            Self::AccessKey => "access-key",
            Self::MfaDevice => "mfa",
            Self::OidcProvider => "oidc-provider",
            Self::SamlProvider => "saml-provider",
            Self::Organization => "organization",
            Self::OrganizationalUnit => "ou",
            Self::ServiceControlPolicy => "scp",
            Self::AccountRequest => "account-request",
        }
    }
}

/// Where an entity stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntityKey {
    /// Whose it is.
    pub account: AccountId,
    /// What it is.
    pub kind: Kind,
    /// Its name among those of its account and kind.
    pub key: String,
}

/// A row of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Where it stands.
    pub place: EntityKey,
    /// Unique among all entities, never used again: `AIDA…`, `AKIA…`, or an ARN for kinds that AWS
    /// gives no id.
    pub id: String,
    /// IAM path, `/` where there is none.
    pub path: String,
    /// What it holds: one of this module's bodies as JSON.
    pub body: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its changes, those of its links too. 0: not stored yet.
    pub version: i64,
}

impl Entity {
    /// Reads the body.
    pub fn read<T: for<'a> Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_str(&self.body)
            .map_err(|error| crate::StoreError::Damaged(format!("{:?}: {error}", self.place)).into())
    }

    /// The same entity with another body.
    #[must_use]
    pub fn with<T: Serialize>(mut self, body: &T) -> Self {
        // Bodies are plain structs with text keys, which always print.
        self.body = serde_json::to_string(body).unwrap_or_default();
        self
    }
}

/// How two entities belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    /// A user is in a group.
    MemberOf,
    /// A user, group or role has a managed policy. `to`: the policy's ARN.
    Attached,
    /// A user or role has a managed policy as its permissions boundary. `to`: its ARN.
    BoundedBy,
    /// An instance profile holds a role.
    Holds,
    /// A root, unit or account has a service control policy. `to`: the policy's id.
    ControlledBy,
    /// An account or unit is in a unit or root.
    ChildOf,
    /// A user has an access key.
    HasKey,
    /// A user, or an account for its root, has an MFA device.
    HasMfa,
}

impl Relation {
    /// Every relation.
    pub const ALL: [Self; 8] = [
        Self::MemberOf,
        Self::Attached,
        Self::BoundedBy,
        Self::Holds,
        Self::ControlledBy,
        Self::ChildOf,
        Self::HasKey,
        Self::HasMfa,
    ];

    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemberOf => "member-of",
            Self::Attached => "attached",
            Self::BoundedBy => "bounded-by",
            Self::Holds => "holds",
            Self::ControlledBy => "controlled-by",
            Self::ChildOf => "child-of",
            Self::HasKey => "has-key",
            Self::HasMfa => "has-mfa",
        }
    }
}

/// A link between two entities, by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Whose it is.
    pub account: AccountId,
    /// How they belong together.
    pub relation: Relation,
    /// Who has.
    pub from: String,
    /// What.
    pub to: String,
}

/// A change of identities: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Change {
    /// Entities whose version must still be this (0: there must be none), beside those of `put`
    /// and `delete`. Each is counted up, so that two changes decided on one of them don't both happen.
    pub guard: Vec<(EntityKey, i64)>,
    /// Entities to write; `version` is the one that was read, 0 for new ones.
    pub put: Vec<Entity>,
    /// Entities to delete, with the version that was read. Their links go with them.
    pub delete: Vec<(Entity, i64)>,
    /// Links to make; one that exists stays.
    pub link: Vec<Link>,
    /// Links to take away.
    pub unlink: Vec<Link>,
    /// The audit entry.
    pub audit: audit::Batch,
}

impl Change {
    /// A change of nothing yet.
    pub fn new(audit: audit::Batch) -> Self {
        Self { guard: Vec::new(), put: Vec::new(), delete: Vec::new(), link: Vec::new(), unlink: Vec::new(), audit }
    }
}

/// A page of a list of entities.
#[derive(Clone, Debug)]
pub struct EntityPage {
    /// Whose.
    pub account: AccountId,
    /// Of which kind.
    pub kind: Kind,
    /// Only those whose path begins so.
    pub path_prefix: String,
    /// Only keys after this one.
    pub after: String,
    /// At most so many.
    pub limit: u32,
}

/// What a store knows about a repository that matters for access.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryAccess {
    /// Its policy, as [`BoundPolicy`] in JSON.
    pub policy: Option<String>,
    /// Its labels.
    pub tags: Vec<ResourceTag>,
}

/// A resource-based policy with the ids of the principals that it names (POL-15).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundPolicy {
    /// The document as it was set.
    pub text: String,
    /// Unique id by ARN.
    pub ids: BTreeMap<String, String>,
}

/// What the gate reads to decide.
pub trait Directory: Send + Sync {
    /// Counts changes of anything that matters for access. What was read while it stood still is
    /// still true. Costs nothing; other replicas' changes are seen after [`Directory::refresh`].
    fn epoch(&self) -> u64;
    /// Looks whether other replicas have changed something.
    fn refresh(&self) -> Fut<'_, Result<()>>;
    /// One entity.
    fn entity<'a>(&'a self, place: &'a EntityKey) -> Fut<'a, Result<Option<Entity>>>;
    /// One entity of whatever account.
    fn entity_by_id<'a>(&'a self, id: &'a str) -> Fut<'a, Result<Option<Entity>>>;
    /// What `from` has, by `to`.
    fn links_from<'a>(
        &'a self,
        account: &'a AccountId,
        relation: Relation,
        from: &'a str,
    ) -> Fut<'a, Result<Vec<String>>>;
    /// What matters for access to a repository; `None` if there is none of the name.
    fn repository_access<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
    ) -> Fut<'a, Result<Option<RepositoryAccess>>>;
    /// The registry's own policy, as [`BoundPolicy`] in JSON.
    fn registry_policy<'a>(&'a self, registry: &'a Registry) -> Fut<'a, Result<Option<String>>>;
}

/// What the hall of identities reads and writes.
pub trait IdentityStore: Directory {
    /// Makes a change.
    ///
    /// # Errors
    /// `Refusal::Changed` if a version is not what it was; then nothing happened.
    fn change(&self, change: Change) -> Fut<'_, Result<()>>;
    /// Entities by key.
    fn entities(&self, page: EntityPage) -> Fut<'_, Result<Vec<Entity>>>;
    /// How many there are.
    fn entity_count<'a>(&'a self, account: &'a AccountId, kind: Kind) -> Fut<'a, Result<u64>>;
    /// Who has `to`, by `from`, after `after`.
    fn links_to<'a>(
        &'a self,
        account: &'a AccountId,
        relation: Relation,
        to: &'a str,
        after: &'a str,
        limit: u32,
    ) -> Fut<'a, Result<Vec<String>>>;
    /// Notes when keys and roles were last used; keeps the newest. Moves no epoch.
    fn note_use(&self, uses: Vec<(String, LastUse)>) -> Fut<'_, Result<()>>;
    /// When a key or role was last used.
    fn last_use<'a>(&'a self, id: &'a str) -> Fut<'a, Result<Option<LastUse>>>;
}

/// When, where and for what an access key or role was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// In which Region.
    pub region: String,
    /// Which service.
    pub service: String,
}

/// A label of an IAM entity: key, value.
pub type Tag = (String, String);

/// Body of [`Kind::Account`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Its name in the organization.
    pub name: String,
    /// Its e-mail address.
    pub email: String,
    /// Closed accounts can do nothing.
    pub closed_at: Option<Timestamp>,
    /// Its alias (IAM-12).
    pub alias: Option<String>,
    /// Rules for passwords.
    pub password_policy: Option<PasswordPolicy>,
    /// The credential report that was made last: when, text.
    pub credential_report: Option<(Timestamp, String)>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Rules for passwords, as `UpdateAccountPasswordPolicy` takes them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PasswordPolicy {
    /// Characters, at least.
    pub length_min: u32,
    /// One that is no letter or digit.
    pub symbols: bool,
    /// A digit.
    pub numbers: bool,
    /// An upper-case letter.
    pub uppercase: bool,
    /// A lower-case letter.
    pub lowercase: bool,
    /// Users may change their own.
    pub users_may_change: bool,
    /// Days until one must be changed.
    pub days_max: Option<u32>,
    /// How many earlier ones may not come again.
    pub reuse_prevention: Option<u32>,
    /// Whether an expired one needs an administrator.
    pub hard_expiry: Option<bool>,
}

/// Body of [`Kind::User`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// As it was given.
    pub name: String,
    /// Inline policies by name.
    pub inline: BTreeMap<String, String>,
    /// Labels.
    pub tags: Vec<Tag>,
    /// Console sign-in.
    pub login: Option<Login>,
}

/// A user's password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    /// Salted hash, with its scheme.
    pub hash: String,
    /// Earlier hashes, newest first.
    pub earlier: Vec<String>,
    /// When the profile was made.
    pub created_at: Timestamp,
    /// When the password was set.
    pub changed_at: Timestamp,
    /// It must be changed at the next sign-in (IAM-09).
    pub reset_required: bool,
}

/// Body of [`Kind::Group`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// As it was given.
    pub name: String,
    /// Inline policies by name.
    pub inline: BTreeMap<String, String>,
}

/// Body of [`Kind::Role`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// As it was given.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Who may assume it.
    pub trust: BoundPolicy,
    /// Longest session, in seconds.
    pub session_seconds_max: u32,
    /// Inline policies by name.
    pub inline: BTreeMap<String, String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::Policy`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagedPolicy {
    /// As it was given.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Its versions, oldest first.
    pub versions: Vec<PolicyVersion>,
    /// The version that counts.
    pub default_version: u32,
    /// The number that the next version gets.
    pub next_version: u32,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
    /// Labels.
    pub tags: Vec<Tag>,
}

impl ManagedPolicy {
    /// The document that counts.
    pub fn document(&self) -> Option<&str> {
        let found = self.versions.iter().find(|version| version.number == self.default_version);
        found.map(|version| version.document.as_str())
    }
}

/// One version of a managed policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// 3 for `v3`.
    pub number: u32,
    /// The document.
    pub document: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Body of [`Kind::InstanceProfile`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceProfile {
    /// As it was given.
    pub name: String,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::AccessKey`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessKey {
    /// The user's id; `None`: the account's root.
    pub user_id: Option<String>,
    /// The secret half, sealed by the gate.
    pub sealed: String,
    /// An inactive one signs nothing.
    pub active: bool,
}

/// Body of [`Kind::MfaDevice`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MfaDevice {
    /// As it was given.
    pub name: String,
    /// The secret that codes are made of, sealed by the gate.
    pub sealed: String,
    /// When it was given to somebody.
    pub enabled_at: Option<Timestamp>,
    /// The newest time step whose code was taken: no code counts twice.
    pub step_used: u64,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::OidcProvider`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OidcProvider {
    /// With scheme.
    pub url: String,
    /// Audiences that are taken.
    pub client_ids: Vec<String>,
    /// SHA-1 of certificates, as AWS keeps them.
    pub thumbprints: Vec<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::SamlProvider`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SamlProvider {
    /// As it was given.
    pub name: String,
    /// The provider's metadata, XML.
    pub metadata: String,
    /// Until when it may be used.
    pub valid_until: Option<Timestamp>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::Organization`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    /// `r-…`
    pub root_id: String,
    /// Whether service control policies count.
    pub service_control: bool,
}

/// Body of [`Kind::OrganizationalUnit`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OrganizationalUnit {
    /// Its name.
    pub name: String,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::ServiceControlPolicy`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceControlPolicy {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// The document.
    pub document: String,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Body of [`Kind::AccountRequest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountRequest {
    /// The account's name.
    pub name: String,
    /// The account that was made.
    pub account: String,
}

/// A fresh access key, to be shown once.
#[derive(Clone, Debug)]
pub struct FreshKey {
    /// Its public half.
    pub id: String,
    /// Its secret half.
    pub secret: Secret,
}
