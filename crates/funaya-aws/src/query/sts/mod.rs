//! STS (COMP-906, COMP-095 to COMP-101).
//!
//! What is asked of the gate differs from operation to operation, so each function does it all: read, ask, call the
//! hall, answer. [`Desk`] has what they share.

mod assume;
mod desk;
mod fail;
mod federate;
mod own;

use funaya_gate::{Action as _, Client, Operation as Allowed, Resource, action::sts as actions};
use funaya_wire::{query::Form, sts::Operation};

use super::{Answered, Visit, unknown};
use crate::door::Door;
use desk::Desk;

/// Whether an operation comes without a signature.
pub(super) fn is_open(action: &str) -> bool {
    matches!(action, "AssumeRoleWithWebIdentity" | "AssumeRoleWithSAML")
}

fn action(operation: Operation) -> Allowed {
    match operation {
        Operation::AssumeRole => actions::AssumeRole::OPERATION,
        Operation::AssumeRoleWithSAML => actions::AssumeRoleWithSAML::OPERATION,
        Operation::AssumeRoleWithWebIdentity => actions::AssumeRoleWithWebIdentity::OPERATION,
        Operation::DecodeAuthorizationMessage => actions::DecodeAuthorizationMessage::OPERATION,
        Operation::GetAccessKeyInfo => actions::GetAccessKeyInfo::OPERATION,
        Operation::GetCallerIdentity => actions::GetCallerIdentity::OPERATION,
        Operation::GetFederationToken => actions::GetFederationToken::OPERATION,
        Operation::GetSessionToken => actions::GetSessionToken::OPERATION,
    }
}

/// Does an operation of somebody who has signed in.
pub(super) async fn dispatch(visit: &Visit<'_>) -> Answered {
    let Some(operation) = visit.form().action().and_then(Operation::parse) else { return Err(unknown(visit.form())) };
    let desk = Desk::new(visit);
    let outcome = match operation {
        Operation::AssumeRole => assume::role(&desk).await,
        // A signature says nothing here: who calls is said by the token.
        Operation::AssumeRoleWithSAML | Operation::AssumeRoleWithWebIdentity => {
            dispatch_open(visit.door, visit.form(), visit.client()).await
        }
        Operation::DecodeAuthorizationMessage => own::decode_message(&desk).await,
        Operation::GetAccessKeyInfo => own::key_info(&desk).await,
        Operation::GetCallerIdentity => own::identity(&desk).await,
        Operation::GetFederationToken => own::federation_token(&desk).await,
        Operation::GetSessionToken => own::session_token(&desk).await,
    };
    match outcome {
        Err(fail) if !fail.recorded => {
            let resource = Resource::plain("*");
            Err(visit.refuse(&desk.registry(visit.account()), action(operation), resource, fail).await)
        }
        outcome => outcome,
    }
}

/// Does an operation of somebody who shows a token of an identity provider.
pub(super) async fn dispatch_open(door: &Door, form: &Form, client: &Client) -> Answered {
    match form.action().and_then(Operation::parse) {
        Some(Operation::AssumeRoleWithWebIdentity) => federate::web_identity(door, form, client).await,
        Some(Operation::AssumeRoleWithSAML) => federate::saml(door, form, client).await,
        _ => Err(unknown(form)),
    }
}

/// The actions of all operations as text, one line each, for the documentation.
pub(crate) fn table() -> String {
    let line = |operation: &Operation| format!("| `{}` | {} |\n", operation.name(), action(*operation).action());
    Operation::ALL.iter().map(line).collect()
}
