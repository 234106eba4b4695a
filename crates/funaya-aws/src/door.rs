//! The door itself: from a request to an answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::{Bytes, BytesMut};
use funaya_gate::{
    Action, Call, Caller, Client, Gate, Operation as Allowed, Permit, Resource, Sealer, Service, SignedRequest,
};
use funaya_registry::{Body, BodyError, Error, Registries};
use funaya_types::{AccountId, Registry, RepositoryArn, RepositoryName, Timestamp};
use funaya_wire::ecr::{self, Operation};
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    answer::{self, Response},
    fail::Fail,
    ops, routes,
};

/// A request as the roof hands it over.
pub struct Request {
    /// Method, path, headers, body.
    pub http: http::Request<Body>,
    /// The client's side of it.
    pub client: Client,
}

/// Bytes of request bodies that are held at once, in KiB. Beyond, requests wait.
const BUDGET_KIB: u32 = 96 * 1024;
/// A part of 20 MiB in base64, with room for the rest of the call.
const BODY_MAX_PART: usize = 29 * 1024 * 1024;
/// A manifest of 4 MiB in which every second character is escaped.
const BODY_MAX_MANIFEST: usize = 9 * 1024 * 1024;
const BODY_MAX: usize = 1024 * 1024;
/// Wrong parameters are recorded up to this size of the body.
const RECORDED_MAX: usize = 100 * 1024;
/// Bodies from here on are hashed off the reactor.
const LARGE: usize = 128 * 1024;

/// The ECR API.
pub struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) hall: Arc<Registries>,
    pub(crate) tokens: Sealer,
    budget: Arc<Semaphore>,
}

/// A signed-in call of one operation.
pub(crate) struct Visit {
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    /// Whether the gate has decided about it.
    judged: AtomicBool,
    _held: OwnedSemaphorePermit,
}

impl Door {
    /// A door before this gate and hall. `tokens` seals paging tokens.
    pub fn new(gate: Arc<Gate>, hall: Arc<Registries>, tokens: Sealer) -> Self {
        Self { gate, hall, tokens, budget: Arc::new(Semaphore::new(BUDGET_KIB as usize)) }
    }

    /// Answers a request of an AWS client.
    pub async fn answer(&self, request: Request) -> Response {
        let id = request.client.request_id.clone();
        match self.serve(request).await {
            Ok(body) => answer::response(StatusCode::OK, body, &id),
            Err(fail) => {
                let decision = fail.decision.clone();
                let mut response = answer::response(fail.status, fail.body(), &id);
                if let Some(id) = decision.and_then(|id| HeaderValue::from_str(&id).ok()) {
                    response.headers_mut().insert(answer::DECISION, id);
                }
                response
            }
        }
    }

    async fn serve(&self, request: Request) -> Result<Bytes, Fail> {
        let operation = target(&request.http).ok_or_else(Fail::unknown_operation)?;
        let (head, body) = request.http.into_parts();
        let (caller, body, held) = self.admit(head, body, Service::Ecr, body_max(operation), request.client.at).await?;
        let call = self.gate.call(caller, &request.client);
        let visit = Visit { call, body, judged: AtomicBool::new(false), _held: held };
        let outcome = match routes::actions(operation) {
            Some(_) => ops::dispatch(self, operation, &visit).await,
            None => Err(Fail::disabled(operation)),
        };
        match outcome {
            Err(fail) if !fail.recorded => Err(self.refuse(operation, &visit, fail).await),
            outcome => outcome,
        }
    }

    /// Finds out who calls, reads the body, and checks the signature over both.
    async fn admit(
        &self,
        head: http::request::Parts,
        body: Body,
        service: Service,
        body_max: usize,
        now: Timestamp,
    ) -> Result<(Caller, Bytes, OwnedSemaphorePermit), Fail> {
        let headers = signed_headers(&head);
        let introduced = self.gate.introduce(&signed(&head, &headers), now).await?;
        let (body, held) = self.read(&head.headers, body, body_max).await?;
        let (gate, large, bytes) = (self.gate.clone(), body.len() >= LARGE, body.clone());
        let check = move || {
            let headers = signed_headers(&head);
            gate.sign_in(introduced, &signed(&head, &headers), service, &bytes, now)
        };
        let outcome = if large {
            let failed = |_| Fail::new("InternalFailure", "").status(StatusCode::INTERNAL_SERVER_ERROR);
            tokio::task::spawn_blocking(check).await.map_err(failed)?
        } else {
            check()
        };
        Ok((outcome?, body, held))
    }

    /// Reads a body within its limit and within the budget of all bodies.
    async fn read(
        &self,
        headers: &http::HeaderMap,
        mut body: Body,
        max: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Fail> {
        let too_large = || {
            Fail::new("RequestEntityTooLargeException", "The request is too large")
                .status(StatusCode::PAYLOAD_TOO_LARGE)
        };
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > max) {
            return Err(too_large());
        }
        let expected = announced.unwrap_or(max);
        let share = u32::try_from(expected.div_ceil(1024)).unwrap_or(BUDGET_KIB).clamp(1, BUDGET_KIB);
        let closed = |_| Fail::new("InternalFailure", "").status(StatusCode::INTERNAL_SERVER_ERROR);
        let held = self.budget.clone().acquire_many_owned(share).await.map_err(closed)?;
        let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|BodyError| Fail::new("SerializationException", "the body ended early"))?;
            if bytes.len() + piece.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes.freeze(), held))
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
        // Judged before, or not readable at all: nothing is left to decide.
        let judged = visit.judged.load(Ordering::Relaxed) || fault.is_unreadable();
        let (registry, resource) = self.meant(visit, &parameters);
        let parameters = if visit.body.len() > RECORDED_MAX { Value::Null } else { parameters };
        let resource = (!judged).then_some(resource);
        let refused = self.gate.refuse(&visit.call, &registry, action, resource, parameters, fault.texts()).await;
        let fail = refused.map_or(fault, Fail::from);
        fail
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

/// The headers that a signature may cover.
fn signed_headers(head: &http::request::Parts) -> Vec<(&str, &[u8])> {
    let mut headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if let (Some(authority), false) = (authority, head.headers.contains_key(header::HOST)) {
        headers.push(("host", authority));
    }
    headers
}

/// The parts of a request that its signature covers.
fn signed<'a>(head: &'a http::request::Parts, headers: &'a [(&'a str, &'a [u8])]) -> SignedRequest<'a> {
    SignedRequest {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers,
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
