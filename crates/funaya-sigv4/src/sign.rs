//! The other side: signing, for our own links, the CLI and tests.

use funaya_types::{Secret, Timestamp};

use crate::{ALGORITHM, Encoding, Payload, Request, Scope, Signature, SigningKey, canonical};

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The public half.
    pub access_key_id: &'a str,
    /// The secret half.
    pub secret: &'a Secret,
    /// The token of temporary credentials.
    pub security_token: Option<&'a Secret>,
}

/// The headers to add to a request: `x-amz-date`, `x-amz-security-token` if there is a token, `authorization`.
/// All headers of `request`, `host` among them, get signed.
pub fn sign(
    request: &Request<'_>,
    credentials: &Credentials<'_>,
    scope: &Scope,
    payload: Payload<'_>,
    encoding: Encoding,
    at: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut added = vec![("x-amz-date", at.basic())];
    added.extend(credentials.security_token.map(|token| ("x-amz-security-token", token.expose().to_owned())));
    let mut headers = request.headers.to_vec();
    headers.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
    let mut names: Vec<String> = headers.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    names.dedup();
    let signature =
        signature(&Request { headers: &headers, ..*request }, &names, credentials, scope, payload, encoding, at);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
        credentials.access_key_id,
        names.join(";"),
        signature.text()
    );
    added.push(("authorization", authorization));
    added
}

/// The whole query of a presigned URL, without `?`; only `host`, which `request.headers` must have, is signed.
pub fn presign(
    request: &Request<'_>,
    credentials: &Credentials<'_>,
    scope: &Scope,
    payload: Payload<'_>,
    encoding: Encoding,
    at: Timestamp,
    expires_s: u32,
) -> String {
    let credential = format!("{}/{scope}", credentials.access_key_id);
    let mut parts: Vec<String> =
        Some(request.query).filter(|query| !query.is_empty()).map(str::to_owned).into_iter().collect();
    let mut add =
        |name: &str, value: &str| parts.push(format!("{name}={}", canonical::encode(value.as_bytes(), false)));
    add("X-Amz-Algorithm", ALGORITHM);
    add("X-Amz-Credential", &credential);
    add("X-Amz-Date", &at.basic());
    add("X-Amz-Expires", &expires_s.to_string());
    if let Some(token) = credentials.security_token {
        add("X-Amz-Security-Token", token.expose());
    }
    add("X-Amz-SignedHeaders", "host");
    let query = parts.join("&");
    let to_sign = Request { query: &query, ..*request };
    let signature = signature(&to_sign, &["host".to_owned()], credentials, scope, payload, encoding, at);
    format!("{query}&{}={}", canonical::SIGNATURE_PARAMETER, signature.text())
}

fn signature(
    request: &Request<'_>,
    names: &[String],
    credentials: &Credentials<'_>,
    scope: &Scope,
    payload: Payload<'_>,
    encoding: Encoding,
    at: Timestamp,
) -> Signature {
    // A header to sign that is absent makes a signature that nobody accepts.
    let canonical = canonical::request(request, names, payload, encoding).unwrap_or_default();
    SigningKey::derive(credentials.secret, scope).sign(&canonical, at, scope)
}
