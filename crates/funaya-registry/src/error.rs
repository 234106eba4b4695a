//! What can go wrong, without any protocol: each door has one table for it.
//!
//! `Display` is the text for the caller, in ECR's words where they are known (ERR-01 to ERR-15).

use std::fmt;

use funaya_ports::{
    StoreError,
    meta::{self, Refusal},
};
use funaya_rules::manifest::BadManifest;
use funaya_types::{AccountId, Digest, ImageTag, PrincipalArn, Registry, RepositoryName, UploadId, limits};

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The registry.
    pub registry: Registry,
    /// The repository.
    pub repository: RepositoryName,
}

/// How a request named an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// By digest.
    pub digest: Option<Digest>,
    /// By tag.
    pub tag: Option<ImageTag>,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.map_or_else(|| "null".to_owned(), |digest| digest.to_string());
        let tag = self.tag.as_ref().map_or("null", |tag| tag.as_str());
        write!(f, "{{imageDigest:'{digest}', imageTag:'{tag}'}}")
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ERR-01
    #[error(
        "The repository with name '{}' does not exist in the registry with id '{}'",
        .0.repository, .0.registry.account
    )]
    NoRepository(Place),
    /// ERR-02
    #[error(
        "The repository with name '{}' already exists in the registry with id '{}'",
        .0.repository, .0.registry.account
    )]
    RepositoryExists(Place),
    /// ERR-03
    #[error(
        "The repository with name '{}' in registry with id '{}' cannot be deleted because it still contains images",
        .0.repository, .0.registry.account
    )]
    RepositoryNotEmpty(Place),
    /// QUOTA-01
    #[error(
        "The registry with id '{}' already has the maximum allowed number of repositories which is '{max}'",
        .place.registry.account
    )]
    RepositoryQuota {
        /// Where.
        place: Place,
        /// How many it may have.
        max: i64,
    },
    /// QUOTA-02
    #[error(
        "The repository with name '{}' in registry with id '{}' already has the maximum allowed number of images \
         which is '{max}'",
        .place.repository, .place.registry.account
    )]
    ImageQuota {
        /// Where.
        place: Place,
        /// How many it may have.
        max: i64,
    },
    /// API-54
    #[error("The pull time update exclusion for '{0}' already exists in the registry")]
    ExclusionExists(PrincipalArn),
    /// API-37
    #[error("The pull time update exclusion for '{0}' does not exist in the registry")]
    NoExclusion(PrincipalArn),
    /// API-54
    #[error(
        "The registry already has the maximum allowed number of pull time update exclusions which is '{}'",
        limits::PULL_EXCLUSIONS_MAX
    )]
    ExclusionQuota,
    /// IMG-07
    #[error("The image already has the maximum allowed number of tags which is '{}'", limits::TAGS_PER_IMAGE_MAX)]
    TagQuota,
    /// TAG-20
    #[error("The repository already has the maximum allowed number of tags which is '{}'", limits::RESOURCE_TAGS_MAX)]
    ResourceTagQuota,
    /// ERR-07
    #[error(
        "The image with imageId {image} does not exist within the repository with name '{}' in the registry with id \
         '{}'",
        .place.repository, .place.registry.account
    )]
    NoImage {
        /// Where.
        place: Place,
        /// Which.
        image: ImageRef,
    },
    /// ERR-08
    #[error(
        "Image with digest '{digest}' and tag '{}' already exists in the repository with name '{}' in registry with \
         id '{}'",
        .tag.as_ref().map_or("null", ImageTag::as_str), .place.repository, .place.registry.account
    )]
    ImageExists {
        /// Where.
        place: Place,
        /// The image.
        digest: Digest,
        /// The tag, if one was given.
        tag: Option<ImageTag>,
    },
    /// ERR-09
    #[error(
        "The image tag '{tag}' already exists in the '{}' repository and cannot be overwritten because the repository \
         is immutable.",
        .place.repository
    )]
    TagImmutable {
        /// Where.
        place: Place,
        /// The tag.
        tag: ImageTag,
    },
    /// ERR-13
    #[error(
        "Layers with digests '[{}]' required for pushing image into repository with name '{}' in the registry with \
         id '{}' do not exist",
        list(.missing), .place.repository, .place.registry.account
    )]
    LayersMissing {
        /// Where.
        place: Place,
        /// Which.
        missing: Vec<Digest>,
    },
    /// ERR-13
    #[error(
        "Images with digests '[{}]' required for pushing image into repository with name '{}' in the registry with \
         id '{}' do not exist",
        list(.missing), .place.repository, .place.registry.account
    )]
    ChildrenMissing {
        /// Where.
        place: Place,
        /// Which.
        missing: Vec<Digest>,
    },
    /// A layer's size is not what the manifest says.
    #[error("the size of layer '{0}' differs from the size that the manifest gives")]
    LayerSize(Digest),
    /// The document is no manifest that can be stored.
    #[error(transparent)]
    BadManifest(#[from] BadManifest),
    /// ERR-15
    #[error("The calculated digest '{calculated}' does not match the given digest '{given}'")]
    ManifestDigest {
        /// Of the bytes.
        calculated: Digest,
        /// In the request.
        given: Digest,
    },
    /// A layer that is not in the repository.
    #[error(
        "The layer with digest '{digest}' does not exist in the repository with name '{}' in the registry with id '{}'",
        .place.repository, .place.registry.account
    )]
    NoLayer {
        /// Where.
        place: Place,
        /// Which.
        digest: Digest,
    },
    /// A layer that no image refers to (IMG-27).
    #[error(
        "The layer with digest '{digest}' is not associated with an image in the repository with name '{}' in the \
         registry with id '{}'",
        .place.repository, .place.registry.account
    )]
    LayerInaccessible {
        /// Where.
        place: Place,
        /// Which.
        digest: Digest,
    },
    /// IMG-25
    #[error(
        "The layer with digest '{digest}' already exists in the repository with name '{}' in the registry with id '{}'",
        .place.repository, .place.registry.account
    )]
    LayerExists {
        /// Where.
        place: Place,
        /// Which.
        digest: Digest,
    },
    /// An image refers to the layer, so it can't be deleted.
    #[error("The layer with digest '{0}' is referenced by an image and cannot be deleted")]
    LayerInUse(Digest),
    /// IMG-25
    #[error(
        "The upload with id '{id}' does not exist for the repository with name '{}' in the registry with id '{}'",
        .place.repository, .place.registry.account
    )]
    NoUpload {
        /// Where.
        place: Place,
        /// Which.
        id: UploadId,
    },
    /// Another request is writing to the upload.
    #[error("another request is writing to the upload with id '{0}'")]
    UploadBusy(UploadId),
    /// IMG-21
    #[error("the layer part does not follow the last byte received; the upload has {received} bytes")]
    WrongOffset {
        /// Bytes received so far.
        received: u64,
    },
    /// IMG-23
    #[error("every layer part but the last must have at least {} bytes", limits::PART_BYTES_MIN)]
    PartTooSmall,
    /// IMG-24
    #[error("a layer may have at most {} parts", limits::PARTS_MAX)]
    PartQuota,
    /// QUOTA-12
    #[error("a layer may have at most {} bytes", limits::LAYER_BYTES_MAX)]
    LayerTooLarge,
    /// IMG-25
    #[error("the upload with id '{0}' has no bytes")]
    EmptyUpload(UploadId),
    /// IMG-25
    #[error("the digest of the uploaded bytes is '{calculated}', not '{given}'")]
    LayerDigest {
        /// Of the bytes.
        calculated: Digest,
        /// In the request.
        given: Digest,
    },
    /// The client stopped sending; what came before is kept.
    #[error("the request's body ended early")]
    BodyCut,
    /// The client sent more or fewer bytes than it had announced.
    #[error("the body has {received} bytes, not the {announced} announced")]
    BodyLength {
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced.
        announced: u64,
    },
    /// POL-22
    #[error(
        "Repository policy does not exist for the repository with name '{}' in the registry with id '{}'",
        .0.repository, .0.registry.account
    )]
    NoPolicy(Place),
    /// The registry has no policy of its own.
    #[error("Registry policy does not exist in the registry with id '{0}'")]
    NoRegistryPolicy(AccountId),
    /// POL-14. The reason is for operators: ECR gives none.
    #[error("Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'")]
    BadPolicy(String),
    /// POL-21
    #[error(
        "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'The policy would keep the caller from \
         setting the policy later; use force to set it nevertheless'"
    )]
    LocksOut,
    /// LIFE-42
    #[error(
        "Lifecycle policy does not exist for the repository with name '{}' in the registry with id '{}'",
        .0.repository, .0.registry.account
    )]
    NoLifecyclePolicy(Place),
    /// LIFE-24
    #[error("Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: '{0}'")]
    BadLifecyclePolicy(String),
    /// LIFE-46
    #[error(
        "The lifecycle policy preview for the repository with name '{}' in the registry with id '{}' is in progress",
        .0.repository, .0.registry.account
    )]
    PreviewInProgress(Place),
    /// LIFE-47
    #[error(
        "Lifecycle policy preview does not exist for the repository with name '{}' in the registry with id '{}'",
        .0.repository, .0.registry.account
    )]
    NoPreview(Place),
    /// The policy would expire other images than the preview showed.
    #[error("the images that the policy would expire are not those of the preview: start a new one")]
    PreviewOutdated,
    /// Nothing to bring back.
    #[error(
        "nothing of that name was deleted in the repository with name '{}' in the registry with id '{}', or its time \
         has passed",
        .0.repository, .0.registry.account
    )]
    NothingDeleted(Place),
    /// The stores.
    #[error("{}", store_text(.0))]
    Store(#[from] StoreError),
}

