//! What could not be done with the organization, as AWS tells it. No `_` arm: a new kind of error must choose.

use funaya_identity::OrganizationError;
use http::StatusCode;

use crate::fail::Fail;

pub(super) fn failed() -> Fail {
    let text = "Organizations can't complete your request because of an internal service error. Try again later.";
    Fail::new("ServiceException", text).status(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn of(error: OrganizationError) -> Fail {
    let name = match &error {
        OrganizationError::NotInUse => "AWSOrganizationsNotInUseException",
        OrganizationError::AlreadyIn => "AlreadyInOrganizationException",
        OrganizationError::Denied => "AccessDeniedException",
        OrganizationError::Missing(name, _)
        | OrganizationError::Duplicate(name, _)
        | OrganizationError::Conflict(name, _) => name,
        OrganizationError::Constraint(_) => "ConstraintViolationException",
        OrganizationError::Malformed(_) => "MalformedPolicyDocumentException",
        OrganizationError::Invalid(_) => "InvalidInputException",
        OrganizationError::Concurrent => "ConcurrentModificationException",
        OrganizationError::Store(cause) => {
            tracing::error!(cause = %funaya_identity::chain(cause), "the organization can't be read or changed");
            return failed();
        }
    };
    Fail::new(name, error.to_string())
}
