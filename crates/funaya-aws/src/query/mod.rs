//! The services that take forms and answer in XML: IAM, and whoever joins [`Api`].
//!
//! A request is introduced by its signature, read whole, told its service by `Version`, signed in, and handed to that
//! service's `dispatch` as a [`Visit`]. An operation reads its shape ([`Visit::read`]), asks for a permit
//! ([`Visit::permit`]), calls the hall, and tells the outcome ([`Visit::tell`]).
//!
//! To add an operation: its line in the service's table (`iam/mod.rs`) and the function that the line names. To add a
//! service: a variant of [`Api`], which the compiler then asks for everywhere. What may come without a signature is
//! said by [`Api::is_open`], and is dispatched by [`Api::dispatch_open`].

mod fault;
pub(crate) mod iam;
mod record;
pub(crate) mod sts;
mod visit;

use bytes::Bytes;
use funaya_gate::{Client, Service};
use funaya_registry::Body;
use funaya_wire::query::{Form, error_xml};
use http::{Method, StatusCode, header, request::Parts};

use crate::{
    admit::Turned,
    answer::{self, Response},
    door::{Door, Request},
    fail::Fail,
};

pub(crate) use visit::{Answered, Said, Visit};

/// The largest form.
const FORM_MAX: usize = 1024 * 1024;
/// The largest form of somebody who has not signed: a SAML assertion of 100,000 characters, escaped.
const OPEN_FORM_MAX: usize = 320 * 1024;

/// A service of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Iam,
    Sts,
}

impl Api {
    const ALL: [Self; 2] = [Self::Iam, Self::Sts];

    fn version(self) -> &'static str {
        match self {
            Self::Iam => funaya_wire::iam::VERSION,
            Self::Sts => funaya_wire::sts::VERSION,
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::Iam => funaya_wire::iam::NAMESPACE,
            Self::Sts => funaya_wire::sts::NAMESPACE,
        }
    }

    fn service(self) -> Service {
        match self {
            Self::Iam => Service::Iam,
            Self::Sts => Service::Sts,
        }
    }

    /// What a failure of ours is called.
    fn failure(self) -> &'static str {
        match self {
            Self::Iam => "ServiceFailure",
            Self::Sts => "InternalFailure",
        }
    }

    /// Whether an operation may be called without a signature.
    fn is_open(self, action: &str) -> bool {
        match self {
            Self::Iam => false,
            Self::Sts => sts::is_open(action),
        }
    }

    async fn dispatch(self, visit: &Visit<'_>) -> Answered {
        match self {
            Self::Iam => iam::dispatch(visit).await,
            Self::Sts => sts::dispatch(visit).await,
        }
    }

    /// An operation without a signature: the service finds out by itself who calls.
    async fn dispatch_open(self, door: &Door, form: &Form, client: &Client) -> Answered {
        match self {
            Self::Iam => Err(unknown(form)),
            Self::Sts => sts::dispatch_open(door, form, client).await,
        }
    }
}

/// Whether a request is a form, in its body or in its URL.
pub(crate) fn is_meant<B>(request: &http::Request<B>) -> bool {
    let (head, uri) = (request.headers(), request.uri());
    if uri.path() != "/" || head.contains_key("x-amz-target") {
        return false;
    }
    let named = || form_pairs(uri.query()).any(|name| name == "Action");
    let typed = head.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match *request.method() {
        Method::POST => typed.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") || named(),
        Method::GET => named(),
        _ => false,
    }
}

/// The names of a query string.
fn form_pairs(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default())
}

/// Answers a form.
pub(crate) async fn answer(door: &Door, request: Request) -> Response {
    let id = request.client.request_id.clone();
    let (head, body) = request.http.into_parts();
    let mut api = presumed(&head);
    match serve(door, head, body, &request.client, &mut api).await {
        Ok(xml) => answer::response(StatusCode::OK, answer::XML, xml.into(), &id),
        Err(fail) => {
            let (name, message) = fail.texts();
            let xml = error_xml(api.namespace(), !fail.status.is_server_error(), name, message, &id);
            let response = answer::response(fail.status, answer::XML, xml.into(), &id);
            answer::with(response, answer::DECISION, fail.decision.as_deref())
        }
    }
}

/// The service that a request seems to be for, before its form is read: by what it was signed for, or else its host.
fn presumed(head: &Parts) -> Api {
    let signed = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or(head.uri.authority().map(|authority| authority.as_str())).unwrap_or_default();
    match signed.contains("/sts/aws4_request") || host.starts_with("sts.") {
        true => Api::Sts,
        false => Api::Iam,
    }
}

/// `api`: as far as it is known, so that a failure is told as that service tells it.
async fn serve(door: &Door, head: Parts, body: Body, client: &Client, api: &mut Api) -> Answered {
    if !is_signed(&head) {
        return serve_open(door, &head, body, client, api).await;
    }
    let turned = |turned, api: &Api| fault::turned(turned, *api);
    let introduced = door.introduce(&head, client.at).await.map_err(|error| turned(error, api))?;
    let (body, _held) = door.read(&head.headers, body, FORM_MAX).await.map_err(|error| turned(error, api))?;
    let form = parse(&head, &body)?;
    let meant = named(&form);
    *api = meant.unwrap_or(*api);
    let size = body.len();
    let caller = door.sign_in(introduced, head, api.service(), body, client.at).await;
    let caller = caller.map_err(|error| turned(error, api))?;
    let visit = Visit::new(door, *api, door.gate.call(caller, client), form, size, client);
    match meant {
        Some(api) => api.dispatch(&visit).await,
        None => Err(unknown(visit.form())),
    }
}

async fn serve_open(door: &Door, head: &Parts, body: Body, client: &Client, api: &mut Api) -> Answered {
    let read = door.read(&head.headers, body, OPEN_FORM_MAX).await;
    let (body, _held) = read.map_err(|error| match error {
        // A stranger who sends too much learns only that a signature was wanted.
        Turned::TooLarge => fault::unsigned(),
        error => fault::turned(error, *api),
    })?;
    let form = parse(head, &body)?;
    *api = named(&form).unwrap_or(*api);
    match form.action() {
        Some(action) if api.is_open(action) => api.dispatch_open(door, &form, client).await,
        _ => Err(fault::unsigned()),
    }
}

/// Whether a request says who sends it.
fn is_signed(head: &Parts) -> bool {
    head.headers.contains_key(header::AUTHORIZATION)
        || form_pairs(head.uri.query()).any(|name| name.eq_ignore_ascii_case("X-Amz-Signature"))
}

fn parse(head: &Parts, body: &Bytes) -> Result<Form, Fail> {
    Form::parse(body, head.uri.query().unwrap_or_default()).map_err(fault::form)
}

/// The service whose version a form names.
fn named(form: &Form) -> Option<Api> {
    let version = form.version()?;
    Api::ALL.into_iter().find(|api| api.version() == version)
}

/// An operation that this service does not have, or that is not built.
pub(crate) fn unknown(form: &Form) -> Fail {
    match form.action() {
        None => Fail::new("MissingAction", "Missing Action"),
        Some(action) => {
            let version = form.version().unwrap_or("NO_VERSION_SPECIFIED");
            Fail::new("InvalidAction", format!("Could not find operation {action} for version {version}"))
        }
    }
}
