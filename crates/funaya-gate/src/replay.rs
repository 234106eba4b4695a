//! Recorded calls, judged once more: what would a changed policy have done to them?
//!
//! Principals, labels and all other policies are those of now; time, address and sign-in are
//! those of the call. A call whose principal is gone, or whose session policies are not on
//! record, can't be judged.

use std::sync::Arc;

use funaya_policy::{Document, Named, Outcome, PolicyType, SourceName};
use funaya_ports::{StoreError, audit};
use funaya_types::{Registry, RepositoryArn, Timestamp};
use serde_json::Value;

use crate::{
    access::{Access, Identity, IdentityKind},
    action::Service,
    call::{Call, Caller, Client, Who},
    judge::{Asked, Case},
    permit::{Resource, Resources},
    session::{Claims, SessionOf},
};

/// A document that is tried out.
#[derive(Clone, Debug)]
pub enum Trial {
    /// In place of this managed policy, wherever it applies.
    Managed(String, Document),
    /// One more policy of this user or role.
    Principal(String, Document),
    /// In place of this repository's policy.
    Repository(RepositoryArn, Document),
}

/// What came of one recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It can't be judged; why.
    Unknown(&'static str),
    /// Before and after the change, for each resource of the call.
    Judged(Vec<Verdict>),
}

/// One call on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// On what.
    pub resource: String,
    /// By the policies of now.
    pub before: Outcome,
    /// With the changed one.
    pub after: Outcome,
}

/// Judges a recorded call with and without a changed policy. `registry`: whose record it is.
pub(crate) async fn replay(
    access: &Access,
    registry: &Registry,
    context: &Arc<audit::Context>,
    event: &audit::Event,
    trial: &Trial,
) -> Result<Replayed, StoreError> {
    let Some(service) = Service::named(&event.source) else { return Ok(Replayed::Unknown("its service is unknown")) };
    let (before, after) = match who(access, context, trial).await? {
        Ok(both) => both,
        Err(why) => return Ok(Replayed::Unknown(why)),
    };
    // The one action that is allowed under another name (API-73).
    let name = if event.name == "ListImageReferrers" { "BatchGetImage" } else { event.name.as_str() };
    let action = format!("{}:{name}", event.source);
    let asked = Asked { service, name, action: &action };
    let (before, after) = (call(before, registry, context, event), call(after, registry, context, event));
    let mut verdicts = Vec::new();
    for (registry, resource) in resources(registry, event) {
        let target = Resources { tags: tags(&event.request), keys: keys(&event.request), ..Resources::default() };
        let now = Case::gather(access, &before, &registry, asked, &target, &resource).await?;
        let mut then = Case::gather(access, &after, &registry, asked, &target, &resource).await?;
        if let Trial::Repository(arn, document) = trial
            && resource.arn == arn.to_string()
        {
            then = then.with_policy(named(&resource.arn, PolicyType::Resource, document));
        }
        verdicts.push(Verdict { resource: resource.arn.clone(), before: now.decide(), after: then.decide() });
    }
    Ok(Replayed::Judged(verdicts))
}

/// The principal as it is, and as it would be.
async fn who(
    access: &Access,
    context: &audit::Context,
    trial: &Trial,
) -> Result<Result<(Who, Who), &'static str>, StoreError> {
    let recorded = &context.identity;
    let Some(account) = recorded.account_id.as_ref().and_then(|id| id.parse().ok()) else {
        return Ok(Err("it was made by a stranger"));
    };
    let id = recorded.principal_id.as_deref().unwrap_or_default();
    let (id, session) = id.split_once(':').map_or((id, None), |(id, session)| (id, Some(session)));
    let identity = match recorded.kind.as_str() {
        "Root" => access.root(account).await?,
        "IAMUser" | "AssumedRole" => access.identity(id).await?,
        _ => return Ok(Err("its session policies are not on record")),
    };
    let Some(identity) = identity else { return Ok(Err("its principal is gone")) };
    let claims = claims(recorded, id, session);
    let dressed = |identity: Arc<Identity>| match claims.clone() {
        Some(claims) => Who::in_session(identity, claims, Arc::default()),
        None => Who::lasting(identity),
    };
    Ok(Ok((dressed(identity.clone()), dressed(changed(identity, trial)))))
}

