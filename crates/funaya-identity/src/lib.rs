//! The hall of identities: accounts, users, groups, roles, policies, access keys.
//!
//! Every public method that is an operation takes a permit for it, which only the gate makes.
//! [`Identities::resource`] is what comes before: it says which ARN and labels the gate shall judge.
//!
//! A change is decided on what was read, and names the versions that it was read at
//! (`funaya_ports::identity::Change`). If one has moved on, the whole decision is made again
//! ([`Identities::change`]). So the rules stand here alone, and two callers who meet are in some order.
//!
//! To add an operation: a method here that takes `&Permit<iam::TheOperation>` (or `sts::`, `organizations::`),
//! reads, decides, and for a change hands `permit.record(answer)` to the store; its ways to fail as variants of
//! [`Error`]; then its line in the door's table.
//!
//! Never: HTTP, SQL, files, a clock (the permit carries the time of the call).

/// Makes the trait of actions that do the same to users, groups and roles: each says to which of them.
macro_rules! family {
    ($(#[$doc:meta])* $name:ident: $($rest:tt)*) => {
        family! { $(#[$doc])* $name of Body: $($rest)* }
    };
    ($(#[$doc:meta])* $name:ident of $bound:ident: $($action:ident $body:ident),*) => {
        $(#[$doc])*
        pub trait $name: Action<Target = Resources> {
            /// What holds it.
            type Of: $bound;
        }
        $(impl $name for iam::$action { type Of = rows::$body; })*
    };
}

mod account;
mod accounts;
mod attachments;
mod body;
mod boundaries;
mod control;
mod decisions;
mod details;
mod error;
mod federation;
mod groups;
mod inline;
mod keys;
mod mfa;
mod organization;
mod passwords;
mod policies;
mod profiles;
mod providers;
mod report;
mod roles;
mod row;
mod saml;
mod sessions;
mod shapes;
mod simulate;
mod tags;
mod targets;
mod totp;
mod users;

use std::sync::Arc;

use funaya_gate::{Action, Permit, Sealer};
use funaya_ports::{
    Random, StoreError,
    identity::{Change, IdentityStore},
    issuers::IssuerKeys,
    meta::{self, MetaStore, Refusal},
};
use funaya_types::AccountId;

pub use account::Root;
pub use accounts::{Member, NewAccount, Request};
pub use attachments::{Attached, Attaches, Detaches, Having, ListsAttached, Wanted};
pub use body::{Body, Held};
pub use boundaries::{Bounds, Unbounds};
pub use control::{ControlPolicy, ControlTarget, NewControlPolicy};
pub use details::{Details, Section};
pub use error::Error;
pub use federation::{SamlIdentity, WebIdentity, identify};
pub use funaya_ports::identity::{Kind, OidcProvider, PasswordPolicy, Tag};
pub use groups::Group;
pub use inline::{DeletesInline, GetsInline, Holder, Inline, ListsInline, PutsInline};
pub use keys::{FreshKey, Key, KeyUse, Owner};
pub use mfa::{Assigned, Device, FreshDevice, Proof};
pub use organization::{Org, OrganizationError, OrganizationResult, Unit, is_account};
pub use passwords::{LoginChange, LoginProfile};
pub use policies::{Filter, NewPolicy, Policy, Version};
pub use profiles::Profile;
pub use providers::{Oidc, Saml};
pub use roles::{NewRole, Role};
pub use row::Row;
pub use sessions::{Identified, Issued, Made, SessionError, SessionResult, WantedRole, Wish, federated_arn};
pub use shapes::User;
pub use simulate::{Matched, Outcome, Simulated, Simulation, SourceKind, Span};
pub use tags::{GivesTags, ListsTags, TakesTags};
pub use targets::Thing;
pub use users::NewUser;

/// What an operation gives, or why not.
pub type Result<T> = std::result::Result<T, Error>;

/// How often a change is decided anew when somebody else was faster.
const TRIES: u32 = 16;
/// Letters of unique ids after their prefix.
const ID_LETTERS: usize = 17;
/// Letters of access key ids after `AKIA`.
const KEY_LETTERS: usize = 16;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What the hall is made of.
pub struct Parts {
    /// Rows.
    pub store: Arc<dyn IdentityStore>,
    /// Seals the secret halves of access keys; made for `funaya_gate::ACCESS_KEYS`.
    pub access_keys: Sealer,
    /// Ids and secrets.
    pub random: Arc<dyn Random>,
    /// The account that was there first; it has no row of its own until one is needed.
    pub management: AccountId,
    /// The access key of its root that the settings name.
    pub root_key_id: String,
    /// Seals the seeds of MFA devices.
    pub mfa: Sealer,
    /// Where the reasons of refusals are.
    pub decisions: Arc<dyn MetaStore>,
    /// The keys of identity providers.
    pub issuers: Arc<dyn IssuerKeys>,
}

/// What is remembered between calls; losing it does no harm.
#[derive(Default)]
struct Memory {
    tries: mfa::Tries,
    keys: federation::KeyRing,
}

/// All identities of this installation.
pub struct Identities {
    parts: Parts,
    memory: Memory,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; `None`: this is the last.
    pub next: Option<String>,
}

/// Which page of a list.
#[derive(Clone, Debug)]
pub struct PageAt {
    /// After this place; empty for the first.
    pub after: String,
    /// At most so many.
    pub limit: u32,
}

impl PageAt {
    /// One more than fits, to see whether there are more.
    fn probe(&self) -> u32 {
        self.limit.saturating_add(1)
    }

    /// A page of what was read with [`PageAt::probe`]; `place` names where an item stands.
    fn page<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> String) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(place);
        Page { items, next }
    }

    /// A page of a whole list, which is sorted by `place` first.
    fn of_all<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> String) -> Page<T> {
        items.sort_by_cached_key(&place);
        let from = items.partition_point(|item| place(item).as_str() <= self.after.as_str());
        let rest = if self.after.is_empty() { items } else { items.split_off(from) };
        self.page(rest, place)
    }
}

impl Identities {
    /// Opens the hall.
    pub fn new(parts: Parts) -> Self {
        Self { parts, memory: Memory::default() }
    }

    fn store(&self) -> &dyn IdentityStore {
        &*self.parts.store
    }

    /// Decides and makes a change, again if what it was decided on has changed meanwhile.
    async fn change<T, F>(&self, decide: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<(Change, T)>>,
    {
        for _ in 0..TRIES {
            let (change, answer) = decide().await?;
            match self.store().change(change).await {
                Ok(()) => return Ok(answer),
                Err(meta::Error::Refused(Refusal::Changed)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Concurrent)
    }

    /// A unique id, such as `AIDA…`.
    fn unique_id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.letters(ID_LETTERS))
    }

    fn letters(&self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.parts.random.fill(&mut bytes);
        bytes.iter().map(|byte| char::from(BASE32[usize::from(byte % 32)])).collect()
    }
}

/// Whose identities a permit is about.
fn account<A: Action>(permit: &Permit<A>) -> AccountId {
    permit.registry().account
}

/// A change with a permit's audit record, which shows this answer.
fn recorded<A: Action>(permit: &Permit<A>, answer: serde_json::Value) -> Change {
    Change::new(permit.record(answer))
}

/// Work that takes a processor longer than the reactor may be kept.
async fn off_reactor<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| damaged("work was broken off"))
}

fn damaged(what: &str) -> Error {
    StoreError::Damaged(what.to_owned()).into()
}

/// A failure of the store with its causes, for the log.
pub fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
