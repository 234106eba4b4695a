//! Sign-in by SigV4 (AUTH-01 to AUTH-03).

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use funaya_ports::StoreError;
use funaya_sigv4::{Encoding, Expected, Fault, Payload, Presented, Request, SigningKey, parse, payload_hash, verify};
use funaya_types::{AccountId, Host, Region, Secret, Timestamp};

use crate::{
    access::Access,
    action::Service,
    call::{Caller, Who},
    gate::Regions,
    session::{Claims, SessionOf, Sessions},
};

/// Signing keys kept; each is good for one access key, day, Region and service.
const KEYS_MAX: usize = 4096;
/// Where global services are signed for.
const GLOBAL_REGION: &str = "us-east-1";

/// Why a signed request is refused.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The signature or what surrounds it.
    #[error(transparent)]
    Signature(#[from] Fault),
    /// No such key, or a session token that is none.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The session has ended.
    #[error("The security token included in the request is expired")]
    Expired,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Default)]
pub(crate) struct SigningKeys(RwLock<HashMap<(String, String), Arc<SigningKey>>>);

impl SigningKeys {
    fn get(&self, access_key_id: &str, secret: &Secret, scope: &funaya_sigv4::Scope) -> Arc<SigningKey> {
        let name = (access_key_id.to_owned(), scope.to_string());
        if let Some(key) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return key.clone();
        }
        let key = Arc::new(SigningKey::derive(secret, scope));
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(name, key.clone());
        key
    }
}

/// Who a request says it is: the key is known, the signature not checked yet.
pub struct Introduced {
    presented: Presented,
    secret: Secret,
    account: AccountId,
    who: Who,
}

/// Looks up who a request says it is, before its body is read: a stranger must not make
/// the server hold one.
pub(crate) async fn introduce(
    access: &Access,
    sessions: &Sessions,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<Introduced, SignInError> {
    let presented = parse(request)?.ok_or(Fault::MissingToken)?;
    let id = presented.access_key_id.clone();
    let (secret, who) = match &presented.security_token {
        Some(token) => {
            let claims = sessions.open(token.expose(), &id).ok_or(SignInError::UnknownKey)?;
            if now >= claims.expires_at {
                return Err(SignInError::Expired);
            }
            let who = in_session(access, claims).await?.ok_or(SignInError::UnknownKey)?;
            (sessions.secret(&id), who)
        }
        None => {
            let credential = access.credential(&id).await?.ok_or(SignInError::UnknownKey)?;
            let who = lasting(access, credential.account, credential.user_id.as_deref()).await?;
            (credential.secret.clone(), who.ok_or(SignInError::UnknownKey)?)
        }
    };
    let account = who.principal.account().ok_or(SignInError::UnknownKey)?;
    Ok(Introduced { presented, secret, account, who })
}

/// The owner of a long-lived key; `None` if it is gone.
pub(crate) async fn lasting(
    access: &Access,
    account: AccountId,
    user_id: Option<&str>,
) -> Result<Option<Who>, StoreError> {
    let identity = match user_id {
        None => access.root(account).await?,
        Some(id) => access.identity(id).await?,
    };
    Ok(identity.map(Who::lasting))
}

/// The principal of a session; `None` if what stands behind it is gone.
pub(crate) async fn in_session(access: &Access, claims: Claims) -> Result<Option<Who>, StoreError> {
    if let Some(parent) = &claims.parent_key_id
        && access.credential(parent).await?.is_none()
    {
        return Ok(None);
    }
    let identity = match &claims.of {
        SessionOf::Role { role_id: id, .. }
        | SessionOf::Own { user_id: Some(id), .. }
        | SessionOf::Federated { user_id: Some(id), .. } => access.identity(id).await?,
        SessionOf::Own { account, user_id: None } | SessionOf::Federated { account, user_id: None, .. } => {
            match account.parse() {
                Ok(account) => access.root(account).await?,
                Err(_) => None,
            }
        }
    };
    let Some(identity) = identity else { return Ok(None) };
    let policies = access.session(&claims).await?;
    Ok(Some(Who::in_session(identity, claims, policies)))
}

/// Checks the signature.
pub(crate) fn sign_in(
    keys: &SigningKeys,
    regions: &Regions,
    introduced: Introduced,
    request: &Request<'_>,
    service: Service,
    body: &[u8],
    now: Timestamp,
) -> Result<Caller, SignInError> {
    let Introduced { presented, secret, account, who } = introduced;
    // A host that names a Region takes signatures for that one only.
    let named = request.headers.iter().find(|(name, _)| *name == "host");
    let named = named.and_then(|(_, host)| Host::parse(std::str::from_utf8(host).ok()?).region());
    let region_is_served = |name: &str| {
        (service.is_global() && name == GLOBAL_REGION)
            || (regions.serve_name(name) && named.as_ref().is_none_or(|region| region.as_str() == name))
    };
    let expected = Expected { service: service.name(), region: &region_is_served, encoding: Encoding::Twice, now };
    let key = keys.get(&presented.access_key_id, &secret, &presented.scope);
    verify(&presented, request, &key, Payload::Hash(&payload_hash(body)), &expected)?;
    let region: Region = presented.scope.region.parse().map_err(|_| SignInError::UnknownKey)?;
    Ok(Caller { account, region, access_key_id: presented.access_key_id, who: Arc::new(who) })
}
