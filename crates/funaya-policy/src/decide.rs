//! The decision: may this principal do this to that (IAM-30 to IAM-32)?

use std::fmt;

use funaya_types::AccountId;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Document, Principal,
    document::{Verdict, View},
    principals::Grip,
};

/// One action of one principal on one resource.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// `ecr:PutImage`; case does not matter.
    pub action: &'a str,
    /// The resource's ARN, or `*` for actions on none in particular (IAM-44).
    pub resource: &'a str,
    /// Whose the resource is; `None` if there is none in particular, which counts as the caller's own.
    pub resource_account: Option<AccountId>,
    /// The condition keys, those of [`Principal::context_keys`] included.
    pub context: &'a Context,
}

/// All policies that apply to a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'a> {
    /// From the organization's root down to the account; every level must allow. Empty if the account is not in an
    /// organization. Principals without an account are not subject to it.
    pub service_control: &'a [Level<'a>],
    /// Of the VPC endpoint through which the request came.
    pub endpoint: Option<&'a Named>,
    /// On the resource: a repository or registry policy, the trust policy of the role to be assumed, or a key policy.
    /// Its [`policy_type`](Named::policy_type) matters: nothing is done with a role or key that its own policy does
    /// not allow, not even by root.
    pub resource: Option<&'a Named>,
    /// Of the user and its groups, or of the role.
    pub identity: &'a [&'a Named],
    /// The boundary of the user or role.
    pub boundary: Option<&'a Named>,
    /// What was passed when the session was made. `None` for a session without such a limit and for those who have
    /// no session; an empty list allows nothing, as for `GetFederationToken` without a policy.
    pub session: Option<&'a [Named]>,
}

/// The service control policies attached to one level of an organization.
#[derive(Clone, Copy, Debug)]
pub struct Level<'a> {
    /// One of them must allow, none may deny.
    pub policies: &'a [&'a Named],
}

/// A document and where it comes from.
#[derive(Clone, Debug)]
pub struct Named {
    /// What explanations call it.
    pub name: SourceName,
    /// Its part in decisions.
    pub policy_type: PolicyType,
    /// The document.
    pub document: Document,
}

/// What to call a policy: an ARN, or words such as `inline policy Push of user alice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceName(Box<str>);

impl SourceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Box<str>>> From<T> for SourceName {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part that a policy plays in a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PolicyType {
    /// Ceiling of an account.
    ServiceControl,
    /// Filter of a VPC endpoint.
    Endpoint,
    /// On a repository or registry.
    Resource,
    /// On the role that is to be assumed.
    Trust,
    /// On a KMS key.
    Key,
    /// Of the user, its groups, or the role.
    Identity,
    /// Ceiling of a user or role.
    Boundary,
    /// Ceiling of a session.
    Session,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Yes.
    Allowed,
    /// No, because a statement says so.
    ExplicitDeny {
        /// The first type of policy that has such a statement.
        by: PolicyType,
    },
    /// No, because nothing says yes (IAM-31).
    ImplicitDeny {
        /// The first type of policy that would have to.
        missing: PolicyType,
    },
}

impl Outcome {
    /// Whether the request may go on.
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}

/// What [`decide`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The answer.
    pub outcome: Outcome,
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(self) -> bool {
        self.outcome.is_allowed()
    }
}

/// Decides a request. See [`explain`](crate::explain) for the reasons.
pub fn decide(request: &Request<'_>, policies: &Policies<'_>) -> Decision {
    let action = request.action.to_ascii_lowercase();
    let facts = Facts::gather(&request.view(&action), policies);
    Decision { outcome: facts.conclude(request) }
}

impl<'a> Request<'a> {
    /// `action`: the request's, in lower case.
    pub(crate) fn view<'v>(&self, action: &'v str) -> View<'v>
    where
        'a: 'v,
    {
        View { principal: self.principal, action, resource: self.resource, context: self.context }
    }

    fn is_own_account(&self) -> bool {
        self.resource_account.is_none_or(|owner| self.principal.account() == Some(owner))
    }
}

/// What all policies say, before it is weighed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) denied_by: Option<PolicyType>,
    pub(crate) service_control: bool,
    pub(crate) endpoint: bool,
    pub(crate) resource: Option<Grip>,
    /// `Resource`, `Trust` or `Key`.
    pub(crate) resource_type: PolicyType,
    pub(crate) identity: bool,
    pub(crate) boundary: bool,
    pub(crate) session: bool,
}

