//! Organizations (COMP-919): AWS JSON 1.1.
//!
//! The table says for each operation which members name what it is on, and which function does it. [`Desk`] has what
//! such a function needs: the shape, the permit, the page, the answer.

mod accounts;
mod control;
mod desk;
mod fail;
mod shapes;
mod units;

use bytes::Bytes;
use funaya_gate::{Action as _, Operation as Allowed, Service, action::organizations as actions};
use funaya_wire::organizations::{Operation, TARGET_PREFIX};
use http::{Method, StatusCode};

use crate::{
    answer::{self, Response},
    door::{Door, Request},
    fail::Fail,
};
use desk::Desk;

/// The largest request: a policy with all its white space.
const BODY_MAX: usize = 1024 * 1024;

/// The answer's JSON, or a failure.
type Answered = Result<Bytes, Fail>;

macro_rules! operations {
    ($($name:ident on [$($member:literal),*]: $module:ident::$function:ident;)*) => {
        /// The members that name what an operation is on, and the action that allows it.
        fn row(operation: Operation) -> (&'static [&'static str], Allowed) {
            match operation {
                $(Operation::$name => (&[$($member),*], actions::$name::OPERATION),)*
            }
        }

        async fn run(desk: &Desk<'_>) -> Answered {
            match desk.operation {
                $(Operation::$name => $module::$function(desk).await,)*
            }
        }
    };
}

operations! {
    AttachPolicy on ["PolicyId", "TargetId"]: control::attach;
    CloseAccount on ["AccountId"]: accounts::close;
    CreateAccount on []: accounts::create;
    CreateOrganization on []: units::create_organization;
    CreateOrganizationalUnit on ["ParentId"]: units::create;
    CreatePolicy on []: control::create;
    DeleteOrganizationalUnit on ["OrganizationalUnitId"]: units::delete;
    DeletePolicy on ["PolicyId"]: control::delete;
    DescribeAccount on ["AccountId"]: accounts::describe;
    DescribeCreateAccountStatus on []: accounts::describe_request;
    DescribeOrganization on []: units::describe_organization;
    DescribeOrganizationalUnit on ["OrganizationalUnitId"]: units::describe;
    DescribePolicy on ["PolicyId"]: control::describe;
    DetachPolicy on ["PolicyId", "TargetId"]: control::detach;
    DisablePolicyType on ["RootId"]: control::disable;
    EnablePolicyType on ["RootId"]: control::enable;
    ListAccounts on []: accounts::list;
    ListAccountsForParent on ["ParentId"]: accounts::list_in;
    ListChildren on ["ParentId"]: units::children;
    ListCreateAccountStatus on []: accounts::list_requests;
    ListOrganizationalUnitsForParent on ["ParentId"]: units::list;
    ListParents on ["ChildId"]: units::parents;
    ListPolicies on []: control::list;
    ListPoliciesForTarget on ["TargetId"]: control::of_target;
    ListRoots on []: units::roots;
    ListTagsForResource on ["ResourceId"]: accounts::tags;
    ListTargetsForPolicy on ["PolicyId"]: control::targets;
    MoveAccount on ["AccountId", "SourceParentId", "DestinationParentId"]: accounts::move_to;
    TagResource on ["ResourceId"]: accounts::tag;
    UntagResource on ["ResourceId"]: accounts::untag;
    UpdateOrganizationalUnit on ["OrganizationalUnitId"]: units::update;
    UpdatePolicy on ["PolicyId"]: control::update;
}

/// Whether a request is for this service.
pub(crate) fn is_meant<B>(request: &http::Request<B>) -> bool {
    target(request).is_some_and(|target| target.starts_with(TARGET_PREFIX))
}

fn target<B>(request: &http::Request<B>) -> Option<&str> {
    let post = request.method() == Method::POST && request.uri().path() == "/";
    request.headers().get("x-amz-target").filter(|_| post)?.to_str().ok()
}

/// Answers a request.
pub(crate) async fn answer(door: &Door, request: Request) -> Response {
    let id = request.client.request_id.clone();
    match serve(door, request).await {
        Ok(body) => answer::response(StatusCode::OK, answer::JSON, body, &id),
        Err(fail) => {
            let (status, decision) = (fail.status, fail.decision.clone());
            let response = answer::response(status, answer::JSON, fail.body(), &id);
            answer::with(response, answer::DECISION, decision.as_deref())
        }
    }
}

async fn serve(door: &Door, request: Request) -> Answered {
    let operation = target(&request.http).and_then(|target| Operation::parse(target.split_once('.')?.1));
    let operation = operation.ok_or_else(Fail::unknown_operation)?;
    let (head, body) = request.http.into_parts();
    let (caller, body, _held) = door.admit(head, body, Service::Organizations, BODY_MAX, request.client.at).await?;
    let (members, action) = row(operation);
    let desk = Desk::new(door, door.gate.call(caller, &request.client), operation, members, body);
    match run(&desk).await {
        Err(fail) if !fail.recorded => Err(desk.refuse(action, fail).await),
        outcome => outcome,
    }
}

/// The actions of all operations as text, one line each, for the documentation.
pub(crate) fn table() -> String {
    let line = |operation: &Operation| format!("| `{}` | {} |\n", operation.name(), row(*operation).1.action());
    Operation::ALL.iter().map(line).collect()
}
