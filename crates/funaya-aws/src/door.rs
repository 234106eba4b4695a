//! The door itself: from a request to an answer.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use funaya_gate::{Action, Call, Client, Gate, Operation as Allowed, Permit, Resource, Sealer, Service};
use funaya_identity::Identities;
use funaya_registry::{Body, Error, Registries};
use funaya_types::{AccountId, Registry, RepositoryArn, RepositoryName};
use funaya_wire::ecr::{self, Operation};
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    admit::BUDGET_KIB,
    answer::{self, Response},
    fail::Fail,
    ops, organizations, query, routes, undo,
};

/// A request as the roof hands it over.
pub struct Request {
    /// Method, path, headers, body.
    pub http: http::Request<Body>,
    /// The client's side of it.
    pub client: Client,
}

/// A part of 20 MiB in base64, with room for the rest of the call.
const BODY_MAX_PART: usize = 29 * 1024 * 1024;
/// A manifest of 4 MiB in which every second character is escaped.
const BODY_MAX_MANIFEST: usize = 9 * 1024 * 1024;
pub(crate) const BODY_MAX: usize = 1024 * 1024;
/// Wrong parameters are recorded up to this size of the body.
pub(crate) const RECORDED_MAX: usize = 100 * 1024;

/// The APIs of AWS: ECR by JSON, and by [`query`] what speaks in forms.
pub struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) hall: Arc<Registries>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) tokens: Sealer,
    pub(crate) budget: Arc<Semaphore>,
}

/// A signed-in call of one operation.
pub(crate) struct Visit {
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    /// Whether the gate has decided about it.
    judged: AtomicBool,
    /// The token of the preview that the caller has seen.
    pub(crate) lifecycle_token: Option<String>,
    /// The token of the preview that is answered.
    pub(crate) preview_token: OnceLock<String>,
    _held: OwnedSemaphorePermit,
}

impl Visit {
    pub(crate) fn new(call: Call, body: Bytes, held: OwnedSemaphorePermit) -> Self {
        Self {
            call,
            body,
            judged: AtomicBool::new(false),
            lifecycle_token: None,
            preview_token: OnceLock::new(),
            _held: held,
        }
    }
}

impl Door {
    /// A door before this gate and these halls. `tokens` seals paging tokens.
    pub fn new(gate: Arc<Gate>, hall: Arc<Registries>, identities: Arc<Identities>, tokens: Sealer) -> Self {
        Self { gate, hall, identities, tokens, budget: Arc::new(Semaphore::new(BUDGET_KIB as usize)) }
    }

    /// Answers a request of an AWS client.
    pub async fn answer(&self, request: Request) -> Response {
        if query::is_meant(&request.http) {
            return query::answer(self, request).await;
        }
        if organizations::is_meant(&request.http) {
            return organizations::answer(self, request).await;
        }
        if undo::is_meant(&request.http) {
            return undo::answer(self, request).await;
        }
        let id = request.client.request_id.clone();
        match self.serve(request).await {
            Ok((body, token)) => {
                let response = answer::response(StatusCode::OK, answer::JSON, body, &id);
                answer::with(response, answer::LIFECYCLE_TOKEN, token.as_deref())
            }
            Err(fail) => {
                let (status, decision) = (fail.status, fail.decision.clone());
                answer::with(
                    answer::response(status, answer::JSON, fail.body(), &id),
                    answer::DECISION,
                    decision.as_deref(),
                )
            }
        }
    }

    /// The answer's body, and a lifecycle preview's token.
    async fn serve(&self, request: Request) -> Result<(Bytes, Option<String>), Fail> {
        let operation = target(&request.http).ok_or_else(Fail::unknown_operation)?;
        let (head, body) = request.http.into_parts();
        let token = head.headers.get(answer::LIFECYCLE_TOKEN).and_then(|token| Some(token.to_str().ok()?.to_owned()));
        let (caller, body, held) = self.admit(head, body, Service::Ecr, body_max(operation), request.client.at).await?;
        let call = self.gate.call(caller, &request.client);
        let visit = Visit { lifecycle_token: token, ..Visit::new(call, body, held) };
        let outcome = match routes::actions(operation) {
            Some(_) => ops::dispatch(self, operation, &visit).await,
            None => Err(Fail::disabled(operation)),
        };
        match outcome {
            Err(fail) if !fail.recorded => Err(self.refuse(operation, &visit, fail).await),
            outcome => Ok((outcome?, visit.preview_token.into_inner())),
        }
    }

