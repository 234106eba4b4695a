//! A client of both APIs, as thin as can be.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_sigv4::{Credentials, Encoding, Payload, Request, Scope, payload_hash, sign};
use funaya_types::{Secret, Timestamp};
use serde_json::{Value, json};
use ureq::Agent;

use crate::server::{ACCESS_KEY, REGION, SECRET_KEY};

/// The server went away, or did not answer in time: nothing is known of the request.
#[derive(Debug)]
pub struct Gone;

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    url: String,
    authorization: String,
    region: String,
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
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_idle_connections_per_host(1)
            .build()
            .into();
        let mut client = Self { agent, url: url.into(), authorization: String::new(), region: region.into() };
        let (_, answer) = client.ecr("GetAuthorizationToken", &json!({}))?;
        let token = answer["authorizationData"][0]["authorizationToken"].as_str().unwrap_or_default();
        client.authorization = format!("Basic {token}");
        Ok(client)
    }

    /// What the client sends as `Authorization`.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// A request of the registry API; `path` may be a whole URL.
    pub fn registry(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Gone> {
        let url = if path.starts_with("http") { path.into() } else { format!("{}{path}", self.url) };
        let mut request =
            ureq::http::Request::builder().method(method).uri(url).header("Authorization", &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request, body)
    }

    /// A call of the ECR API: status and answer.
    pub fn ecr(&self, operation: &str, input: &Value) -> Result<(u16, Value), Gone> {
        let body = input.to_string();
        let host = self.url.split_once("://").map_or("", |(_, host)| host);
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        let headers = [
            ("host", host.as_bytes()),
            ("content-type", b"application/x-amz-json-1.1".as_slice()),
            ("x-amz-target", target.as_bytes()),
        ];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_secs(i64::try_from(now.as_secs()).unwrap_or_default());
        let secret = Secret::new(SECRET_KEY);
        let credentials = Credentials { access_key_id: ACCESS_KEY, secret: &secret, security_token: None };
        let signed = sign(
            &Request { method: "POST", path: "/", query: "", headers: &headers },
            &credentials,
            &Scope::new(now, &self.region, "ecr"),
            Payload::Hash(&payload_hash(body.as_bytes())),
            Encoding::Twice,
            now,
        );
        let mut request = ureq::http::Request::builder()
            .method("POST")
            .uri(format!("{}/", self.url))
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", target);
        for (name, value) in &signed {
            request = request.header(*name, value);
        }
        let answer = self.run(request, body.as_bytes())?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
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
