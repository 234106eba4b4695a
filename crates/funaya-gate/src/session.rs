//! Sessions: temporary credentials of STS, sealed and stateless.
//!
//! The session token holds what is claimed of the session; any replica with the root key opens
//! it. The secret key is derived from the access key id, so nothing is stored. What the session
//! may do is judged at each request by the present policies of the user or role behind it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_types::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::{self, Sealer};

const BINDING: &str = "session 1";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOf {
    /// Of a role (`AssumeRole…`).
    Role {
        /// The role's account.
        account: String,
        /// The role's unique id.
        role_id: String,
        /// The session's name.
        name: String,
    },
    /// Of a user or, without one, the account's root (`GetSessionToken`).
    Own {
        /// The account.
        account: String,
        /// The user's unique id.
        user_id: Option<String>,
    },
    /// Of somebody whom a user or root vouches for (`GetFederationToken`).
    Federated {
        /// The account.
        account: String,
        /// The name that was asked for.
        name: String,
        /// The unique id of the user who asked; `None`: root.
        user_id: Option<String>,
    },
}

/// What is claimed of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose it is.
    pub of: SessionOf,
    /// Its access key.
    pub access_key_id: String,
    /// The long-lived key that asked for it, if one did: the session ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_key_id: Option<String>,
    /// When it was made (`aws:TokenIssueTime`).
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Session policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Managed policies as session policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
    /// Session tags: `aws:PrincipalTag/…` over those of the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// Keys of tags that a next session inherits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitive: Vec<String>,
    /// When an MFA code was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_at: Option<Timestamp>,
    /// The identity provider (`aws:FederatedProvider`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Who is behind it, as the first session said (`aws:SourceIdentity`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

/// What a new session shall be; the gate adds key, times and seal.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Whose it is.
    pub of: SessionOf,
    /// For how long.
    pub duration: Duration,
    /// Session policies, parsed before.
    pub policies: Vec<String>,
    /// Managed policies as session policies.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: Vec<(String, String)>,
    /// Keys of tags that a next session inherits.
    pub transitive: Vec<String>,
    /// When an MFA code was given.
    pub mfa_at: Option<Timestamp>,
    /// The identity provider.
    pub provider: Option<String>,
    /// Who is behind it.
    pub source_identity: Option<String>,
}

/// Temporary credentials, as they are handed out.
#[derive(Clone, Debug)]
pub struct SessionCredentials {
    /// `ASIA…`
    pub access_key_id: String,
    /// The secret half.
    pub secret: Secret,
    /// The session token.
    pub token: Secret,
    /// When they end.
    pub expires_at: Timestamp,
}

/// Makes and opens sessions.
pub(crate) struct Sessions {
    sealer: Sealer,
    secrets: [u8; 32],
}

impl Sessions {
    pub(crate) fn new(root_key: &[u8; 32], random: std::sync::Arc<dyn funaya_ports::Random>) -> Option<Self> {
        let sealer = Sealer::new(root_key, "sessions", random)?;
        Some(Self { sealer, secrets: keys::derive(root_key, "session secrets") })
    }

    /// `unique`: 10 random bytes.
    pub(crate) fn issue(
        &self,
        new: NewSession,
        parent_key_id: Option<String>,
        unique: [u8; 10],
        now: Timestamp,
    ) -> SessionCredentials {
        let access_key_id = format!("ASIA{}", base32(&unique));
        let expires_at = now.plus(new.duration);
        let claims = Claims {
            of: new.of,
            access_key_id: access_key_id.clone(),
            parent_key_id,
            issued_at: now,
            expires_at,
            policies: new.policies,
            policy_arns: new.policy_arns,
            tags: new.tags,
            transitive: new.transitive,
            mfa_at: new.mfa_at,
            provider: new.provider,
            source_identity: new.source_identity,
        };
        // Plain structs always print.
        let text = serde_json::to_string(&claims).unwrap_or_default();
        let secret = self.secret(&access_key_id);
        SessionCredentials { secret, token: Secret::new(self.sealer.seal(&text, BINDING)), access_key_id, expires_at }
    }

    /// What a token claims, if it is ours and of this key. Whether it has expired is for the caller to say.
    pub(crate) fn open(&self, token: &str, access_key_id: &str) -> Option<Claims> {
        let claims: Claims = serde_json::from_str(&self.sealer.open(token, BINDING)?).ok()?;
        (claims.access_key_id == access_key_id).then_some(claims)
    }

    /// The secret half of a session's key.
    pub(crate) fn secret(&self, access_key_id: &str) -> Secret {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.secrets);
        let tag = aws_lc_rs::hmac::sign(&key, access_key_id.as_bytes());
        // 30 bytes are 40 characters, the length of every secret key.
        Secret::new(STANDARD.encode(&tag.as_ref()[..30]))
    }
}

fn base32(bytes: &[u8; 10]) -> String {
    let number = bytes.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    (0..16).rev().map(|place| char::from(BASE32[(number >> (5 * place)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_as_in_rfc_4648() {
        assert_eq!(base32(b"foobarfoob"), "MZXW6YTBOJTG633C");
    }
}
