//! Tokens of OpenID Connect providers and assertions of SAML providers (COMP-096, COMP-097, COMP-906, IAM-05).
//!
//! A token is believed only by what the role's own account says of its issuer. Everything is looked up anew from the
//! parts of the token that the signature covers; the header chooses nothing but which of the provider's keys is tried,
//! and an algorithm that must fit that key.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_gate::{Gate, Permit, action::sts};
use funaya_policy::Principal;
use funaya_ports::identity::{Kind, OidcProvider};
use funaya_types::{AccountId, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde_json::{Map, Value};

use crate::{
    Error, Identities, SessionError, SessionResult, Tag, off_reactor,
    providers::oidc_arn,
    row::key,
    saml,
    sessions::{Made, WantedRole, Wish},
};

/// How far clocks may be apart.
const LEEWAY_S: i64 = 60;
/// How long keys are believed without asking again.
const FRESH: Duration = Duration::from_secs(300);
/// How long they are believed if the provider does not answer.
const STALE: Duration = Duration::from_secs(600);
/// How often at most an unknown key makes us ask.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// How long a provider that did not answer is left alone.
const REST: Duration = Duration::from_secs(5);
const UNKNOWN_KEY: &str = "The ID Token is signed with a key that its issuer does not know";
const KEYS_MAX: usize = 100;
/// Claims that conditions know.
const CLAIMS_MAX: usize = 64;
const CLAIM_MAX: usize = 1_024;
/// Asymmetric ones only: a provider's public key must never be taken for a shared secret.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];
const TAGS: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";

/// Somebody with a token that is right.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    /// For the gate.
    pub principal: Principal,
    /// What conditions know of the token.
    pub conditions: Vec<(String, Vec<String>)>,
    /// `sub`
    pub subject: String,
    /// The audience that the provider of this account takes.
    pub audience: String,
    /// The issuer.
    pub issuer: String,
    /// Session tags that the token gives.
    pub tags: Vec<Tag>,
    /// Keys of tags that a next session inherits.
    pub transitive: Vec<String>,
    /// Who is behind it.
    pub source_identity: Option<String>,
}

/// Somebody with an assertion that is right.
#[derive(Clone, Debug)]
pub struct SamlIdentity {
    /// For the gate.
    pub principal: Principal,
    /// What conditions know of the assertion.
    pub conditions: Vec<(String, Vec<String>)>,
    /// The subject's name.
    pub subject: String,
    /// `persistent`, `transient`, or the whole name of the format.
    pub subject_type: String,
    /// The provider's own name.
    pub issuer: String,
    /// Who the assertion was sent to.
    pub audience: String,
    /// Tells subjects of different providers apart.
    pub name_qualifier: String,
    /// The name that the session shall have.
    pub session_name: String,
    /// How long the session may be at most.
    pub duration_s: Option<u32>,
    /// Session tags that the assertion gives.
    pub tags: Vec<Tag>,
    /// Keys of tags that a next session inherits.
    pub transitive: Vec<String>,
    /// Who is behind it.
    pub source_identity: Option<String>,
}

/// The keys of providers, as they were last seen.
#[derive(Default)]
pub(crate) struct KeyRing(std::sync::Mutex<HashMap<String, Arc<tokio::sync::Mutex<Seen>>>>);

#[derive(Default)]
struct Seen {
    keys: Arc<Vec<Jwk>>,
    /// When they came.
    at: Option<Timestamp>,
    /// When the provider was last asked, and whether it answered.
    asked: Option<(Timestamp, bool)>,
}

impl Seen {
    fn is_within(&self, span: Duration, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now < at.plus(span))
    }

    /// Whether the provider may be asked once more.
    fn may_ask(&self, now: Timestamp) -> bool {
        self.asked.is_none_or(|(at, well)| now >= at.plus(if well { ASK_EVERY } else { REST }))
    }
}

impl KeyRing {
    fn of(&self, issuer: &str) -> Arc<tokio::sync::Mutex<Seen>> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.entry(issuer.to_owned()).or_default().clone()
    }
}

fn invalid(text: impl Into<String>) -> SessionError {
    SessionError::InvalidToken(text.into())
}

impl Identities {
    /// Finds out who shows a token, by what the role's account knows of its issuer.
    pub async fn web_identity(&self, token: &str, account: AccountId, now: Timestamp) -> SessionResult<WebIdentity> {
        let shown = Shown::read(token)?;
        let provider = self.provider_of(account, &shown.issuer).await?;
        let key = self.signing_key(&provider.url, shown.algorithm, shown.key_id.as_deref(), now).await?;
        identified(account, &provider, &shown.checked_by(&key)?, now)
    }

