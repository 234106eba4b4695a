//! Operations, and the ECR actions that each one needs (API-73).

use funaya_gate::{
    Action as _, Operation as Allowed,
    action::{
        BatchCheckLayerAvailability, BatchDeleteImage, BatchGetImage, CompleteLayerUpload, CreateRepository,
        DeleteLifecyclePolicy, DeleteRegistryPolicy, DeleteRepository, DeleteRepositoryPolicy,
        DeregisterPullTimeUpdateExclusion, DescribeImages, DescribeRegistry, DescribeRepositories,
        GetAuthorizationToken, GetDownloadUrlForLayer, GetLifecyclePolicy, GetLifecyclePolicyPreview,
        GetRegistryPolicy, GetRepositoryPolicy, InitiateLayerUpload, ListImageReferrers, ListImages,
        ListPullTimeUpdateExclusions, ListTagsForResource, PutImage, PutImageTagMutability, PutLifecyclePolicy,
        PutRegistryPolicy, RegisterPullTimeUpdateExclusion, SetRepositoryPolicy, StartLifecyclePolicyPreview,
        TagResource, UntagResource, UploadLayerPart,
    },
};
use funaya_wire::ecr::Operation;

use crate::{
    organizations,
    query::{iam, sts},
    undo,
};

/// The actions of a built operation; `None`: known, but answered with an honest error (API-72).
pub(crate) fn actions(operation: Operation) -> Option<&'static [Allowed]> {
    Some(match operation {
        Operation::BatchCheckLayerAvailability => &[BatchCheckLayerAvailability::OPERATION],
        Operation::BatchDeleteImage => &[BatchDeleteImage::OPERATION],
        Operation::BatchGetImage => &[BatchGetImage::OPERATION],
        Operation::CompleteLayerUpload => &[CompleteLayerUpload::OPERATION],
        Operation::CreateRepository => &[CreateRepository::OPERATION, TagResource::OPERATION],
        Operation::DeleteRepository => &[DeleteRepository::OPERATION],
        Operation::DescribeImages => &[DescribeImages::OPERATION],
        Operation::DescribeRegistry => &[DescribeRegistry::OPERATION],
        Operation::DescribeRepositories => &[DescribeRepositories::OPERATION],
        Operation::GetAuthorizationToken => &[GetAuthorizationToken::OPERATION],
        Operation::GetDownloadUrlForLayer => &[GetDownloadUrlForLayer::OPERATION],
        Operation::InitiateLayerUpload => &[InitiateLayerUpload::OPERATION],
        Operation::ListImageReferrers => &[ListImageReferrers::OPERATION],
        Operation::ListImages => &[ListImages::OPERATION],
        Operation::ListTagsForResource => &[ListTagsForResource::OPERATION],
        Operation::PutImage => &[PutImage::OPERATION],
        Operation::PutImageTagMutability => &[PutImageTagMutability::OPERATION],
        Operation::TagResource => &[TagResource::OPERATION],
        Operation::UntagResource => &[UntagResource::OPERATION],
        Operation::DeleteRegistryPolicy => &[DeleteRegistryPolicy::OPERATION],
        Operation::DeleteRepositoryPolicy => &[DeleteRepositoryPolicy::OPERATION],
        Operation::GetRegistryPolicy => &[GetRegistryPolicy::OPERATION],
        Operation::GetRepositoryPolicy => &[GetRepositoryPolicy::OPERATION],
        Operation::PutRegistryPolicy => &[PutRegistryPolicy::OPERATION],
        Operation::SetRepositoryPolicy => &[SetRepositoryPolicy::OPERATION],
        Operation::DeleteLifecyclePolicy => &[DeleteLifecyclePolicy::OPERATION],
        Operation::GetLifecyclePolicy => &[GetLifecyclePolicy::OPERATION],
        Operation::GetLifecyclePolicyPreview => &[GetLifecyclePolicyPreview::OPERATION],
        Operation::PutLifecyclePolicy => &[PutLifecyclePolicy::OPERATION],
        Operation::StartLifecyclePolicyPreview => &[StartLifecyclePolicyPreview::OPERATION],
        Operation::UploadLayerPart => &[UploadLayerPart::OPERATION],
        Operation::DeregisterPullTimeUpdateExclusion => &[DeregisterPullTimeUpdateExclusion::OPERATION],
        Operation::ListPullTimeUpdateExclusions => &[ListPullTimeUpdateExclusions::OPERATION],
        Operation::RegisterPullTimeUpdateExclusion => &[RegisterPullTimeUpdateExclusion::OPERATION],
        Operation::BatchGetRepositoryScanningConfiguration
        | Operation::CreatePullThroughCacheRule
        | Operation::CreateRepositoryCreationTemplate
        | Operation::DeletePullThroughCacheRule
        | Operation::DeleteRepositoryCreationTemplate
        | Operation::DeleteSigningConfiguration
        | Operation::DescribeImageReplicationStatus
        | Operation::DescribeImageScanFindings
        | Operation::DescribeImageSigningStatus
        | Operation::DescribePullThroughCacheRules
        | Operation::DescribeRepositoryCreationTemplates
        | Operation::GetAccountSetting
        | Operation::GetRegistryScanningConfiguration
        | Operation::GetSigningConfiguration
        | Operation::PutAccountSetting
        | Operation::PutImageScanningConfiguration
        | Operation::PutRegistryScanningConfiguration
        | Operation::PutReplicationConfiguration
        | Operation::PutSigningConfiguration
        | Operation::StartImageScan
        | Operation::UpdateImageStorageClass
        | Operation::UpdatePullThroughCacheRule
        | Operation::UpdateRepositoryCreationTemplate
        | Operation::ValidatePullThroughCacheRule => return None,
    })
}

/// Whether an API has an operation of this name, for settings.
pub fn is_operation(name: &str) -> bool {
    use funaya_wire::{iam, organizations, sts};
    Operation::parse(name).is_some()
        || iam::Operation::parse(name).is_some()
        || sts::Operation::parse(name).is_some()
        || organizations::Operation::parse(name).is_some()
        || undo::is_operation(name)
}

/// The table of operations and actions as text, one line each: a golden file checks it.
pub fn route_table() -> String {
    let ecr: String = Operation::ALL
        .iter()
        .map(|operation| {
            let cell = match actions(*operation) {
                Some(actions) => actions.iter().map(|a| a.action().into_owned()).collect::<Vec<_>>().join(", "),
                None => format!("ecr:{} (not built: answers an error)", operation.name()),
            };
            format!("| `{}` | {cell} |\n", operation.name())
        })
        .collect();
    let table = |name: &str, rows: String| format!("\n## {name} API\n\n| Operation | Actions |\n| --- | --- |\n{rows}");
    let others = [
        ("IAM", iam::table()),
        ("STS", sts::table()),
        ("Organizations", organizations::table()),
        ("Funaya", undo::table()),
    ];
    others.into_iter().fold(ecr, |all, (name, rows)| all + &table(name, rows))
}
