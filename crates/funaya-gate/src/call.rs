//! Who calls, and one call.

use std::{net::IpAddr, sync::Arc, time::Duration};

use funaya_policy::{Issuer, Named, Principal};
use funaya_ports::audit;
use funaya_types::{AccountId, Region, Timestamp};
use serde_json::{Value, json};

use crate::{
    access::{Identity, IdentityKind},
    session::{Claims, SessionOf},
};

/// A principal that has proved who it is. Only the gate makes one.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) access_key_id: String,
    pub(crate) who: Arc<Who>,
}

/// The principal, with everything that says what it may do.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) principal: Principal,
    /// The user, role or root behind it; strangers with a token of an identity provider have none.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) session: Option<Session>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) claims: Claims,
    /// `None`: the session has no limit of its own.
    pub(crate) policies: Option<Arc<Vec<Named>>>,
}

impl Who {
    /// Somebody with a long-lived key.
    pub(crate) fn lasting(identity: Arc<Identity>) -> Self {
        let principal = match &identity.kind {
            IdentityKind::Root => Principal::Root { account: identity.account },
            IdentityKind::User { id, name, arn } => user(&identity, id, name, arn),
            // Roles have no keys.
            IdentityKind::Role { .. } => Principal::Anonymous,
        };
        Self { principal, identity: Some(identity), session: None }
    }

    /// Somebody with a session. `identity`: of the role, user or root that the claims name.
    pub(crate) fn in_session(identity: Arc<Identity>, claims: Claims, policies: Arc<Vec<Named>>) -> Self {
        let account = identity.account;
        let principal = match (&claims.of, &identity.kind) {
            (SessionOf::Role { name: session, .. }, IdentityKind::Role { id, name, arn }) => Principal::AssumedRole {
                account,
                role_arn: arn.as_str().into(),
                role_id: id.as_str().into(),
                session_name: session.as_str().into(),
                session_arn: format!("arn:aws:sts::{account}:assumed-role/{name}/{session}").into(),
            },
            (SessionOf::Federated { name, .. }, kind) => Principal::FederatedUser {
                account,
                name: name.as_str().into(),
                arn: format!("arn:aws:sts::{account}:federated-user/{name}").into(),
                issuer: match kind {
                    IdentityKind::User { id, arn, .. } => {
                        Issuer::User { arn: arn.as_str().into(), id: id.as_str().into() }
                    }
                    _ => Issuer::Root,
                },
            },
            (SessionOf::Own { .. }, IdentityKind::Root) => Principal::Root { account },
            (SessionOf::Own { .. }, IdentityKind::User { id, name, arn }) => user(&identity, id, name, arn),
            _ => Principal::Anonymous,
        };
        let limited = match claims.of {
            // Without a policy it may do nothing on its own (IAM-24).
            SessionOf::Federated { .. } => true,
            _ => !policies.is_empty(),
        };
        let session = Session { claims, policies: limited.then_some(policies) };
        Self { principal, identity: Some(identity), session: Some(session) }
    }

    pub(crate) fn audit_identity(&self, access_key_id: &str) -> audit::Identity {
        let account = self.principal.account();
        let issuer = self.identity.as_deref().map(|identity| &identity.kind);
        let (kind, principal_id, user_name) = match &self.principal {
            Principal::Root { account } => ("Root", Some(account.to_string()), None),
            Principal::User { id, name, .. } => ("IAMUser", Some(id.to_string()), Some(name.to_string())),
            Principal::AssumedRole { role_id, session_name, .. } => {
                ("AssumedRole", Some(format!("{role_id}:{session_name}")), None)
            }
            Principal::FederatedUser { account, name, .. } => {
                ("FederatedUser", Some(format!("{account}:{name}")), None)
            }
            Principal::WebIdentity { .. } => ("WebIdentityUser", None, None),
            Principal::Saml { .. } => ("SAMLUser", None, None),
            Principal::Service { .. } => ("AWSService", None, None),
            Principal::Anonymous => ("Unknown", None, None),
        };
        audit::Identity {
            kind: kind.into(),
            principal_id,
            arn: account.map(|_| self.principal.arn().into_owned()),
            account_id: account.map(|account| account.to_string()),
            access_key_id: (!access_key_id.is_empty()).then(|| access_key_id.to_owned()),
            user_name,
            session_context: self.session.as_ref().map(|session| session_context(session, issuer, account)),
            invoked_by: None,
        }
    }
}

