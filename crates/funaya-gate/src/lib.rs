//! The gate: the only place that says yes.
//!
//! It finds out who calls (SigV4, registry token, signed download URL), counts
//! the call against its rate, decides, and records it. What it hands out is a
//! [`Permit`], which nobody else can make and every hall's function asks for.
//!
//! Never: SQL, files, HTTP types, the meaning of an operation.

mod access;
pub mod action;
mod audit;
mod call;
mod download;
mod gate;
mod judge;
mod keys;
mod permit;
pub mod principals;
mod reasons;
mod replay;
mod session;
mod sign_in;
mod token;

pub use access::{FULL_ACCESS_ID, ORGANIZATION};
pub use action::{Action, FreeAction, Operation, Service, SessionAction};
pub use audit::{AuditLog, AuditWriter};
pub use call::{Call, Caller, Client};
pub use download::{Download, VALID_S as DOWNLOAD_VALID_S};
pub use funaya_sigv4::{Kind as SignatureKind, Request as SignedRequest};
pub use gate::{Denied, Gate, Regions, Settings, Usage};
pub use keys::{ACCESS_KEYS, RootAccessKey, Sealer, derive};
pub use permit::{OwnPolicy, Permit, Resource, Resources, Scope, Tagged, Target, Upkeep};
pub use reasons::{Explained, find_decision};
pub use replay::{Replayed, Trial, Verdict};
pub use session::{Claims, NewSession, SessionCredentials, SessionOf};
pub use sign_in::{Introduced, SignInError};
pub use token::{RegistryToken, TokenError};
