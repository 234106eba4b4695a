//! The wiring: gate, hall and doors over the stores.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use funaya_gate::{AuditLog, AuditWriter, Client, Gate, RootAccessKey, Sealer};
use funaya_identity::Identities;
use funaya_oci::Content;
use funaya_ports::{Clock as _, Random, issuers::IssuerKeys};
use funaya_registry::{Body, Parts, Registries, Signer};
use funaya_remote::{FileIssuers, HttpIssuers};
use funaya_types::{Endpoints, Registry};
use http::{HeaderMap, StatusCode, header};

use crate::{
    data::{Data, Failed},
    proxies::{self, Network},
    settings::Settings,
    world::{SystemClock, SystemRandom},
};

/// The whole house.
pub(crate) struct House {
    pub(crate) gate: Arc<Gate>,
    pub(crate) hall: Arc<Registries>,
    pub(crate) identities: Arc<Identities>,
    oci: funaya_oci::Door,
    aws: funaya_aws::Door,
    clock: Arc<SystemClock>,
    test_clock: bool,
    trusted_proxies: Vec<Network>,
    /// Kept open as long as the house stands.
    pub(crate) data: Data,
}

/// Longest user agent that is recorded.
const USER_AGENT_MAX: usize = 256;

impl House {
    pub(crate) fn build(settings: &Settings, data: Data, public_url: String) -> Result<(Self, AuditWriter), Failed> {
        let (audit, writer) = AuditLog::new();
        let clock = Arc::new(SystemClock::default());
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let unusable = "the root key can't be used";
        let (id, secret) = data.root_access_key.clone();
        let gate = Gate::new(funaya_gate::Settings {
            default_registry: Registry { account: data.account, region: settings.region.clone() },
            regions: settings.regions.clone(),
            root: RootAccessKey { account: data.account, id, secret },
            directory: data.identities.clone(),
            root_key: data.root_key,
            throttled: settings.throttled,
            quotas: settings.quotas.clone(),
            clock: clock.clone(),
            random: random.clone(),
            audit,
        });
        let gate = Arc::new(gate.ok_or(unusable)?);
        // The same at every replica, and after a restart.
        let signer = Signer::from_seed(&funaya_gate::derive(&data.root_key, "schema 1 manifests")).ok_or(unusable)?;
        let parts = Parts {
            meta: data.meta.clone(),
            collecting: data.collecting.clone(),
            undo: data.undo.clone(),
            lifecycle: data.lifecycle.clone(),
            directory: data.identities.clone(),
            blobs: data.blobs.clone(),
            random: random.clone(),
            endpoints: Endpoints { suffix: settings.suffix.clone(), public_url },
            spans: settings.spans,
            quotas: settings.quotas.clone(),
            create_on_push: settings.create_on_push.clone(),
        };
        let hall = Arc::new(Registries::new(parts, signer));
        let identities = Arc::new(Identities::new(funaya_identity::Parts {
            store: data.identities.clone(),
            access_keys: Sealer::new(&data.root_key, funaya_gate::ACCESS_KEYS, random.clone()).ok_or(unusable)?,
            random: random.clone(),
            management: data.account,
            root_key_id: data.root_access_key.0.clone(),
            decisions: data.meta.clone(),
            mfa: Sealer::new(&data.root_key, "MFA devices", random.clone()).ok_or(unusable)?,
            issuers: issuers(settings),
        }));
        let tokens = Sealer::new(&data.root_key, "paging tokens", random).ok_or(unusable)?;
        let house = Self {
            oci: funaya_oci::Door::new(gate.clone(), hall.clone(), settings.redirect),
            aws: funaya_aws::Door::new(gate.clone(), hall.clone(), identities.clone(), tokens),
            gate,
            hall,
            identities,
            clock,
            test_clock: settings.test_clock,
            trusted_proxies: settings.trusted_proxies.clone(),
            data,
        };
        Ok((house, writer))
    }

    /// Answers one request: to which door it goes is a matter of its path.
    pub(crate) async fn answer(
        &self,
        request: http::Request<Body>,
        peer: IpAddr,
        tls: bool,
    ) -> http::Response<Content> {
        if is_ambiguous(request.headers()) {
            return text(StatusCode::BAD_REQUEST, "the request has two lengths");
        }
        let path = request.uri().path();
        match path {
            "/healthz" => return text(StatusCode::OK, "ok"),
            "/readyz" => return self.ready().await,
            "/_test/clock" if self.test_clock => return self.move_clock(request.uri().query()),
            _ => {}
        }
        let client = self.client(&request, peer, tls);
        if path == "/v2" || path.starts_with("/v2/") || path.starts_with("/v1/") || path.starts_with("/v0/") {
            return self.oci.answer(funaya_oci::Request { http: request, client }).await;
        }
        if funaya_oci::Door::is_download(path) {
            return self.oci.answer_download(funaya_oci::Request { http: request, client }).await;
        }
        self.aws.answer(funaya_aws::Request { http: request, client }).await.map(Content::Whole)
    }

    fn client(&self, request: &http::Request<Body>, peer: IpAddr, tls: bool) -> Client {
        let (source_ip, secure) = proxies::origin(&self.trusted_proxies, peer, tls, request.headers());
        let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Client {
            source_ip,
            secure,
            user_agent: agent.unwrap_or_default().chars().take(USER_AGENT_MAX).collect(),
            request_id: self.gate.request_id(),
            at: self.clock.now(),
        }
    }

    /// Ready: the metadata store answers.
    async fn ready(&self) -> http::Response<Content> {
        match self.data.meta.setting("account").await {
            Ok(_) => text(StatusCode::OK, "ready"),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the metadata store does not answer"),
        }
    }

    fn move_clock(&self, query: Option<&str>) -> http::Response<Content> {
        let seconds = query.and_then(|query| query.strip_prefix("advance=")?.parse().ok());
        match seconds {
            Some(seconds) => {
                self.clock.advance(seconds);
                text(StatusCode::OK, "moved")
            }
            None => text(StatusCode::BAD_REQUEST, "say ?advance=SECONDS"),
        }
    }
}

/// Where keys of identity providers come from: files if there is a setting for them, and then nobody is called.
fn issuers(settings: &Settings) -> Arc<dyn IssuerKeys> {
    match settings.oidc_jwks.as_slice() {
        [] => Arc::new(HttpIssuers::new(settings.oidc_loopback)),
        files => Arc::new(FileIssuers::new(files)),
    }
}

/// Two lengths in one request are how requests are smuggled. Beside chunked
/// coding hyper ignores a length, as RFC 9112 (section 6.1) allows.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
}

fn text(status: StatusCode, text: &'static str) -> http::Response<Content> {
    let mut response = http::Response::new(Content::Whole(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
