//! The decision once more, with reasons: for `SimulatePrincipalPolicy`, the console and operators.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Effect, Named, Outcome, Policies, PolicyType, Principal, Request, SourceName, condition::Condition, decide::Facts,
    document::View, json::Value, principals::Grip,
};

/// Why a request is allowed or denied.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What [`decide`](crate::decide) answers.
    pub outcome: Outcome,
    /// The statements that made the answer: those that deny, or else all that allow, or none.
    pub deciding: Vec<StatementRef>,
    /// Every policy that was looked at, in the order of IAM-30.
    pub policies: Vec<PolicyReport>,
    /// Condition keys that statements for this action ask for and the request lacks, each once, sorted.
    pub missing_context_keys: Vec<String>,
    /// The least that would have to be granted.
    pub smallest_grant: SmallestGrant,
}

/// Points at a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRef {
    /// The policy.
    pub policy: SourceName,
    /// Its type.
    pub policy_type: PolicyType,
    /// The statement's `Sid`.
    pub sid: Option<Box<str>>,
    /// Its place in the policy, from 0.
    pub index: usize,
}

/// What one policy says to the request.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyReport {
    /// The policy.
    pub policy: SourceName,
    /// Its type.
    pub policy_type: PolicyType,
    /// `Some(Deny)` if a statement denies, else `Some(Allow)` if one allows.
    pub effect: Option<Effect>,
    /// All its statements.
    pub statements: Vec<StatementReport>,
}

/// What one statement says to the request.
#[derive(Clone, Debug, Serialize)]
pub struct StatementReport {
    /// Its `Sid`.
    pub sid: Option<Box<str>>,
    /// Its place in the policy, from 0.
    pub index: usize,
    /// Its effect, if it applies.
    pub effect: Effect,
    /// Whether it applies; if so there are no mismatches.
    pub applies: bool,
    /// Everything that keeps it from applying.
    pub mismatches: Vec<Mismatch>,
}

/// One reason why a statement does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "element")]
pub enum Mismatch {
    /// `Action` or `NotAction`.
    Action {
        /// As written in the policy, under the element's name.
        wanted: serde_json::Value,
        /// The request's.
        had: String,
    },
    /// `Principal` or `NotPrincipal`.
    Principal {
        /// As written in the policy, under the element's name.
        wanted: serde_json::Value,
        /// The caller's ARN.
        had: String,
    },
    /// `Resource` or `NotResource`.
    Resource {
        /// As written in the policy, under the element's name.
        wanted: serde_json::Value,
        /// The request's.
        had: String,
    },
    /// One operator and key of `Condition`.
    Condition {
        /// `StringEquals`, …
        operator: String,
        /// `aws:RequestTag/environment`, …
        key: String,
        /// The values in the policy.
        wanted: Vec<String>,
        /// The values in the request; `None` if it lacks the key.
        had: Option<Vec<String>>,
    },
}

/// What would turn the answer to [`Outcome::Allowed`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum SmallestGrant {
    /// Nothing: it is allowed.
    Nothing,
    /// No grant helps: these statements deny and would have to be changed.
    ChangeDeny(Vec<StatementRef>),
    /// No grant helps: no policy could name this caller, or none of that type may hold this action.
    Impossible,
    /// All of these statements, each in a policy of its type.
    Add(Vec<Grant>),
}

/// A statement to add.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grant {
    /// The type of policy that it belongs into.
    pub policy_type: PolicyType,
    /// The policy, if there is one already that it must go into; for service control policies one of the level.
    pub policy: Option<SourceName>,
    /// The statement, for policy version 2012-10-17.
    pub statement: serde_json::Value,
}

/// Decides a request and says why. Slower than [`decide`](crate::decide); the outcome is the same.
pub fn explain(request: &Request<'_>, policies: &Policies<'_>) -> Explanation {
    let action = request.action.to_ascii_lowercase();
    let view = request.view(&action);
    let facts = Facts::gather(&view, policies);
    let outcome = facts.conclude(request);
    let reports: Vec<PolicyReport> =
        listed(request, policies).map(|(t, policy)| report(t, policy, &view, request.action)).collect();
    let denying = references(&reports, Effect::Deny);
    let deciding = match outcome {
        Outcome::Allowed => references(&reports, Effect::Allow),
        Outcome::ExplicitDeny { .. } => denying.clone(),
        Outcome::ImplicitDeny { .. } => Vec::new(),
    };
    let smallest_grant = match outcome {
        Outcome::Allowed => SmallestGrant::Nothing,
        Outcome::ExplicitDeny { .. } => SmallestGrant::ChangeDeny(denying),
        Outcome::ImplicitDeny { .. } => smallest_grant(request, policies, facts, &view),
    };
    let missing_context_keys = missing_keys(listed(request, policies).map(|(_, policy)| policy), &view);
    Explanation { outcome, deciding, policies: reports, missing_context_keys, smallest_grant }
}

