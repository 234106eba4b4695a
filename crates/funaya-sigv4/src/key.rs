//! Scope, signing key and signature.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use funaya_types::{Secret, Timestamp};

use crate::ALGORITHM;

/// What a signature is good for: one day, one Region, one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `20261124`
    pub date: String,
    /// `us-east-1`
    pub region: String,
    /// `ecr`
    pub service: String,
}

impl Scope {
    /// The scope of a signature made at this time.
    pub fn new(at: Timestamp, region: &str, service: &str) -> Self {
        Self { date: day(at), region: region.into(), service: service.into() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// The day of a time, as scopes have it.
pub(crate) fn day(at: Timestamp) -> String {
    at.basic().chars().take(8).collect()
}

/// A key derived from a secret for one [`Scope`].
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Four HMACs. Cache the outcome per access key and scope, if at all.
    pub fn derive(secret: &Secret, scope: &Scope) -> Self {
        let root = format!("AWS4{}", secret.expose());
        let parts = [&scope.date, &scope.region, &scope.service, "aws4_request"];
        Self(
            parts
                .iter()
                .fold(hmac_key(root.as_bytes()), |key, part| hmac_key(hmac::sign(&key, part.as_bytes()).as_ref())),
        )
    }

    /// Signs a canonical request.
    pub(crate) fn sign(&self, canonical: &[u8], at: Timestamp, scope: &Scope) -> Signature {
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{}", at.basic(), payload_hash(canonical));
        Signature(hex(hmac::sign(&self.0, text.as_bytes()).as_ref()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

/// A signature in hex. It has no `==`, so that nobody compares it in variable time, and hides in `Debug`.
#[derive(Clone)]
pub struct Signature(String);

impl Signature {
    /// 64 lower-case hex digits, or nothing.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let valid = text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.into()))
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// The hex SHA-256 of a body.
pub fn payload_hash(body: &[u8]) -> String {
    hex(sha256(body).as_ref())
}

pub(crate) fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
