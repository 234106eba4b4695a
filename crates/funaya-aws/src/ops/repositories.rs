//! Repositories (02-repositories).

use std::sync::Arc;

use bytes::Bytes;
use funaya_gate::{
    Permit, Scope, Tagged,
    action::{CreateRepository, DeleteRepository, DescribeRepositories, PutImageTagMutability, TagResource},
};
use funaya_registry::{Mutability, NewRepository, Repository};
use funaya_types::{Registry, Wildcard};
use funaya_wire::{
    EpochSeconds,
    ecr::{
        self, CreateRepositoryRequest, CreateRepositoryResponse, DeleteRepositoryRequest, DeleteRepositoryResponse,
        DescribeRepositoriesRequest, DescribeRepositoriesResponse, EncryptionConfiguration, EncryptionType,
        ImageScanningConfiguration, ImageTagMutability, ImageTagMutabilityExclusionFilter,
        ImageTagMutabilityExclusionFilterType, PutImageTagMutabilityRequest, PutImageTagMutabilityResponse,
    },
};

use crate::{
    answer::json,
    door::{Door, Visit, repository_name},
    fail::Fail,
    ops::tags::{pairs, resource_tags},
    paging::{self, Paging},
};

/// Most `*` of a tag filter. Source: ECR user guide, "Image tag mutability".
const FILTER_STARS_MAX: usize = 2;

/// API-05
pub(crate) async fn create(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = CreateRepositoryRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let tags = request.tags.unwrap_or_default();
    let tagged = |name| Tagged { tags: pairs(&tags), ..Tagged::plain(name) };
    let permit: Permit<CreateRepository> = door.permit(visit, &registry, tagged(name.clone())).await?;
    if !tags.is_empty() {
        let _: Permit<TagResource> = door.permit(visit, &registry, tagged(name)).await?;
    }
    let filters = request.image_tag_mutability_exclusion_filters.as_deref();
    let new = NewRepository {
        mutability: mutability(request.image_tag_mutability.unwrap_or(ImageTagMutability::Mutable), filters)?,
        scan_on_push: request.image_scanning_configuration.and_then(|scan| scan.scan_on_push).unwrap_or_default(),
        tags: resource_tags(&tags)?,
    };
    if let Some(encryption) = &request.encryption_configuration {
        check_encryption(encryption)?;
    }
    let made = door.hall.create_repository(&permit, new).await;
    let made = door.checked(&permit, made).await?;
    Ok(json(&CreateRepositoryResponse { repository: Some(shape(door, &registry, &made)) }))
}

/// API-11
pub(crate) async fn describe(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = DescribeRepositoriesRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let account = registry.account.to_string();
    let paging = Paging::new(&door.tokens, "DescribeRepositories", &[&account, registry.region.as_str()]);
    let limit = paging::limit(request.max_results, paging::DEFAULT);
    let scope = match &request.repository_names {
        None => Scope::All,
        Some(_) if request.max_results.is_some() || request.next_token.is_some() => {
            return Err(Fail::parameter("repositoryNames", "must not be used with maxResults or nextToken"));
        }
        Some(names) => Scope::Named(names.iter().map(|name| repository_name(name)).collect::<Result<_, _>>()?),
    };
    let is_page = matches!(scope, Scope::All);
    let permit: Permit<DescribeRepositories> = door.permit(visit, &registry, scope).await?;
    let after = paging.open(request.next_token.as_deref())?;
    let found = door.hall.describe_repositories(&permit, after.as_deref(), limit + 1).await;
    let mut found = door.checked(&permit, found).await?;
    door.gate.record_read(&permit).await;
    let mut next_token = None;
    if is_page && found.len() > limit as usize {
        found.truncate(limit as usize);
        next_token = found.last().map(|last| paging.seal(last.name.as_str()));
    }
    let repositories = found.iter().map(|repository| shape(door, &registry, repository)).collect();
    Ok(json(&DescribeRepositoriesResponse { repositories: Some(repositories), next_token }))
}

