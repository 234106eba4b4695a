//! What the hall of identities could not do, as IAM tells it. No `_` arm: a new kind of error must choose.

use funaya_identity::Error;
use funaya_wire::iam::status;
use http::StatusCode;

use super::super::{Api, fault};
use crate::fail::Fail;

pub(super) fn failed() -> Fail {
    fault::failed(Api::Iam)
}

pub(super) fn of(error: Error) -> Fail {
    if let Error::Store(cause) = &error {
        tracing::error!(cause = %funaya_identity::chain(cause), "identities can't be read or changed");
    }
    let name = code(&error);
    let status = status(name).and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(status_of_own(name));
    Fail::new(name, error.to_string()).status(status)
}

/// Codes of every service, which the model does not list.
fn status_of_own(name: &str) -> StatusCode {
    if name == "AccessDenied" { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST }
}

fn code(error: &Error) -> &'static str {
    match error {
        Error::NoUser(_)
        | Error::NoGroup(_)
        | Error::NoRole(_)
        | Error::NoProfile(_)
        | Error::NoPolicy(_)
        | Error::NotAttachable(_)
        | Error::NoVersion { .. }
        | Error::NotAttached(_)
        | Error::NoInline { .. }
        | Error::NoBoundary { .. }
        | Error::NoKey(_)
        | Error::NoLogin(_)
        | Error::NotMember { .. }
        | Error::NoAlias(_)
        | Error::NoPasswordPolicy(_)
        | Error::NoDevice(_)
        | Error::NoProvider(_) => "NoSuchEntity",
        Error::Exists { .. }
        | Error::DeviceExists
        | Error::DeviceInUse
        | Error::ProviderExists(_)
        | Error::PolicyExists(_)
        | Error::ProfileExists(_)
        | Error::LoginExists(_)
        | Error::AliasTaken(_) => "EntityAlreadyExists",
        Error::DeleteConflict(_) | Error::DefaultVersion | Error::PolicyInUse | Error::HasVersions => "DeleteConflict",
        Error::Quota { .. } | Error::TooManyVersions | Error::TooManyTags | Error::InlineSize { .. } => "LimitExceeded",
        Error::Malformed(_) => "MalformedPolicyDocument",
        Error::InvalidInput(_) => "InvalidInput",
        Error::Validation(_) => "ValidationError",
        Error::Password(_) => "PasswordPolicyViolation",
        Error::WrongPassword | Error::Foreign => "AccessDenied",
        Error::NotUser => "InvalidUserType",
        Error::Unmodifiable(_) => "UnmodifiableEntity",
        Error::ReportMissing => "ReportNotPresent",
        Error::ReportExpired => "ReportExpired",
        Error::Concurrent => "ConcurrentModification",
        Error::InvalidCode => "InvalidAuthenticationCode",
        Error::Store(_) => "ServiceFailure",
    }
}
