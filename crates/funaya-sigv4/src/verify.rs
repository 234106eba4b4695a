//! Belief: the signature is ours, fresh, and for this place.

use std::time::Duration;

use funaya_types::Timestamp;

use crate::{Encoding, Fault, Form, Payload, Presented, Request, SigningKey, canonical, key::day};

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// What a request must be signed for.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The signing name of this service.
    pub service: &'a str,
    /// Whether a Region is served here.
    pub region: &'a dyn Fn(&str) -> bool,
    /// How the service's paths are signed.
    pub encoding: Encoding,
    /// The server's time.
    pub now: Timestamp,
}

/// Checks a signature. `key` is derived from the access key's secret for `presented.scope`.
///
/// # Errors
/// The first [`Fault`] in this order: signed headers, scope, time, signature.
pub fn verify(
    presented: &Presented,
    request: &Request<'_>,
    key: &SigningKey,
    payload: Payload<'_>,
    expected: &Expected<'_>,
) -> Result<(), Fault> {
    check_headers(presented, request)?;
    check_scope(presented, expected)?;
    check_time(presented, expected.now)?;
    check_payload(request, payload)?;
    let canonical = canonical::request(request, &presented.signed_headers, payload, expected.encoding);
    let ours = key.sign(&canonical.ok_or(Fault::Mismatch)?, presented.signed_at, &presented.scope);
    if ours.matches(&presented.signature) { Ok(()) } else { Err(Fault::Mismatch) }
}

/// An unsigned `x-amz-*` header could change the meaning of a signed request, in both forms.
fn check_headers(presented: &Presented, request: &Request<'_>) -> Result<(), Fault> {
    let signed = |name: &str| presented.signed_headers.iter().any(|signed| signed == name);
    if !signed("host") {
        return Err(Fault::HostUnsigned);
    }
    match request.headers.iter().find(|(name, _)| name.starts_with("x-amz-") && !signed(name)) {
        Some((name, _)) => Err(Fault::HeaderUnsigned(name.to_string())),
        None => Ok(()),
    }
}

fn check_scope(presented: &Presented, expected: &Expected<'_>) -> Result<(), Fault> {
    let scope = &presented.scope;
    let day = day(presented.signed_at);
    if presented.terminator != "aws4_request" {
        Err(Fault::Terminator)
    } else if scope.date != day {
        Err(Fault::ScopeDate { scope: scope.date.clone(), day, signed_at: presented.signed_at })
    } else if !(expected.region)(&scope.region) {
        Err(Fault::Region)
    } else if scope.service != expected.service {
        Err(Fault::Service(expected.service.into()))
    } else {
        Ok(())
    }
}

fn check_time(presented: &Presented, now: Timestamp) -> Result<(), Fault> {
    let signed_at = presented.signed_at;
    let allowed = match presented.form {
        Form::Header => SKEW,
        Form::Query { expires_s } => Duration::from_secs(expires_s),
    };
    if signed_at < now.minus(allowed) {
        Err(Fault::Expired { signed_at, now, allowed })
    } else if signed_at > now.plus(SKEW) {
        Err(Fault::NotYetCurrent { signed_at, now, allowed: SKEW })
    } else {
        Ok(())
    }
}

/// A sent `x-amz-content-sha256` must say what the caller of [`verify`] found.
fn check_payload(request: &Request<'_>, payload: Payload<'_>) -> Result<(), Fault> {
    match request.values("x-amz-content-sha256").all(|sent| sent == payload.text().as_bytes()) {
        true => Ok(()),
        false => Err(Fault::Mismatch),
    }
}
