//! Answers in AWS JSON 1.1.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// An answer.
pub type Response = http::Response<Bytes>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// By its value the reasons of a refusal can be asked for (D9).
pub(crate) const DECISION: HeaderName = HeaderName::from_static("x-funaya-decision");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// An operation's answer, written out.
pub(crate) fn json<T: Serialize>(answer: &T) -> Bytes {
    // The generated shapes always serialise: no map has a key that is not text.
    serde_json::to_vec(answer).unwrap_or_default().into()
}

pub(crate) fn response(status: StatusCode, body: Bytes, request_id: &str) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
