//! Errors of this door, and its one table from the hall's to OCI's (ERR-40 to ERR-52).

use funaya_gate::Denied;
use funaya_registry::Error;
use http::{HeaderName, StatusCode, header};
use serde_json::json;

use crate::answer::{Answer, Response};

/// By its value the reasons of a refusal can be asked for (D9).
const DECISION: HeaderName = HeaderName::from_static("x-funaya-decision");

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this path")
    }

    pub(crate) fn bad_digest() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the digest is not valid")
    }

    pub(crate) fn unsupported(allowed: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the method is not supported here")
            .with(header::ALLOW, allowed.into())
    }

    pub(crate) fn no_image() -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "Requested image not found")
    }

    /// The image is there, but not for this client (MAN-13, MAN-14).
    pub(crate) fn not_accepted(stored: &str) -> Self {
        let text = format!("Requested image not found: it is stored as {stored}, which the client does not accept");
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", text)
    }

    pub(crate) fn into_response(self) -> Response {
        let body = json!({"errors": [{"code": self.code, "message": self.message}]}).to_string();
        let mut answer = Answer::new(self.status);
        for (name, value) in self.headers {
            answer = answer.header(name, &value);
        }
        answer.body("application/json; charset=utf-8", body)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let text = denied.to_string();
        match denied {
            Denied::NotAllowed { decision, .. } => {
                Self::new(StatusCode::FORBIDDEN, "DENIED", text).with(DECISION, decision)
            }
            Denied::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", text),
            Denied::Throttled => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", text).with(header::RETRY_AFTER, "1".into())
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Error::Store(_) = &error {
            tracing::error!(cause = %error.detail(), "a store failed");
        }
        let (status, code) = table(&error);
        let problem = Self::new(status, code, error.to_string());
        match error {
            Error::WrongOffset { received } => problem.with(header::RANGE, upload_range(received)),
            Error::LayerInUse(_) => problem.with(header::ALLOW, "GET, HEAD".into()),
            _ => problem,
        }
    }
}

/// How far an upload has come, as `Range` says it. An empty one reads `0-0`.
pub(crate) fn upload_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}

/// No `_` arm: a new kind of error must choose.
fn table(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::NoRepository(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        Error::RepositoryExists(_) | Error::RepositoryNotEmpty(_) => (StatusCode::CONFLICT, "DENIED"),
        Error::RepositoryQuota { .. }
        | Error::ImageQuota { .. }
        | Error::TagQuota
        | Error::ResourceTagQuota
        | Error::ExclusionExists(_)
        | Error::NoExclusion(_)
        | Error::ExclusionQuota => (StatusCode::FORBIDDEN, "DENIED"),
        Error::NoImage { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        Error::ImageExists { .. } => (StatusCode::CONFLICT, "DENIED"),
        Error::TagImmutable { .. } => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
        Error::LayersMissing { .. } | Error::ChildrenMissing { .. } => {
            (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN")
        }
        Error::LayerSize(_) => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
        Error::BadManifest(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
        Error::ManifestDigest { .. } | Error::LayerDigest { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        Error::NoLayer { .. } | Error::LayerInaccessible { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        Error::LayerExists { .. } => (StatusCode::CONFLICT, "DENIED"),
        Error::LayerInUse(_) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
        Error::NoUpload { .. } => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        Error::UploadBusy(_) => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
        Error::WrongOffset { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        Error::PartTooSmall | Error::PartQuota | Error::EmptyUpload(_) => {
            (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID")
        }
        Error::LayerTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
        Error::BodyCut => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        Error::BodyLength { .. } => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
        Error::NothingDeleted(_)
        | Error::NoPolicy(_)
        | Error::NoRegistryPolicy(_)
        | Error::NoLifecyclePolicy(_)
        | Error::NoPreview(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        Error::BadPolicy(_)
        | Error::LocksOut
        | Error::BadLifecyclePolicy(_)
        | Error::PreviewInProgress(_)
        | Error::PreviewOutdated => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
        Error::Store(funaya_registry::StoreError::Full(_)) => (StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN"),
        Error::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    }
}
