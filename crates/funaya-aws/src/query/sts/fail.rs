//! Why there is no session, as STS tells it. No `_` arm: a new kind of error must choose.

use funaya_identity::SessionError;
use http::StatusCode;

use super::super::{Api, fault};
use crate::fail::Fail;

pub(super) fn of(error: SessionError) -> Fail {
    let (name, status) = match &error {
        SessionError::Denied(_) => ("AccessDenied", StatusCode::FORBIDDEN),
        SessionError::Validation(_) => ("ValidationError", StatusCode::BAD_REQUEST),
        SessionError::Malformed(_) => ("MalformedPolicyDocument", StatusCode::BAD_REQUEST),
        SessionError::TooLarge(_) => ("PackedPolicyTooLarge", StatusCode::BAD_REQUEST),
        SessionError::InvalidToken(_) => ("InvalidIdentityToken", StatusCode::BAD_REQUEST),
        SessionError::Expired(_) => ("ExpiredTokenException", StatusCode::BAD_REQUEST),
        SessionError::Rejected(_) => ("IDPRejectedClaim", StatusCode::FORBIDDEN),
        SessionError::Unreachable(_) => ("IDPCommunicationError", StatusCode::BAD_REQUEST),
        SessionError::BadMessage => ("InvalidAuthorizationMessageException", StatusCode::BAD_REQUEST),
        SessionError::Store(cause) => {
            tracing::error!(cause = %funaya_identity::chain(cause), "sessions can't be made");
            return fault::failed(Api::Sts);
        }
    };
    Fail::new(name, error.to_string()).status(status)
}
