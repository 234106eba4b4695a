//! Keys of identity providers, wherever they come from.

use crate::Fut;

/// Why an identity provider's keys are not there. `Display` says it to the caller, so it tells nothing that the
/// provider's own URL does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The provider may not be asked: its address is not one for providers.
    #[error("the address of the identity provider is not allowed")]
    Refused,
    /// The provider did not answer, or not in time.
    #[error("the identity provider could not be reached")]
    Unreachable,
    /// It answered, but not as OpenID Connect Discovery has it.
    #[error("the identity provider's answer could not be used")]
    Unusable,
}

/// Gives the keys by which an identity provider's tokens are checked.
pub trait IssuerKeys: Send + Sync {
    /// The key set (RFC 7517) of an issuer, as JSON. Asks anew each time: whoever calls remembers.
    fn keys<'a>(&'a self, issuer: &'a str) -> Fut<'a, Result<String, IssuerError>>;
}