impl Error {
    /// All that is known, for the operator's log: the caller gets only `Display`.
    pub fn detail(&self) -> String {
        let Self::Store(store) = self else { return self.to_string() };
        let mut text = store.to_string();
        let mut next = std::error::Error::source(store);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }

    /// The exception's name in the ECR API, which is also the error code of audit
    /// records, whichever door the call came through (TRAIL-11).
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoRepository(_) => "RepositoryNotFoundException",
            Self::RepositoryExists(_) => "RepositoryAlreadyExistsException",
            Self::RepositoryNotEmpty(_) => "RepositoryNotEmptyException",
            Self::RepositoryQuota { .. }
            | Self::ImageQuota { .. }
            | Self::TagQuota
            | Self::PartQuota
            | Self::ExclusionQuota => "LimitExceededException",
            Self::ExclusionExists(_) => "ExclusionAlreadyExistsException",
            Self::NoExclusion(_) => "ExclusionNotFoundException",
            Self::ResourceTagQuota => "TooManyTagsException",
            Self::NoImage { .. } => "ImageNotFoundException",
            Self::ImageExists { .. } => "ImageAlreadyExistsException",
            Self::TagImmutable { .. } => "ImageTagAlreadyExistsException",
            Self::LayersMissing { .. } | Self::NoLayer { .. } => "LayersNotFoundException",
            Self::ChildrenMissing { .. } => "ReferencedImagesNotFoundException",
            Self::LayerSize(_) | Self::BadManifest(_) | Self::LayerInUse(_) => "InvalidParameterException",
            Self::ManifestDigest { .. } => "ImageDigestDoesNotMatchException",
            Self::LayerInaccessible { .. } => "LayerInaccessibleException",
            Self::LayerExists { .. } => "LayerAlreadyExistsException",
            Self::NoUpload { .. } => "UploadNotFoundException",
            Self::UploadBusy(_)
            | Self::WrongOffset { .. }
            | Self::LayerTooLarge
            | Self::BodyCut
            | Self::BodyLength { .. } => "InvalidLayerPartException",
            Self::PartTooSmall => "LayerPartTooSmallException",
            Self::EmptyUpload(_) => "EmptyUploadException",
            Self::LayerDigest { .. } => "InvalidLayerException",
            Self::NoPolicy(_) => "RepositoryPolicyNotFoundException",
            Self::NoLifecyclePolicy(_) => "LifecyclePolicyNotFoundException",
            Self::BadLifecyclePolicy(_) | Self::PreviewOutdated => "InvalidParameterException",
            Self::PreviewInProgress(_) => "LifecyclePolicyPreviewInProgressException",
            Self::NothingDeleted(_) => "ImageNotFoundException",
            Self::NoPreview(_) => "LifecyclePolicyPreviewNotFoundException",
            Self::NoRegistryPolicy(_) => "RegistryPolicyNotFoundException",
            Self::BadPolicy(_) | Self::LocksOut => "InvalidParameterException",
            Self::Store(_) => "ServerException",
        }
    }
}

