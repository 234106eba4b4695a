//! Failures before an operation, in the words of the services that take forms.

use funaya_gate::{Denied, SignInError, SignatureKind};
use funaya_wire::query::Fault;
use http::StatusCode;

use super::Api;
use crate::{admit::Turned, fail::Fail};

/// Most errors name a code that the caller can do something about.
fn forbidden(name: &'static str, text: impl Into<String>) -> Fail {
    Fail::new(name, text).status(StatusCode::FORBIDDEN)
}

pub(super) fn unsigned() -> Fail {
    forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
}

pub(super) fn failed(api: Api) -> Fail {
    let text = "The request processing has failed because of an unknown error, exception or failure.";
    Fail::new(api.failure(), text).status(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn turned(turned: Turned, api: Api) -> Fail {
    match turned {
        Turned::SignIn(error) => sign_in(error, api),
        Turned::TooLarge => {
            Fail::new("RequestEntityTooLarge", "The request is too large").status(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Turned::Cut => Fail::new("MalformedQueryString", "the body ended early"),
        Turned::Failed => failed(api),
    }
}

fn sign_in(error: SignInError, api: Api) -> Fail {
    let text = error.to_string();
    match error {
        SignInError::UnknownKey => forbidden("InvalidClientTokenId", text),
        SignInError::Expired => forbidden("ExpiredToken", text),
        SignInError::Store(error) => {
            tracing::error!(cause = %error, "principals can't be read");
            failed(api)
        }
        SignInError::Signature(fault) => match fault.kind() {
            SignatureKind::MissingToken => unsigned(),
            SignatureKind::Incomplete => Fail::new("IncompleteSignature", text),
            SignatureKind::Invalid => forbidden("SignatureDoesNotMatch", text),
        },
    }
}

pub(super) fn form(fault: Fault) -> Fail {
    Fail::new(fault.code(), fault.to_string())
}

/// The gate records its refusals.
pub(super) fn denied(denied: &Denied, api: Api) -> Fail {
    let fail = match denied {
        Denied::NotAllowed { .. } => forbidden("AccessDenied", denied.to_string()),
        Denied::Throttled => Fail::new("Throttling", denied.to_string()),
        Denied::Unavailable => failed(api),
    };
    fail.decision(denied.decision()).recorded()
}