/// What the record tells of the session.
fn claims(recorded: &audit::Identity, id: &str, session: Option<&str>) -> Option<Claims> {
    let attributes = &recorded.session_context.as_ref()?["attributes"];
    let issued_at = attributes["creationDate"].as_str().and_then(Timestamp::parse_iso8601).unwrap_or_default();
    let account = recorded.account_id.clone().unwrap_or_default();
    let of = match session {
        Some(name) => SessionOf::Role { account, role_id: id.into(), name: name.into() },
        None => SessionOf::Own { account, user_id: (recorded.kind == "IAMUser").then(|| id.into()) },
    };
    Some(Claims {
        of,
        access_key_id: recorded.access_key_id.clone().unwrap_or_default(),
        parent_key_id: None,
        issued_at,
        expires_at: issued_at,
        policies: Vec::new(),
        policy_arns: Vec::new(),
        tags: Vec::new(),
        transitive: Vec::new(),
        mfa_at: (attributes["mfaAuthenticated"] == "true").then_some(issued_at),
        provider: None,
        source_identity: None,
    })
}

fn changed(identity: Arc<Identity>, trial: &Trial) -> Arc<Identity> {
    let mut policies = identity.policies.clone();
    let mut boundary = identity.boundary.clone();
    match trial {
        Trial::Repository(..) => return identity,
        Trial::Managed(arn, document) => {
            for policy in policies.iter_mut().chain(&mut boundary) {
                if policy.name == SourceName::from(arn.as_str()) {
                    policy.document = document.clone();
                }
            }
        }
        Trial::Principal(arn, document) => match &identity.kind {
            IdentityKind::User { arn: own, .. } | IdentityKind::Role { arn: own, .. } if own == arn => {
                policies.push(named("the policy on trial", PolicyType::Identity, document));
            }
            _ => return identity,
        },
    }
    Arc::new(Identity { policies, boundary, ..(*identity).clone() })
}

fn named(name: &str, policy_type: PolicyType, document: &Document) -> Named {
    Named { name: name.into(), policy_type, document: document.clone() }
}

fn call(who: Who, registry: &Registry, context: &Arc<audit::Context>, event: &audit::Event) -> Call {
    let account = who.principal.account().unwrap_or(registry.account);
    let access_key_id = context.identity.access_key_id.clone().unwrap_or_default();
    let caller = Caller { account, region: registry.region.clone(), access_key_id, who: Arc::new(who) };
    let client = Client {
        source_ip: context.source_ip.parse().unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        secure: context.secure,
        user_agent: context.user_agent.clone(),
        request_id: event.request_id.clone(),
        at: Timestamp::from_micros(event.at_micros),
    };
    Call { context: context.clone(), ..Call::new(caller, &client) }
}

/// What a recorded call was on, with the registries that the resources are in.
fn resources(registry: &Registry, event: &audit::Event) -> Vec<(Registry, Resource)> {
    if event.resources.is_empty() {
        return vec![(registry.clone(), Resource::plain("*"))];
    }
    let one = |arn: &String| match arn.parse::<RepositoryArn>() {
        Ok(repository) => (repository.registry.clone(), Resource::of(&repository.registry, &repository.name)),
        Err(_) => (registry.clone(), Resource::plain(arn.as_str())),
    };
    event.resources.iter().map(one).collect()
}

fn tags(request: &Value) -> Vec<(String, String)> {
    let text =
        |tag: &Value, upper: &str, lower: &str| Some(tag.get(upper).or_else(|| tag.get(lower))?.as_str()?.to_owned());
    let tags = request["tags"].as_array().into_iter().flatten();
    tags.filter_map(|tag| Some((text(tag, "Key", "key")?, text(tag, "Value", "value")?))).collect()
}

fn keys(request: &Value) -> Vec<String> {
    request["tagKeys"].as_array().into_iter().flatten().filter_map(|key| Some(key.as_str()?.to_owned())).collect()
}
