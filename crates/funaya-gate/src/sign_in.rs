//! Sign-in by SigV4 (AUTH-01 to AUTH-03).

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use funaya_sigv4::{Encoding, Expected, Fault, Payload, Presented, Request, SigningKey, parse, payload_hash, verify};
use funaya_types::{Host, Region, Timestamp};

use crate::{call::Caller, gate::Regions, keys::RootAccessKey};

/// Signing keys kept; each is good for a day and a Region.
const KEYS_MAX: usize = 64;

/// Why a signed request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The signature or what surrounds it.
    #[error(transparent)]
    Signature(#[from] Fault),
    /// No such key, or a session token that is none.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
}

#[derive(Default)]
pub(crate) struct SigningKeys(RwLock<HashMap<String, Arc<SigningKey>>>);

impl SigningKeys {
    fn get(&self, root: &RootAccessKey, scope: &funaya_sigv4::Scope) -> Arc<SigningKey> {
        let name = scope.to_string();
        if let Some(key) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return key.clone();
        }
        let key = Arc::new(SigningKey::derive(&root.secret, scope));
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(name, key.clone());
        key
    }
}

/// Who a request says it is, before its body is read: a stranger must not make the
/// server hold one.
pub(crate) fn introduce(root: &RootAccessKey, request: &Request<'_>) -> Result<Presented, SignInError> {
    let presented = parse(request)?.ok_or(Fault::MissingToken)?;
    // Long-lived keys have no session token; one that comes with such a key is none of ours.
    if presented.access_key_id != root.id || presented.security_token.is_some() {
        return Err(SignInError::UnknownKey);
    }
    Ok(presented)
}

pub(crate) fn sign_in(
    keys: &SigningKeys,
    root: &RootAccessKey,
    regions: &Regions,
    request: &Request<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<Caller, SignInError> {
    let presented = introduce(root, request)?;
    // A host that names a Region takes signatures for that one only.
    let named = request.headers.iter().find(|(name, _)| *name == "host");
    let named = named.and_then(|(_, host)| Host::parse(std::str::from_utf8(host).ok()?).region());
    let region_is_served =
        |name: &str| regions.serve_name(name) && named.as_ref().is_none_or(|region| region.as_str() == name);
    let expected = Expected { service: "ecr", region: &region_is_served, encoding: Encoding::Twice, now };
    let key = keys.get(root, &presented.scope);
    verify(&presented, request, &key, Payload::Hash(&payload_hash(body)), &expected)?;
    let region: Region = presented.scope.region.parse().map_err(|_| SignInError::UnknownKey)?;
    Ok(Caller { account: root.account, region, access_key_id: presented.access_key_id })
}
