//! What decides about access, compiled and kept as long as it is true.
//!
//! Everything here is read from the store at first use and thrown away when the epoch of
//! access moves: then something has changed somewhere.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
};

use funaya_policy::{Document, Kind as DocumentKind, Named, managed};
use funaya_ports::{
    StoreError,
    identity::{
        AccessKey, Account, BoundPolicy, Directory, Entity, EntityKey, Group, Kind, ManagedPolicy, Organization,
        Relation, Role, ServiceControlPolicy, User,
    },
};
use funaya_types::{AccountId, Registry, RepositoryName, Secret};

use crate::{
    keys::{RootAccessKey, Sealer},
    principals::store,
    session::Claims,
};

/// Entries of one cache; beyond, it starts anew.
const CACHED_MAX: usize = 16 * 1024;
/// Units between an account and the organization's root.
const DEPTH_MAX: usize = 8;
/// A document that allows nothing.
const NOTHING: &str = r#"{"Statement":{"Effect":"Allow","Action":"none:None","Resource":"*"}}"#;
/// The id of the service control policy that every organization has.
pub const FULL_ACCESS_ID: &str = "p-FullAWSAccess";
/// The key of the organization's entity, under the management account.
pub const ORGANIZATION: &str = "organization";

/// An access key, ready to check signatures.
pub(crate) struct Credential {
    pub(crate) account: AccountId,
    /// `None`: the account's root.
    pub(crate) user_id: Option<String>,
    pub(crate) secret: Secret,
}

/// A user, role or root with everything that says what it may do.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) account: AccountId,
    pub(crate) kind: IdentityKind,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) policies: Vec<Named>,
    pub(crate) boundary: Option<Named>,
    pub(crate) ceiling: Arc<Ceiling>,
}

#[derive(Clone, Debug)]
pub(crate) enum IdentityKind {
    Root,
    User { id: String, name: String, arn: String },
    Role { id: String, name: String, arn: String },
}

/// What an account may do at most (IAM-23).
#[derive(Debug, Default)]
pub(crate) struct Ceiling {
    pub(crate) closed: bool,
    /// Users may change their own passwords, as the account's password policy says.
    pub(crate) users_may_change_passwords: bool,
    /// The organization's id.
    pub(crate) organization: Option<String>,
    /// From the organization's root down to the account.
    pub(crate) levels: Vec<Vec<Named>>,
}

/// What is known of a repository that matters for access.
#[derive(Default)]
pub(crate) struct Protected {
    pub(crate) policy: Option<Named>,
    pub(crate) tags: Vec<(String, String)>,
}

pub(crate) struct Access {
    directory: Arc<dyn Directory>,
    secrets: Sealer,
    root: RootAccessKey,
    root_credential: Arc<Credential>,
    credentials: Cache<String, Arc<Credential>>,
    roots: Cache<AccountId, Option<Arc<Identity>>>,
    identities: Cache<String, Option<Arc<Identity>>>,
    ceilings: Cache<AccountId, Arc<Ceiling>>,
    repositories: Cache<(Registry, RepositoryName), Arc<Protected>>,
    registries: Cache<Registry, Option<Arc<Named>>>,
    sessions: Cache<String, Arc<Vec<Named>>>,
}

type Result<T> = std::result::Result<T, StoreError>;

impl Access {
    pub(crate) fn new(directory: Arc<dyn Directory>, secrets: Sealer, root: RootAccessKey) -> Self {
        let (account, secret) = (root.account, root.secret.clone());
        Self {
            directory,
            secrets,
            root_credential: Arc::new(Credential { account, user_id: None, secret }),
            root,
            credentials: Cache::default(),
            roots: Cache::default(),
            identities: Cache::default(),
            ceilings: Cache::default(),
            repositories: Cache::default(),
            registries: Cache::default(),
            sessions: Cache::default(),
        }
    }

