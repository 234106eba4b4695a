//! Sessions: temporary credentials (COMP-095 to COMP-101, COMP-906, IAM-04, IAM-13, IAM-24).
//!
//! What is asked for is a [`Wish`]; the role that is wanted, with its trust policy, a [`WantedRole`], which the gate
//! judges. With the permit the hall checks the rest and has the gate issue the credentials.

use std::time::Duration;

use funaya_gate::{
    Caller, Gate, NewSession, OwnPolicy, Permit, Resource, Resources, SessionAction, SessionCredentials, SessionOf,
    action::sts,
};
use funaya_policy::{Document, Kind, Principal, managed};
use funaya_ports::{
    StoreError,
    identity::{self as rows, BoundPolicy, Change},
    meta,
};
use funaya_types::AccountId;
use serde_json::{Value, json};

use crate::{Error, Held, Identities, Tag, mfa::Proof, shapes};

const ROLE_S: u32 = 3_600;
/// For sessions of sessions, and for root.
const SHORT_S: u32 = 3_600;
const OWN_S: u32 = 43_200;
const POLICIES_MAX: usize = 10;
/// What a session's policies and tags may take in its token, in bytes. The token travels in headers.
const PACKED_MAX: usize = 4_096;
/// A trust policy that lets nobody in: for roles that do not exist, so that nobody learns it (IAM-34).
const NOBODY: &str = r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"sts:*"}}"#;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Not this way, or not for this caller.
    #[error("{0}")]
    Denied(String),
    /// A parameter is not as it must be.
    #[error("{0}")]
    Validation(String),
    /// A session policy is no policy.
    #[error("{0}")]
    Malformed(String),
    /// Policies and tags take too much room.
    #[error("Packed policy consumes {0}% of allotted space, please use smaller policy.")]
    TooLarge(usize),
    /// A token of an identity provider is none, or not for us.
    #[error("{0}")]
    InvalidToken(String),
    /// It was one.
    #[error("{0}")]
    Expired(String),
    /// It says what the provider or role does not take.
    #[error("{0}")]
    Rejected(String),
    /// The provider could not be asked.
    #[error("{0}")]
    Unreachable(String),
    /// No such decision, or none of the caller's account.
    #[error("Invalid authorization message.")]
    BadMessage,
    /// The store failed.
    #[error("The request processing has failed because of an unknown error, exception or failure.")]
    Store(#[from] StoreError),
}

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => Self::Store(error),
            other => Self::Denied(other.to_string()),
        }
    }
}

impl From<meta::Error> for SessionError {
    fn from(error: meta::Error) -> Self {
        Error::from(error).into()
    }
}

/// A session, or why there is none.
pub type SessionResult<T> = Result<T, SessionError>;

/// What a session shall be.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The session's name.
    pub name: String,
    /// For how long.
    pub duration_s: Option<u32>,
    /// A session policy.
    pub policy: Option<String>,
    /// Managed policies as session policies.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: Vec<Tag>,
    /// Keys of tags that a next session inherits.
    pub transitive: Vec<String>,
    /// What the role's owner agreed on with the caller.
    pub external_id: Option<String>,
    /// Who is behind it.
    pub source_identity: Option<String>,
}

impl Wish {
    /// What conditions know of it.
    pub fn conditions(&self) -> Vec<(String, Vec<String>)> {
        let mut conditions = vec![("sts:RoleSessionName".to_owned(), vec![self.name.clone()])];
        let mut set = |key: &str, values: Vec<String>| {
            if !values.is_empty() {
                conditions.push((key.to_owned(), values));
            }
        };
        set("sts:ExternalId", self.external_id.iter().cloned().collect());
        set("sts:SourceIdentity", self.source_identity.iter().cloned().collect());
        set("sts:TransitiveTagKeys", self.transitive.clone());
        set("sts:DurationSeconds", self.duration_s.iter().map(u32::to_string).collect());
        conditions
    }
}

/// The role that is wanted.
#[derive(Clone, Debug)]
pub struct WantedRole {
    /// Whose it is.
    pub account: AccountId,
    /// For the gate: its ARN, labels and trust policy.
    pub resource: Resource,
    /// `None`: there is none. The gate will say no.
    role: Option<Held<rows::Role>>,
}

impl WantedRole {
    /// For the gate, with what the request says.
    pub fn resources(&self, wish: &Wish, proof: Option<&Proof>) -> Resources {
        let mut resources = Resources { tags: wish.tags.clone(), ..Resources::one(self.resource.clone()) };
        if proof.is_some() {
            resources.conditions.push(("aws:MultiFactorAuthPresent", "true".to_owned()));
            resources.conditions.push(("aws:MultiFactorAuthAge", "0".to_owned()));
        }
        resources
    }
}

