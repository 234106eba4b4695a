//! AWS Signature Version 4: reading what a request presents, checking it, signing and presigning.
//!
//! Pure: no I/O, no clock, no HTTP crate; time and headers are passed in. A caller first [`parse`]s, looks the
//! access key up, derives the [`SigningKey`] (worth caching per access key and [`Scope`]) and then [`verify`]s.
//! Source: AWS IAM user guide, "AWS Signature Version 4 for API requests".

mod canonical;
mod fault;
mod key;
mod presented;
mod sign;
mod verify;

pub use canonical::Encoding;
pub use fault::{Fault, Kind};
pub use key::{Scope, Signature, SigningKey, payload_hash};
pub use presented::{Form, Presented, parse};
pub use sign::{Credentials, presign, sign};
pub use verify::{Expected, verify};

/// The only algorithm spoken here.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parts of an HTTP request that a signature covers, as they came over the wire.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The raw path, still percent-encoded.
    pub path: &'a str,
    /// The raw query without `?`; empty if there is none.
    pub query: &'a str,
    /// Names in lower case, in wire order. An HTTP/2 `:authority` is passed as `host`.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Request<'a> {
    /// All values of a header, in wire order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| *n == name).map(|(_, value)| *value)
    }
}

/// What the signature says of the body.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// The hex SHA-256 of the body that was really received ([`payload_hash`]).
    Hash(&'a str),
    /// The body is not covered.
    Unsigned,
}

impl<'a> Payload<'a> {
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Hash(hex) => hex,
            Self::Unsigned => "UNSIGNED-PAYLOAD",
        }
    }
}