/// All policies that are looked at, by their part in this decision.
fn listed<'p>(
    request: &Request<'_>,
    policies: &Policies<'p>,
) -> impl Iterator<Item = (PolicyType, &'p Named)> + use<'p> {
    let levels = if request.principal.account().is_some() { policies.service_control } else { &[] };
    let service_control = levels.iter().flat_map(|level| level.policies.iter().copied());
    let session = policies.session.unwrap_or_default().iter();
    let as_type = |t: PolicyType| move |policy| (t, policy);
    (service_control.map(as_type(PolicyType::ServiceControl)))
        .chain(policies.endpoint.map(as_type(PolicyType::Endpoint)))
        .chain(policies.resource.map(|policy| (policy.policy_type, policy)))
        .chain(policies.identity.iter().copied().map(as_type(PolicyType::Identity)))
        .chain(policies.boundary.map(as_type(PolicyType::Boundary)))
        .chain(session.map(as_type(PolicyType::Session)))
}

/// `action`: as the request has it.
fn report(policy_type: PolicyType, policy: &Named, view: &View<'_>, action: &str) -> PolicyReport {
    let statements: Vec<StatementReport> = policy
        .document
        .statements()
        .iter()
        .enumerate()
        .map(|(index, statement)| {
            let mismatches = mismatches(policy, index, view, action);
            let (sid, effect, applies) = (statement.sid.clone(), statement.effect, mismatches.is_empty());
            StatementReport { sid, index, effect, applies, mismatches }
        })
        .collect();
    let says = |effect: Effect| statements.iter().any(|s| s.applies && s.effect == effect).then_some(effect);
    let effect = says(Effect::Deny).or_else(|| says(Effect::Allow));
    PolicyReport { policy: policy.name.clone(), policy_type, effect, statements }
}

fn mismatches(policy: &Named, index: usize, view: &View<'_>, action: &str) -> Vec<Mismatch> {
    let statement = &policy.document.statements()[index];
    let wanted = |elements: [&str; 2]| written(policy.document.source(index), elements);
    let mut mismatches = Vec::new();
    if !statement.actions.matches(view.action) {
        mismatches.push(Mismatch::Action { wanted: wanted(["Action", "NotAction"]), had: action.into() });
    }
    if statement.grip(view.principal, policy.document.kind()).is_none() {
        let had = view.principal.arn().into_owned();
        mismatches.push(Mismatch::Principal { wanted: wanted(["Principal", "NotPrincipal"]), had });
    }
    if statement.resources.as_ref().is_some_and(|resources| !resources.matches(view)) {
        mismatches.push(Mismatch::Resource { wanted: wanted(["Resource", "NotResource"]), had: view.resource.into() });
    }
    let failed = statement.conditions.iter().filter(|condition| !condition.holds(view.context));
    mismatches.extend(failed.map(|condition| condition_mismatch(condition, view)));
    mismatches
}

/// `{"NotAction": …}` as the policy has it.
fn written(statement: Option<&Value>, elements: [&str; 2]) -> serde_json::Value {
    let found = elements.iter().find_map(|name| statement?.get(name).map(|value| (*name, value)));
    found.map_or(serde_json::Value::Null, |(name, value)| json!({ name: value }))
}

fn condition_mismatch(condition: &Condition, view: &View<'_>) -> Mismatch {
    Mismatch::Condition {
        operator: condition.operator.to_string(),
        key: condition.key.text.to_string(),
        wanted: condition.wanted.iter().map(ToString::to_string).collect(),
        had: view.context.values(&condition.key).map(|values| values.map(Into::into).collect()),
    }
}

fn references(reports: &[PolicyReport], effect: Effect) -> Vec<StatementRef> {
    let of_policy = |report: &PolicyReport| {
        let (policy, policy_type) = (report.policy.clone(), report.policy_type);
        let applying = report.statements.iter().filter(|s| s.applies && s.effect == effect).cloned();
        applying
            .map(|StatementReport { sid, index, .. }| StatementRef { policy: policy.clone(), policy_type, sid, index })
            .collect::<Vec<_>>()
    };
    reports.iter().flat_map(of_policy).collect()
}

fn missing_keys<'p>(policies: impl Iterator<Item = &'p Named>, view: &View<'_>) -> Vec<String> {
    let relevant = |policy: &'p Named| policy.document.statements().iter().filter(|s| s.actions.matches(view.action));
    let mut keys: Vec<String> = policies
        .flat_map(relevant)
        .flat_map(|statement| {
            let in_conditions = statement.conditions.iter();
            let in_conditions = in_conditions.flat_map(|c| c.variable_keys().into_iter().chain([&c.key]));
            let in_resources = statement.resources.iter().flat_map(|r| &r.patterns).flat_map(|p| p.template.keys());
            in_conditions.chain(in_resources)
        })
        .filter(|key| view.context.values(key).is_none())
        .map(|key| key.text.to_string())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Grants what is missing, one after the other, until the decision turns.
fn smallest_grant(request: &Request<'_>, policies: &Policies<'_>, mut facts: Facts, view: &View<'_>) -> SmallestGrant {
    let mut grants = Vec::new();
    while let Outcome::ImplicitDeny { missing } = facts.conclude(request) {
        match missing {
            PolicyType::ServiceControl => {
                facts.service_control = true;
                grants.extend(service_control_grants(request, policies, view));
                continue;
            }
            PolicyType::Endpoint => facts.endpoint = true,
            PolicyType::Resource | PolicyType::Trust | PolicyType::Key => {
                facts.resource = Some(granted_grip(request.principal))
            }
            PolicyType::Identity => facts.identity = true,
            PolicyType::Boundary => facts.boundary = true,
            PolicyType::Session => facts.session = true,
        }
        let existing = match missing {
            PolicyType::Endpoint => policies.endpoint,
            PolicyType::Boundary => policies.boundary,
            PolicyType::Session => policies.session.and_then(<[Named]>::first),
            PolicyType::Resource | PolicyType::Trust | PolicyType::Key => policies.resource,
            PolicyType::Identity | PolicyType::ServiceControl => None,
        };
        let Some(statement) = statement(request, missing, existing) else { return SmallestGrant::Impossible };
        grants.push(Grant { policy_type: missing, policy: existing.map(|policy| policy.name.clone()), statement });
    }
    SmallestGrant::Add(grants)
}

/// One for each level that does not allow.
fn service_control_grants(request: &Request<'_>, policies: &Policies<'_>, view: &View<'_>) -> Vec<Grant> {
    let allows = |policy: &&Named| policy.document.verdict(view).allows.is_some();
    let silent = policies.service_control.iter().filter(|level| !level.policies.iter().any(allows));
    let grant = |first: Option<&&Named>| {
        Some(Grant {
            policy_type: PolicyType::ServiceControl,
            policy: first.map(|policy| policy.name.clone()),
            statement: statement(request, PolicyType::ServiceControl, None)?,
        })
    };
    silent.filter_map(|level| grant(level.policies.first())).collect()
}

/// The statement that allows just this request; `None` if no policy of this type may hold one.
fn statement(request: &Request<'_>, policy_type: PolicyType, existing: Option<&Named>) -> Option<serde_json::Value> {
    let resource = escaped(request.resource);
    if policy_type == PolicyType::Trust && !request.action.to_ascii_lowercase().starts_with("sts:") {
        return None;
    }
    let mut statement = json!({ "Effect": "Allow", "Action": request.action });
    match policy_type {
        PolicyType::Endpoint => statement["Principal"] = json!("*"),
        PolicyType::Resource | PolicyType::Trust | PolicyType::Key => {
            statement["Principal"] = named(request.principal)?
        }
        PolicyType::ServiceControl | PolicyType::Identity | PolicyType::Boundary | PolicyType::Session => {}
    }
    let is_repository = existing.is_none_or(|policy| policy.document.kind() == crate::Kind::Repository);
    match policy_type {
        PolicyType::Trust => {}
        PolicyType::Resource if is_repository => {}
        PolicyType::Key => statement["Resource"] = json!("*"),
        _ => statement["Resource"] = json!(resource),
    }
    Some(statement)
}

/// The `Principal` element for just this caller.
fn named(principal: &Principal) -> Option<serde_json::Value> {
    match principal {
        Principal::Root { .. } | Principal::User { .. } | Principal::FederatedUser { .. } => {
            Some(json!({ "AWS": principal.arn() }))
        }
        Principal::AssumedRole { role_arn, .. } => Some(json!({ "AWS": role_arn })),
        Principal::Service { name } => Some(json!({ "Service": name })),
        Principal::WebIdentity { provider } => Some(json!({ "Federated": provider })),
        Principal::Saml { provider_arn } => Some(json!({ "Federated": provider_arn })),
        Principal::Anonymous => None,
    }
}

/// How firmly that element names the caller.
fn granted_grip(principal: &Principal) -> Grip {
    match principal {
        Principal::Root { .. } => Grip::Account,
        Principal::AssumedRole { .. } => Grip::Issuer,
        _ => Grip::Own,
    }
}

/// A resource as a pattern that fits it alone.
fn escaped(resource: &str) -> String {
    if resource == "*" {
        return resource.into();
    }
    let escape = |c: char| match c {
        '*' | '?' | '$' => format!("${{{c}}}"),
        c => c.to_string(),
    };
    resource.chars().map(escape).collect()
}
