//! Sizes and counts that the product promises or enforces.

/// Largest manifest in bytes (IMG-28).
pub const MANIFEST_BYTES_MAX: usize = 4_194_304;
/// Largest layer in bytes: 10,000 MiB (QUOTA-12).
pub const LAYER_BYTES_MAX: u64 = 10_000 * 1024 * 1024;
/// Part size that `InitiateLayerUpload` recommends, in bytes (IMG-20).
pub const PART_BYTES_RECOMMENDED: u64 = 10_485_760;
/// Largest part of `UploadLayerPart`, in bytes (IMG-22).
pub const PART_BYTES_MAX: u64 = 20_971_520;
/// Smallest part, in bytes, of all but the last (IMG-23).
pub const PART_BYTES_MIN: u64 = 5_242_880;
/// Most parts of one layer over the ECR API (IMG-24).
pub const PARTS_MAX: u32 = 1_000;
/// Most repositories of a registry (QUOTA-01).
pub const REPOSITORIES_MAX: i64 = 10_000;
/// Most images of a repository (QUOTA-02).
pub const IMAGES_MAX: i64 = 10_000;
/// Principals of a registry whose pulls are not noted. Source: ECR API reference, `pullTimeUpdateExclusions`.
pub const PULL_EXCLUSIONS_MAX: u32 = 100;
/// Most tags of an image (IMG-07).
pub const TAGS_PER_IMAGE_MAX: i64 = 1_000;
/// Most resource tags of a repository (TAG-20).
pub const RESOURCE_TAGS_MAX: usize = 50;
