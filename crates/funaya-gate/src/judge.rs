//! The decision: one caller, one action, one resource, and every policy that applies.

use std::sync::Arc;

use funaya_policy::{
    Context, Decision, Explanation, Kind, Level, Named, Outcome, Policies, PolicyType, Principal, Request,
};
use funaya_ports::StoreError;
use funaya_types::{AccountId, Registry, Timestamp};

use crate::{
    access::{Access, IdentityKind, Protected, bind},
    action::Service,
    call::{Call, Who},
    permit::{OwnPolicy, Resource, Target},
    session::SessionOf,
};

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) service: Service,
    /// The operation.
    pub(crate) name: &'a str,
    /// The IAM action, with its prefix.
    pub(crate) action: &'a str,
}

/// Everything that one decision rests on.
pub(crate) struct Case<'a> {
    pub(crate) who: &'a Who,
    pub(crate) resource: &'a Resource,
    /// Whose the resource is.
    pub(crate) owner: AccountId,
    call: &'a Call,
    where_asked: Registry,
    asked: Asked<'a>,
    target: &'a dyn Target,
    protected: Arc<Protected>,
    /// A trust policy.
    trust: Option<Named>,
    registry: Option<Arc<Named>>,
}

impl<'a> Case<'a> {
    /// Gathers what applies.
    pub(crate) async fn gather(
        access: &Access,
        call: &'a Call,
        registry: &Registry,
        asked: Asked<'a>,
        target: &'a dyn Target,
        resource: &'a Resource,
    ) -> Result<Self, StoreError> {
        let protected = match &resource.policy {
            OwnPolicy::Repository(name) => access.repository(registry, name).await?,
            _ => Arc::default(),
        };
        let trust = match &resource.policy {
            OwnPolicy::Trust(policy) => Some(bind(format!("trust policy of {}", resource.arn), Kind::Trust, policy)?),
            _ => None,
        };
        let of_registry = if asked.service == Service::Ecr { access.registry(registry).await? } else { None };
        let who = &*call.caller.who;
        let (owner, where_asked) = (registry.account, registry.clone());
        Ok(Self { who, resource, owner, call, where_asked, asked, target, protected, trust, registry: of_registry })
    }

    /// The same case, if the repository had this policy.
    pub(crate) fn with_policy(self, policy: Named) -> Self {
        let tags = self.protected.tags.clone();
        Self { protected: Arc::new(Protected { policy: Some(policy), tags }), ..self }
    }

    pub(crate) fn decide(&self) -> Outcome {
        if self.is_free() {
            return Outcome::Allowed;
        }
        if is_barred(self.who, self.asked) {
            return Outcome::ImplicitDeny { missing: PolicyType::Session };
        }
        let outcome = self.by_policies();
        // No policy is needed for one's own password where the account's password policy lets users change it.
        match outcome {
            Outcome::ImplicitDeny { missing: PolicyType::Identity } if self.is_own_password() => Outcome::Allowed,
            outcome => outcome,
        }
    }

    /// The account's root, where no policy has a say: the usual case of a small installation.
    fn is_free(&self) -> bool {
        let Some(identity) = &self.who.identity else { return false };
        let owns = matches!(identity.kind, IdentityKind::Root) && identity.account == self.owner;
        let limited = !identity.ceiling.levels.is_empty() || self.who.session.is_some();
        owns && !limited && self.protected.policy.is_none() && self.registry.is_none() && self.trust.is_none()
    }

    fn is_own_password(&self) -> bool {
        let lets = self.who.identity.as_ref().is_some_and(|identity| identity.ceiling.users_may_change_passwords);
        let own = matches!(&self.who.principal, Principal::User { arn, .. } if **arn == *self.resource.arn);
        lets && own && self.asked.action == "iam:ChangePassword"
    }

    fn by_policies(&self) -> Outcome {
        self.with_policies(|request, policies| {
            let first = funaya_policy::decide(request, policies);
            let Some(registry) = &self.registry else { return first.outcome };
            let second = funaya_policy::decide(request, &Policies { resource: Some(registry), ..*policies });
            either(first, second)
        })
    }

    pub(crate) fn explain(&self) -> Explanation {
        self.with_policies(|request, policies| match &self.registry {
            // Only one policy of the resource can be shown: the one that says more.
            Some(registry) if policies.resource.is_none() => {
                funaya_policy::explain(request, &Policies { resource: Some(registry), ..*policies })
            }
            _ => funaya_policy::explain(request, policies),
        })
    }

    /// What is asked for: the IAM action.
    pub(crate) fn action(&self) -> &str {
        self.asked.action
    }