    /// Makes a session of a role for whoever showed the token (COMP-097).
    pub async fn assume_role_by_token(
        &self,
        gate: &Gate,
        permit: &Permit<sts::AssumeRoleWithWebIdentity>,
        wanted: &WantedRole,
        wish: Wish,
        identity: &WebIdentity,
    ) -> SessionResult<Made> {
        let provider = Some(identity.principal.arn().into_owned());
        self.session_of_role(gate, permit, wanted, wish, None, provider).await
    }

    /// Finds out who shows an assertion, by the metadata of a provider of the role's account (COMP-096).
    pub async fn saml_identity(
        &self,
        sent: &str,
        role_arn: &str,
        provider_arn: &str,
        account: AccountId,
        now: Timestamp,
    ) -> SessionResult<SamlIdentity> {
        let found = self.saml_by_arn(account, provider_arn).await;
        let provider = found.map_err(|error| match error {
            Error::Store(error) => SessionError::Store(error),
            _ => invalid("Provider specified by the PrincipalArn does not exist in the role's account"),
        })?;
        let metadata = saml::metadata(&provider.body.metadata).map_err(invalid)?;
        let sent = sent.to_owned();
        let said = off_reactor(move || saml::assertion(&sent, &metadata, now)).await??;
        let meant = |pair: &String| {
            let parts: Vec<&str> = pair.split(',').map(str::trim).collect();
            parts == [role_arn, provider_arn] || parts == [provider_arn, role_arn]
        };
        if !said.roles.iter().any(meant) {
            return Err(SessionError::Denied("Not authorized to perform sts:AssumeRoleWithSAML".into()));
        }
        let document = format!("{account}/{}", provider.body.name);
        let name_qualifier = name_qualifier(&said.issuer, account, &provider.body.name);
        let condition = |name: &str, value: &str| (format!("saml:{name}"), vec![value.to_owned()]);
        Ok(SamlIdentity {
            principal: Principal::Saml { provider_arn: provider_arn.into() },
            conditions: vec![
                condition("aud", &said.recipient),
                condition("iss", &said.issuer),
                condition("sub", &said.subject),
                condition("sub_type", &said.subject_type),
                condition("doc", &document),
                condition("namequalifier", &name_qualifier),
            ],
            subject: said.subject,
            subject_type: said.subject_type,
            issuer: said.issuer,
            audience: said.recipient,
            name_qualifier,
            session_name: said.session_name,
            duration_s: said.duration_s,
            tags: said.tags,
            transitive: said.transitive,
            source_identity: said.source_identity,
        })
    }

    /// Makes a session of a role for whoever showed the assertion.
    pub async fn assume_role_by_assertion(
        &self,
        gate: &Gate,
        permit: &Permit<sts::AssumeRoleWithSAML>,
        wanted: &WantedRole,
        wish: Wish,
        identity: &SamlIdentity,
    ) -> SessionResult<Made> {
        let provider = Some(identity.principal.arn().into_owned());
        self.session_of_role(gate, permit, wanted, wish, None, provider).await
    }

    async fn provider_of(&self, account: AccountId, issuer: &str) -> SessionResult<OidcProvider> {
        let missing = || invalid(format!("No OpenIDConnect provider found in your account for {issuer}"));
        let bare = issuer.split_once("://").map(|(_, rest)| rest.trim_end_matches('/')).ok_or_else(missing)?;
        let row = self.row::<OidcProvider>(&key(account, Kind::OidcProvider, bare)).await?.ok_or_else(missing)?;
        let same = row.body.url.trim_end_matches('/') == issuer.trim_end_matches('/');
        if same { Ok(row.body) } else { Err(missing()) }
    }

    /// The provider's key of this id, asked for anew if it is not known.
    async fn signing_key(
        &self,
        issuer: &str,
        algorithm: Algorithm,
        id: Option<&str>,
        now: Timestamp,
    ) -> SessionResult<Jwk> {
        let seen = self.memory.keys.of(issuer);
        // Whoever comes while the provider is being asked waits for its answer.
        let mut seen = seen.lock().await;
        let find = |seen: &Seen| chosen(&seen.keys, algorithm, id).cloned();
        if seen.is_within(FRESH, now)
            && let Some(found) = find(&seen)
        {
            return Ok(found);
        }
        if seen.may_ask(now) {
            self.ask(issuer, &mut seen, now).await;
        }
        if !seen.is_within(STALE, now) {
            let text = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements";
            return Err(SessionError::Unreachable(text.into()));
        }
        find(&seen).ok_or_else(|| invalid(UNKNOWN_KEY))
    }

