//! Bringing back what was deleted (D6).

use funaya_types::{Digest, ImageTag, Registry, RepositoryName, Timestamp};

use crate::{Fut, audit, meta::Result};

/// Something that was deleted and can be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The repository it was, or was in.
    pub repository: RepositoryName,
    /// Whether that repository is itself deleted.
    pub repository_is_deleted: bool,
    /// The image; `None`: the whole repository.
    pub digest: Option<Digest>,
    /// The tags that went with the image, in byte order.
    pub tags: Vec<ImageTag>,
    /// How many images a deleted repository has.
    pub images: u64,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// Until when it can be brought back.
    pub purge_at: Timestamp,
}

/// A place in the list of what was deleted, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletedPlace {
    /// When it was deleted, in microseconds.
    pub deleted_at: i64,
    /// Row id of the repository.
    pub repo_id: i64,
    /// Row id of the image; 0: the repository.
    pub man_id: i64,
}

/// An image that was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its digest.
    pub digest: Digest,
    /// Tags that name it again.
    pub tags: Vec<ImageTag>,
    /// Tags that name another image meanwhile, and were left alone.
    pub taken: Vec<ImageTag>,
    /// Manifests of an index that came back with it.
    pub children: u64,
}

/// What brings things back.
pub trait UndoStore: Send + Sync {
    /// What can be brought back, oldest first, after a place; and where the next page begins, if there may be one.
    /// A page may be short: what was pushed again is none of it.
    fn deleted<'a>(
        &'a self,
        registry: &'a Registry,
        after: DeletedPlace,
        now: Timestamp,
        limit: u32,
    ) -> Fut<'a, Result<(Vec<Deleted>, Option<DeletedPlace>)>>;
    /// Brings an image back with the tags that went with it and are free.
    ///
    /// # Errors
    /// `Refusal::NotDeleted` if no deleted image of that digest is there (any more),
    /// `Refusal::ImageQuota` if the repository is full.
    fn restore_image<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        digest: &'a Digest,
        limits: RestoreLimits,
        audit: audit::Batch,
    ) -> Fut<'a, Result<Restored>>;
    /// Brings a repository back, with its settings, policies and images. Costs the same
    /// whatever it holds. Returns when it had been deleted.
    ///
    /// # Errors
    /// `Refusal::NotDeleted`; `Refusal::RepositoryExists` if the name is taken meanwhile;
    /// `Refusal::RepositoryQuota`.
    fn restore_repository<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        now: Timestamp,
        repositories_max: i64,
        audit: audit::Batch,
    ) -> Fut<'a, Result<Timestamp>>;
    /// What a tag named from when on, oldest first; `None`: nothing. At most so many of the newest.
    fn tag_history<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        tag: &'a ImageTag,
        limit: u32,
    ) -> Fut<'a, Result<Vec<(Timestamp, Option<Digest>)>>>;
    /// Lets a tag name an image that is there.
    fn move_tag<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        tag: &'a ImageTag,
        digest: &'a Digest,
        now: Timestamp,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;
}

/// What a restored image must keep to.
#[derive(Clone, Copy, Debug)]
pub struct RestoreLimits {
    /// Now.
    pub now: Timestamp,
    /// Most images of a repository.
    pub images_max: i64,
}