/// A session that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What signs its calls.
    pub credentials: Issued,
    /// `AROA…:name`, or `123456789012:name`.
    pub id: String,
    /// `arn:aws:sts::…`
    pub arn: String,
    /// How much of the room its policies and tags take, in percent; `None`: it has none.
    pub packed: Option<usize>,
    /// Who is behind it.
    pub source_identity: Option<String>,
}

/// Temporary credentials, as they are handed out.
pub type Issued = SessionCredentials;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Identified {
    /// `AIDA…`, `AROA…:name`, or the account's id.
    pub id: String,
    /// The account.
    pub account: AccountId,
    /// The ARN.
    pub arn: String,
}

/// The limits of a session.
struct Limits {
    policies: Vec<String>,
    packed: Option<usize>,
}

impl Identities {
    /// The role with this ARN, for the gate.
    pub async fn role_wanted(&self, arn: &str) -> SessionResult<WantedRole> {
        let (account, name) = role_place(arn).ok_or_else(|| SessionError::Validation(format!("{arn} is invalid")))?;
        let found = self.find::<rows::Role>(account, name).await?.filter(|held| held.arn() == arn);
        let resource = match &found {
            Some(held) => Resource {
                arn: arn.to_owned(),
                policy: OwnPolicy::Trust(held.body.trust.clone()),
                tags: held.body.tags.clone(),
            },
            None => {
                let nobody = BoundPolicy { text: NOBODY.to_owned(), ..BoundPolicy::default() };
                Resource { policy: OwnPolicy::Trust(nobody), ..Resource::plain(arn) }
            }
        };
        Ok(WantedRole { account, resource, role: found })
    }

    /// Makes a session of a role for somebody who has signed in (COMP-095).
    pub async fn assume_role(
        &self,
        gate: &Gate,
        permit: &Permit<sts::AssumeRole>,
        wanted: &WantedRole,
        wish: Wish,
        proof: Option<Proof>,
    ) -> SessionResult<Made> {
        let caller = permit.call().caller();
        if matches!(caller.principal(), Principal::Root { .. }) {
            return Err(SessionError::Denied("Roles may not be assumed by root accounts.".into()));
        }
        let chained = matches!(caller.principal(), Principal::AssumedRole { .. });
        if chained && wish.duration_s.is_some_and(|seconds| seconds > SHORT_S) {
            let text =
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
            return Err(SessionError::Validation(text.into()));
        }
        let wish = inherited(caller, wish)?;
        self.session_of_role(gate, permit, wanted, wish, proof, None).await
    }

    /// Makes a session of a role, for whoever was let in.
    pub(crate) async fn session_of_role<A: SessionAction>(
        &self,
        gate: &Gate,
        permit: &Permit<A>,
        wanted: &WantedRole,
        wish: Wish,
        proof: Option<Proof>,
        provider: Option<String>,
    ) -> SessionResult<Made> {
        let role = wanted.role.as_ref().ok_or_else(|| SessionError::Denied("Access denied".into()))?;
        let duration_s = wish.duration_s.unwrap_or(ROLE_S.min(role.body.session_seconds_max));
        if duration_s > role.body.session_seconds_max {
            let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
            return Err(SessionError::Validation(text.into()));
        }
        let limits = self.limits(wanted.account, &wish).await?;
        let (account, name) = (wanted.account, wish.name);
        let arn = format!("arn:aws:sts::{account}:assumed-role/{}/{name}", role.body.name);
        let id = format!("{}:{name}", role.id());
        let new = NewSession {
            of: SessionOf::Role { account: account.to_string(), role_id: role.id().to_owned(), name },
            duration: seconds(duration_s),
            policies: limits.policies,
            policy_arns: wish.policy_arns,
            tags: wish.tags,
            transitive: wish.transitive,
            mfa_at: proof.as_ref().map(|_| permit.now()),
            provider,
            source_identity: wish.source_identity.clone(),
        };
        let credentials = gate.issue_session(permit, new);
        let shown = shapes::object([
            ("credentials", shown(&credentials)),
            ("assumedRoleUser", json!({"assumedRoleId": id, "arn": arn})),
            ("sourceIdentity", json!(wish.source_identity)),
        ]);
        self.conclude(gate, permit, shown, proof).await?;
        Ok(Made { credentials, id, arn, packed: limits.packed, source_identity: wish.source_identity })
    }

