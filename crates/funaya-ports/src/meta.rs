//! Metadata: rows of repositories, images, tags, layers, uploads, audit.
//!
//! Every method is one transaction or one read. Methods that change something
//! take the audit entry of the operation and commit it with the change (D8).

use std::{sync::Arc, time::Duration};

use funaya_types::{
    Digest, ImageTag, MediaType, Mutability, Reference, Registry, RepositoryName, ResourceTag, StorageKey, Timestamp,
    UploadId,
};

use crate::{Fut, StoreError, audit, blobs::Progress, blobs::StoredBlob};

/// Why a change was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The repository does not exist.
    NoRepository,
    /// The name is taken.
    RepositoryExists,
    /// The registry holds as many repositories as it may.
    RepositoryQuota,
    /// The repository holds images and `force` was not given.
    RepositoryNotEmpty,
    /// The repository holds as many images as it may.
    ImageQuota,
    /// The image has as many tags as it may.
    TagQuota,
    /// The repository would have more resource tags than it may.
    ResourceTagQuota,
    /// Layers that the manifest names are not in the repository.
    LayersMissing(Vec<Digest>),
    /// A layer's size differs from what the manifest says.
    LayerSize(Digest),
    /// Manifests that the index names are not in the repository.
    ChildrenMissing(Vec<Digest>),
    /// The tag exists and the repository is immutable.
    TagImmutable(ImageTag),
    /// Same manifest, same tag: nothing would change.
    NothingNew,
    /// No such upload, or somebody else moved it on.
    UploadGone,
    /// The repository has the layer already.
    LayerExists,
    /// No such layer.
    NoLayer,
    /// An image refers to the layer.
    LayerInUse,
    /// There is no such thing among what was deleted, or its time has passed.
    NotDeleted,
    /// Pulls by the principal are not noted already.
    ExclusionExists,
    /// Pulls by the principal are noted.
    NoExclusion,
    /// The registry has as many such principals as it may.
    ExclusionQuota,
    /// An identity is not what it was when the change was decided.
    Changed,
}

/// A method of the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule refused; nothing changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What the store's methods return.
pub type Result<T> = std::result::Result<T, Error>;

/// A repository's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub name: RepositoryName,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether its tags may move.
    pub mutability: Mutability,
    /// Whether a push asks for a scan.
    pub scan_on_push: bool,
}

/// What to make of a new repository.
#[derive(Clone, Debug)]
pub struct CreateRepository {
    /// In which registry.
    pub registry: Registry,
    /// The row to make.
    pub repository: Repository,
    /// Its labels.
    pub tags: Vec<ResourceTag>,
    /// Its row id.
    pub row_id: i64,
    /// Most repositories of the registry (QUOTA-01).
    pub repositories_max: i64,
    /// The audit entry.
    pub audit: audit::Batch,
}

/// Which repository to delete, and how.
#[derive(Clone)]
pub struct DeleteRepository {
    /// In which registry.
    pub registry: Registry,
    /// Its name.
    pub name: RepositoryName,
    /// Delete it with its images.
    pub force: bool,
    /// Now.
    pub now: Timestamp,
    /// When its rows may go for good (D6).
    pub purge_at: Timestamp,
    /// Makes the audit entry of what was deleted.
    pub audit: Arc<dyn Fn(&Repository) -> audit::Batch + Send + Sync>,
}

/// An open upload's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The session's id.
    pub id: UploadId,
    /// Where its bytes go.
    pub key: StorageKey,
    /// How far it has come.
    pub progress: Progress,
    /// Parts received over the ECR API.
    pub parts: u32,
    /// The last API part was shorter than a middle part may be (IMG-23).
    pub last_part_short: bool,
    /// A part that was not the last was too short.
    pub part_too_short: bool,
    /// Row version: every change counts it up.
    pub version: i64,
}

/// The upload to open.
#[derive(Clone, Debug)]
pub struct CreateUpload {
    /// In which registry.
    pub registry: Registry,
    /// For which repository.
    pub repository: RepositoryName,
    /// The row to make.
    pub upload: Upload,
    /// When it expires unless it moves on.
    pub expires_at: Timestamp,
    /// The audit entry.
    pub audit: audit::Batch,
}

/// A step forward of an upload; refused if the row's version is not `upload.version`.
#[derive(Clone, Debug)]
pub struct AdvanceUpload {
    /// In which registry.
    pub registry: Registry,
    /// The row as it shall be; `version` as it was read.
    pub upload: Upload,
    /// The new expiry.
    pub expires_at: Timestamp,
    /// The audit entry, if this step is an operation of its own.
    pub audit: Option<audit::Batch>,
}

