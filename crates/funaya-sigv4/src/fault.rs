//! Each way of being wrong, with the text that AWS gives the caller.

use std::time::Duration;

use funaya_types::Timestamp;

/// Why a request's signature is refused. `Display` is the caller's text; it never echoes a signature or token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing signed was presented. [`crate::parse`] itself answers `None`; doors use this.
    #[error("Missing Authentication Token")]
    MissingToken,
    /// Parts are missing or garbled; the text says which.
    #[error("{0}")]
    Incomplete(String),
    /// The signature differs from ours.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// `signed_at` lies too far back.
    #[error(
        "Signature expired: {} is now earlier than {} ({} - {}.)",
        .signed_at.basic(), .now.minus(*.allowed).basic(), .now.basic(), span(*.allowed)
    )]
    Expired {
        /// The date that was signed.
        signed_at: Timestamp,
        /// The server's time.
        now: Timestamp,
        /// How old a signature may be.
        allowed: Duration,
    },
    /// `signed_at` lies too far ahead.
    #[error(
        "Signature not yet current: {} is still later than {} ({} + {}.)",
        .signed_at.basic(), .now.plus(*.allowed).basic(), .now.basic(), span(*.allowed)
    )]
    NotYetCurrent {
        /// The date that was signed.
        signed_at: Timestamp,
        /// The server's time.
        now: Timestamp,
        /// How far ahead a clock may be.
        allowed: Duration,
    },
    /// The scope names a Region that is not served.
    #[error("Credential should be scoped to a valid region. ")]
    Region,
    /// The scope names another service than this one.
    #[error("Credential should be scoped to correct service: '{0}'. ")]
    Service(String),
    /// The scope does not end in `aws4_request`.
    #[error("Credential should be scoped with a valid terminator: 'aws4_request'. ")]
    Terminator,
    /// The scope's day is not the day of the signed date.
    #[error(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '{scope}' != '{day}', from '{}'.",
        .signed_at.basic()
    )]
    ScopeDate {
        /// The day in the scope.
        scope: String,
        /// The day of the date.
        day: String,
        /// The date itself.
        signed_at: Timestamp,
    },
    /// `host` is not among the signed headers.
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostUnsigned,
    /// A sent `x-amz-*` header is not signed.
    #[error("There were headers present in the request which were not signed: '{0}'.")]
    HeaderUnsigned(String),
}

/// Which of AWS's exceptions a fault belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `MissingAuthenticationTokenException`
    MissingToken,
    /// `IncompleteSignatureException`
    Incomplete,
    /// `InvalidSignatureException`
    Invalid,
}

impl Fault {
    /// The exception that a door answers with.
    pub fn kind(&self) -> Kind {
        match self {
            Self::MissingToken => Kind::MissingToken,
            Self::Incomplete(_) => Kind::Incomplete,
            Self::Mismatch
            | Self::Expired { .. }
            | Self::NotYetCurrent { .. }
            | Self::Region
            | Self::Service(_)
            | Self::Terminator
            | Self::ScopeDate { .. }
            | Self::HostUnsigned
            | Self::HeaderUnsigned(_) => Kind::Invalid,
        }
    }
}

/// `15 min`, or seconds where minutes would not be whole.
fn span(of: Duration) -> String {
    match of.as_secs() {
        secs if secs % 60 == 0 => format!("{} min", secs / 60),
        secs => format!("{secs} sec"),
    }
}
