//! Simulation of policies (COMP-083).

use funaya_gate::action::iam as actions;
use funaya_identity::{Matched, Outcome, Simulated, Simulation, SourceKind};
use funaya_wire::iam::{
    ContextEntry, ContextKeyTypeEnum, EvaluationResult, GetContextKeysForCustomPolicyRequest,
    GetContextKeysForCustomPolicyResponse, GetContextKeysForPrincipalPolicyRequest,
    GetContextKeysForPrincipalPolicyResponse, OrganizationsDecisionDetail, PermissionsBoundaryDecisionDetail,
    PolicyEvaluationDecisionType, PolicySourceType, Position, SimulateCustomPolicyRequest,
    SimulateCustomPolicyResponse, SimulatePrincipalPolicyRequest, SimulatePrincipalPolicyResponse, Statement,
};

use super::{
    super::{Answered, Said},
    desk::Desk,
    fail,
};

pub(super) async fn custom(desk: &Desk<'_>) -> Answered {
    let request: SimulateCustomPolicyRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::SimulateCustomPolicy>(Said::default()).await?;
    let simulation = Simulation {
        policies: request.policy_input_list,
        boundaries: request.permissions_boundary_policy_input_list.unwrap_or_default(),
        actions: request.action_names,
        resources: request.resource_arns.unwrap_or_default(),
        resource_policy: request.resource_policy,
        resource_owner: request.resource_owner,
        caller: request.caller_arn,
        context: context(request.context_entries),
    };
    let found = desk.hall().simulate_custom(&permit, simulation, at).await;
    desk.tell(&permit, found, |page| SimulateCustomPolicyResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        evaluation_results: Some(page.items.into_iter().map(result).collect()),
    })
    .await
}

pub(super) async fn principal(desk: &Desk<'_>) -> Answered {
    let request: SimulatePrincipalPolicyRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let permit = desk.permit::<actions::SimulatePrincipalPolicy>(Said::default()).await?;
    let simulation = Simulation {
        policies: request.policy_input_list.unwrap_or_default(),
        boundaries: request.permissions_boundary_policy_input_list.unwrap_or_default(),
        actions: request.action_names,
        resources: request.resource_arns.unwrap_or_default(),
        resource_policy: request.resource_policy,
        resource_owner: request.resource_owner,
        caller: request.caller_arn,
        context: context(request.context_entries),
    };
    let levels = desk.visit.door.gate.service_control(&permit).await.map_err(|error| fail::of(error.into()))?;
    let found = desk.hall().simulate_principal(&permit, &request.policy_source_arn, simulation, levels, at).await;
    desk.tell(&permit, found, |page| SimulatePrincipalPolicyResponse {
        is_truncated: Some(page.next.is_some()),
        marker: desk.marker(page.next),
        evaluation_results: Some(page.items.into_iter().map(result).collect()),
    })
    .await
}

pub(super) async fn custom_keys(desk: &Desk<'_>) -> Answered {
    let request: GetContextKeysForCustomPolicyRequest = desk.read()?;
    let permit = desk.permit::<actions::GetContextKeysForCustomPolicy>(Said::default()).await?;
    let found = desk.hall().context_keys(&permit, &request.policy_input_list);
    desk.tell(&permit, found, |keys| GetContextKeysForCustomPolicyResponse { context_key_names: Some(keys) }).await
}

pub(super) async fn principal_keys(desk: &Desk<'_>) -> Answered {
    let request: GetContextKeysForPrincipalPolicyRequest = desk.read()?;
    let permit = desk.permit::<actions::GetContextKeysForPrincipalPolicy>(Said::default()).await?;
    let given = request.policy_input_list.unwrap_or_default();
    let found = desk.hall().principal_context_keys(&permit, &request.policy_source_arn, &given).await;
    desk.tell(&permit, found, |keys| GetContextKeysForPrincipalPolicyResponse { context_key_names: Some(keys) }).await
}

fn context(entries: Option<Vec<ContextEntry>>) -> Vec<(String, Vec<String>, bool)> {
    let entry = |entry: ContextEntry| {
        let several = entry.context_key_type.is_some_and(is_list);
        Some((entry.context_key_name?, entry.context_key_values.unwrap_or_default(), several))
    };
    entries.unwrap_or_default().into_iter().filter_map(entry).collect()
}

fn is_list(of: ContextKeyTypeEnum) -> bool {
    use ContextKeyTypeEnum::{
        Binary, BinaryList, Boolean, BooleanList, Date, DateList, Ip, IpList, Numeric, NumericList, String, StringList,
    };
    match of {
        StringList | NumericList | BooleanList | IpList | BinaryList | DateList => true,
        String | Numeric | Boolean | Ip | Binary | Date => false,
    }
}

fn result(simulated: Simulated) -> EvaluationResult {
    let matched = simulated.matched.into_iter().map(statement);
    let organization = simulated
        .within_organization
        .map(|within| OrganizationsDecisionDetail { allowed_by_organizations: Some(within) });
    let boundary = simulated
        .within_boundary
        .map(|within| PermissionsBoundaryDecisionDetail { allowed_by_permissions_boundary: Some(within) });
    EvaluationResult {
        eval_action_name: simulated.action,
        eval_resource_name: Some(simulated.resource),
        eval_decision: match simulated.outcome {
            Outcome::Allowed => PolicyEvaluationDecisionType::Allowed,
            Outcome::ExplicitDeny { .. } => PolicyEvaluationDecisionType::ExplicitDeny,
            Outcome::ImplicitDeny { .. } => PolicyEvaluationDecisionType::ImplicitDeny,
        },
        matched_statements: Some(matched.collect()),
        missing_context_values: Some(simulated.missing),
        organizations_decision_detail: organization,
        permissions_boundary_decision_detail: boundary,
        ..EvaluationResult::default()
    }
}

fn statement(matched: Matched) -> Statement {
    let position = |(line, column)| Position { line: i64::try_from(line).ok(), column: i64::try_from(column).ok() };
    Statement {
        source_policy_id: Some(matched.policy),
        source_policy_type: Some(source(matched.kind)),
        start_position: matched.span.map(|span| position(span.start)),
        end_position: matched.span.map(|span| position(span.end)),
    }
}

fn source(kind: SourceKind) -> PolicySourceType {
    match kind {
        SourceKind::User => PolicySourceType::User,
        SourceKind::Group => PolicySourceType::Group,
        SourceKind::Role => PolicySourceType::Role,
        SourceKind::AwsManaged => PolicySourceType::AwsManaged,
        SourceKind::UserManaged => PolicySourceType::UserManaged,
        SourceKind::Resource => PolicySourceType::Resource,
        SourceKind::None => PolicySourceType::None,
    }
}
