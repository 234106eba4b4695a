//! Registry tokens: what `GetAuthorizationToken` gives and Docker clients send back.
//!
//! Sealed and stateless: any replica with the root key opens them. They hold who
//! asked and when, no rights; those are judged at each request (AUTH-14).

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_ports::StoreError;
use funaya_types::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    access::Access,
    call::{Caller, Who},
    keys::Sealer,
    session::Claims,
    sign_in,
};

/// How long a token is good for (AUTH-13).
pub const VALID_FOR: Duration = Duration::from_secs(12 * 3600);
const USER: &str = "AWS";
const BINDING: &str = "registry token 2";

/// A token as it is handed out.
pub struct RegistryToken {
    /// Base64 of `AWS:<password>` (AUTH-10).
    pub authorization: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why Basic credentials are refused.
#[derive(Debug)]
pub enum TokenError {
    /// Not Basic, not user `AWS`, not a token of this installation, or of a principal that is gone (AUTH-19).
    Unknown,
    /// Twelve hours have passed.
    Expired,
    /// Another Region issued it (AUTH-16).
    OtherRegion,
    /// The store failed.
    Store(StoreError),
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Held {
    #[serde(rename = "a")]
    account: String,
    #[serde(rename = "r")]
    region: String,
    #[serde(rename = "k")]
    access_key_id: String,
    #[serde(rename = "t")]
    issued_at: Timestamp,
    /// Of a session. The token outlives it (AUTH-19).
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    claims: Option<Claims>,
}

pub(crate) fn issue(sealer: &Sealer, caller: &Caller, now: Timestamp) -> RegistryToken {
    let held = Held {
        account: caller.account.to_string(),
        region: caller.region.to_string(),
        access_key_id: caller.access_key_id.clone(),
        issued_at: now,
        claims: caller.claims().cloned(),
    };
    // Plain structs always print.
    let password = sealer.seal(&serde_json::to_string(&held).unwrap_or_default(), BINDING);
    RegistryToken { authorization: STANDARD.encode(format!("{USER}:{password}")), expires_at: now.plus(VALID_FOR) }
}

/// Reads an `Authorization` header; `region` is that of the registry asked.
pub(crate) async fn accept(
    sealer: &Sealer,
    access: &Access,
    header: &str,
    region: &Region,
    now: Timestamp,
) -> Result<Caller, TokenError> {
    let held = read(sealer, header).ok_or(TokenError::Unknown)?;
    let account: AccountId = held.account.parse().map_err(|_| TokenError::Unknown)?;
    let issued_in: Region = held.region.parse().map_err(|_| TokenError::Unknown)?;
    let who = who(access, account, held.claims, &held.access_key_id).await.map_err(TokenError::Store)?;
    let who = Arc::new(who.ok_or(TokenError::Unknown)?);
    if now >= held.issued_at.plus(VALID_FOR) {
        return Err(TokenError::Expired);
    }
    if issued_in != *region {
        return Err(TokenError::OtherRegion);
    }
    Ok(Caller { account, region: issued_in, access_key_id: held.access_key_id, who })
}

/// Who stands behind a token now; `None` if the key or principal is gone (AUTH-19).
async fn who(
    access: &Access,
    account: AccountId,
    claims: Option<Claims>,
    access_key_id: &str,
) -> Result<Option<Who>, StoreError> {
    if let Some(claims) = claims {
        return sign_in::in_session(access, claims).await;
    }
    match access.credential(access_key_id).await? {
        Some(credential) if credential.account == account => {
            sign_in::lasting(access, account, credential.user_id.as_deref()).await
        }
        _ => Ok(None),
    }
}

fn read(sealer: &Sealer, header: &str) -> Option<Held> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let password = decoded.strip_prefix(USER)?.strip_prefix(':')?;
    serde_json::from_str(&sealer.open(password, BINDING)?).ok()
}