    /// Records a session, and spends the code that it was made with.
    async fn conclude<A: SessionAction>(
        &self,
        gate: &Gate,
        permit: &Permit<A>,
        shown: Value,
        proof: Option<Proof>,
    ) -> SessionResult<()> {
        match proof {
            None => gate.record_session(permit, shown).await,
            Some(proof) => {
                let mut change = Change::new(permit.record(shown));
                change.put.push(proof.spent());
                self.spend(change).await?;
            }
        }
        Ok(())
    }

    /// Makes a session of the caller's own, with or without a code (COMP-100).
    pub async fn session_token(
        &self,
        gate: &Gate,
        permit: &Permit<sts::GetSessionToken>,
        duration_s: Option<u32>,
        proof: Option<Proof>,
    ) -> SessionResult<Issued> {
        let caller = permit.call().caller();
        let user_id = lasting(caller, "GetSessionToken")?;
        let new = NewSession {
            of: SessionOf::Own { account: caller.account().to_string(), user_id: user_id.clone() },
            duration: own_duration(user_id.is_none(), duration_s),
            policies: Vec::new(),
            policy_arns: Vec::new(),
            tags: Vec::new(),
            transitive: Vec::new(),
            mfa_at: proof.as_ref().map(|_| permit.now()),
            provider: None,
            source_identity: None,
        };
        let credentials = gate.issue_session(permit, new);
        self.conclude(gate, permit, json!({"credentials": shown(&credentials)}), proof).await?;
        Ok(credentials)
    }

    /// Makes a session for somebody whom the caller vouches for (COMP-099).
    pub async fn federation_token(
        &self,
        gate: &Gate,
        permit: &Permit<sts::GetFederationToken>,
        wish: Wish,
    ) -> SessionResult<Made> {
        let caller = permit.call().caller();
        let (account, user_id) = (*caller.account(), lasting(caller, "GetFederationToken")?);
        let limits = self.limits(account, &wish).await?;
        let new = NewSession {
            of: SessionOf::Federated {
                account: account.to_string(),
                name: wish.name.clone(),
                user_id: user_id.clone(),
            },
            duration: own_duration(user_id.is_none(), wish.duration_s),
            policies: limits.policies,
            policy_arns: wish.policy_arns,
            tags: wish.tags,
            transitive: Vec::new(),
            mfa_at: None,
            provider: None,
            source_identity: None,
        };
        let credentials = gate.issue_session(permit, new);
        let (id, arn) = (format!("{account}:{}", wish.name), federated_arn(account, &wish.name));
        let shown = json!({"credentials": shown(&credentials), "federatedUser": {"federatedUserId": id, "arn": arn}});
        self.conclude(gate, permit, shown, None).await?;
        Ok(Made { credentials, id, arn, packed: limits.packed, source_identity: None })
    }

    /// Who calls (COMP-098).
    pub fn caller_identity(&self, permit: &Permit<sts::GetCallerIdentity>) -> Identified {
        let caller = permit.call().caller();
        let account = *caller.account();
        let id = match caller.principal() {
            Principal::User { id, .. } => id.to_string(),
            Principal::AssumedRole { role_id, session_name, .. } => format!("{role_id}:{session_name}"),
            Principal::FederatedUser { name, .. } => format!("{account}:{name}"),
            _ => account.to_string(),
        };
        Identified { id, account, arn: caller.arn() }
    }

    /// Whose key this is (COMP-101). Sessions leave no trace in the store; of them only the caller's own is known.
    pub async fn key_account(&self, permit: &Permit<sts::GetAccessKeyInfo>, id: &str) -> SessionResult<AccountId> {
        let caller = permit.call().caller();
        if id == caller.access_key_id() {
            return Ok(*caller.account());
        }
        if id == self.parts.root_key_id {
            return Ok(self.parts.management);
        }
        let found = self.store().entity_by_id(id).await?.filter(|found| found.place.kind == rows::Kind::AccessKey);
        found.map(|found| found.place.account).ok_or_else(|| {
            SessionError::Validation("The access key ID is not valid, or of a session that is not known here".into())
        })
    }

