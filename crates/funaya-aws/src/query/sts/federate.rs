//! Sessions for tokens of identity providers (COMP-096, COMP-097). Nobody signs here.

use funaya_gate::{Action, Client, Denied, Permit, action::sts as actions};
use funaya_identity::{Made, SessionError, WantedRole, Wish};
use funaya_types::{Region, Registry};
use funaya_wire::{
    query::{Answer as _, Form, Request},
    sts::{
        AssumeRoleWithSAMLRequest, AssumeRoleWithSAMLResponse, AssumeRoleWithWebIdentityRequest,
        AssumeRoleWithWebIdentityResponse, AssumedRoleUser,
    },
};
use serde_json::json;

use super::{
    super::{Answered, Api, fault},
    assume::also,
    desk, fail,
};
use crate::{door::Door, fail::Fail};

pub(super) async fn web_identity(door: &Door, form: &Form, client: &Client) -> Answered {
    let request = AssumeRoleWithWebIdentityRequest::from_form(form).map_err(fault::form)?;
    if request.provider_id.is_some() {
        return Err(Fail::new("ValidationError", "ProviderId is for OAuth 2.0 tokens, which are not taken."));
    }
    let hall = &door.identities;
    let wanted = hall.role_wanted(&request.role_arn).await.map_err(fail::of)?;
    let shown = hall.web_identity(&request.web_identity_token.0, wanted.account, client.at).await;
    let identity = shown.map_err(|error| refused(error, client))?;
    let wish = Wish {
        name: request.role_session_name.clone(),
        duration_s: desk::seconds(request.duration_seconds),
        policy: request.policy,
        policy_arns: desk::arns(request.policy_arns),
        tags: identity.tags.clone(),
        transitive: identity.transitive.clone(),
        external_id: None,
        source_identity: identity.source_identity.clone(),
    };
    let conditions = [wish.conditions(), identity.conditions.clone()].concat();
    let registry = registry(door, &wanted);
    let principal = identity.principal.clone();
    let call = door.gate.stranger(principal, conditions, wanted.account, registry.region.clone(), client);
    let parameters = json!({"roleArn": request.role_arn, "roleSessionName": request.role_session_name});
    let target = wanted.resources(&wish, None);
    let permit = door.gate.authorize::<actions::AssumeRoleWithWebIdentity>(&call, &registry, target, parameters).await;
    let permit = permit.map_err(|denied| not_authorized(&denied, "AssumeRoleWithWebIdentity"))?;
    also(door, &call, &wanted, &wish, None).await?;
    let made = hall.assume_role_by_token(&door.gate, &permit, &wanted, wish, &identity).await;
    match made {
        Ok(Made { credentials, id: assumed_role_id, arn, packed, source_identity }) => {
            let answer = AssumeRoleWithWebIdentityResponse {
                credentials: Some(desk::credentials(credentials)),
                subject_from_web_identity_token: Some(identity.subject),
                assumed_role_user: Some(AssumedRoleUser { assumed_role_id, arn }),
                packed_policy_size: desk::packed(packed),
                provider: Some(identity.principal.arn().into_owned()),
                audience: Some(identity.audience),
                source_identity,
            };
            Ok(answer.to_xml(&client.request_id))
        }
        Err(error) => Err(failed(door, &permit, error).await),
    }
}

pub(super) async fn saml(door: &Door, form: &Form, client: &Client) -> Answered {
    let request = AssumeRoleWithSAMLRequest::from_form(form).map_err(fault::form)?;
    let hall = &door.identities;
    let wanted = hall.role_wanted(&request.role_arn).await.map_err(fail::of)?;
    let (role, provider) = (&request.role_arn, &request.principal_arn);
    let shown = hall.saml_identity(&request.saml_assertion.0, role, provider, wanted.account, client.at).await;
    let identity = shown.map_err(|error| refused(error, client))?;
    // The provider may cut what is asked for.
    let duration_s = [desk::seconds(request.duration_seconds), identity.duration_s].into_iter().flatten().min();
    let wish = Wish {
        name: identity.session_name.clone(),
        duration_s,
        policy: request.policy,
        policy_arns: desk::arns(request.policy_arns),
        tags: identity.tags.clone(),
        transitive: identity.transitive.clone(),
        external_id: None,
        source_identity: identity.source_identity.clone(),
    };
    let conditions = [wish.conditions(), identity.conditions.clone()].concat();
    let registry = registry(door, &wanted);
    let principal = identity.principal.clone();
    let call = door.gate.stranger(principal, conditions, wanted.account, registry.region.clone(), client);
    let parameters = json!({"roleArn": role, "principalArn": provider});
    let target = wanted.resources(&wish, None);
    let permit = door.gate.authorize::<actions::AssumeRoleWithSAML>(&call, &registry, target, parameters).await;
    let permit = permit.map_err(|denied| not_authorized(&denied, "AssumeRoleWithSAML"))?;
    also(door, &call, &wanted, &wish, None).await?;
    match hall.assume_role_by_assertion(&door.gate, &permit, &wanted, wish, &identity).await {
        Ok(Made { credentials, id: assumed_role_id, arn, packed, source_identity }) => {
            let answer = AssumeRoleWithSAMLResponse {
                credentials: Some(desk::credentials(credentials)),
                assumed_role_user: Some(AssumedRoleUser { assumed_role_id, arn }),
                packed_policy_size: desk::packed(packed),
                subject: Some(identity.subject),
                subject_type: Some(identity.subject_type),
                issuer: Some(identity.issuer),
                audience: Some(identity.audience),
                name_qualifier: Some(identity.name_qualifier),
                source_identity,
            };
            Ok(answer.to_xml(&client.request_id))
        }
        Err(error) => Err(failed(door, &permit, error).await),
    }
}

/// A failure of a call that was let in, recorded before it is told (TRAIL-11).
async fn failed<A: Action>(door: &Door, permit: &Permit<A>, error: SessionError) -> Fail {
    let fail = fail::of(error);
    let (name, text) = fail.texts();
    door.gate.record_failure(permit, name, text).await;
    fail.recorded()
}

/// Where a session of a role is made: in the role's account.
fn registry(door: &Door, wanted: &WantedRole) -> Registry {
    let region: Region = door.gate.default_registry().region.clone();
    Registry { account: wanted.account, region }
}

/// A token that is refused leaves a line in the log, without anything of the token. Records are for those who are known.
fn refused(error: SessionError, client: &Client) -> Fail {
    tracing::info!(source_ip = %client.source_ip, cause = %error, "a token of an identity provider was refused");
    fail::of(error)
}

/// Strangers learn less than others.
fn not_authorized(denied: &Denied, operation: &str) -> Fail {
    match denied {
        Denied::NotAllowed { .. } => {
            let text = format!("Not authorized to perform sts:{operation}");
            let fail = fail::of(SessionError::Denied(text));
            fail.decision(denied.decision()).recorded()
        }
        Denied::Throttled | Denied::Unavailable => fault::denied(denied, Api::Sts),
    }
}
