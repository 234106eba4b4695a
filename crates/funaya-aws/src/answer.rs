//! Answers in AWS JSON 1.1 and in XML.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// An answer.
pub type Response = http::Response<Bytes>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// By its value the reasons of a refusal can be asked for (D9).
pub(crate) const DECISION: HeaderName = HeaderName::from_static("x-funaya-decision");
/// What a lifecycle preview showed, for putting the policy only if it still holds.
pub(crate) const LIFECYCLE_TOKEN: HeaderName = HeaderName::from_static("x-funaya-lifecycle-token");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
pub(crate) const XML: HeaderValue = HeaderValue::from_static("text/xml");

/// An operation's answer, written out.
pub(crate) fn json<T: Serialize>(answer: &T) -> Bytes {
    // The generated shapes always serialise: no map has a key that is not text.
    serde_json::to_vec(answer).unwrap_or_default().into()
}

pub(crate) fn response(status: StatusCode, content_type: HeaderValue, body: Bytes, request_id: &str) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The same answer, with a header if there is a value for it.
pub(crate) fn with(mut response: Response, name: HeaderName, value: Option<&str>) -> Response {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        response.headers_mut().insert(name, value);
    }
    response
}
