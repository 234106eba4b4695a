//! The door itself: from a request to an answer.

use std::{sync::Arc, time::Duration};

use funaya_gate::{Action, Call, Client, Denied, Gate, Permit, Tagged, TokenError, action::CreateRepository};
use funaya_registry::{Body, Error, NewRepository, Registries};
use funaya_types::{Host, Registry, RepositoryName};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Content, Response},
    error::Problem,
    path::{BadPath, Resource},
    routes::Route,
};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Docker gives a push up at its first 429. On a fast network one image of many
/// layers exceeds the guide's 10 uploads a second, so its requests wait a little.
const THROTTLE_PATIENCE: Duration = Duration::from_secs(10);
const EXPIRED: &str = "Your authorization token has expired. Reauthenticate and try again.";

/// Whether blob answers point elsewhere (`FUNAYA_BLOB_REDIRECT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Bytes are sent at once: on local storage a redirect would only cost a round trip.
    Never,
    /// 307 to a download URL, as ECR does (V2-07).
    Always,
}

/// A request as the roof hands it over.
pub struct Request {
    /// Method, path, headers, body.
    pub http: http::Request<Body>,
    /// The client's side of it.
    pub client: Client,
}

impl Request {
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.http.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// `Host`, or `:authority` over HTTP/2.
    pub(crate) fn host(&self) -> &str {
        let authority = self.http.uri().authority().map(http::uri::Authority::as_str);
        authority.or_else(|| self.header(&header::HOST)).unwrap_or_default()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// All values of a query parameter, decoded, in order.
    pub(crate) fn query(&self, name: &str) -> Vec<String> {
        let query = self.http.uri().query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    pub(crate) fn is_head(&self) -> bool {
        self.http.method() == Method::HEAD
    }

    pub(crate) fn take_body(&mut self) -> Body {
        std::mem::replace(self.http.body_mut(), Box::pin(futures_util::stream::empty()))
    }
}

/// The registry API.
pub struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) hall: Arc<Registries>,
    pub(crate) redirect: Redirect,
}

/// A signed-in request for one registry.
pub(crate) struct Visit {
    pub(crate) call: Call,
    pub(crate) registry: Registry,
}

impl Door {
    /// A door before this gate and hall.
    pub fn new(gate: Arc<Gate>, hall: Arc<Registries>, redirect: Redirect) -> Self {
        Self { gate, hall, redirect }
    }

    /// Answers a request of a registry client.
    pub async fn answer(&self, request: Request) -> Response {
        let is_head = request.is_head();
        let mut response = self.serve(request).await.unwrap_or_else(Problem::into_response);
        response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        if is_head {
            // The headers stay, the length among them.
            *response.body_mut() = Content::Whole(Default::default());
        }
        response
    }

    async fn serve(&self, request: Request) -> Result<Response, Problem> {
        let resource = match Resource::parse(request.http.uri().path()) {
            Ok(resource) => resource,
            // Paths of older protocols must look absent even to strangers (V2-13).
            Err(BadPath::NotFound) if !request.http.uri().path().starts_with("/v2/") => {
                return Err(Problem::not_found());
            }
            Err(bad) => {
                return match self.sign_in(&request).await {
                    Ok(_) => Err(bad_path(bad)),
                    Err(refusal) => Ok(refusal),
                };
            }
        };
        let visit = match self.sign_in(&request).await {
            Ok(visit) => visit,
            Err(refusal) => return Ok(refusal),
        };
        let route = Route::of(request.http.method(), &resource).map_err(Problem::unsupported)?;
        self.dispatch(route, resource, visit, request).await
    }

    async fn dispatch(
        &self,
        route: Route,
        resource: Resource,
        visit: Visit,
        request: Request,
    ) -> Result<Response, Problem> {
        match (route, resource) {
            (Route::Ping, _) => Ok(Answer::new(StatusCode::OK).body("application/json", "{}")),
            (Route::Catalog, _) => self.catalog(&visit, &request).await,
            (Route::ListTags, Resource::Tags(name)) => self.list_tags(&visit, &name, &request).await,
            (Route::GetManifest, Resource::Manifest(name, reference)) => {
                self.get_manifest(&visit, name, &reference, &request).await
            }
            (Route::PutManifest, Resource::Manifest(name, reference)) => {
                self.put_manifest(&visit, name, &reference, request).await
            }
            (Route::DeleteManifest, Resource::Manifest(name, reference)) => {
                self.delete_manifest(&visit, name, &reference).await
            }
            (Route::HeadBlob, Resource::Blob(name, digest)) => self.head_blob(&visit, name, &digest).await,
            (Route::GetBlob, Resource::Blob(name, digest)) => self.get_blob(&visit, name, &digest, &request).await,
            (Route::DeleteBlob, Resource::Blob(name, digest)) => self.delete_blob(&visit, name, &digest).await,
            (Route::StartUpload, Resource::Uploads(name)) => self.start_upload(&visit, name, request).await,
            (Route::UploadStatus, Resource::Upload(name, id)) => self.upload_status(&visit, name, &id).await,
            (Route::SendChunk, Resource::Upload(name, id)) => self.send_chunk(&visit, name, &id, request).await,
            (Route::FinishUpload, Resource::Upload(name, id)) => self.finish_upload(&visit, name, &id, request).await,
            (Route::CancelUpload, Resource::Upload(name, id)) => self.cancel_upload(&visit, name, &id).await,
            (Route::ListReferrers, Resource::Referrers(name, digest)) => {
                self.list_referrers(&visit, name, &digest, &request).await
            }
            _ => Err(Problem::not_found()),
        }
    }

