//! The ground floor: names, digests, ids, limits and timestamps.
//!
//! A name is parsed once, at a door, into its type; inner code never sees the
//! raw string. Pure: no I/O, no clock, no async.

mod digest;
mod endpoints;
mod ids;
pub mod limits;
mod mutability;
mod names;
mod registry;
mod secret;
mod time;
mod wildcard;

pub use digest::{Algorithm, BadDigest, Digest};
pub use endpoints::{Endpoints, Host};
pub use ids::{BadUploadId, StorageKey, UploadId};
pub use mutability::Mutability;
pub use names::{BadName, ImageTag, MediaType, PrincipalArn, Reference, RepositoryName, ResourceTag};
pub use registry::{AccountId, BadAccountId, BadRegion, Region, Registry, RepositoryArn};
pub use secret::Secret;
pub use time::Timestamp;
pub use wildcard::Wildcard;