    /// The condition keys.
    pub(crate) fn context(&self) -> Context {
        let mut context = conditions(self.call, &self.where_asked);
        for (key, value) in self.protected.tags.iter().chain(&self.resource.tags) {
            context.set_tag("aws:ResourceTag", key, value);
            if self.asked.service == Service::Ecr {
                context.set_tag("ecr:ResourceTag", key, value);
            }
        }
        self.target.conditions(&mut context);
        context
    }

    fn with_policies<T>(&self, decide: impl FnOnce(&Request<'_>, &Policies<'_>) -> T) -> T {
        let context = self.context();
        let request = Request {
            principal: &self.who.principal,
            action: self.asked.action,
            resource: &self.resource.arn,
            resource_account: Some(self.owner),
            context: &context,
        };
        let resource = self.trust.as_ref().or(self.protected.policy.as_ref());
        let Some(identity) = self.who.identity.as_deref() else {
            return decide(&request, &Policies { resource, ..Policies::default() });
        };
        let lists: Vec<Vec<&Named>> = identity.ceiling.levels.iter().map(|level| level.iter().collect()).collect();
        let levels: Vec<Level<'_>> = lists.iter().map(|policies| Level { policies }).collect();
        let policies: Vec<&Named> = identity.policies.iter().collect();
        let session = self.who.session.as_ref().and_then(|session| session.policies.as_deref());
        decide(
            &request,
            &Policies {
                service_control: &levels,
                endpoint: None,
                resource,
                identity: &policies,
                boundary: identity.boundary.as_ref(),
                session: session.map(Vec::as_slice),
            },
        )
    }
}

/// A repository has its own policy and its registry's: either may allow, each may deny.
fn either(first: Decision, second: Decision) -> Outcome {
    match (first.outcome, second.outcome) {
        (deny @ Outcome::ExplicitDeny { .. }, _) | (_, deny @ Outcome::ExplicitDeny { .. }) => deny,
        (Outcome::Allowed, _) | (_, Outcome::Allowed) => Outcome::Allowed,
        (first, _) => first,
    }
}

/// What sessions of `GetFederationToken` and `GetSessionToken` may never call, whatever policies say.
/// Source: IAM user guide, "Compare AWS STS credentials".
fn is_barred(who: &Who, asked: Asked<'_>) -> bool {
    let Some(session) = &who.session else { return false };
    let free = asked.name == "GetCallerIdentity";
    match (&session.claims.of, asked.service) {
        (SessionOf::Federated { .. }, Service::Iam | Service::Sts) => !free,
        (SessionOf::Own { .. }, Service::Iam) => session.claims.mfa_at.is_none(),
        (SessionOf::Own { .. }, Service::Sts) => !free && asked.name != "AssumeRole",
        _ => false,
    }
}

/// The condition keys of a call (IAM-51), those of its target not included.
fn conditions(call: &Call, registry: &Registry) -> Context {
    let mut context = Context::new();
    let (caller, client) = (&call.caller, &call.client);
    caller.who.principal.context_keys(&mut context);
    context.set("aws:SourceIp", &call.context.source_ip);
    context.set("aws:SecureTransport", flag(client.secure));
    context.set("aws:UserAgent", &client.user_agent);
    context.set("aws:CurrentTime", &client.at.iso8601());
    context.set("aws:EpochTime", &client.at.secs().to_string());
    context.set("aws:RequestedRegion", registry.region.as_str());
    context.set("aws:ResourceAccount", registry.account.as_str());
    context.set("aws:ViaAWSService", "false");
    for (key, value) in caller.tags() {
        context.set_tag("aws:PrincipalTag", &key, &value);
    }
    let identity = caller.who.identity.as_ref();
    if let Some(organization) = identity.and_then(|identity| identity.ceiling.organization.as_deref()) {
        context.set("aws:PrincipalOrgID", organization);
    }
    if let Some(claims) = caller.claims() {
        context.set("aws:TokenIssueTime", &claims.issued_at.iso8601());
        context.set("aws:MultiFactorAuthPresent", flag(claims.mfa_at.is_some()));
        if let Some(at) = claims.mfa_at {
            context.set("aws:MultiFactorAuthAge", &age_s(at, client.at).to_string());
        }
        if let Some(provider) = &claims.provider {
            context.set("aws:FederatedProvider", provider);
        }
        if let Some(source) = &claims.source_identity {
            context.set("aws:SourceIdentity", source);
        }
    }
    for (key, values) in &call.conditions {
        match values.as_slice() {
            [one] => context.set(key, one),
            several => context.set_all(key, &several.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }
    context
}

fn age_s(from: Timestamp, to: Timestamp) -> i64 {
    (to.secs() - from.secs()).max(0)
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