/// The end of an upload: its bytes are durable and become a blob.
#[derive(Clone, Debug)]
pub struct CompleteUpload {
    /// In which registry.
    pub registry: Registry,
    /// For which repository.
    pub repository: RepositoryName,
    /// The session.
    pub id: UploadId,
    /// Its row version as it was read.
    pub version: i64,
    /// The bytes.
    pub blob: StoredBlob,
    /// Row id of a new blob.
    pub row_id: i64,
    /// Now.
    pub now: Timestamp,
    /// Spans of the collector.
    pub spans: Spans,
    /// Refuse with [`Refusal::LayerExists`] if the repository has the layer.
    pub refuse_existing: bool,
    /// An object known to be damaged: if it is the standing one, the new bytes take its place.
    pub replaces: Option<StorageKey>,
    /// The audit entries.
    pub audit: Vec<audit::Batch>,
}

/// How long things are kept (stack: G, D, undo window).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// An unreferenced layer is kept this long after it was last promised.
    pub grace: Duration,
    /// Bytes stay this long after their row has gone.
    pub trash: Duration,
    /// Deleted images and repositories can be restored this long.
    pub undo: Duration,
}

impl Default for Spans {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self { grace: 24 * hour, trash: 26 * hour, undo: 7 * 24 * hour }
    }
}

/// A layer of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The stored blob.
    pub blob: StoredBlob,
    /// What a manifest called it, if one has.
    pub media_type: Option<String>,
}

/// How an image got into the store.
#[derive(Clone, Debug)]
pub struct PutImage {
    /// In which registry.
    pub registry: Registry,
    /// In which repository.
    pub repository: RepositoryName,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: MediaType,
    /// How referrers are filtered.
    pub artifact_type: Option<String>,
    /// What it is attached to.
    pub subject: Option<Digest>,
    /// The manifest, byte for byte.
    pub body: Vec<u8>,
    /// Size of config and layers.
    pub image_bytes: u64,
    /// Each distinct blob that must be there, in digest order: digest, media type, size if told.
    pub blobs: Vec<(Digest, MediaType, Option<u64>)>,
    /// Each distinct child manifest, in digest order.
    pub children: Vec<Digest>,
    /// Tags to set.
    pub tags: Vec<ImageTag>,
    /// Row id of a new image.
    pub row_id: i64,
    /// Now.
    pub now: Timestamp,
    /// Spans of the collector.
    pub spans: Spans,
    /// Most images of the repository.
    pub images_max: i64,
    /// Refuse with [`Refusal::NothingNew`] if image and tags exist already.
    pub refuse_existing: bool,
    /// The audit entry.
    pub audit: audit::Batch,
}

/// An image's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: MediaType,
    /// `artifactType`, or the config's media type.
    pub artifact_type: Option<String>,
    /// What it is attached to.
    pub subject: Option<Digest>,
    /// Size of the manifest in bytes.
    pub manifest_bytes: u64,
    /// Size of config and layers in bytes; of an index, the largest of its images.
    pub image_bytes: u64,
    /// When it was first pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
    /// Its row id: the second half of its place in lists.
    pub row_id: i64,
}

/// Which conversion of which image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionKey {
    /// Row id of the image.
    pub image: i64,
    /// The media type that it is converted to.
    pub media_type: MediaType,
    /// The tag that the conversion names, if its format does.
    pub tag: Option<ImageTag>,
}

/// A manifest made of a stored one for clients that do not understand that (MAN-17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Of what, to what.
    pub key: ConversionKey,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// A place in the list of a repository's images: push time, then row id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePlace {
    /// Push time in microseconds.
    pub pushed_at: i64,
    /// Row id.
    pub row_id: i64,
}

/// One image to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteTarget {
    /// By digest, if given.
    pub digest: Option<Digest>,
    /// By tag, if given.
    pub tag: Option<ImageTag>,
}

/// What became of one [`DeleteTarget`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// Gone: the digest, with the tags that went with it.
    Deleted {
        /// The image's digest.
        digest: Digest,
        /// The tags that went.
        tags: Vec<ImageTag>,
        /// False if only the tag went and the image stays.
        image: bool,
    },
    /// There is no such image.
    NotFound,
    /// The tag exists but names another digest.
    TagMismatch,
    /// An index refers to the image.
    Referenced(Digest),
}

/// Images to delete in one transaction.
#[derive(Clone)]
pub struct DeleteImages {
    /// In which registry.
    pub registry: Registry,
    /// In which repository.
    pub repository: RepositoryName,
    /// Which.
    pub targets: Vec<DeleteTarget>,
    /// A tag's deletion leaves its image, even if it was the last (OCI's meaning).
    pub keep_untagged: bool,
    /// Now.
    pub now: Timestamp,
    /// When they may go for good (D6).
    pub purge_at: Timestamp,
    /// Makes the audit entry of the outcomes.
    pub audit: Arc<dyn Fn(&[DeleteOutcome]) -> audit::Batch + Send + Sync>,
}

