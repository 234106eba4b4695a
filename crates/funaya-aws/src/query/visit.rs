//! One call of an operation.

use std::sync::atomic::{AtomicBool, Ordering};

use funaya_gate::{Action, Call, Client, Operation as Allowed, Permit, Resource, Resources};
use funaya_types::{AccountId, Registry};
use funaya_wire::query::{Answer, Form, Request};
use serde_json::Value;

use super::{Api, fault, record};
use crate::{
    door::{Door, RECORDED_MAX},
    fail::Fail,
};

/// The answer's XML, or a failure.
pub(crate) type Answered = Result<String, Fail>;

/// A signed-in call.
pub(crate) struct Visit<'a> {
    pub(crate) door: &'a Door,
    pub(crate) call: Call,
    api: Api,
    form: Form,
    size: usize,
    client: &'a Client,
    /// Whether the gate has decided about it.
    judged: AtomicBool,
}

/// What a request says of what it is on, as conditions know it.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Labels that it gives.
    pub(crate) tags: Vec<(String, String)>,
    /// Labels that it takes away.
    pub(crate) keys: Vec<String>,
    /// Other keys.
    pub(crate) conditions: Vec<(&'static str, String)>,
}

impl Said {
    /// On this resource.
    pub(crate) fn of(self, resource: Resource) -> Resources {
        Resources { resources: vec![resource], tags: self.tags, keys: self.keys, conditions: self.conditions }
    }
}

impl<'a> Visit<'a> {
    pub(super) fn new(door: &'a Door, api: Api, call: Call, form: Form, size: usize, client: &'a Client) -> Self {
        Self { door, call, api, form, size, client, judged: AtomicBool::new(false) }
    }

    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    /// Whose call it is.
    pub(crate) fn account(&self) -> AccountId {
        *self.call.caller().account()
    }

    /// The request's shape.
    pub(crate) fn read<R: Request>(&self) -> Result<R, Fail> {
        R::from_form(&self.form).map_err(fault::form)
    }

    /// Asks the gate. The record shows the form's members, or nothing of a huge form.
    pub(crate) async fn permit<A: Action>(&self, registry: &Registry, target: A::Target) -> Result<Permit<A>, Fail> {
        self.judged.store(true, Ordering::Relaxed);
        let permit = self.door.gate.authorize(&self.call, registry, target, self.parameters()).await;
        permit.map_err(|denied| fault::denied(&denied, self.api))
    }

    /// Whether the caller may do something else that belongs to this call; a refusal is told as this call's own.
    pub(crate) async fn also<A: Action, B: Action>(&self, permit: &Permit<A>, target: B::Target) -> Result<(), Fail> {
        let probed = self.door.gate.probe::<B>(&self.call, permit.registry(), target, Value::Null).await;
        match probed {
            Ok(_) => Ok(()),
            Err(denied) => Err(self.ill(permit, fault::denied(&denied, self.api)).await),
        }
    }

    /// The client's side of it.
    pub(crate) fn client(&self) -> &Client {
        self.client
    }

    /// Says that the gate has decided, or has nothing to decide: what is wrong may be told.
    pub(crate) fn judge(&self) {
        self.judged.store(true, Ordering::Relaxed);
    }

    pub(crate) fn parameters(&self) -> Value {
        if self.size > RECORDED_MAX { Value::Null } else { record::parameters(&self.form) }
    }

    /// The answer of a call that went well; the record of a read is made here.
    pub(crate) async fn well<A: Action, R: Answer>(&self, permit: &Permit<A>, answer: R) -> Answered {
        if A::OPERATION.is_read_only {
            self.door.gate.record_read(permit).await;
        }
        Ok(answer.to_xml(&self.client.request_id))
    }

    /// A failure of a call that was let in, recorded before it is told (TRAIL-11).
    pub(crate) async fn ill<A: Action>(&self, permit: &Permit<A>, fail: Fail) -> Fail {
        let (name, text) = fail.texts();
        self.door.gate.record_failure(permit, name, text).await;
        fail.recorded()
    }

    /// Records a call that failed before a permit: of wrong parameters only those learn who may make it (ERR-22).
    /// `resource`: what it would be on.
    pub(crate) async fn refuse(&self, registry: &Registry, operation: Allowed, resource: Resource, fail: Fail) -> Fail {
        let judged = self.judged.load(Ordering::Relaxed) || fail.is_unreadable();
        let resource = (!judged).then_some(resource);
        let (gate, parameters) = (&self.door.gate, self.parameters());
        let refused = gate.refuse(&self.call, registry, operation, resource, parameters, fail.texts()).await;
        refused.map_or(fail.recorded(), |denied| fault::denied(&denied, self.api))
    }
}