fn user(identity: &Identity, id: &str, name: &str, arn: &str) -> Principal {
    Principal::User { account: identity.account, name: name.into(), arn: arn.into(), id: id.into() }
}

/// TRAIL-15
fn session_context(session: &Session, issuer: Option<&IdentityKind>, account: Option<AccountId>) -> Value {
    let claims = &session.claims;
    let mut context = json!({"attributes": {
        "creationDate": claims.issued_at.iso8601(),
        "mfaAuthenticated": if claims.mfa_at.is_some() { "true" } else { "false" },
    }});
    let account = account.map(|account| account.to_string());
    let (kind, id, name, arn) = match issuer {
        Some(IdentityKind::Role { id, name, arn }) => ("Role", id, name, arn),
        Some(IdentityKind::User { id, name, arn }) if matches!(claims.of, SessionOf::Federated { .. }) => {
            ("IAMUser", id, name, arn)
        }
        _ => return context,
    };
    context["sessionIssuer"] =
        json!({"type": kind, "principalId": id, "arn": arn, "accountId": account, "userName": name});
    if let Some(source) = &claims.source_identity {
        context["sourceIdentity"] = json!(source);
    }
    context
}

impl Caller {
    /// The principal's account. For somebody with only a token of an identity provider: the account called.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The Region that the credential is for.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The principal's ARN.
    pub fn arn(&self) -> String {
        self.who.principal.arn().into_owned()
    }

    /// The principal, as policies see it.
    pub fn principal(&self) -> &Principal {
        &self.who.principal
    }

    /// The access key that signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// What is claimed of the session, if it is one.
    pub fn claims(&self) -> Option<&Claims> {
        self.who.session.as_ref().map(|session| &session.claims)
    }

    /// Labels of the principal: those of the user or role, and over them those of the session.
    pub fn tags(&self) -> Vec<(String, String)> {
        let mut tags = self.who.identity.as_ref().map(|identity| identity.tags.clone()).unwrap_or_default();
        for (key, value) in self.claims().map(|claims| claims.tags.as_slice()).unwrap_or_default() {
            tags.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
            tags.push((key.clone(), value.clone()));
        }
        tags
    }
}

/// The client's side of a request, as a door saw it.
#[derive(Clone, Debug)]
pub struct Client {
    /// From which address.
    pub source_ip: IpAddr,
    /// Whether the request came over TLS.
    pub secure: bool,
    /// `User-Agent`, cut to a sane length.
    pub user_agent: String,
    /// The id that the answer carries.
    pub request_id: String,
    /// When the request came.
    pub at: Timestamp,
}

/// One request of an authenticated caller; may hold several actions.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) caller: Caller,
    pub(crate) client: Client,
    pub(crate) context: Arc<audit::Context>,
    pub(crate) patience: Duration,
    /// Condition keys that are known of this call alone: claims of an identity provider's token.
    pub(crate) conditions: Vec<(String, Vec<String>)>,
}

impl Call {
    pub(crate) fn new(caller: Caller, client: &Client) -> Self {
        let context = audit::Context {
            identity: caller.who.audit_identity(&caller.access_key_id),
            source_ip: client.source_ip.to_string(),
            user_agent: client.user_agent.clone(),
            secure: client.secure,
        };
        Self {
            caller,
            client: client.clone(),
            context: Arc::new(context),
            patience: Duration::ZERO,
            conditions: Vec::new(),
        }
    }

    /// A call that waits this long for its turn before it is told that the rate is exceeded.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same call, with condition keys that are known of it alone, such as `sts:ExternalId`.
    #[must_use]
    pub fn knowing(self, conditions: Vec<(String, Vec<String>)>) -> Self {
        Self { conditions: [self.conditions, conditions].concat(), ..self }
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.client.at
    }
}
