//! What an operation of Organizations needs.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use funaya_gate::{Action, Call, Operation as Allowed, Permit, Resource, Resources};
use funaya_identity::{Identities, OrganizationResult, PageAt};
use funaya_types::{Region, Registry};
use funaya_wire::{Fault, organizations::Operation};
use serde::Serialize;
use serde_json::Value;

use super::{Answered, fail};
use crate::{
    answer,
    door::Door,
    fail::Fail,
    paging::{self, Paging},
};

/// Where global services are.
const GLOBAL_REGION: &str = "us-east-1";
/// Items of a page where the caller names no number.
const PAGE: u32 = 20;
/// What no record may hold: names and addresses are hidden, as AWS does.
const HIDDEN: [&str; 2] = ["Email", "AccountName"];

/// A call of an operation.
pub(super) struct Desk<'a> {
    door: &'a Door,
    call: Call,
    pub(super) operation: Operation,
    /// The members that name what it is on.
    members: &'static [&'static str],
    body: Bytes,
    parameters: Value,
    judged: AtomicBool,
}

/// What a request says beside what it is on.
#[derive(Default)]
pub(super) struct Said {
    pub(super) tags: Vec<(String, String)>,
    pub(super) keys: Vec<String>,
    /// Whether it is about policies of a type.
    pub(super) policies: bool,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        door: &'a Door,
        call: Call,
        operation: Operation,
        members: &'static [&'static str],
        body: Bytes,
    ) -> Self {
        let parameters = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Self { door, call, operation, members, body, parameters, judged: AtomicBool::new(false) }
    }

    pub(super) fn hall(&self) -> &Identities {
        &self.door.identities
    }

    /// The request's shape.
    pub(super) fn read<R>(&self, from: impl FnOnce(&[u8]) -> Result<R, Fault>) -> Result<R, Fail> {
        from(&self.body).map_err(|fault| match fault {
            Fault::Serialization(text) => Fail::new("SerializationException", text),
            fault @ Fault::Constraint { .. } => Fail::new("InvalidInputException", fault.to_string()),
        })
    }

    fn registry(&self) -> Result<Registry, Fail> {
        let region: Region = GLOBAL_REGION.parse().map_err(|_| fail::failed())?;
        Ok(Registry { account: *self.call.caller().account(), region })
    }

    async fn target(&self, said: Said) -> Result<Resources, Fail> {
        let ids: Vec<&str> =
            self.members.iter().filter_map(|name| self.parameters.get(name).and_then(Value::as_str)).collect();
        let found = self.hall().organization_resources(&ids).await.map_err(fail::of)?;
        let mut conditions = Vec::new();
        if said.policies {
            conditions.push(("organizations:PolicyType", "SERVICE_CONTROL_POLICY".to_owned()));
        }
        Ok(Resources { tags: said.tags, keys: said.keys, conditions, ..found })
    }

    fn recorded(&self) -> Value {
        let mut shown = self.parameters.clone();
        if let Some(members) = shown.as_object_mut() {
            HIDDEN.iter().for_each(|name| drop(members.remove(*name)));
        }
        shown
    }

    /// Asks the gate.
    pub(super) async fn permit<A: Action<Target = Resources>>(&self, said: Said) -> Result<Permit<A>, Fail> {
        let target = self.target(said).await?;
        self.judged.store(true, Ordering::Relaxed);
        Ok(self.door.gate.authorize(&self.call, &self.registry()?, target, self.recorded()).await?)
    }

    /// Tells how a call went.
    pub(super) async fn tell<A: Action, T, R: Serialize>(
        &self,
        permit: &Permit<A>,
        outcome: OrganizationResult<T>,
        shape: impl FnOnce(T) -> R,
    ) -> Answered {
        match outcome {
            Ok(value) => {
                if A::OPERATION.is_read_only {
                    self.door.gate.record_read(permit).await;
                }
                Ok(answer::json(&shape(value)))
            }
            Err(error) => {
                let fail = fail::of(error);
                let (name, text) = fail.texts();
                self.door.gate.record_failure(permit, name, text).await;
                Err(fail.recorded())
            }
        }
    }

    /// The same for an operation that answers nothing.
    pub(super) async fn done<A: Action>(&self, permit: &Permit<A>, outcome: OrganizationResult<()>) -> Answered {
        self.tell(permit, outcome, |()| serde_json::json!({})).await
    }

    /// Records a call that failed before its permit.
    pub(super) async fn refuse(&self, action: Allowed, fail: Fail) -> Fail {
        let Ok(registry) = self.registry() else { return fail };
        let judged = self.judged.load(Ordering::Relaxed) || fail.is_unreadable();
        let resource = (!judged).then(|| Resource::plain("*"));
        let gate = &self.door.gate;
        let refused = gate.refuse(&self.call, &registry, action, resource, self.recorded(), fail.texts()).await;
        refused.map_or(fail.recorded(), Fail::from)
    }

    /// The page that is asked for.
    pub(super) fn page(&self, token: Option<&str>, max: Option<i64>) -> Result<PageAt, Fail> {
        let bad = |_| Fail::new("InvalidInputException", "You specified an invalid value for nextToken.");
        let after = self.tokens(|paging| paging.open(token)).map_err(bad)?.unwrap_or_default();
        Ok(PageAt { after, limit: paging::limit(max, PAGE) })
    }

    /// The token of the next page.
    pub(super) fn next(&self, next: Option<String>) -> Option<String> {
        next.map(|place| self.tokens(|paging| paging.seal(&place)))
    }

    /// A token is good for the same list only.
    fn tokens<T>(&self, with: impl FnOnce(Paging<'_>) -> T) -> T {
        let text = |name: &str| self.parameters.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut same = vec![self.call.caller().account().as_str(), text("ChildType")];
        same.extend(self.members.iter().map(|name| text(name)));
        with(Paging::new(&self.door.tokens, self.operation.name(), &same))
    }
}