    /// A long-lived access key; `None` if there is none, or it is inactive.
    pub(crate) async fn credential(&self, id: &str) -> Result<Option<Arc<Credential>>> {
        if id == self.root.id {
            return Ok(Some(self.root_credential.clone()));
        }
        let name = id.to_owned();
        if let Some(credential) = self.credentials.look(&*self.directory, &name) {
            return Ok(Some(credential));
        }
        let epoch = self.directory.epoch();
        // Unknown ids are not kept: strangers could fill the cache with them.
        let Some(credential) = self.load_credential(id).await? else { return Ok(None) };
        self.credentials.keep(name, epoch, credential.clone());
        Ok(Some(credential))
    }

    async fn load_credential(&self, id: &str) -> Result<Option<Arc<Credential>>> {
        let Some(entity) = self.entity_of(id, Kind::AccessKey).await? else { return Ok(None) };
        let key: AccessKey = read(&entity)?;
        if !key.active {
            return Ok(None);
        }
        let secret = self.secrets.open(&key.sealed, id).ok_or_else(|| damaged("the secret of an access key"))?;
        let (account, user_id) = (entity.place.account, key.user_id);
        Ok(Some(Arc::new(Credential { account, user_id, secret: Secret::new(secret) })))
    }

    /// The root of an account; `None` if the account is closed.
    pub(crate) async fn root(&self, account: AccountId) -> Result<Option<Arc<Identity>>> {
        self.roots.get(&*self.directory, &account, || self.load_root(account)).await
    }

    async fn load_root(&self, account: AccountId) -> Result<Option<Arc<Identity>>> {
        let ceiling = self.ceiling(account).await?;
        if ceiling.closed {
            return Ok(None);
        }
        let (kind, policies, tags) = (IdentityKind::Root, Vec::new(), Vec::new());
        Ok(Some(Arc::new(Identity { account, kind, tags, policies, boundary: None, ceiling })))
    }

    /// A user or role by its unique id; `None` if it is gone or its account is closed.
    pub(crate) async fn identity(&self, id: &str) -> Result<Option<Arc<Identity>>> {
        self.identities.get(&*self.directory, &id.to_owned(), || self.load_identity(id)).await
    }

    async fn load_identity(&self, id: &str) -> Result<Option<Arc<Identity>>> {
        let Some(entity) = self.directory.entity_by_id(id).await.map_err(store)? else { return Ok(None) };
        let account = entity.place.account;
        let ceiling = self.ceiling(account).await?;
        if ceiling.closed {
            return Ok(None);
        }
        let arn = |kind: &str, name: &str| format!("arn:aws:iam::{account}:{kind}{}{name}", entity.path);
        let (kind, inline, tags) = match entity.place.kind {
            Kind::User => {
                let user: User = read(&entity)?;
                let arn = arn("user", &user.name);
                (IdentityKind::User { id: entity.id.clone(), name: user.name, arn }, user.inline, user.tags)
            }
            Kind::Role => {
                let role: Role = read(&entity)?;
                let arn = arn("role", &role.name);
                (IdentityKind::Role { id: entity.id.clone(), name: role.name, arn }, role.inline, role.tags)
            }
            _ => return Ok(None),
        };
        let mut policies = Vec::new();
        for (name, document) in &inline {
            policies.push(named(format!("inline policy {name} of {id}"), DocumentKind::Identity, document)?);
        }
        self.attached(account, id, &mut policies).await?;
        for group in self.links(account, Relation::MemberOf, id).await? {
            self.group(&group, &mut policies).await?;
        }
        let boundary = match self.links(account, Relation::BoundedBy, id).await?.first() {
            Some(arn) => Some(self.managed(arn, DocumentKind::Boundary).await?),
            None => None,
        };
        Ok(Some(Arc::new(Identity { account, kind, tags, policies, boundary, ceiling })))
    }

    async fn group(&self, id: &str, policies: &mut Vec<Named>) -> Result<()> {
        // One that was deleted just now gives nothing.
        let Some(entity) = self.entity_of(id, Kind::Group).await? else { return Ok(()) };
        let group: Group = read(&entity)?;
        for (name, document) in &group.inline {
            let name = format!("inline policy {name} of group {}", group.name);
            policies.push(named(name, DocumentKind::Identity, document)?);
        }
        self.attached(entity.place.account, id, policies).await
    }

