//! Permits: values that only the gate makes, one type for each action.

use std::{fmt, marker::PhantomData};

use funaya_policy::Context;
use funaya_ports::{audit, identity::BoundPolicy};
use funaya_types::{Registry, RepositoryName, Timestamp};
use serde_json::Value;

use crate::{action::Action, call::Call};

/// What an action may be on.
pub trait Target: fmt::Debug + Send + Sync {
    /// The resources that must all be allowed.
    fn resources(&self, registry: &Registry) -> Vec<Resource>;

    /// Condition keys that come with the request: `aws:RequestTag/…`, `aws:TagKeys` and others.
    fn conditions(&self, _: &mut Context) {}
}

/// One resource, as policies see it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its ARN, or `*`.
    pub arn: String,
    /// The policy on the resource itself.
    pub policy: OwnPolicy,
    /// Its labels, if the caller of the gate knows them: IAM's own entities.
    pub tags: Vec<(String, String)>,
}

/// Where a resource's own policy is found.
#[derive(Clone, Debug)]
pub enum OwnPolicy {
    /// It has none.
    None,
    /// In the repository's row, beside its labels.
    Repository(RepositoryName),
    /// The trust policy of the role that shall be assumed.
    Trust(BoundPolicy),
}

impl Resource {
    /// A resource without a policy of its own.
    pub fn plain(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), policy: OwnPolicy::None, tags: Vec::new() }
    }

    /// A repository.
    pub fn of(registry: &Registry, name: &RepositoryName) -> Self {
        let arn = registry.repository_arn(name).to_string();
        Self { arn, policy: OwnPolicy::Repository(name.clone()), tags: Vec::new() }
    }
}

impl Target for RepositoryName {
    fn resources(&self, registry: &Registry) -> Vec<Resource> {
        vec![Resource::of(registry, self)]
    }
}

impl Target for () {
    fn resources(&self, _: &Registry) -> Vec<Resource> {
        vec![Resource::plain("*")]
    }
}

/// Named repositories, or all of the registry (API-73).
#[derive(Debug)]
pub enum Scope {
    /// `repository/*`
    All,
    /// Each of these.
    Named(Vec<RepositoryName>),
}

impl Target for Scope {
    fn resources(&self, registry: &Registry) -> Vec<Resource> {
        match self {
            Self::All => {
                vec![Resource::plain(format!("arn:aws:ecr:{}:{}:repository/*", registry.region, registry.account))]
            }
            Self::Named(names) => names.iter().map(|name| Resource::of(registry, name)).collect(),
        }
    }
}

/// A repository, and the labels that the request gives to it or takes from it (IAM-50, IAM-80).
#[derive(Debug)]
pub struct Tagged {
    /// The repository.
    pub name: RepositoryName,
    /// Labels with values: `aws:RequestTag/…`.
    pub tags: Vec<(String, String)>,
    /// Labels by key only, when they are taken away.
    pub keys: Vec<String>,
}

impl Tagged {
    /// A request without labels.
    pub fn plain(name: RepositoryName) -> Self {
        Self { name, tags: Vec::new(), keys: Vec::new() }
    }
}

impl Target for Tagged {
    fn resources(&self, registry: &Registry) -> Vec<Resource> {
        self.name.resources(registry)
    }

    fn conditions(&self, context: &mut Context) {
        request_tags(context, &self.tags, &self.keys);
    }
}

/// Entities of IAM, STS or Organizations that an action is on, with what the request says of them.
#[derive(Debug, Default)]
pub struct Resources {
    /// Each must be allowed.
    pub resources: Vec<Resource>,
    /// Labels that the request gives.
    pub tags: Vec<(String, String)>,
    /// Labels that it takes away.
    pub keys: Vec<String>,
    /// Other keys, such as `iam:PolicyARN`.
    pub conditions: Vec<(&'static str, String)>,
}

impl Resources {
    /// One resource.
    pub fn one(resource: Resource) -> Self {
        Self { resources: vec![resource], ..Self::default() }
    }

    /// `*`
    pub fn all() -> Self {
        Self::one(Resource::plain("*"))
    }
}

impl Target for Resources {
    fn resources(&self, _: &Registry) -> Vec<Resource> {
        self.resources.clone()
    }

    fn conditions(&self, context: &mut Context) {
        request_tags(context, &self.tags, &self.keys);
        for (key, value) in &self.conditions {
            context.set(key, value);
        }
    }
}

fn request_tags(context: &mut Context, tags: &[(String, String)], keys: &[String]) {
    for (key, value) in tags {
        context.set_tag("aws:RequestTag", key, value);
    }
    let keys: Vec<&str> = tags.iter().map(|(key, _)| key.as_str()).chain(keys.iter().map(String::as_str)).collect();
    if !keys.is_empty() {
        context.set_all("aws:TagKeys", &keys);
    }
}

/// The gate's yes to upkeep: collecting, verifying. No door can ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep(pub(crate) ());

/// The gate's yes to one action on one target, with what the audit record needs.
pub struct Permit<A: Action> {
    pub(crate) call: Call,
    pub(crate) registry: Registry,
    pub(crate) target: A::Target,
    pub(crate) request: Value,
    pub(crate) event_id: String,
    pub(crate) action: PhantomData<A>,
}

impl<A: Action> Permit<A> {
    /// In which registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// On what.
    pub fn target(&self) -> &A::Target {
        &self.target
    }

    /// When the call came: the time of all that it changes.
    pub fn now(&self) -> Timestamp {
        self.call.client.at
    }

    /// The call that this permit is part of.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The audit record of a change, to be committed with it (D8). `response`: the answer in
    /// the API's shape.
    pub fn record(&self, response: Value) -> audit::Batch {
        let packed = audit::pack(vec![self.entry(response, None)]);
        // One entry makes one batch.
        packed.into_iter().next().unwrap_or_else(|| audit::Batch {
            registry: self.registry.clone(),
            at: self.call.client.at,
            id: self.event_id.clone(),
            body: String::new(),
        })
    }

    pub(crate) fn entry(&self, response: Value, error: Option<(String, String)>) -> audit::Entry {
        let resources = self.target.resources(&self.registry).into_iter().map(|resource| resource.arn);
        let resources = resources.filter(|arn| arn != "*").collect();
        audit::Entry {
            registry: self.registry.clone(),
            context: self.call.context.clone(),
            event: audit::Event {
                at_micros: self.call.client.at.micros(),
                source: A::OPERATION.service.name().into(),
                name: A::OPERATION.name.into(),
                request_id: self.call.client.request_id.clone(),
                event_id: self.event_id.clone(),
                request: self.request.clone(),
                response,
                resources,
                read_only: A::OPERATION.is_read_only,
                error,
                decision: None,
                details: None,
            },
        }
    }
}
