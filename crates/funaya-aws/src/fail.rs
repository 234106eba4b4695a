//! Errors of this door: AWS's names, statuses and bodies (README of the
//! specification, "Protocol facts"; ERR-01 to ERR-22).

use bytes::Bytes;
use funaya_gate::{Denied, SignInError};
use funaya_registry::Error;
use funaya_wire::{Fault, ecr::Operation};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) status: StatusCode,
    name: &'static str,
    message: String,
    /// Members beside the message (`InvalidLayerPartException`, `KmsException`).
    more: Map<String, Value>,
    /// Whether the audit log has it.
    pub(crate) recorded: bool,
    /// By this id the reasons of a refusal can be asked for.
    pub(crate) decision: Option<String>,
}

impl Fail {
    pub(crate) fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            name,
            message: message.into(),
            more: Map::new(),
            recorded: false,
            decision: None,
        }
    }

    /// ERR-12
    pub(crate) fn parameter(member: &str, reason: &str) -> Self {
        let text = format!("Invalid parameter at '{member}' failed to satisfy constraint: '{reason}'");
        Self::new("InvalidParameterException", text)
    }

    pub(crate) fn with(mut self, member: &str, value: Value) -> Self {
        self.more.insert(member.into(), value);
        self
    }

    pub(crate) fn recorded(self) -> Self {
        Self { recorded: true, ..self }
    }

    /// Tells by which id the reasons can be asked for.
    pub(crate) fn decision(self, id: Option<&str>) -> Self {
        Self { decision: id.map(str::to_owned), ..self }
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Name and message, for the audit record.
    pub(crate) fn texts(&self) -> (&'static str, &str) {
        (self.name, &self.message)
    }

    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "").status(StatusCode::NOT_FOUND)
    }

    /// A known operation that is not built (API-72).
    pub(crate) fn disabled(operation: Operation) -> Self {
        let name = match operation.allows("ValidationException") {
            true => "ValidationException",
            false => "InvalidParameterException",
        };
        Self::new(name, "This feature is disabled")
    }

    /// Whether the request was no JSON, or no form, of the right kind.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.name, "SerializationException" | "MalformedQueryString" | "MalformedInput")
    }

    pub(crate) fn body(mut self) -> Bytes {
        self.more.insert("__type".into(), json!(self.name));
        self.more.insert("message".into(), json!(self.message));
        Value::Object(self.more).to_string().into()
    }
}

impl From<SignInError> for Fail {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::UnknownKey => Self::new("UnrecognizedClientException", text),
            SignInError::Expired => Self::new("ExpiredTokenException", text),
            SignInError::Store(error) => {
                tracing::error!(cause = %error, "principals can't be read");
                Self::new("ServerException", "The service is unavailable").status(StatusCode::INTERNAL_SERVER_ERROR)
            }
            SignInError::Signature(fault) => match fault.kind() {
                funaya_gate::SignatureKind::MissingToken => Self::new("MissingAuthenticationTokenException", text),
                funaya_gate::SignatureKind::Incomplete => Self::new("IncompleteSignatureException", text),
                funaya_gate::SignatureKind::Invalid => {
                    Self::new("InvalidSignatureException", text).status(StatusCode::FORBIDDEN)
                }
            },
        }
    }
}

impl From<Fault> for Fail {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Serialization(text) => Self::new("SerializationException", text),
            // IMG-22 names the error for a part that is too large.
            Fault::Constraint { ref member, .. } if member == "layerPartBlob" => {
                Self::new("InvalidLayerPartException", fault.to_string())
            }
            Fault::Constraint { .. } => Self::new("InvalidParameterException", fault.to_string()),
        }
    }
}

impl From<Denied> for Fail {
    fn from(denied: Denied) -> Self {
        let (name, status) = match denied {
            Denied::NotAllowed { .. } => ("AccessDeniedException", StatusCode::BAD_REQUEST),
            Denied::Throttled => ("ThrottlingException", StatusCode::BAD_REQUEST),
            Denied::Unavailable => ("ServerException", StatusCode::INTERNAL_SERVER_ERROR),
        };
        // The gate records its refusals.
        let fail = Self::new(name, denied.to_string()).status(status).recorded();
        Self { decision: denied.decision().map(str::to_owned), ..fail }
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        let status = status(&error);
        if let Error::Store(_) = &error {
            tracing::error!(cause = %error.detail(), "a store failed");
        }
        let fail = Self::new(error.name(), error.to_string()).status(status);
        match error {
            Error::WrongOffset { received } => fail.with("lastValidByteReceived", json!(received.saturating_sub(1))),
            _ => fail,
        }
    }
}

/// No `_` arm: a new kind of error must choose.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::NoRepository(_)
        | Error::RepositoryExists(_)
        | Error::RepositoryNotEmpty(_)
        | Error::RepositoryQuota { .. }
        | Error::ExclusionExists(_)
        | Error::NoExclusion(_)
        | Error::ExclusionQuota
        | Error::ImageQuota { .. }
        | Error::TagQuota
        | Error::ResourceTagQuota
        | Error::NoImage { .. }
        | Error::ImageExists { .. }
        | Error::TagImmutable { .. }
        | Error::LayersMissing { .. }
        | Error::ChildrenMissing { .. }
        | Error::LayerSize(_)
        | Error::BadManifest(_)
        | Error::ManifestDigest { .. }
        | Error::NoLayer { .. }
        | Error::LayerInaccessible { .. }
        | Error::LayerExists { .. }
        | Error::LayerInUse(_)
        | Error::NoUpload { .. }
        | Error::UploadBusy(_)
        | Error::WrongOffset { .. }
        | Error::PartTooSmall
        | Error::PartQuota
        | Error::LayerTooLarge
        | Error::EmptyUpload(_)
        | Error::LayerDigest { .. }
        | Error::NoPolicy(_)
        | Error::NoRegistryPolicy(_)
        | Error::BadPolicy(_)
        | Error::LocksOut
        | Error::NoLifecyclePolicy(_)
        | Error::BadLifecyclePolicy(_)
        | Error::PreviewInProgress(_)
        | Error::NoPreview(_)
        | Error::PreviewOutdated
        | Error::NothingDeleted(_)
        | Error::BodyCut
        | Error::BodyLength { .. } => StatusCode::BAD_REQUEST,
    }
}