    /// Records a call that failed outside the hall: its operation is not built (API-72), or
    /// `fault` was found in its parameters, which only those learn who may make it (ERR-22).
    async fn refuse(&self, operation: Operation, visit: &Visit, fault: Fail) -> Fail {
        let action = routes::actions(operation).and_then(|actions| actions.first().copied());
        let action = action.unwrap_or(Allowed::unbuilt(Service::Ecr, operation.name()));
        let parameters = match operation {
            // A part's bytes are no matter of the log.
            Operation::UploadLayerPart => Value::Null,
            _ => serde_json::from_slice(&visit.body).unwrap_or(Value::Null),
        };
        self.refuse_as(action, parameters, visit, fault).await
    }

    /// The same, of an action with these parameters.
    pub(crate) async fn refuse_as(&self, action: Allowed, parameters: Value, visit: &Visit, fault: Fail) -> Fail {
        // Judged before, or not readable at all: nothing is left to decide.
        let judged = visit.judged.load(Ordering::Relaxed) || fault.is_unreadable();
        let (registry, resource) = self.meant(visit, &parameters);
        let parameters = if visit.body.len() > RECORDED_MAX { Value::Null } else { parameters };
        let resource = (!judged).then_some(resource);
        let refused = self.gate.refuse(&visit.call, &registry, action, resource, parameters, fault.texts()).await;
        refused.map_or(fault, Fail::from)
    }

    /// What a call with wrong parameters is on, as far as they can be read.
    fn meant(&self, visit: &Visit, parameters: &Value) -> (Registry, Resource) {
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        if let Some(arn) = text("resourceArn").and_then(|arn| arn.parse::<RepositoryArn>().ok()) {
            return (arn.registry.clone(), Resource::of(&arn.registry, &arn.name));
        }
        let own = self.own_registry(visit);
        let registry = self.registry(visit, text("registryId")).unwrap_or(own);
        let name = text("repositoryName").and_then(|name| name.parse::<RepositoryName>().ok());
        let resource = name.map_or_else(|| Resource::plain("*"), |name| Resource::of(&registry, &name));
        (registry, resource)
    }

    /// The caller's own registry in the Region called (REG-06).
    pub(crate) fn own_registry(&self, visit: &Visit) -> Registry {
        let caller = visit.call.caller();
        Registry { account: *caller.account(), region: caller.region().clone() }
    }

    /// The registry named by `registryId`, or else the caller's own (API-74).
    pub(crate) fn registry(&self, visit: &Visit, registry_id: Option<&str>) -> Result<Registry, Fail> {
        let own = self.own_registry(visit);
        match registry_id {
            None => Ok(own),
            Some(text) => {
                let account: AccountId = text.parse().map_err(|_| Fail::parameter("registryId", "Invalid id"))?;
                Ok(Registry { account, region: own.region })
            }
        }
    }

    pub(crate) async fn permit<A: Action>(
        &self,
        visit: &Visit,
        registry: &Registry,
        target: A::Target,
    ) -> Result<Permit<A>, Fail> {
        let parameters = serde_json::from_slice(&visit.body).unwrap_or(Value::Null);
        self.permit_with(visit, registry, target, parameters).await
    }

    /// A permit whose record shows these parameters.
    pub(crate) async fn permit_with<A: Action>(
        &self,
        visit: &Visit,
        registry: &Registry,
        target: A::Target,
        parameters: Value,
    ) -> Result<Permit<A>, Fail> {
        visit.judged.store(true, Ordering::Relaxed);
        Ok(self.gate.authorize(&visit.call, registry, target, parameters).await?)
    }

    /// Records a failure before it is answered (TRAIL-11).
    pub(crate) async fn checked<A: Action, T>(&self, permit: &Permit<A>, outcome: Result<T, Error>) -> Result<T, Fail> {
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => {
                self.gate.record_failure(permit, error.name(), &error.to_string()).await;
                Err(Fail::from(error).recorded())
            }
        }
    }
}

pub(crate) fn repository_name(text: &str) -> Result<RepositoryName, Fail> {
    text.parse().map_err(|_| Fail::parameter("repositoryName", "Invalid name"))
}

/// The operation that `X-Amz-Target` names.
fn target<B>(request: &http::Request<B>) -> Option<Operation> {
    if request.method() != Method::POST || request.uri().path() != "/" {
        return None;
    }
    let target = request.headers().get("x-amz-target")?.to_str().ok()?;
    let (prefix, name) = target.split_once('.')?;
    (prefix == ecr::TARGET_PREFIX).then(|| Operation::parse(name)).flatten()
}

fn body_max(operation: Operation) -> usize {
    match operation {
        Operation::UploadLayerPart => BODY_MAX_PART,
        Operation::PutImage => BODY_MAX_MANIFEST,
        _ => BODY_MAX,
    }
}
