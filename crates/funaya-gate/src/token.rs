//! Registry tokens: what `GetAuthorizationToken` gives and Docker clients send back.
//!
//! Sealed and stateless: any replica with the root key opens them. They hold who
//! asked and when, no rights; those are judged at each request (AUTH-14).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_types::{AccountId, Region, Timestamp};

use crate::{
    call::Caller,
    keys::{RootAccessKey, Sealer},
};

/// How long a token is good for (AUTH-13).
pub const VALID_FOR: Duration = Duration::from_secs(12 * 3600);
const USER: &str = "AWS";
const BINDING: &str = "registry token 1";

/// A token as it is handed out.
pub struct RegistryToken {
    /// Base64 of `AWS:<password>` (AUTH-10).
    pub authorization: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why Basic credentials are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// Not Basic, not user `AWS`, or not a token of this installation.
    Unknown,
    /// Twelve hours have passed.
    Expired,
    /// Another Region issued it (AUTH-16).
    OtherRegion,
}

pub(crate) fn issue(sealer: &Sealer, caller: &Caller, now: Timestamp) -> RegistryToken {
    let text = format!("{}\n{}\n{}\n{}", caller.account, caller.region, caller.access_key_id, now.micros());
    let password = sealer.seal(&text, BINDING);
    RegistryToken { authorization: STANDARD.encode(format!("{USER}:{password}")), expires_at: now.plus(VALID_FOR) }
}

/// Reads an `Authorization` header; `region` is that of the registry asked.
pub(crate) fn accept(
    sealer: &Sealer,
    root: &RootAccessKey,
    header: &str,
    region: &Region,
    now: Timestamp,
) -> Result<Caller, (TokenError, Option<Caller>)> {
    let (caller, issued_at) = read(sealer, header).ok_or((TokenError::Unknown, None))?;
    // A token of a key that is gone stops working (AUTH-19).
    if caller.access_key_id != root.id || caller.account != root.account {
        return Err((TokenError::Unknown, None));
    }
    if now >= issued_at.plus(VALID_FOR) {
        return Err((TokenError::Expired, Some(caller)));
    }
    if caller.region != *region {
        return Err((TokenError::OtherRegion, Some(caller)));
    }
    Ok(caller)
}

fn read(sealer: &Sealer, header: &str) -> Option<(Caller, Timestamp)> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let password = decoded.strip_prefix(USER)?.strip_prefix(':')?;
    let text = sealer.open(password, BINDING)?;
    let mut lines = text.split('\n');
    let account: AccountId = lines.next()?.parse().ok()?;
    let region: Region = lines.next()?.parse().ok()?;
    let access_key_id = lines.next()?.to_owned();
    let issued_at = Timestamp::from_micros(lines.next()?.parse().ok()?);
    Some((Caller { account, region, access_key_id }, issued_at))
}