impl Facts {
    pub(crate) fn gather(view: &View<'_>, policies: &Policies<'_>) -> Self {
        let resource_type = policies.resource.map_or(PolicyType::Resource, |policy| policy.policy_type);
        let mut facts = Self {
            denied_by: None,
            service_control: true,
            endpoint: true,
            resource: None,
            resource_type,
            identity: false,
            boundary: true,
            session: true,
        };
        if view.principal.account().is_some() {
            for level in policies.service_control {
                facts.service_control &= facts.union(PolicyType::ServiceControl, level.policies.iter().copied(), view);
            }
        }
        if let Some(policy) = policies.endpoint {
            facts.endpoint = facts.one(PolicyType::Endpoint, policy, view).is_some();
        }
        if let Some(policy) = policies.resource {
            facts.resource = facts.one(resource_type, policy, view);
        }
        facts.identity = facts.union(PolicyType::Identity, policies.identity.iter().copied(), view);
        if let Some(policy) = policies.boundary {
            facts.boundary = facts.one(PolicyType::Boundary, policy, view).is_some();
        }
        if let Some(list) = policies.session {
            facts.session = facts.union(PolicyType::Session, list.iter(), view);
        }
        // The account's root user may do everything that its account may.
        facts.identity |= view.principal.is_root();
        facts
    }

    fn one(&mut self, policy_type: PolicyType, policy: &Named, view: &View<'_>) -> Option<Grip> {
        let Verdict { denies, allows } = policy.document.verdict(view);
        if denies {
            self.denied_by.get_or_insert(policy_type);
        }
        allows
    }

    /// Whether one of them allows. All are asked, since each may deny.
    fn union<'p>(&mut self, policy_type: PolicyType, all: impl Iterator<Item = &'p Named>, view: &View<'_>) -> bool {
        all.filter(|policy| self.one(policy_type, policy, view).is_some()).count() > 0
    }

    /// Weighs them by the steps of IAM-30.
    pub(crate) fn conclude(&self, request: &Request<'_>) -> Outcome {
        // 2
        if let Some(by) = self.denied_by {
            return Outcome::ExplicitDeny { by };
        }
        // 3, 4
        if !self.service_control {
            return Outcome::ImplicitDeny { missing: PolicyType::ServiceControl };
        }
        if !self.endpoint {
            return Outcome::ImplicitDeny { missing: PolicyType::Endpoint };
        }
        let missing = match request.principal.account() {
            // IAM-32
            None => self.resource.is_none().then_some(self.resource_type),
            Some(_) if request.is_own_account() => self.missing_in_own_account(),
            Some(_) => self.missing_across_accounts(),
        };
        missing.map_or(Outcome::Allowed, |missing| Outcome::ImplicitDeny { missing })
    }

    /// Steps 5 to 8.
    fn missing_in_own_account(&self) -> Option<PolicyType> {
        match self.resource {
            Some(Grip::Own) => None,
            Some(Grip::Issuer | Grip::Everyone) => self.missing_ceiling(),
            Some(Grip::Account) => self.missing_identity().or_else(|| self.missing_ceiling()),
            // A role or key belongs to its policy: without its leave the account's own policies count for nothing
            // (COMP-908).
            None if self.resource_type != PolicyType::Resource => Some(self.resource_type),
            None => self.missing_identity().or_else(|| self.missing_ceiling()),
        }
    }

    /// Step 9.
    fn missing_across_accounts(&self) -> Option<PolicyType> {
        let resource = || self.resource.is_none().then_some(self.resource_type);
        self.missing_identity().or_else(|| self.missing_ceiling()).or_else(resource)
    }

    /// Step 7.
    fn missing_identity(&self) -> Option<PolicyType> {
        (!self.identity).then_some(PolicyType::Identity)
    }

    /// Step 8.
    fn missing_ceiling(&self) -> Option<PolicyType> {
        match (self.boundary, self.session) {
            (false, _) => Some(PolicyType::Boundary),
            (true, false) => Some(PolicyType::Session),
            (true, true) => None,
        }
    }
}