    async fn attached(&self, account: AccountId, id: &str, policies: &mut Vec<Named>) -> Result<()> {
        for arn in self.links(account, Relation::Attached, id).await? {
            policies.push(self.managed(&arn, DocumentKind::Identity).await?);
        }
        Ok(())
    }

    /// A managed policy by ARN. One that is gone allows nothing.
    pub(crate) async fn managed(&self, arn: &str, kind: DocumentKind) -> Result<Named> {
        if let Some(policy) = managed::by_arn(arn) {
            return named(arn.to_owned(), kind, policy.document);
        }
        let text = match policy_place(arn) {
            Some(place) => match self.directory.entity(&place).await.map_err(store)? {
                Some(entity) => read::<ManagedPolicy>(&entity)?.document().map(str::to_owned),
                None => None,
            },
            None => None,
        };
        named(arn.to_owned(), kind, text.as_deref().unwrap_or(NOTHING))
    }

    /// The policies that a session was made with; `None` if it has no limit.
    pub(crate) async fn session(&self, claims: &Claims) -> Result<Arc<Vec<Named>>> {
        self.sessions
            .get(&*self.directory, &claims.access_key_id, || async {
                let mut policies = Vec::new();
                for document in &claims.policies {
                    policies.push(named("session policy".to_owned(), DocumentKind::Session, document)?);
                }
                for arn in &claims.policy_arns {
                    policies.push(self.managed(arn, DocumentKind::Session).await?);
                }
                Ok(Arc::new(policies))
            })
            .await
    }

    /// What an account may do at most. The management account has no ceiling.
    pub(crate) async fn ceiling(&self, account: AccountId) -> Result<Arc<Ceiling>> {
        self.ceilings.get(&*self.directory, &account, || self.load_ceiling(account)).await
    }

    async fn load_ceiling(&self, account: AccountId) -> Result<Arc<Ceiling>> {
        let is_management = account == self.root.account;
        let place = EntityKey { account, kind: Kind::Account, key: account.as_str().into() };
        let row = match self.directory.entity(&place).await.map_err(store)? {
            Some(entity) => read::<Account>(&entity)?,
            // The management account needs no row.
            None if is_management => Account::default(),
            None => return Ok(Arc::new(Ceiling { closed: true, ..Ceiling::default() })),
        };
        let place = EntityKey { account: self.root.account, kind: Kind::Organization, key: ORGANIZATION.into() };
        let organization = self.directory.entity(&place).await.map_err(store)?;
        let counts = match &organization {
            Some(entity) => !is_management && read::<Organization>(entity)?.service_control,
            None => false,
        };
        Ok(Arc::new(Ceiling {
            closed: row.closed_at.is_some(),
            users_may_change_passwords: row.password_policy.is_some_and(|policy| policy.users_may_change),
            organization: organization.map(|entity| entity.id),
            levels: if counts { self.levels(account).await? } else { Vec::new() },
        }))
    }

    async fn levels(&self, account: AccountId) -> Result<Vec<Vec<Named>>> {
        let mut levels = Vec::new();
        let mut target = account.as_str().to_owned();
        for _ in 0..DEPTH_MAX {
            let mut policies = Vec::new();
            for id in self.links(self.root.account, Relation::ControlledBy, &target).await? {
                policies.push(self.service_control(&id).await?);
            }
            levels.push(policies);
            match self.links(self.root.account, Relation::ChildOf, &target).await?.pop() {
                Some(parent) => target = parent,
                None => break,
            }
        }
        levels.reverse();
        Ok(levels)
    }

    async fn service_control(&self, id: &str) -> Result<Named> {
        if id == FULL_ACCESS_ID {
            return named(id.to_owned(), DocumentKind::ServiceControl, managed::FULL_AWS_ACCESS.document);
        }
        let entity = self.entity_of(id, Kind::ServiceControlPolicy).await?;
        let entity = entity.ok_or_else(|| damaged("a service control policy"))?;
        named(id.to_owned(), DocumentKind::ServiceControl, &read::<ServiceControlPolicy>(&entity)?.document)
    }

