//! A client of both APIs, as thin as can be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_sigv4::{Credentials, Encoding, Payload, Request, Scope, payload_hash, sign};
use funaya_types::{Secret, Timestamp};
use serde_json::{Value, json};
use ureq::Agent;

use crate::server::{ACCESS_KEY, REGION, SECRET_KEY};

/// The server went away, or did not answer in time: nothing is known of the request.
#[derive(Debug)]
pub struct Gone;

/// The type of forms.
/// What names an operation of ECR, before the dot.
pub const ECR_TARGET: &str = "AmazonEC2ContainerRegistry_V20150921";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    url: String,
    authorization: String,
    region: String,
    key: Key,
    /// How far the test clock has been moved.
    ahead_s: Arc<AtomicI64>,
}

/// What a client signs with.
#[derive(Clone)]
pub struct Key {
    /// `AKIA…` or `ASIA…`
    pub id: String,
    /// The secret half.
    pub secret: String,
    /// Of a session.
    pub token: Option<String>,
}

/// An answer of the registry API.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: ureq::http::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Signs in with the root key.
    pub fn new(url: &str) -> Result<Self, Gone> {
        Self::in_region(url, REGION)
    }

    /// Signs in with the root key, in a Region.
    pub fn in_region(url: &str, region: &str) -> Result<Self, Gone> {
        let key = Key { id: ACCESS_KEY.into(), secret: SECRET_KEY.into(), token: None };
        Self::with_key(url, region, key)
    }

    /// Another principal's client of the same server.
    pub fn of(&self, key: Key) -> Result<Self, Gone> {
        let mut other = Self { key, ..self.clone() };
        other.log_in()?;
        Ok(other)
    }

    /// A client of the same server that shows this `Authorization` to the registry API; empty: none.
    pub fn showing(&self, authorization: &str) -> Self {
        Self { authorization: authorization.into(), ..self.clone() }
    }

    /// Signs in with a key. Without the right to get a registry token it has none.
    pub fn with_key(url: &str, region: &str, key: Key) -> Result<Self, Gone> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_idle_connections_per_host(1)
            .build()
            .into();
        let (url, region, ahead_s) = (url.into(), region.into(), Arc::default());
        let mut client = Self { agent, url, authorization: String::new(), region, key, ahead_s };
        client.log_in()?;
        Ok(client)
    }

    /// Gets a new registry token.
    pub fn log_in(&mut self) -> Result<(), Gone> {
        let (_, answer) = self.ecr("GetAuthorizationToken", &json!({}))?;
        let token = answer["authorizationData"][0]["authorizationToken"].as_str().unwrap_or_default();
        self.authorization = format!("Basic {token}");
        Ok(())
    }

    /// What the client sends as `Authorization`.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// A request of the registry API; `path` may be a whole URL.
    pub fn registry(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Gone> {
        let url = if path.starts_with("http") { path.into() } else { format!("{}{path}", self.url) };
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if !self.authorization.is_empty() {
            request = request.header("Authorization", &self.authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request, body)
    }

    /// A call of the ECR API: status and answer.
    pub fn ecr(&self, operation: &str, input: &Value) -> Result<(u16, Value), Gone> {
        let answer = self.ecr_with(operation, input, &[])?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// A call of the ECR API with more headers: the answer as it came.
    pub fn ecr_with(&self, operation: &str, input: &Value, headers: &[(&str, &str)]) -> Result<Answer, Gone> {
        self.target(&format!("{ECR_TARGET}.{operation}"), input, headers)
    }

    /// A call of our own API: status and answer.
    pub fn funaya(&self, operation: &str, input: &Value) -> Result<(u16, Value), Gone> {
        let answer = self.target(&format!("Funaya_V1.{operation}"), input, &[])?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// A call of an API that speaks JSON: the answer as it came.
    pub fn target(&self, target: &str, input: &Value, headers: &[(&str, &str)]) -> Result<Answer, Gone> {
        let mut all = vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        all.extend_from_slice(headers);
        self.signed("ecr", &self.region, &all, &input.to_string())
    }

    /// A call of IAM (`iam`) or STS (`sts`).
    pub fn query(&self, service: &str, parameters: &[(&str, &str)]) -> Result<Answer, Gone> {
        let version = if service == "iam" { "2010-05-08" } else { "2011-06-15" };
        let mut body = format!("Version={version}");
        for (name, value) in parameters {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            body.push_str(&format!("&{name}={value}"));
        }
        self.form(service, &body)
    }

    /// A call of IAM or STS by a form that need not be well made.
    pub fn form(&self, service: &str, form: &str) -> Result<Answer, Gone> {
        self.signed(service, self.region_of(service), &[("content-type", FORM)], form)
    }

    /// The headers that such a form is signed with.
    pub fn form_headers(&self, service: &str, form: &str) -> Vec<(String, String)> {
        self.headers(service, self.region_of(service), &[("content-type", FORM)], form)
    }

    fn region_of(&self, service: &str) -> &str {
        if service == "iam" { "us-east-1" } else { &self.region }
    }

    fn signed(&self, service: &str, region: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, Gone> {
        let mut request = ureq::http::Request::builder().method("POST").uri(format!("{}/", self.url));
        for (name, value) in self.headers(service, region, headers, body) {
            request = request.header(name, value);
        }
        self.run(request, body.as_bytes())
    }

    fn headers(&self, service: &str, region: &str, headers: &[(&str, &str)], body: &str) -> Vec<(String, String)> {
        let host = self.url.split_once("://").map_or("", |(_, host)| host);
        let mut covered = vec![("host", host.as_bytes())];
        covered.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or_default() + self.ahead_s.load(Ordering::Relaxed);
        let now = Timestamp::from_secs(now);
        let secret = Secret::new(self.key.secret.as_str());
        let token = self.key.token.as_deref().map(Secret::new);
        let credentials = Credentials { access_key_id: &self.key.id, secret: &secret, security_token: token.as_ref() };
        let signed = sign(
            &Request { method: "POST", path: "/", query: "", headers: &covered },
            &credentials,
            &Scope::new(now, region, service),
            Payload::Hash(&payload_hash(body.as_bytes())),
            Encoding::Twice,
            now,
        );
        let given = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        given.chain(signed.into_iter().map(|(name, value)| (name.to_string(), value.to_string()))).collect()
    }

    /// The same client with a clock that is wrong by so much.
    pub fn wrong_by(&self, seconds: i64) -> Self {
        let ahead_s = Arc::new(AtomicI64::new(self.ahead_s.load(Ordering::Relaxed) + seconds));
        Self { ahead_s, ..self.clone() }
    }

    /// A request to the APIs of AWS without a signature.
    pub fn unsigned(&self, headers: &[(&str, &str)], body: &str) -> Result<Answer, Gone> {
        let mut request = ureq::http::Request::builder().method("POST").uri(format!("{}/", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request, body.as_bytes())
    }

    /// Moves the server's test clock, and this client's with it.
    pub fn advance(&self, seconds: i64) -> Result<(), Gone> {
        let moved = self.registry("GET", &format!("/_test/clock?advance={seconds}"), &[], b"")?;
        self.ahead_s.fetch_add(seconds, Ordering::Relaxed);
        if moved.status == 200 { Ok(()) } else { Err(Gone) }
    }

    fn run(&self, request: ureq::http::request::Builder, body: &[u8]) -> Result<Answer, Gone> {
        let request = request.body(body).map_err(|_| Gone)?;
        let mut response = self.agent.run(request).map_err(|_| Gone)?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|_| Gone)?,
        })
    }
}

/// Bytes as the ECR API carries them.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The digest of some bytes, as text.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", payload_hash(bytes))
}
