//! The operations: parse, let in, call the hall, convert.

mod images;
mod layers;
mod lifecycle;
mod policies;
mod pull;
mod pull_times;
mod registry;
mod repositories;
mod tags;

use bytes::Bytes;
use funaya_wire::ecr::Operation;

use crate::{
    door::{Door, Visit},
    fail::Fail,
};

/// Runs a built operation. Those that are not built never come here.
pub(crate) async fn dispatch(door: &Door, operation: Operation, visit: &Visit) -> Result<Bytes, Fail> {
    match operation {
        Operation::BatchCheckLayerAvailability => layers::batch_check(door, visit).await,
        Operation::BatchDeleteImage => images::batch_delete(door, visit).await,
        Operation::BatchGetImage => pull::batch_get(door, visit).await,
        Operation::CompleteLayerUpload => layers::complete(door, visit).await,
        Operation::CreateRepository => repositories::create(door, visit).await,
        Operation::DeleteLifecyclePolicy => lifecycle::delete(door, visit).await,
        Operation::DeleteRegistryPolicy => policies::delete_registry(door, visit).await,
        Operation::DeleteRepository => repositories::delete(door, visit).await,
        Operation::DeleteRepositoryPolicy => policies::delete(door, visit).await,
        Operation::DescribeImages => images::describe(door, visit).await,
        Operation::DescribeRegistry => registry::describe(door, visit).await,
        Operation::DescribeRepositories => repositories::describe(door, visit).await,
        Operation::GetAuthorizationToken => registry::authorization_token(door, visit).await,
        Operation::GetDownloadUrlForLayer => pull::download_url(door, visit).await,
        Operation::GetLifecyclePolicy => lifecycle::get(door, visit).await,
        Operation::GetLifecyclePolicyPreview => lifecycle::get_preview(door, visit).await,
        Operation::GetRegistryPolicy => policies::get_registry(door, visit).await,
        Operation::GetRepositoryPolicy => policies::get(door, visit).await,
        Operation::InitiateLayerUpload => layers::initiate(door, visit).await,
        Operation::ListImageReferrers => pull::referrers(door, visit).await,
        Operation::ListImages => images::list(door, visit).await,
        Operation::ListTagsForResource => tags::list(door, visit).await,
        Operation::PutImage => images::put(door, visit).await,
        Operation::PutImageTagMutability => repositories::put_tag_mutability(door, visit).await,
        Operation::PutLifecyclePolicy => lifecycle::put(door, visit).await,
        Operation::PutRegistryPolicy => policies::put_registry(door, visit).await,
        Operation::SetRepositoryPolicy => policies::set(door, visit).await,
        Operation::RegisterPullTimeUpdateExclusion => pull_times::register(door, visit).await,
        Operation::DeregisterPullTimeUpdateExclusion => pull_times::deregister(door, visit).await,
        Operation::ListPullTimeUpdateExclusions => pull_times::list(door, visit).await,
        Operation::StartLifecyclePolicyPreview => lifecycle::start_preview(door, visit).await,
        Operation::TagResource => tags::tag(door, visit).await,
        Operation::UntagResource => tags::untag(door, visit).await,
        Operation::UploadLayerPart => layers::upload_part(door, visit).await,
        _ => Err(Fail::unknown_operation()),
    }
}
