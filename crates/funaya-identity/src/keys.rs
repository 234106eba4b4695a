//! Access keys (COMP-014 to COMP-018, IAM-07).

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use funaya_gate::{Action, Caller, Permit, Resources, action::iam};
use funaya_policy::Principal;
use funaya_ports::identity::{
    self as rows, AccessKey, Account, Change, Entity, EntityKey, Kind, LastUse, Link, Relation,
};
use funaya_types::{AccountId, Secret, Timestamp};
use serde_json::{Value, json};

use crate::{Error, Held, Identities, KEY_LETTERS, Page, PageAt, Result, Thing, account, recorded, shapes};

const KEYS_MAX: usize = 2;
/// 40 letters of base64.
const SECRET_BYTES: usize = 30;

/// Whose keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The account's root.
    Root,
    /// The user of this name.
    User(String),
}

impl Owner {
    /// The caller as an owner of keys; roles and federated users own none.
    pub fn calling(caller: &Caller) -> Option<Self> {
        match caller.principal() {
            Principal::Root { .. } => Some(Self::Root),
            Principal::User { name, .. } => Some(Self::User(name.to_string())),
            _ => None,
        }
    }

    /// As a resource.
    pub fn thing(&self) -> Thing<'_> {
        match self {
            Self::Root => Thing::Root,
            Self::User(name) => Thing::User(name),
        }
    }
}

/// What everybody may know of an access key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public half.
    pub id: String,
    /// Of which user; `None`: of the root.
    pub user_name: Option<String>,
    /// An inactive one signs nothing.
    pub active: bool,
    /// When it was made; `None`: it stands in the settings.
    pub created_at: Option<Timestamp>,
}

/// A new key, with the secret that is shown only now.
#[derive(Clone, Debug)]
pub struct FreshKey {
    /// What may be known later.
    pub key: Key,
    /// Its secret half.
    pub secret: Secret,
}

/// When a key was last used.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// Of which user; `None`: of the root.
    pub user_name: Option<String>,
    /// `None`: never.
    pub last: Option<LastUse>,
}

/// An owner of keys, as it was read.
enum Holder {
    Root(Entity),
    User(Held<rows::User>),
}

impl Holder {
    /// Where its links begin.
    fn id(&self) -> &str {
        match self {
            Self::Root(entity) => &entity.id,
            Self::User(held) => held.id(),
        }
    }

    fn user(&self) -> Option<&Held<rows::User>> {
        match self {
            Self::Root(_) => None,
            Self::User(held) => Some(held),
        }
    }

    /// Makes sure that two changes decided on the same owner don't both happen.
    fn fence(&self, change: &mut Change) {
        match self {
            Self::User(held) => change.guard.push(held.guard()),
            // The management account has no row at first.
            Self::Root(entity) => change.put.push(entity.clone()),
        }
    }
}

impl Identities {
    /// Makes an access key.
    pub async fn create_access_key(&self, permit: &Permit<iam::CreateAccessKey>, owner: &Owner) -> Result<FreshKey> {
        let account = account(permit);
        let (id, secret) = (format!("AKIA{}", self.letters(KEY_LETTERS)), self.secret());
        let key = self
            .change(|| async {
                let holder = self.holder(account, owner, permit.now()).await?;
                if self.key_ids(account, &holder).await?.len() >= KEYS_MAX {
                    return Err(Error::Quota { name: "AccessKeysPerUser", max: KEYS_MAX });
                }
                let key = Key {
                    id: id.clone(),
                    user_name: holder.user().map(|held| held.body.name.clone()),
                    active: true,
                    created_at: Some(permit.now()),
                };
                let mut change = recorded(permit, shown(&key));
                holder.fence(&mut change);
                let sealed = self.parts.access_keys.seal(secret.expose(), &id);
                let user_id = holder.user().map(|held| held.entity.id.clone());
                let place = EntityKey { account, kind: Kind::AccessKey, key: id.clone() };
                let body = AccessKey { user_id, sealed, active: true };
                let entity = Entity {
                    place,
                    id: id.clone(),
                    path: "/".into(),
                    body: String::new(),
                    created_at: permit.now(),
                    version: 0,
                };
                change.put.push(entity.with(&body));
                let from = holder.id().to_owned();
                change.link.push(Link { account, relation: Relation::HasKey, from, to: id.clone() });
                Ok((change, key))
            })
            .await?;
        Ok(FreshKey { key, secret })
    }

    /// The keys of a user or root.
    pub async fn access_keys(
        &self,
        permit: &Permit<iam::ListAccessKeys>,
        owner: &Owner,
        at: &PageAt,
    ) -> Result<Page<Key>> {
        let holder = self.holder(account(permit), owner, permit.now()).await?;
        Ok(at.of_all(self.keys(account(permit), &holder).await?, |key| key.id.clone()))
    }

    /// That a user or root is there. Credentials of other kinds than access keys can't be made, so nobody has any.
    pub async fn no_other_credentials<A: Action<Target = Resources>>(
        &self,
        permit: &Permit<A>,
        owner: &Owner,
    ) -> Result<()> {
        self.holder(account(permit), owner, permit.now()).await.map(drop)
    }

