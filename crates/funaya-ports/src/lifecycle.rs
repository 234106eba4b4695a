//! Lifecycle policies: what the store keeps of them and does for them.

use std::sync::Arc;

use funaya_types::{Digest, ImageTag, PrincipalArn, Registry, RepositoryName, Timestamp};

use crate::{Fut, audit, meta::Result};

/// A repository's lifecycle policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The text, as it was put.
    pub text: String,
    /// When it was last evaluated.
    pub evaluated_at: Option<Timestamp>,
}

/// A repository whose policy is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Where.
    pub registry: Registry,
    /// Which.
    pub repository: RepositoryName,
    /// The text.
    pub text: String,
}

/// An image as rules see it, in a snapshot of its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its row.
    pub row_id: i64,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
    /// Its tags, in byte order.
    pub tags: Vec<String>,
    /// An index that is there refers to it (LIFE-39).
    pub in_index: bool,
    /// The row of the image that it is attached to, if that is there.
    pub subject: Option<i64>,
}

/// How far a preview has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewStatus {
    /// It is being worked out.
    InProgress,
    /// It is done.
    Complete,
    /// It could not be worked out.
    Failed,
}

/// The newest preview of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The policy that is tried.
    pub policy: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// How far it has come.
    pub status: PreviewStatus,
    /// Row ids and priorities of the images that would expire, in the order of their push.
    pub marked: Vec<(i64, u64)>,
}

/// Images to expire in one transaction.
#[derive(Clone)]
pub struct Expire {
    /// In which registry.
    pub registry: Registry,
    /// In which repository.
    pub repository: RepositoryName,
    /// The policy that judged them. If the repository has it no longer, they all stay.
    pub policy: String,
    /// The images as they were judged.
    pub images: Vec<Candidate>,
    /// Now.
    pub now: Timestamp,
    /// When they may go for good (D6).
    pub purge_at: Timestamp,
    /// Makes the audit entry of the outcomes.
    pub audit: Arc<dyn Fn(&[Expired]) -> Option<audit::Batch> + Send + Sync>,
}

/// What became of one image that should expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expired {
    /// It is gone, with its tags.
    Gone {
        /// Its digest.
        digest: Digest,
        /// The tags that went.
        tags: Vec<ImageTag>,
        /// When it was pushed.
        pushed_at: Timestamp,
    },
    /// It, or the policy, is not what it was when it was judged: it stays (LIFE-40).
    Changed,
    /// An index refers to it meanwhile.
    Referenced,
}

/// What the store does for lifecycle policies.
pub trait LifecycleStore: Send + Sync {
    /// A repository's policy.
    fn lifecycle<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Option<Attached>>>;
    /// Sets or (`None`) removes a repository's policy. A new one counts as never evaluated.
    fn set_lifecycle<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        text: Option<String>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;
    /// Repositories whose policy was never evaluated, or not since `before`.
    fn due_lifecycles(&self, before: Timestamp, limit: u32) -> Fut<'_, Result<Vec<Due>>>;
    /// Notes that this policy was evaluated, if it is still the repository's.
    fn note_lifecycle<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        policy: &'a str,
        at: Timestamp,
    ) -> Fut<'a, Result<()>>;
    /// All images of a repository at one moment, in the order of their push. Large: call it off the reactor.
    fn candidates<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Vec<Candidate>>>;
    /// Expires images that are still as they were judged.
    fn expire(&self, command: Expire) -> Fut<'_, Result<Vec<Expired>>>;
    /// The newest preview.
    fn preview<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Option<Preview>>>;
    /// Keeps a preview in place of the one before.
    fn put_preview<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        preview: Preview,
    ) -> Fut<'a, Result<()>>;
    /// No longer notes pulls by a principal.
    ///
    /// # Errors
    /// `Refusal::ExclusionExists`; `Refusal::ExclusionQuota`.
    fn exclude_pulls<'a>(
        &'a self,
        registry: &'a Registry,
        principal: &'a PrincipalArn,
        at: Timestamp,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;
    /// Notes pulls by a principal again.
    ///
    /// # Errors
    /// `Refusal::NoExclusion`.
    fn include_pulls<'a>(
        &'a self,
        registry: &'a Registry,
        principal: &'a PrincipalArn,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;
    /// The principals whose pulls are not noted, in byte order after `after`: few (`limits::PULL_EXCLUSIONS_MAX`).
    fn pull_exclusions<'a>(
        &'a self,
        registry: &'a Registry,
        after: &'a str,
        limit: u32,
    ) -> Fut<'a, Result<Vec<PrincipalArn>>>;
    /// Notes when images were last pulled; keeps the newest.
    fn note_pulls(&self, pulls: Vec<(Registry, RepositoryName, Digest, Timestamp)>) -> Fut<'_, Result<()>>;
}
