//! Answers and their parts.

use bytes::Bytes;
use funaya_types::Digest;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::pin::Pin;

/// Bytes of a layer as they are read and verified; an error cuts the answer off.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, funaya_registry::Error>> + Send>>;

/// The body of an answer.
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece, of a length that the header names.
    Pieces(Pieces),
}

/// An answer.
pub type Response = http::Response<Content>;

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Builds an answer header by header.
pub(crate) struct Answer(Response);

impl Answer {
    pub(crate) fn new(status: StatusCode) -> Self {
        let mut response = http::Response::new(Content::Whole(Bytes::new()));
        *response.status_mut() = status;
        Self(response)
    }

    /// Adds a header; a value that can't be one is left out.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers_mut().append(name, value);
        }
        self
    }

    /// `Docker-Content-Digest` and the entity tag (V2-11).
    pub(crate) fn digest(self, digest: &Digest) -> Self {
        let text = digest.to_string();
        self.header(DIGEST, &text).header(header::ETAG, &format!("\"{text}\""))
    }

    pub(crate) fn body(mut self, content_type: &str, bytes: impl Into<Bytes>) -> Response {
        let bytes = bytes.into();
        self = self.header(header::CONTENT_TYPE, content_type);
        self.0.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        *self.0.body_mut() = Content::Whole(bytes);
        self.0
    }

    pub(crate) fn pieces(mut self, length: u64, pieces: Pieces) -> Response {
        self.0.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *self.0.body_mut() = Content::Pieces(pieces);
        self.0
    }

    /// No body, but the length that one would have: answers to HEAD.
    pub(crate) fn head(mut self, length: u64) -> Response {
        self.0.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        self.0
    }

    pub(crate) fn empty(self) -> Response {
        self.head(0)
    }

    /// An answer that never has a body nor a length (204, 304).
    pub(crate) fn bare(self) -> Response {
        self.0
    }
}