    /// Who calls, and which registry; or the answer that refuses (V2-02, V2-04).
    async fn sign_in(&self, request: &Request) -> Result<Visit, Response> {
        let registry = self.registry(request);
        let refused = |error| self.refuse_token(&registry, error);
        let header = request.header(&header::AUTHORIZATION).ok_or_else(|| refused(TokenError::Unknown))?;
        match self.gate.accept_token(header, &registry.region, request.client.at).await {
            Ok(caller) => {
                Ok(Visit { call: self.gate.call(caller, &request.client).patient(THROTTLE_PATIENCE), registry })
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// The registry that the host names; a plain host means the default one (D10).
    fn registry(&self, request: &Request) -> Registry {
        let default = self.gate.default_registry();
        match Host::parse(request.host()) {
            Host::Registry(registry) => registry,
            Host::Service(region) => Registry { account: default.account, region },
            Host::Plain => default.clone(),
        }
    }

    fn refuse_token(&self, registry: &Registry, error: TokenError) -> Response {
        match error {
            TokenError::Unknown => {
                let realm = self.hall.endpoints().registry_url(registry);
                Answer::new(StatusCode::UNAUTHORIZED)
                    .header(
                        header::WWW_AUTHENTICATE,
                        &format!("Basic realm=\"{realm}/\",service=\"ecr.amazonaws.com\""),
                    )
                    .body("text/plain; charset=utf-8", "Not Authorized")
            }
            TokenError::Expired => Problem::new(StatusCode::FORBIDDEN, "DENIED", EXPIRED).into_response(),
            TokenError::OtherRegion => {
                let text = format!("Your authorization token is not valid in the Region {}", registry.region);
                Problem::new(StatusCode::FORBIDDEN, "DENIED", text).into_response()
            }
            TokenError::Store(error) => {
                tracing::error!(cause = %error, "principals can't be read");
                Problem::from(Denied::Unavailable).into_response()
            }
        }
    }

    pub(crate) async fn permit<A: Action>(
        &self,
        visit: &Visit,
        target: A::Target,
        parameters: Value,
    ) -> Result<Permit<A>, Denied> {
        self.gate.authorize(&visit.call, &visit.registry, target, parameters).await
    }

    /// Records a failure before it is answered (TRAIL-11).
    pub(crate) async fn checked<A: Action, T>(
        &self,
        permit: &Permit<A>,
        outcome: Result<T, Error>,
    ) -> Result<T, Problem> {
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => {
                self.gate.record_failure(permit, error.name(), &error.to_string()).await;
                Err(error.into())
            }
        }
    }

    /// Makes the repository of a push if that is switched on for its name and the
    /// caller may create it.
    pub(crate) async fn ensure_repository(&self, visit: &Visit, name: &RepositoryName) -> Result<(), Problem> {
        if !self.hall.creates_on_push(name) {
            return Ok(());
        }
        let parameters = parameters(visit, name, json!({}));
        let permit: Permit<CreateRepository> =
            match self.gate.probe(&visit.call, &visit.registry, Tagged::plain(name.clone()), parameters).await {
                Ok(permit) => permit,
                Err(_) => return Ok(()),
            };
        if self.hall.repository_exists(&permit).await? {
            return Ok(());
        }
        match self.hall.create_repository(&permit, NewRepository::default()).await {
            // Another push was first.
            Ok(_) | Err(Error::RepositoryExists(_)) => Ok(()),
            Err(error) => self.checked(&permit, Err(error)).await,
        }
    }
}

/// The request's parameters for the audit record, in the API's shape.
pub(crate) fn parameters(visit: &Visit, name: &RepositoryName, more: Value) -> Value {
    let mut all = json!({
        "registryId": visit.registry.account.as_str(),
        "repositoryName": name.as_str(),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn bad_path(bad: BadPath) -> Problem {
    match bad {
        BadPath::NotFound => Problem::not_found(),
        BadPath::Name => Problem::new(StatusCode::BAD_REQUEST, "NAME_INVALID", "the repository name is not valid"),
    }
}