    async fn ask(&self, issuer: &str, seen: &mut Seen, now: Timestamp) {
        let answer = self.parts.issuers.keys(issuer).await.map(|text| key_set(&text));
        let keys = answer.unwrap_or_else(|error| {
            tracing::warn!(issuer, %error, "keys of an identity provider could not be fetched");
            Vec::new()
        });
        seen.asked = Some((now, !keys.is_empty()));
        if !keys.is_empty() {
            (seen.keys, seen.at) = (Arc::new(keys), Some(now));
        }
    }
}

/// As the IAM user guide has it under `saml:namequalifier`; SHA-1 only makes it short.
fn name_qualifier(issuer: &str, account: AccountId, provider: &str) -> String {
    let text = format!("{issuer}{account}/{provider}");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    STANDARD.encode(hash.as_ref())
}

/// The keys of a set that can check tokens. Others are of no use here, and no reason to refuse the rest.
fn key_set(text: &str) -> Vec<Jwk> {
    let set: Value = serde_json::from_str(text).unwrap_or_default();
    let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let keys = keys.iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value(key.clone()).ok());
    keys.filter(|key: &Jwk| {
        let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
        signs && matches!(key.algorithm, AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_))
    })
    .collect()
}

/// The key that a token names. One that names none is checked by the only key of its kind.
fn chosen<'a>(keys: &'a [Jwk], algorithm: Algorithm, id: Option<&str>) -> Option<&'a Jwk> {
    let mut fitting = keys.iter().filter(|key| fits(key, algorithm));
    match id {
        Some(id) => fitting.find(|key| key.common.key_id.as_deref() == Some(id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let named = key.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{algorithm:?}"));
    let elliptic = matches!(algorithm, Algorithm::ES256 | Algorithm::ES384);
    let kind = match key.algorithm {
        AlgorithmParameters::RSA(_) => !elliptic,
        AlgorithmParameters::EllipticCurve(_) => elliptic,
        _ => false,
    };
    named && kind
}

/// A token before it is believed: what finds the key that is to check it.
struct Shown<'a> {
    token: &'a str,
    algorithm: Algorithm,
    key_id: Option<String>,
    issuer: String,
}

impl<'a> Shown<'a> {
    fn read(token: &'a str) -> SessionResult<Self> {
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| invalid("The ID Token provided is not a valid JWT"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(invalid("The ID Token is signed with an algorithm that is not supported"));
        }
        let claims = jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(token).ok();
        let issuer = claims.as_ref().and_then(|read| read.claims.get("iss")?.as_str());
        let issuer = issuer.ok_or_else(|| invalid("Missing a required claim: iss"))?.to_owned();
        Ok(Self { token, algorithm: header.alg, key_id: header.kid, issuer })
    }

    /// The claims, if the signature is right. Times and audience are checked by our own clock and rules.
    fn checked_by(&self, key: &Jwk) -> SessionResult<Map<String, Value>> {
        let bad = || invalid("The ID Token's signature could not be verified");
        let key = DecodingKey::from_jwk(key).map_err(|_| bad())?;
        let mut rules = Validation::new(self.algorithm);
        rules.required_spec_claims.clear();
        (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
        let token = jsonwebtoken::decode::<Map<String, Value>>(self.token, &key, &rules).map_err(|_| bad())?;
        Ok(token.claims)
    }
}

/// Who shows a token, by the key set of the one provider that is believed: the whole check, without looking anything
/// up.
///
/// # Errors
/// As for [`Identities::web_identity`].
pub fn identify(
    token: &str,
    account: AccountId,
    provider: &OidcProvider,
    keys: &str,
    now: Timestamp,
) -> SessionResult<WebIdentity> {
    let shown = Shown::read(token)?;
    let keys = key_set(keys);
    let key = chosen(&keys, shown.algorithm, shown.key_id.as_deref()).ok_or_else(|| invalid(UNKNOWN_KEY))?;
    identified(account, provider, &shown.checked_by(key)?, now)
}

fn identified(
    account: AccountId,
    provider: &OidcProvider,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> SessionResult<WebIdentity> {
    let issuer = required(claims, "iss")?;
    if issuer.trim_end_matches('/') != provider.url.trim_end_matches('/') {
        return Err(invalid("The ID Token is of another issuer"));
    }
    times(claims, now)?;
    let audiences = texts(claims.get("aud"));
    let audience = audiences.iter().find(|audience| provider.client_ids.contains(audience));
    let audience = audience.cloned().ok_or_else(|| invalid("Incorrect token audience"))?;
    let subject = required(claims, "sub")?;
    let bare = provider.url.split_once("://").map_or(provider.url.as_str(), |(_, rest)| rest);
    let (tags, transitive) = session_tags(claims)?;
    Ok(WebIdentity {
        principal: Principal::WebIdentity { provider: oidc_arn(account, bare).into() },
        conditions: conditions(bare, claims, audiences),
        subject,
        audience,
        issuer: provider.url.clone(),
        tags,
        transitive,
        source_identity: claims.get(SOURCE_IDENTITY).and_then(Value::as_str).map(str::to_owned),
    })
}

fn required(claims: &Map<String, Value>, name: &str) -> SessionResult<String> {
    let found = claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.map(str::to_owned).ok_or_else(|| invalid(format!("Missing a required claim: {name}")))
}

fn times(claims: &Map<String, Value>, now: Timestamp) -> SessionResult<()> {
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let missing = |name: &str| invalid(format!("Missing a required claim: {name}"));
    let now = now.secs() as f64;
    let leeway = LEEWAY_S as f64;
    let expires = time("exp").ok_or_else(|| missing("exp"))?;
    let issued = time("iat").ok_or_else(|| missing("iat"))?;
    if expires + leeway <= now {
        return Err(SessionError::Expired("Token expired: its expiration time has passed".into()));
    }
    if issued > now + leeway || time("nbf").is_some_and(|from| from > now + leeway) {
        return Err(invalid("The ID Token is not valid yet"));
    }
    Ok(())
}

/// A claim's texts: one, or a list.
fn texts(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(value @ (Value::Bool(_) | Value::Number(_))) => vec![value.to_string()],
        _ => Vec::new(),
    }
}

/// `host/path:sub` and so on. `aud` is who the token was made for: `azp` if it says so, as AWS has it.
fn conditions(bare: &str, claims: &Map<String, Value>, audiences: Vec<String>) -> Vec<(String, Vec<String>)> {
    let azp = texts(claims.get("azp"));
    let mut conditions = vec![
        (format!("{bare}:aud"), if azp.is_empty() { audiences.clone() } else { azp }),
        (format!("{bare}:oaud"), audiences),
    ];
    for (name, value) in claims.iter().filter(|(name, _)| *name != "aud" && *name != "oaud") {
        let values = texts(Some(value));
        let fits = !values.is_empty() && values.iter().map(String::len).sum::<usize>() <= CLAIM_MAX;
        if fits && conditions.len() < CLAIMS_MAX {
            conditions.push((format!("{bare}:{name}"), values));
        }
    }
    conditions
}

/// Session tags that a provider gives: `{"principal_tags": {"team": ["a"]}, "transitive_tag_keys": ["team"]}`.
fn session_tags(claims: &Map<String, Value>) -> SessionResult<(Vec<Tag>, Vec<String>)> {
    let Some(given) = claims.get(TAGS) else { return Ok((Vec::new(), Vec::new())) };
    let bad = || SessionError::Rejected("The session tags of the ID Token are not valid".into());
    let mut tags = Vec::new();
    for (name, values) in given.get("principal_tags").and_then(Value::as_object).into_iter().flatten() {
        let [value] = texts(Some(values)).try_into().map_err(|_| bad())?;
        if name.is_empty() || name.len() > 128 || value.len() > 256 || tags.len() >= 50 {
            return Err(bad());
        }
        tags.push((name.clone(), value));
    }
    Ok((tags, texts(given.get("transitive_tag_keys"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider() -> OidcProvider {
        let (url, client_ids) = ("https://id.example.com/x".into(), vec!["sts.amazonaws.com".into()]);
        OidcProvider { url, client_ids, ..OidcProvider::default() }
    }

    fn outcome(change: impl FnOnce(&mut Value)) -> SessionResult<WebIdentity> {
        let mut claims = json!({
            "iss": "https://id.example.com/x", "sub": "repo:a/b", "aud": "sts.amazonaws.com", "exp": 1_100, "iat": 1_000,
            "amr": ["one", "two"], "email": "a@example.com", "deep": {"x": 1},
        });
        change(&mut claims);
        let claims = claims.as_object().unwrap().clone();
        identified("123456789012".parse().unwrap(), &provider(), &claims, Timestamp::from_secs(1_000))
    }

    /// COMP-097.
    #[test]
    fn claims() {
        let identity = outcome(|_| {}).unwrap();
        assert_eq!(identity.principal.arn(), "arn:aws:iam::123456789012:oidc-provider/id.example.com/x");
        assert_eq!((identity.subject.as_str(), identity.audience.as_str()), ("repo:a/b", "sts.amazonaws.com"));
        let value =
            |key: &str| identity.conditions.iter().find(|(known, _)| known == key).map(|(_, values)| values.join(","));
        assert_eq!(value("id.example.com/x:sub").as_deref(), Some("repo:a/b"));
        assert_eq!(value("id.example.com/x:aud").as_deref(), Some("sts.amazonaws.com"));
        assert_eq!(value("id.example.com/x:amr").as_deref(), Some("one,two"));
        assert_eq!(value("id.example.com/x:deep"), None);
        assert!(outcome(|c| c["aud"] = json!(["other", "sts.amazonaws.com"])).is_ok());
        assert!(outcome(|c| c["exp"] = json!(945)).is_ok());
    }

    #[test]
    fn refused() {
        use SessionError::{Expired, InvalidToken, Rejected};
        assert!(matches!(outcome(|c| c["exp"] = json!(900)), Err(Expired(_))));
        assert!(matches!(outcome(|c| c["exp"] = json!("never")), Err(InvalidToken(_))));
        assert!(matches!(outcome(|c| c["nbf"] = json!(1_100)), Err(InvalidToken(_))));
        assert!(matches!(outcome(|c| c["iat"] = json!(1_100)), Err(InvalidToken(_))));
        assert!(matches!(outcome(|c| c["aud"] = json!("other")), Err(InvalidToken(_))));
        assert!(matches!(outcome(|c| c["aud"] = json!([])), Err(InvalidToken(_))));
        assert!(matches!(outcome(|c| c["iss"] = json!("https://evil.example.com")), Err(InvalidToken(_))));
        for name in ["iss", "sub", "aud", "exp", "iat"] {
            assert!(
                matches!(outcome(|c| drop(c.as_object_mut().unwrap().remove(name))), Err(InvalidToken(_))),
                "{name}"
            );
        }
        let tags = json!({"principal_tags": {"team": ["a", "b"]}});
        assert!(matches!(outcome(|c| c[TAGS] = tags), Err(Rejected(_))));
    }

    #[test]
    fn session_tags_of_a_token() {
        let tags = json!({"principal_tags": {"team": ["a"]}, "transitive_tag_keys": ["team"]});
        let identity = outcome(|c| c[TAGS] = tags).unwrap();
        assert_eq!(identity.tags, [("team".to_owned(), "a".to_owned())]);
        assert_eq!(identity.transitive, ["team"]);
    }

    /// A shared secret, an encryption key or an unknown kind is no key for tokens.
    #[test]
    fn keys() {
        let set = json!({"keys": [
            {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
            {"kty": "RSA", "kid": "b", "n": "AQAB", "e": "AQAB", "use": "enc"},
            {"kty": "new", "kid": "c"},
            {"kty": "RSA", "kid": "d", "n": "AQAB", "e": "AQAB", "alg": "RS256"},
            {"kty": "EC", "kid": "e", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
        ]});
        let keys = key_set(&set.to_string());
        assert_eq!(keys.iter().filter_map(|key| key.common.key_id.as_deref()).collect::<Vec<_>>(), ["d", "e"]);
        let id = |algorithm, id| chosen(&keys, algorithm, id).and_then(|key| key.common.key_id.clone());
        assert_eq!(id(Algorithm::RS256, Some("d")).as_deref(), Some("d"));
        assert_eq!(id(Algorithm::RS512, Some("d")), None);
        assert_eq!(id(Algorithm::ES256, Some("d")), None);
        assert_eq!(id(Algorithm::ES256, None).as_deref(), Some("e"));
        assert_eq!(id(Algorithm::HS256, Some("d")), None);
        assert_eq!(id(Algorithm::RS256, Some("x")), None);
        assert!(key_set("[]").is_empty() && key_set("no").is_empty());
    }
}
