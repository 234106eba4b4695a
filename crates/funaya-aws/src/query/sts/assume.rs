//! `AssumeRole` (COMP-095).

use funaya_gate::{Action, Call, Resources, action::sts as actions};
use funaya_identity::{Made, Proof, WantedRole, Wish};
use funaya_wire::sts::{AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser};

use super::{
    super::{Answered, Api, fault},
    desk::{self, Desk},
    fail,
};
use crate::{door::Door, fail::Fail};

pub(super) async fn role(desk: &Desk<'_>) -> Answered {
    let request: AssumeRoleRequest = desk.read()?;
    if request.provided_contexts.as_ref().is_some_and(|contexts| !contexts.is_empty()) {
        return Err(Fail::new("ValidationError", "ProvidedContexts are not supported."));
    }
    let wish = Wish {
        name: request.role_session_name,
        duration_s: desk::seconds(request.duration_seconds),
        policy: request.policy,
        policy_arns: desk::arns(request.policy_arns),
        tags: desk::tags(request.tags)?,
        transitive: request.transitive_tag_keys.unwrap_or_default(),
        external_id: request.external_id,
        source_identity: request.source_identity,
    };
    let wanted = desk.hall().role_wanted(&request.role_arn).await.map_err(fail::of)?;
    // Whether a code is right is told to whoever has signed in: it may be a condition of the trust policy.
    desk.visit.judge();
    let proof = desk.proof(request.serial_number.as_deref(), request.token_code.as_deref()).await?;
    let (visit, registry) = (desk.visit, desk.registry(wanted.account));
    let call = visit.call.clone().knowing(wish.conditions());
    let target = wanted.resources(&wish, proof.as_ref());
    let permit = visit.door.gate.authorize::<actions::AssumeRole>(&call, &registry, target, visit.parameters()).await;
    let permit = permit.map_err(|denied| fault::denied(&denied, Api::Sts))?;
    also(visit.door, &call, &wanted, &wish, proof.as_ref()).await?;
    let made = desk.hall().assume_role(&visit.door.gate, &permit, &wanted, wish, proof).await;
    desk.tell(&permit, made, |made| {
        let Made { credentials, id: assumed_role_id, arn, packed, source_identity } = made;
        AssumeRoleResponse {
            credentials: Some(desk::credentials(credentials)),
            assumed_role_user: Some(AssumedRoleUser { assumed_role_id, arn }),
            packed_policy_size: desk::packed(packed),
            source_identity,
        }
    })
    .await
}

/// Tags and a source identity need a permission of their own.
pub(super) async fn also(
    door: &Door,
    call: &Call,
    wanted: &WantedRole,
    wish: &Wish,
    proof: Option<&Proof>,
) -> Result<(), Fail> {
    if !wish.tags.is_empty() {
        one_more::<actions::TagSession>(door, call, wanted, wish, proof).await?;
    }
    if wish.source_identity.is_some() {
        one_more::<actions::SetSourceIdentity>(door, call, wanted, wish, proof).await?;
    }
    Ok(())
}

async fn one_more<A: Action<Target = Resources>>(
    door: &Door,
    call: &Call,
    wanted: &WantedRole,
    wish: &Wish,
    proof: Option<&Proof>,
) -> Result<(), Fail> {
    let registry = funaya_types::Registry { account: wanted.account, region: call.caller().region().clone() };
    let target = wanted.resources(wish, proof);
    let permit = door.gate.authorize::<A>(call, &registry, target, serde_json::Value::Null).await;
    permit.map(drop).map_err(|denied| fault::denied(&denied, Api::Sts))
}
