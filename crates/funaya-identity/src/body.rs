//! Entities with their bodies, by kind.

use funaya_ports::identity::{self as rows, Entity, EntityKey, EntityPage, Kind, Tag};
use funaya_types::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Error, Identities, Page, PageAt, Result, error};

/// What an entity with a name holds.
pub trait Body: Clone + Default + Serialize + for<'a> Deserialize<'a> + Send + Sync {
    /// Its kind.
    const KIND: Kind;
    /// The word before its path in ARNs.
    const NOUN: &'static str;
    /// What its unique ids begin with.
    const PREFIX: &'static str;

    /// Its name, as it was given.
    fn name(&self) -> &str;
    /// Its name, to be changed.
    fn name_mut(&mut self) -> &mut String;
    /// Its labels; groups have none.
    fn tags(&self) -> &[Tag];
    /// Its labels, to be changed; `None`: it can have none.
    fn tags_mut(&mut self) -> Option<&mut Vec<Tag>>;
    /// There is none of this name.
    fn missing(name: &str) -> Error;
    /// There is one of this name already.
    fn exists(name: &str) -> Error;
}

macro_rules! bodies {
    ($($body:ident $noun:literal $prefix:literal [$($tags:ident)?] $missing:ident, $exists:expr;)*) => {
        $(
            impl Body for rows::$body {
                const KIND: Kind = bodies!(@kind $body);
                const NOUN: &'static str = $noun;
                const PREFIX: &'static str = $prefix;

                fn name(&self) -> &str {
                    &self.name
                }

                fn name_mut(&mut self) -> &mut String {
                    &mut self.name
                }

                fn tags(&self) -> &[Tag] {
                    bodies!(@tags self $($tags)?)
                }

                fn tags_mut(&mut self) -> Option<&mut Vec<Tag>> {
                    bodies!(@tags_mut self $($tags)?)
                }

                fn missing(name: &str) -> Error {
                    Error::$missing(name.to_owned())
                }

                fn exists(name: &str) -> Error {
                    $exists(name.to_owned())
                }
            }
        )*
    };
    (@kind ManagedPolicy) => { Kind::Policy };
    (@kind $body:ident) => { Kind::$body };
    (@tags_mut $self:ident) => { None };
    (@tags_mut $self:ident $tags:ident) => { Some(&mut $self.$tags) };
    (@tags $self:ident) => { &[] };
    (@tags $self:ident $tags:ident) => { &$self.$tags };
}

bodies! {
    User "user" "AIDA" [tags] NoUser, |name| error::Error::Exists { kind: "User", name };
    Group "group" "AGPA" [] NoGroup, |name| error::Error::Exists { kind: "Group", name };
    Role "role" "AROA" [tags] NoRole, |name| error::Error::Exists { kind: "Role", name };
    ManagedPolicy "policy" "ANPA" [tags] NoPolicy, error::Error::PolicyExists;
    InstanceProfile "instance-profile" "AIPA" [tags] NoProfile, error::Error::ProfileExists;
}

/// An entity and what it holds.
#[derive(Clone, Debug)]
pub struct Held<B> {
    /// The row.
    pub entity: Entity,
    /// Its body.
    pub body: B,
}

impl<B: Body> Held<B> {
    /// A new one.
    pub(crate) fn new(account: AccountId, id: String, path: &str, body: B, at: Timestamp) -> Self {
        let place = place::<B>(account, body.name());
        let entity = Entity { place, id, path: path.to_owned(), body: String::new(), created_at: at, version: 0 };
        Self { entity, body }
    }

    /// Its unique id.
    pub fn id(&self) -> &str {
        &self.entity.id
    }

    /// `arn:aws:iam::123456789012:user/path/name`
    pub fn arn(&self) -> String {
        arn(self.entity.place.account, B::NOUN, &self.entity.path, self.body.name())
    }

    /// For a change that must not happen if it changes meanwhile.
    pub(crate) fn guard(&self) -> (EntityKey, i64) {
        (self.entity.place.clone(), self.entity.version)
    }

    /// The row, to be written.
    pub(crate) fn put(self) -> Entity {
        self.entity.with(&self.body)
    }
}

pub(crate) fn arn(account: AccountId, noun: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{noun}{path}{name}")
}

pub(crate) fn place<B: Body>(account: AccountId, name: &str) -> EntityKey {
    EntityKey { account, kind: B::KIND, key: name.to_ascii_lowercase() }
}

pub(crate) fn held<B: Body>(entity: Entity) -> Result<Held<B>> {
    let body = entity.read()?;
    Ok(Held { entity, body })
}

impl Identities {
    pub(crate) async fn find<B: Body>(&self, account: AccountId, name: &str) -> Result<Option<Held<B>>> {
        self.store().entity(&place::<B>(account, name)).await?.map(held).transpose()
    }

    pub(crate) async fn get<B: Body>(&self, account: AccountId, name: &str) -> Result<Held<B>> {
        self.find(account, name).await?.ok_or_else(|| B::missing(name))
    }

    /// As [`Identities::get`]; a managed policy is named by its ARN.
    pub(crate) async fn get_named<B: Body>(&self, account: AccountId, name: &str) -> Result<Held<B>> {
        if B::KIND != Kind::Policy {
            return self.get(account, name).await;
        }
        check_own(account, name)?;
        let found = self.find::<B>(account, name.rsplit('/').next().unwrap_or(name)).await?;
        found.filter(|held| held.arn() == name).ok_or_else(|| B::missing(name))
    }

    pub(crate) async fn by_id<B: Body>(&self, id: &str) -> Result<Option<Held<B>>> {
        let found = self.store().entity_by_id(id).await?;
        found.filter(|entity| entity.place.kind == B::KIND).map(held).transpose()
    }

    pub(crate) async fn list<B: Body>(
        &self,
        account: AccountId,
        path_prefix: Option<&str>,
        at: &PageAt,
    ) -> Result<Page<Held<B>>> {
        let path_prefix = path_prefix.unwrap_or("/").to_owned();
        let page = EntityPage { account, kind: B::KIND, path_prefix, after: at.after.clone(), limit: at.probe() };
        let entities = self.store().entities(page).await?;
        let items = entities.into_iter().map(held).collect::<Result<Vec<Held<B>>>>()?;
        Ok(at.page(items, |held| held.entity.place.key.clone()))
    }

    /// Refuses a new entity where there is one of the name, or too many of its kind.
    pub(crate) async fn vacant<B: Body>(
        &self,
        account: AccountId,
        name: &str,
        quota: (&'static str, usize),
    ) -> Result<()> {
        if self.find::<B>(account, name).await?.is_some() {
            return Err(B::exists(name));
        }
        let count = self.store().entity_count(&account, B::KIND).await?;
        match usize::try_from(count) {
            Ok(count) if count < quota.1 => Ok(()),
            _ => Err(Error::Quota { name: quota.0, max: quota.1 }),
        }
    }
}

/// Policies of AWS and of other accounts are theirs alone.
pub(crate) fn check_own(account: AccountId, arn: &str) -> Result<()> {
    let named = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":policy/"));
    match named {
        None => Err(Error::Validation(format!("ARN {arn} is not valid."))),
        Some((owner, _)) if owner != account.as_str() => Err(Error::Foreign),
        Some(_) => Ok(()),
    }
}
