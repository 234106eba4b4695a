//! Who makes a request.

use std::borrow::Cow;

use funaya_types::AccountId;

use crate::Context;

/// Who makes a request, as authentication found out.
///
/// Source: IAM user guide, "AWS JSON policy elements: Principal" and "Principal key values" (IAM-01 to IAM-06, IAM-32).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The root user of an account.
    Root {
        /// Its account.
        account: AccountId,
    },
    /// An IAM user with a key or password of its own.
    User {
        /// The account.
        account: AccountId,
        /// The name without path: `alice`.
        name: Box<str>,
        /// `arn:aws:iam::123456789012:user/path/alice`
        arn: Box<str>,
        /// The unique id, `AIDA…`.
        id: Box<str>,
    },
    /// A session of a role.
    AssumedRole {
        /// The role's account.
        account: AccountId,
        /// `arn:aws:iam::123456789012:role/path/deploy`
        role_arn: Box<str>,
        /// The role's unique id, `AROA…`.
        role_id: Box<str>,
        /// `build-7`
        session_name: Box<str>,
        /// `arn:aws:sts::123456789012:assumed-role/deploy/build-7`
        session_arn: Box<str>,
    },
    /// A session of `GetFederationToken`.
    FederatedUser {
        /// The account.
        account: AccountId,
        /// The name that was asked for.
        name: Box<str>,
        /// `arn:aws:sts::123456789012:federated-user/name`
        arn: Box<str>,
        /// Who asked for the session.
        issuer: Issuer,
    },
    /// An AWS service: `codebuild.amazonaws.com`.
    Service {
        /// The service principal.
        name: Box<str>,
    },
    /// Somebody with a token of an OIDC provider, in `AssumeRoleWithWebIdentity`.
    WebIdentity {
        /// `arn:aws:iam::123456789012:oidc-provider/…`, or a well-known host such as `accounts.google.com`.
        provider: Box<str>,
    },
    /// Somebody with an assertion of a SAML provider, in `AssumeRoleWithSAML`.
    Saml {
        /// `arn:aws:iam::123456789012:saml-provider/…`
        provider_arn: Box<str>,
    },
    /// Nobody that is known.
    Anonymous,
}

/// Who asked for a federated-user session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// The root user.
    Root,
    /// An IAM user.
    User {
        /// The user's ARN.
        arn: Box<str>,
        /// The user's unique id.
        id: Box<str>,
    },
}

impl Principal {
    /// The ARN that errors and audit records name; a session's own ARN. For those without one, their name or
    /// `anonymous`.
    pub fn arn(&self) -> Cow<'_, str> {
        match self {
            Self::Root { account } => Cow::Owned(format!("arn:aws:iam::{account}:root")),
            Self::User { arn, .. } | Self::FederatedUser { arn, .. } => Cow::Borrowed(arn),
            Self::AssumedRole { session_arn, .. } => Cow::Borrowed(session_arn),
            Self::Service { name } => Cow::Borrowed(name),
            Self::WebIdentity { provider } => Cow::Borrowed(provider),
            Self::Saml { provider_arn } => Cow::Borrowed(provider_arn),
            Self::Anonymous => Cow::Borrowed("anonymous"),
        }
    }

    /// The ARN of the user or role; for a role session that of its role.
    pub fn iam_arn(&self) -> Option<&str> {
        match self {
            Self::User { arn, .. } => Some(arn),
            Self::AssumedRole { role_arn, .. } => Some(role_arn),
            _ => None,
        }
    }

    /// The account whose policies the principal is under; `None` for services and strangers.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Root { account }
            | Self::User { account, .. }
            | Self::AssumedRole { account, .. }
            | Self::FederatedUser { account, .. } => Some(*account),
            Self::Service { .. } | Self::WebIdentity { .. } | Self::Saml { .. } | Self::Anonymous => None,
        }
    }

    /// Adds `aws:PrincipalArn` (for a role session the role's ARN), `aws:PrincipalAccount`, `aws:PrincipalType`,
    /// `aws:userid`, `aws:username`, `aws:PrincipalIsAWSService` and `aws:PrincipalServiceName`, each if it applies.
    pub fn context_keys(&self, context: &mut Context) {
        let is_service = matches!(self, Self::Service { .. });
        context.set("aws:PrincipalIsAWSService", if is_service { "true" } else { "false" });
        if let Some(account) = self.account() {
            context.set("aws:PrincipalAccount", account.as_str());
        }
        match self {
            Self::Root { account } => {
                context.set("aws:PrincipalType", "Account");
                context.set("aws:PrincipalArn", &self.arn());
                context.set("aws:userid", account.as_str());
            }
            Self::User { name, arn, id, .. } => {
                context.set("aws:PrincipalType", "User");
                context.set("aws:PrincipalArn", arn);
                context.set("aws:userid", id);
                context.set("aws:username", name);
            }
            Self::AssumedRole { role_arn, role_id, session_name, .. } => {
                context.set("aws:PrincipalType", "AssumedRole");
                context.set("aws:PrincipalArn", role_arn);
                context.set("aws:userid", &format!("{role_id}:{session_name}"));
            }
            Self::FederatedUser { account, name, arn, .. } => {
                context.set("aws:PrincipalType", "FederatedUser");
                context.set("aws:PrincipalArn", arn);
                context.set("aws:userid", &format!("{account}:{name}"));
            }
            Self::Service { name } => context.set("aws:PrincipalServiceName", name),
            Self::WebIdentity { .. } | Self::Saml { .. } => {}
            Self::Anonymous => context.set("aws:PrincipalType", "Anonymous"),
        }
    }

    /// Whether the account's root user stands behind the request, who needs no identity-based policy.
    pub(crate) fn is_root(&self) -> bool {
        matches!(self, Self::Root { .. } | Self::FederatedUser { issuer: Issuer::Root, .. })
    }

    /// ARN and unique id of what bears the identity-based policies: the user, the role, the federated session's user.
    pub(crate) fn identity(&self) -> Option<(&str, &str)> {
        match self {
            Self::User { arn, id, .. } | Self::FederatedUser { issuer: Issuer::User { arn, id }, .. } => {
                Some((arn, id))
            }
            Self::AssumedRole { role_arn, role_id, .. } => Some((role_arn, role_id)),
            _ => None,
        }
    }

    /// The ARN of a session, if it is one.
    pub(crate) fn session_arn(&self) -> Option<&str> {
        match self {
            Self::AssumedRole { session_arn: arn, .. } | Self::FederatedUser { arn, .. } => Some(arn),
            _ => None,
        }
    }
}
