//! The workshop of outgoing calls. So far it fetches the keys of identity providers (OpenID Connect Discovery 1.0),
//! from the provider itself or from files.
//!
//! Never: what a key or token means; ECR, IAM or permissions; a clock.

mod files;
mod guard;
mod issuers;

pub use files::FileIssuers;
pub use issuers::HttpIssuers;
