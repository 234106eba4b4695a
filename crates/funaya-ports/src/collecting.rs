//! What the collector would remove, and why things stay (D5).

use funaya_types::{Digest, Registry, Timestamp};

use crate::{Fut, meta::Result};

/// Something that the collector would remove now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removable {
    /// `image`, `repository`, `layer`, `blob` or `upload`.
    pub what: &'static str,
    /// Its digest, or an upload's id, or a repository's name.
    pub name: String,
    /// Its repository, if it is in one.
    pub repository: Option<String>,
    /// Bytes on disk that would go at last; 0 for what only refers to bytes.
    pub bytes: u64,
}

/// Everything that is known of a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The stored blob: size, and until when it is promised.
    pub blob: Option<(u64, Timestamp)>,
    /// Repositories that hold it as a layer.
    pub links: Vec<KnownLink>,
    /// Images of that digest: repository, and when it was deleted.
    pub images: Vec<(String, Option<Timestamp>)>,
}

/// A repository that holds a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLink {
    /// The repository.
    pub repository: String,
    /// When the repository was deleted, if it is.
    pub repository_deleted_at: Option<Timestamp>,
    /// Until when the layer is promised.
    pub keep_until: Timestamp,
    /// Images that need it, with when they were deleted; at most ten.
    pub images: Vec<(Digest, Option<Timestamp>)>,
}

/// What can be asked of a store about collecting.
pub trait CollectingStore: Send + Sync {
    /// What the next round would remove, at most so many of each kind.
    fn removable(&self, now: Timestamp, limit: u32) -> Fut<'_, Result<Vec<Removable>>>;
    /// What is known of a digest.
    fn known<'a>(&'a self, registry: &'a Registry, digest: &'a Digest) -> Fut<'a, Result<Known>>;
}