/// The caller learns no more of a store's fault than this; the log has the rest.
fn store_text(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full(_) => "the registry's storage is full",
        StoreError::Damaged(_) => "the stored content is damaged",
        StoreError::Busy(_) | StoreError::Failed(_) => "the registry's storage failed",
    }
}

fn list(digests: &[Digest]) -> String {
    digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What the store refused, told of one place.
pub(crate) struct Context<'a> {
    pub(crate) place: &'a Place,
    pub(crate) digest: Option<Digest>,
    pub(crate) tag: Option<ImageTag>,
    pub(crate) upload: Option<UploadId>,
    pub(crate) max: i64,
}

impl<'a> Context<'a> {
    pub(crate) fn of(place: &'a Place) -> Self {
        Self { place, digest: None, tag: None, upload: None, max: 0 }
    }

    /// With the quota that the store was told.
    pub(crate) fn quota(self, max: i64) -> Self {
        Self { max, ..self }
    }

    pub(crate) fn error(&self, error: meta::Error) -> Error {
        let refusal = match error {
            meta::Error::Store(error) => return Error::Store(error),
            meta::Error::Refused(refusal) => refusal,
        };
        let place = || self.place.clone();
        let unexpected = || Error::Store(StoreError::failed("the store refused something else than was asked"));
        match refusal {
            Refusal::NoRepository => Error::NoRepository(place()),
            Refusal::RepositoryExists => Error::RepositoryExists(place()),
            Refusal::RepositoryNotEmpty => Error::RepositoryNotEmpty(place()),
            Refusal::RepositoryQuota => Error::RepositoryQuota { place: place(), max: self.max },
            Refusal::ImageQuota => Error::ImageQuota { place: place(), max: self.max },
            Refusal::TagQuota => Error::TagQuota,
            Refusal::ResourceTagQuota => Error::ResourceTagQuota,
            Refusal::LayersMissing(missing) => Error::LayersMissing { place: place(), missing },
            Refusal::ChildrenMissing(missing) => Error::ChildrenMissing { place: place(), missing },
            Refusal::LayerSize(digest) => Error::LayerSize(digest),
            Refusal::TagImmutable(tag) => Error::TagImmutable { place: place(), tag },
            Refusal::NothingNew => match self.digest {
                Some(digest) => Error::ImageExists { place: place(), digest, tag: self.tag.clone() },
                None => unexpected(),
            },
            Refusal::UploadGone => match self.upload {
                Some(id) => Error::NoUpload { place: place(), id },
                None => unexpected(),
            },
            Refusal::LayerExists => match self.digest {
                Some(digest) => Error::LayerExists { place: place(), digest },
                None => unexpected(),
            },
            Refusal::NoLayer => match self.digest {
                Some(digest) => Error::NoLayer { place: place(), digest },
                None => unexpected(),
            },
            Refusal::LayerInUse => match self.digest {
                Some(digest) => Error::LayerInUse(digest),
                None => unexpected(),
            },
            Refusal::NotDeleted => Error::NothingDeleted(place()),
            Refusal::ExclusionExists | Refusal::NoExclusion | Refusal::ExclusionQuota | Refusal::Changed => {
                unexpected()
            }
        }
    }
}