/// API-07
pub(crate) async fn delete(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = DeleteRepositoryRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Arc<Permit<DeleteRepository>> = Arc::new(door.permit(visit, &registry, name).await?);
    let deleted = door.hall.delete_repository(&permit, request.force.unwrap_or_default()).await;
    let deleted = door.checked(&permit, deleted).await?;
    Ok(json(&DeleteRepositoryResponse { repository: Some(shape(door, &registry, &deleted)) }))
}

/// API-22
pub(crate) async fn put_tag_mutability(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = PutImageTagMutabilityRequest::from_json(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<PutImageTagMutability> = door.permit(visit, &registry, name).await?;
    let filters = request.image_tag_mutability_exclusion_filters.as_deref();
    let mutability = mutability(request.image_tag_mutability, filters)?;
    let put = door.hall.put_tag_mutability(&permit, mutability.clone()).await;
    door.checked(&permit, put).await?;
    Ok(json(&PutImageTagMutabilityResponse {
        registry_id: Some(registry.account.to_string()),
        repository_name: Some(request.repository_name),
        image_tag_mutability: mutability_shape(&mutability),
        image_tag_mutability_exclusion_filters: filter_shapes(&mutability),
    }))
}

/// A setting and its exclusion filters must go together (IMG-85).
fn mutability(
    value: ImageTagMutability,
    filters: Option<&[ImageTagMutabilityExclusionFilter]>,
) -> Result<Mutability, Fail> {
    let filters: Vec<Wildcard> =
        filters.into_iter().flatten().map(|filter| Wildcard::new(filter.filter.as_str())).collect();
    if let Some(filter) = filters.iter().find(|filter| filter.stars() > FILTER_STARS_MAX) {
        let text = format!("the filter '{filter}' has more than {FILTER_STARS_MAX} wildcards");
        return Err(Fail::parameter("imageTagMutabilityExclusionFilters", &text));
    }
    let text = "must be given with a setting WITH_EXCLUSION, and only with one";
    Mutability::new(value.as_str(), filters).ok_or_else(|| Fail::parameter("imageTagMutabilityExclusionFilters", text))
}

fn mutability_shape(mutability: &Mutability) -> Option<ImageTagMutability> {
    ImageTagMutability::parse(mutability.as_str())
}

fn filter_shapes(mutability: &Mutability) -> Option<Vec<ImageTagMutabilityExclusionFilter>> {
    let shape = |filter: &Wildcard| ImageTagMutabilityExclusionFilter {
        filter_type: ImageTagMutabilityExclusionFilterType::Wildcard,
        filter: filter.to_string(),
    };
    let shapes: Vec<_> = mutability.filters().iter().map(shape).collect();
    (!shapes.is_empty()).then_some(shapes)
}

/// Only what is really done is accepted: `AES256`, which every layer gets (REPO-15).
fn check_encryption(encryption: &EncryptionConfiguration) -> Result<(), Fail> {
    match encryption.encryption_type {
        EncryptionType::Aes256 if encryption.kms_key.is_none() => Ok(()),
        EncryptionType::Aes256 => Err(Fail::parameter("encryptionConfiguration.kmsKey", "must be null for AES256")),
        _ => Err(Fail::parameter(
            "encryptionConfiguration.encryptionType",
            "must satisfy enum value set: [AES256]: encryption with KMS keys is not available",
        )),
    }
}

fn shape(door: &Door, registry: &Registry, repository: &Repository) -> ecr::Repository {
    ecr::Repository {
        repository_arn: Some(registry.repository_arn(&repository.name).to_string()),
        registry_id: Some(registry.account.to_string()),
        repository_name: Some(repository.name.to_string()),
        repository_uri: Some(door.hall.endpoints().repository_uri(registry, &repository.name)),
        created_at: Some(EpochSeconds(repository.created_at.epoch_seconds())),
        image_tag_mutability: mutability_shape(&repository.mutability),
        image_tag_mutability_exclusion_filters: filter_shapes(&repository.mutability),
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(repository.scan_on_push) }),
        encryption_configuration: Some(EncryptionConfiguration {
            encryption_type: EncryptionType::Aes256,
            kms_key: None,
        }),
    }
}