    /// Checks session policies and how much room everything takes.
    async fn limits(&self, account: AccountId, wish: &Wish) -> SessionResult<Limits> {
        if wish.policy_arns.len() > POLICIES_MAX {
            let text = format!(
                "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to {POLICIES_MAX}"
            );
            return Err(SessionError::Validation(text));
        }
        for arn in &wish.policy_arns {
            if managed::by_arn(arn).is_none() && self.policy_by_arn(account, arn).await?.is_none() {
                return Err(SessionError::Validation(format!("Policy {arn} does not exist or is not attachable.")));
            }
        }
        if let Some(text) = &wish.policy {
            Document::parse_within(text, Kind::Session, PACKED_MAX)
                .map_err(|fault| SessionError::Malformed(fault.text().to_owned()))?;
        }
        let used: usize = wish.policy.iter().map(|text| Kind::Session.size_of(text)).sum::<usize>()
            + wish.policy_arns.iter().map(String::len).sum::<usize>()
            + wish.tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let percent = (used * 100).div_ceil(PACKED_MAX);
        if percent > 100 {
            return Err(SessionError::TooLarge(percent));
        }
        Ok(Limits { policies: wish.policy.iter().cloned().collect(), packed: (used > 0).then_some(percent) })
    }
}

/// The resource of `GetFederationToken`.
pub fn federated_arn(account: AccountId, name: &str) -> String {
    format!("arn:aws:sts::{account}:federated-user/{name}")
}

/// The user of a long-lived key, `None` for root; sessions are turned away.
fn lasting(caller: &Caller, operation: &str) -> SessionResult<Option<String>> {
    match caller.principal() {
        Principal::User { id, .. } if caller.claims().is_none() => Ok(Some(id.to_string())),
        Principal::Root { .. } if caller.claims().is_none() => Ok(None),
        _ => Err(SessionError::Denied(format!("Cannot call {operation} with session credentials"))),
    }
}

/// Root's sessions are short: more is cut, as AWS does.
fn own_duration(root: bool, wanted_s: Option<u32>) -> Duration {
    let default = if root { SHORT_S } else { OWN_S };
    let wanted_s = wanted_s.unwrap_or(default);
    seconds(if root { wanted_s.min(SHORT_S) } else { wanted_s })
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// Adds what the caller's session hands on: transitive tags, and who is behind it.
fn inherited(caller: &Caller, mut wish: Wish) -> SessionResult<Wish> {
    let asked = |tags: &[Tag], key: &str| tags.iter().any(|(known, _)| known.eq_ignore_ascii_case(key));
    if let Some(key) = wish.transitive.iter().find(|key| !asked(&wish.tags, key)) {
        return Err(SessionError::Validation(format!(
            "The specified transitive tag key {key} must be included in the requested tags."
        )));
    }
    let Some(claims) = caller.claims() else { return Ok(wish) };
    for key in &claims.transitive {
        if asked(&wish.tags, key) {
            let text = "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.";
            return Err(SessionError::Validation(text.into()));
        }
        wish.tags.extend(claims.tags.iter().filter(|(known, _)| known.eq_ignore_ascii_case(key)).cloned());
        wish.transitive.push(key.clone());
    }
    match (&claims.source_identity, &wish.source_identity) {
        (Some(first), Some(other)) if first != other => {
            let text = "The source identity of a session can't be changed.";
            return Err(SessionError::Denied(text.into()));
        }
        (Some(first), _) => wish.source_identity = Some(first.clone()),
        (None, _) => {}
    }
    Ok(wish)
}

/// Without secret and token (TRAIL-12).
fn shown(credentials: &Issued) -> Value {
    json!({"accessKeyId": credentials.access_key_id, "expiration": shapes::time(credentials.expires_at)})
}

/// Account and name of `arn:aws:iam::123456789012:role/path/name`.
fn role_place(arn: &str) -> Option<(AccountId, &str)> {
    let (account, rest) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    let name = rest.rsplit('/').next().filter(|name| !name.is_empty())?;
    Some((account.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_arns() {
        let account: AccountId = "123456789012".parse().unwrap();
        assert_eq!(role_place("arn:aws:iam::123456789012:role/deploy"), Some((account, "deploy")));
        assert_eq!(role_place("arn:aws:iam::123456789012:role/a/b/deploy"), Some((account, "deploy")));
        for bad in [
            "",
            "deploy",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::12:role/x",
            "arn:aws:iam::123456789012:user/x",
        ] {
            assert_eq!(role_place(bad), None, "{bad}");
        }
    }

    /// COMP-906: root's sessions last an hour at most.
    #[test]
    fn durations() {
        assert_eq!(own_duration(true, None), seconds(3_600));
        assert_eq!(own_duration(true, Some(129_600)), seconds(3_600));
        assert_eq!(own_duration(true, Some(900)), seconds(900));
        assert_eq!(own_duration(false, None), seconds(43_200));
        assert_eq!(own_duration(false, Some(129_600)), seconds(129_600));
    }

    /// For roles that do not exist.
    #[test]
    fn nobody_is_a_trust_policy() {
        assert!(Document::parse(NOBODY, Kind::Trust).is_ok());
    }
}
