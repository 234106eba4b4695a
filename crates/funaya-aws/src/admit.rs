//! How a request is let in before anybody looks at what it asks for: who sends it, its body, its signature.

use bytes::{Bytes, BytesMut};
use funaya_gate::{Caller, Introduced, Service, SignInError, SignedRequest};
use funaya_registry::{Body, BodyError};
use funaya_types::Timestamp;
use futures_util::StreamExt as _;
use http::{StatusCode, header, request::Parts};
use tokio::sync::OwnedSemaphorePermit;

use crate::{door::Door, fail::Fail};

/// Bytes of request bodies that are held at once, in KiB. Beyond, requests wait.
pub(crate) const BUDGET_KIB: u32 = 96 * 1024;
/// Bodies from here on are hashed off the reactor.
const LARGE: usize = 128 * 1024;

/// Why a request is not let in.
pub(crate) enum Turned {
    SignIn(SignInError),
    TooLarge,
    Cut,
    Failed,
}

impl From<SignInError> for Turned {
    fn from(error: SignInError) -> Self {
        Self::SignIn(error)
    }
}

/// As the services that speak JSON tell it.
impl From<Turned> for Fail {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::SignIn(error) => error.into(),
            Turned::TooLarge => Self::new("RequestEntityTooLargeException", "The request is too large")
                .status(StatusCode::PAYLOAD_TOO_LARGE),
            Turned::Cut => Self::new("SerializationException", "the body ended early"),
            Turned::Failed => Self::new("InternalFailure", "").status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl Door {
    /// Finds out who calls, reads the body, and checks the signature over both.
    pub(crate) async fn admit(
        &self,
        head: Parts,
        body: Body,
        service: Service,
        body_max: usize,
        now: Timestamp,
    ) -> Result<(Caller, Bytes, OwnedSemaphorePermit), Turned> {
        let introduced = self.introduce(&head, now).await?;
        let (body, held) = self.read(&head.headers, body, body_max).await?;
        let caller = self.sign_in(introduced, head, service, body.clone(), now).await?;
        Ok((caller, body, held))
    }

    /// Finds out who says to call, before the body is read.
    pub(crate) async fn introduce(&self, head: &Parts, now: Timestamp) -> Result<Introduced, Turned> {
        let headers = signed_headers(head);
        Ok(self.gate.introduce(&signed(head, &headers), now).await?)
    }

    /// Checks the signature over head and body.
    pub(crate) async fn sign_in(
        &self,
        introduced: Introduced,
        head: Parts,
        service: Service,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Caller, Turned> {
        let (gate, large) = (self.gate.clone(), body.len() >= LARGE);
        let check = move || {
            let headers = signed_headers(&head);
            gate.sign_in(introduced, &signed(&head, &headers), service, &body, now)
        };
        let outcome =
            if large { tokio::task::spawn_blocking(check).await.map_err(|_| Turned::Failed)? } else { check() };
        Ok(outcome?)
    }

    /// Reads a body within its limit and within the budget of all bodies.
    pub(crate) async fn read(
        &self,
        headers: &http::HeaderMap,
        mut body: Body,
        max: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Turned> {
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > max) {
            return Err(Turned::TooLarge);
        }
        let expected = announced.unwrap_or(max);
        let share = u32::try_from(expected.div_ceil(1024)).unwrap_or(BUDGET_KIB).clamp(1, BUDGET_KIB);
        let held = self.budget.clone().acquire_many_owned(share).await.map_err(|_| Turned::Failed)?;
        let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|BodyError| Turned::Cut)?;
            if bytes.len() + piece.len() > max {
                return Err(Turned::TooLarge);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes.freeze(), held))
    }
}

/// The headers that a signature may cover.
fn signed_headers(head: &Parts) -> Vec<(&str, &[u8])> {
    let mut headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if let (Some(authority), false) = (authority, head.headers.contains_key(header::HOST)) {
        headers.push(("host", authority));
    }
    headers
}

/// The parts of a request that its signature covers.
fn signed<'a>(head: &'a Parts, headers: &'a [(&'a str, &'a [u8])]) -> SignedRequest<'a> {
    SignedRequest {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers,
    }
}