    async fn keys(&self, account: AccountId, holder: &Holder) -> Result<Vec<Key>> {
        let user_name = holder.user().map(|held| held.body.name.clone());
        let mut keys = Vec::new();
        for id in self.key_ids(account, holder).await? {
            match self.key(&id).await? {
                Some((entity, body)) => keys.push(Key {
                    id,
                    user_name: user_name.clone(),
                    active: body.active,
                    created_at: Some(entity.created_at),
                }),
                None if id == self.parts.root_key_id => {
                    keys.push(Key { id, user_name: None, active: true, created_at: None });
                }
                // It was deleted just now.
                None => {}
            }
        }
        Ok(keys)
    }

    /// The keys of a user, for reports.
    pub(crate) async fn user_keys(&self, user: &Held<rows::User>) -> Result<Vec<Key>> {
        self.keys(user.entity.place.account, &Holder::User(user.clone())).await
    }

    /// The keys of an account's root, for reports.
    pub(crate) async fn root_keys(&self, account: AccountId, now: Timestamp) -> Result<Vec<Key>> {
        let holder = self.holder(account, &Owner::Root, now).await?;
        self.keys(account, &holder).await
    }

    /// Makes a key active or inactive.
    pub async fn update_access_key(
        &self,
        permit: &Permit<iam::UpdateAccessKey>,
        owner: &Owner,
        id: &str,
        active: bool,
    ) -> Result<()> {
        self.change_key(permit, owner, id, |change, entity, body| {
            change.put.push(entity.with(&AccessKey { active, ..body }));
        })
        .await
    }

    /// Deletes a key.
    pub async fn delete_access_key(
        &self,
        permit: &Permit<iam::DeleteAccessKey>,
        owner: &Owner,
        id: &str,
    ) -> Result<()> {
        self.change_key(permit, owner, id, |change, entity, _| {
            let version = entity.version;
            change.delete.push((entity, version));
        })
        .await
    }

    async fn change_key<A: Action>(
        &self,
        permit: &Permit<A>,
        owner: &Owner,
        id: &str,
        how: impl Fn(&mut Change, Entity, AccessKey) + Sync,
    ) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let holder = self.holder(account, owner, permit.now()).await?;
            if !self.key_ids(account, &holder).await?.iter().any(|known| known == id) {
                return Err(Error::NoKey(id.to_owned()));
            }
            if id == self.parts.root_key_id {
                return Err(Error::Unmodifiable(format!(
                    "The Access Key with id {id} stands in the server's settings."
                )));
            }
            let (entity, body) = self.key(id).await?.ok_or_else(|| Error::NoKey(id.to_owned()))?;
            let mut change = recorded(permit, Value::Null);
            holder.fence(&mut change);
            how(&mut change, entity, body);
            Ok((change, ()))
        })
        .await
    }

    /// When a key was last used. Keys of other accounts are not told of.
    pub async fn access_key_last_used(&self, permit: &Permit<iam::GetAccessKeyLastUsed>, id: &str) -> Result<KeyUse> {
        let missing = || Error::NoKey(id.to_owned());
        let last = self.store().last_use(id).await?;
        if account(permit) == self.parts.management && id == self.parts.root_key_id {
            return Ok(KeyUse { user_name: None, last });
        }
        let (entity, body) = self.key(id).await?.ok_or_else(missing)?;
        if entity.place.account != account(permit) {
            return Err(missing());
        }
        let user = match &body.user_id {
            Some(id) => self.by_id::<rows::User>(id).await?,
            None => None,
        };
        Ok(KeyUse { user_name: user.map(|held| held.body.name), last })
    }

    async fn key(&self, id: &str) -> Result<Option<(Entity, AccessKey)>> {
        let found = self.store().entity_by_id(id).await?.filter(|entity| entity.place.kind == Kind::AccessKey);
        Ok(match found {
            Some(entity) => {
                let body = entity.read()?;
                Some((entity, body))
            }
            None => None,
        })
    }

    async fn key_ids(&self, account: AccountId, holder: &Holder) -> Result<Vec<String>> {
        let mut ids = self.store().links_from(&account, Relation::HasKey, holder.id()).await?;
        if matches!(holder, Holder::Root(_)) && account == self.parts.management {
            ids.push(self.parts.root_key_id.clone());
        }
        Ok(ids)
    }

    async fn holder(&self, account: AccountId, owner: &Owner, now: Timestamp) -> Result<Holder> {
        Ok(match owner {
            Owner::Root => Holder::Root(self.account_row(account, now).await?.0),
            Owner::User(name) => Holder::User(self.get(account, name).await?),
        })
    }

    /// An account's row; the management account has none until something is written into it.
    pub(crate) async fn account_row(&self, account: AccountId, now: Timestamp) -> Result<(Entity, Account)> {
        let place = EntityKey { account, kind: Kind::Account, key: account.as_str().into() };
        if let Some(entity) = self.store().entity(&place).await? {
            let body = entity.read()?;
            return Ok((entity, body));
        }
        let id = account.as_str().to_owned();
        let entity = Entity { place, id, path: "/".into(), body: String::new(), created_at: now, version: 0 };
        let body = Account::default();
        Ok((entity.with(&body), body))
    }

    pub(crate) fn secret(&self) -> Secret {
        let mut bytes = [0; SECRET_BYTES];
        self.parts.random.fill(&mut bytes);
        Secret::new(STANDARD_NO_PAD.encode(bytes))
    }
}

/// Without its secret (TRAIL-12).
fn shown(key: &Key) -> Value {
    let key = shapes::object([
        ("userName", json!(key.user_name)),
        ("accessKeyId", json!(key.id)),
        ("status", json!("Active")),
        ("createDate", key.created_at.map_or(Value::Null, shapes::time)),
    ]);
    json!({"accessKey": key})
}