/// A cross-repository mount.
#[derive(Clone, Debug)]
pub struct Mount {
    /// In which registry.
    pub registry: Registry,
    /// Where the layer shall be.
    pub target: RepositoryName,
    /// Where it is.
    pub source: RepositoryName,
    /// Which layer.
    pub digest: Digest,
    /// Now.
    pub now: Timestamp,
    /// Spans of the collector.
    pub spans: Spans,
    /// The audit entry.
    pub audit: audit::Batch,
}

/// What one round of the collector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Deleted images and repositories whose window has passed.
    pub tombstones: u64,
    /// Links from repositories to layers that nothing refers to.
    pub links: u64,
    /// Blobs that no repository links to.
    pub blobs: u64,
    /// Uploads that expired.
    pub uploads: u64,
    /// There may be more to do at once.
    pub more: bool,
}

/// How much of the store the collector leaves to those who write at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// They hardly feel it.
    Gentle,
    /// It gets on well, even if they write as fast as they can.
    Brisk,
}

/// The metadata store.
pub trait MetaStore: Send + Sync {
    /// A setting of this installation, such as the default account.
    fn setting<'a>(&'a self, key: &'a str) -> Fut<'a, Result<Option<String>>>;
    /// Stores a setting unless it exists; returns the one that stands.
    fn settle<'a>(&'a self, key: &'a str, value: &'a str) -> Fut<'a, Result<String>>;

    /// Makes a repository.
    fn create_repository(&self, command: CreateRepository) -> Fut<'_, Result<()>>;
    /// One repository.
    fn repository<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Repository>>;
    /// Repositories by name, after `after`.
    fn repositories<'a>(
        &'a self,
        registry: &'a Registry,
        after: Option<&'a str>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<Repository>>>;
    /// Deletes a repository; it can be restored until `purge_at`.
    fn delete_repository(&self, command: DeleteRepository) -> Fut<'_, Result<Repository>>;
    /// Changes tag mutability.
    fn set_mutability<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        mutability: Mutability,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;

    /// Sets or (`None`) removes a resource's policy: a repository's, or without a name the
    /// registry's own. `policy`: [`crate::identity::BoundPolicy`] in JSON.
    fn set_policy<'a>(
        &'a self,
        registry: &'a Registry,
        name: Option<&'a RepositoryName>,
        policy: Option<String>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;

    /// Adds or overwrites labels of a repository.
    fn tag_resource<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        tags: Vec<ResourceTag>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;
    /// Removes labels of a repository.
    fn untag_resource<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        keys: Vec<String>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;
    /// The labels of a repository, by key.
    fn resource_tags<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
    ) -> Fut<'a, Result<Vec<ResourceTag>>>;

    /// Opens an upload.
    fn create_upload(&self, command: CreateUpload) -> Fut<'_, Result<()>>;
    /// An open upload of that repository.
    fn upload<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        id: &'a UploadId,
    ) -> Fut<'a, Result<Upload>>;
    /// Moves an upload on.
    fn advance_upload(&self, command: AdvanceUpload) -> Fut<'_, Result<()>>;
    /// Makes an upload a layer. The answer may be of an equal blob stored before.
    fn complete_upload(&self, command: CompleteUpload) -> Fut<'_, Result<()>>;
    /// Ends an upload; its bytes go to the trash.
    fn cancel_upload<'a>(
        &'a self,
        registry: &'a Registry,
        upload: &'a Upload,
        delete_after: Timestamp,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;

    /// A layer of a repository, to be read.
    fn layer<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Fut<'a, Result<Option<Layer>>>;
    /// The same, with the promise that it stays for half the grace (I4).
    fn promise_layer<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        now: Timestamp,
        spans: Spans,
    ) -> Fut<'a, Result<Option<Layer>>>;
    /// Whether an image that is not deleted refers to the layer (IMG-27).
    fn layer_in_use<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Fut<'a, Result<bool>>;
    /// A blob of the registry by digest, whatever repository holds it: for
    /// download URLs that were checked when they were made.
    fn blob<'a>(&'a self, registry: &'a Registry, digest: &'a Digest) -> Fut<'a, Result<Option<StoredBlob>>>;
    /// Repositories that hold the layer, by name.
    fn layer_holders<'a>(
        &'a self,
        registry: &'a Registry,
        digest: &'a Digest,
        limit: u32,
    ) -> Fut<'a, Result<Vec<RepositoryName>>>;
    /// Makes a layer of one repository a layer of another.
    fn mount(&self, command: Mount) -> Fut<'_, Result<()>>;
    /// Takes a layer out of a repository.
    fn delete_layer<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        now: Timestamp,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>>;

    /// Stores an image and sets its tags.
    fn put_image(&self, command: PutImage) -> Fut<'_, Result<()>>;
    /// One image.
    fn image<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Fut<'a, Result<Option<Image>>>;
    /// One image by its row.
    fn image_by_row<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        row_id: i64,
    ) -> Fut<'a, Result<Option<Image>>>;
    /// One image with its manifest.
    fn manifest<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Fut<'a, Result<Option<(Image, Vec<u8>)>>>;
    /// A conversion that was stored.
    fn conversion<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        key: &'a ConversionKey,
    ) -> Fut<'a, Result<Option<Conversion>>>;
    /// A conversion of an image that is not deleted, with that image, by the conversion's digest.
    fn conversion_by_digest<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Fut<'a, Result<Option<(Image, Conversion)>>>;
    /// Stores conversions, in place of what stands there; they go with their images. False if
    /// one of the images is gone.
    fn put_conversions<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        conversions: Vec<Conversion>,
    ) -> Fut<'a, Result<bool>>;
    /// Images in the order of their push, after `after`; `tagged` filters.
    fn images<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        tagged: Option<bool>,
        after: Option<ImagePlace>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<Image>>>;
    /// The tags of one image, in byte order.
    fn image_tags<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        row_id: i64,
    ) -> Fut<'a, Result<Vec<ImageTag>>>;
    /// Tags with their digests, in byte order, after `after`.
    fn tags<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        after: Option<&'a str>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<(ImageTag, Digest)>>>;
    /// Tag names only, in byte order, after `after`.
    fn tag_names<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        after: Option<&'a str>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<String>>>;
    /// Images attached to `subject`, with their manifests, by row id after `after`.
    fn referrers<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        subject: &'a Digest,
        after: i64,
        limit: u32,
    ) -> Fut<'a, Result<Vec<(Image, Vec<u8>)>>>;
    /// Deletes images and tags.
    fn delete_images(&self, command: DeleteImages) -> Fut<'_, Result<Vec<DeleteOutcome>>>;

    /// One round of the collector: at most `limit` rows of each kind (D5).
    fn collect(&self, now: Timestamp, spans: Spans, limit: u32, effort: Effort) -> Fut<'_, Result<Collected>>;
    /// Leaves the store to others for a moment if any write; true: some do.
    fn make_way(&self, effort: Effort) -> Fut<'_, bool>;
    /// Objects whose time in the trash has passed.
    fn due_trash(&self, now: Timestamp, limit: u32) -> Fut<'_, Result<Vec<StorageKey>>>;
    /// Forgets objects that were deleted.
    fn forget_trash(&self, keys: Vec<StorageKey>) -> Fut<'_, Result<()>>;

    /// All blobs, by (registry, row id), after `after`: for verification (D13).
    fn all_blobs(&self, after: (i64, i64), limit: u32) -> Fut<'_, Result<Vec<((i64, i64), StoredBlob)>>>;
    /// All manifests with their bodies, by (registry, repository, row id), after `after`.
    fn all_manifests(&self, after: (i64, i64, i64), limit: u32) -> Fut<'_, Result<Vec<StoredManifest>>>;
    /// All that manifests were converted to, in the order of their places.
    fn all_conversions(
        &self,
        after: ConversionPlace,
        limit: u32,
    ) -> Fut<'_, Result<Vec<(ConversionPlace, StoredManifest)>>>;
    /// Row faults that no byte shows: edges, links and tags without their other end.
    fn broken_rows(&self) -> Fut<'_, Result<Vec<String>>>;
    /// Which of these keys no row owns.
    fn unowned(&self, keys: Vec<StorageKey>) -> Fut<'_, Result<Vec<StorageKey>>>;

    /// Appends audit records.
    fn append_audit(&self, batches: Vec<audit::Batch>) -> Fut<'_, Result<()>>;
    /// Stored batches in order of time, after `after` (time, id): registry, place, body.
    fn audit(&self, after: (i64, String), limit: u32) -> Fut<'_, Result<Vec<(Registry, (i64, String), String)>>>;
    /// Notes that a server is there, forgets those not seen since `since`, and counts the rest.
    fn note_replica<'a>(&'a self, id: &'a str, now: Timestamp, since: Timestamp) -> Fut<'a, Result<u32>>;
    /// Drops audit rows older than `before`, at most `limit`; tells how many.
    fn prune_audit(&self, before: Timestamp, limit: u32) -> Fut<'_, Result<u64>>;
}

/// A conversion's place in the list of all: its image's, media type, tag.
pub type ConversionPlace = ((i64, i64, i64), String, String);

/// A manifest's row with its body, for verification.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// Its place in the list of all; of a conversion: its image's.
    pub place: (i64, i64, i64),
    /// Its repository's name.
    pub repository: String,
    /// What the row says its digest is.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub body: Vec<u8>,
}