    /// A repository's policy and labels. For one that does not exist: nothing, and nothing is kept.
    pub(crate) async fn repository(&self, registry: &Registry, name: &RepositoryName) -> Result<Arc<Protected>> {
        let key = (registry.clone(), name.clone());
        if let Some(found) = self.repositories.look(&*self.directory, &key) {
            return Ok(found);
        }
        let epoch = self.directory.epoch();
        let Some(row) = self.directory.repository_access(registry, name).await.map_err(store)? else {
            return Ok(Arc::default());
        };
        let arn = registry.repository_arn(name).to_string();
        let policy = row.policy.map(|policy| bound(format!("policy of {arn}"), DocumentKind::Repository, &policy));
        let tags = row.tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
        let found = Arc::new(Protected { policy: policy.transpose()?, tags });
        self.repositories.keep(key, epoch, found.clone());
        Ok(found)
    }

    /// The registry's own policy.
    pub(crate) async fn registry(&self, registry: &Registry) -> Result<Option<Arc<Named>>> {
        self.registries
            .get(&*self.directory, registry, || async {
                let policy = self.directory.registry_policy(registry).await.map_err(store)?;
                let name = format!("policy of the registry {registry}");
                policy.map(|policy| Ok(Arc::new(bound(name, DocumentKind::Registry, &policy)?))).transpose()
            })
            .await
    }

    async fn entity_of(&self, id: &str, kind: Kind) -> Result<Option<Entity>> {
        let found = self.directory.entity_by_id(id).await.map_err(store)?;
        Ok(found.filter(|entity| entity.place.kind == kind))
    }

    async fn links(&self, account: AccountId, relation: Relation, from: &str) -> Result<Vec<String>> {
        self.directory.links_from(&account, relation, from).await.map_err(store)
    }
}

/// Where a customer managed policy stands: `arn:aws:iam::<account>:policy/<path><name>`.
fn policy_place(arn: &str) -> Option<EntityKey> {
    let (account, rest) = arn.strip_prefix("arn:aws:iam::")?.split_once(":policy/")?;
    let name = rest.rsplit('/').next().unwrap_or(rest);
    Some(EntityKey { account: account.parse().ok()?, kind: Kind::Policy, key: name.to_ascii_lowercase() })
}

/// A resource-based policy with the ids that its principals had when it was set (POL-15).
pub(crate) fn bound(name: String, kind: DocumentKind, json: &str) -> Result<Named> {
    let policy: BoundPolicy = serde_json::from_str(json).map_err(|_| damaged(&name))?;
    bind(name, kind, &policy)
}

pub(crate) fn bind(name: String, kind: DocumentKind, policy: &BoundPolicy) -> Result<Named> {
    let mut named = named(name, kind, &policy.text)?;
    named.document = named.document.bind(|arn| policy.ids.get(arn).map(String::as_str));
    Ok(named)
}

/// A stored document was parsed before it was stored; if it can't be read now, nothing may be decided by it.
fn named(name: String, kind: DocumentKind, text: &str) -> Result<Named> {
    let document = Document::parse_within(text, kind, usize::MAX).map_err(|_| damaged(&name))?;
    Ok(Named { name: name.into(), policy_type: kind.policy_type(), document })
}

fn read<T: for<'a> serde::Deserialize<'a>>(entity: &Entity) -> Result<T> {
    entity.read().map_err(store)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

/// Values with the epoch in which they were read.
struct Cache<K, V>(RwLock<HashMap<K, (u64, V)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    fn look(&self, directory: &dyn Directory, key: &K) -> Option<V> {
        let epoch = directory.epoch();
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(at, _)| *at == epoch).map(|(_, value)| value.clone())
    }

    /// `epoch`: as it was before the value was read.
    fn keep(&self, key: K, epoch: u64, value: V) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CACHED_MAX {
            kept.clear();
        }
        kept.insert(key, (epoch, value));
    }

    async fn get<F: Future<Output = Result<V>>>(
        &self,
        directory: &dyn Directory,
        key: &K,
        load: impl FnOnce() -> F,
    ) -> Result<V> {
        if let Some(value) = self.look(directory, key) {
            return Ok(value);
        }
        let epoch = directory.epoch();
        let value = load().await?;
        self.keep(key.clone(), epoch, value.clone());
        Ok(value)
    }
}
