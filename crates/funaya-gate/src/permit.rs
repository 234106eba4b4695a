//! Permits: values that only the gate makes, one type for each action.

use std::{fmt, marker::PhantomData};

use funaya_ports::audit;
use funaya_types::{Registry, RepositoryName, Timestamp};
use serde_json::Value;

use crate::{action::Action, call::Call};

/// What an action may be on.
pub trait Target: fmt::Debug + Send + Sync {
    /// ARNs of the resources that must all be allowed.
    fn arns(&self, registry: &Registry) -> Vec<String>;
}

impl Target for RepositoryName {
    fn arns(&self, registry: &Registry) -> Vec<String> {
        vec![registry.repository_arn(self).to_string()]
    }
}

impl Target for () {
    fn arns(&self, _: &Registry) -> Vec<String> {
        vec!["*".into()]
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
    fn arns(&self, registry: &Registry) -> Vec<String> {
        match self {
            Self::All => vec![format!("arn:aws:ecr:{}:{}:repository/*", registry.region, registry.account)],
            Self::Named(names) => names.iter().map(|name| registry.repository_arn(name).to_string()).collect(),
        }
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
        self.call.at
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
            at: self.call.at,
            id: self.event_id.clone(),
            body: String::new(),
        })
    }

    pub(crate) fn entry(&self, response: Value, error: Option<(String, String)>) -> audit::Entry {
        let resources = self.target.arns(&self.registry).into_iter().filter(|arn| arn != "*").collect();
        audit::Entry {
            registry: self.registry.clone(),
            context: self.call.context.clone(),
            event: audit::Event {
                at_micros: self.call.at.micros(),
                name: A::OPERATION.name().into(),
                request_id: self.call.request_id.clone(),
                event_id: self.event_id.clone(),
                request: self.request.clone(),
                response,
                resources,
                read_only: A::OPERATION.is_read_only(),
                error,
            },
        }
    }
}
