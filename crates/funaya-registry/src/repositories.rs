//! Repositories and their labels (02-repositories, 04-repository-tags).

use std::sync::Arc;

use funaya_gate::{
    Permit, Scope,
    action::{
        CreateRepository, DeleteRepository, DescribeRepositories, ListTagsForResource, PutImageTagMutability,
        TagResource, UntagResource,
    },
};
use funaya_ports::meta::{self, Repository};
use funaya_types::{Mutability, RepositoryName, ResourceTag};
use serde_json::{Value, json};

use crate::{Error, Registries, error::Context, shapes};

/// Settings of a repository to be made (REPO-10).
#[derive(Clone, Debug)]
pub struct NewRepository {
    /// Whether its tags may move.
    pub mutability: Mutability,
    /// Whether a push asks for a scan.
    pub scan_on_push: bool,
    /// Its labels.
    pub tags: Vec<ResourceTag>,
}

impl Default for NewRepository {
    /// ECR's defaults (REPO-11).
    fn default() -> Self {
        Self { mutability: Mutability::Mutable, scan_on_push: false, tags: Vec::new() }
    }
}

impl Registries {
    /// Makes a repository, with its labels or not at all (REPO-16).
    pub async fn create_repository(
        &self,
        permit: &Permit<CreateRepository>,
        new: NewRepository,
    ) -> Result<Repository, Error> {
        let place = self.place(permit.registry(), &permit.target().name);
        let repository = Repository {
            name: place.repository.clone(),
            created_at: permit.now(),
            mutability: new.mutability.clone(),
            scan_on_push: new.scan_on_push,
        };
        let answer = shapes::repository(&self.parts.endpoints, permit.registry(), &repository);
        let repositories_max = self.parts.quotas.repositories(&place.registry.account);
        let command = meta::CreateRepository {
            registry: place.registry.clone(),
            repository: repository.clone(),
            tags: new.tags,
            row_id: self.parts.random.row_id(permit.now()),
            repositories_max,
            audit: permit.record(answer),
        };
        let made = self.parts.meta.create_repository(command).await;
        made.map_err(|error| Context::of(&place).quota(repositories_max).error(error))?;
        Ok(repository)
    }

    /// Named repositories in the order named, or a page of all by name (REPO-22, REPO-25).
    pub async fn describe_repositories(
        &self,
        permit: &Permit<DescribeRepositories>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Repository>, Error> {
        match permit.target() {
            Scope::All => {
                let page = self.parts.meta.repositories(permit.registry(), after, limit).await;
                page.map_err(only_store)
            }
            Scope::Named(names) => {
                let mut found = Vec::with_capacity(names.len());
                for name in names {
                    let one = self.parts.meta.repository(permit.registry(), name).await;
                    let place = self.place(permit.registry(), name);
                    found.push(one.map_err(|error| Context::of(&place).error(error))?);
                }
                Ok(found)
            }
        }
    }

    /// Whether a repository exists, for a push that may create it.
    pub async fn repository_exists(&self, permit: &Permit<CreateRepository>) -> Result<bool, Error> {
        match self.parts.meta.repository(permit.registry(), &permit.target().name).await {
            Ok(_) => Ok(true),
            Err(meta::Error::Refused(meta::Refusal::NoRepository)) => Ok(false),
            Err(error) => Err(only_store(error)),
        }
    }

    /// Deletes a repository; with `force` its images too (REPO-40, REPO-41).
    pub async fn delete_repository(
        &self,
        permit: &Arc<Permit<DeleteRepository>>,
        force: bool,
    ) -> Result<Repository, Error> {
        let place = self.place(permit.registry(), permit.target());
        let (endpoints, recorder) = (self.parts.endpoints.clone(), permit.clone());
        let command = meta::DeleteRepository {
            registry: place.registry.clone(),
            name: place.repository.clone(),
            force,
            now: permit.now(),
            purge_at: permit.now().plus(self.parts.spans.undo),
            audit: Arc::new(move |repository| {
                recorder.record(shapes::repository(&endpoints, recorder.registry(), repository))
            }),
        };
        let deleted = self.parts.meta.delete_repository(command).await;
        deleted.map_err(|error| Context::of(&place).error(error))
    }

    /// Changes tag mutability; existing tags stay (REPO-30, REPO-31).
    pub async fn put_tag_mutability(
        &self,
        permit: &Permit<PutImageTagMutability>,
        mutability: Mutability,
    ) -> Result<(), Error> {
        let place = self.place(permit.registry(), permit.target());
        let mut answer = json!({
            "registryId": place.registry.account.as_str(),
            "repositoryName": place.repository.as_str(),
        });
        shapes::add_mutability(&mut answer, &mutability);
        let record = permit.record(answer);
        let set = self.parts.meta.set_mutability(&place.registry, &place.repository, mutability, record).await;
        set.map_err(|error| Context::of(&place).error(error))
    }

    /// Adds or overwrites labels (TAG-05, TAG-30).
    pub async fn tag_resource(&self, permit: &Permit<TagResource>, tags: Vec<ResourceTag>) -> Result<(), Error> {
        let place = self.place(permit.registry(), &permit.target().name);
        let record = permit.record(Value::Null);
        let done = self.parts.meta.tag_resource(&place.registry, &place.repository, tags, record).await;
        done.map_err(|error| Context::of(&place).error(error))
    }

    /// Removes labels; keys that are not there are no fault (TAG-32).
    pub async fn untag_resource(&self, permit: &Permit<UntagResource>, keys: Vec<String>) -> Result<(), Error> {
        let place = self.place(permit.registry(), &permit.target().name);
        let record = permit.record(Value::Null);
        let done = self.parts.meta.untag_resource(&place.registry, &place.repository, keys, record).await;
        done.map_err(|error| Context::of(&place).error(error))
    }

    /// The labels of a repository (TAG-33).
    pub async fn resource_tags(&self, permit: &Permit<ListTagsForResource>) -> Result<Vec<ResourceTag>, Error> {
        let place = self.place(permit.registry(), permit.target());
        let tags = self.parts.meta.resource_tags(&place.registry, &place.repository).await;
        tags.map_err(|error| Context::of(&place).error(error))
    }

    /// Repository names by byte order: `_catalog`.
    pub async fn catalog(
        &self,
        permit: &Permit<DescribeRepositories>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RepositoryName>, Error> {
        let page = self.describe_repositories(permit, after, limit).await?;
        Ok(page.into_iter().map(|repository| repository.name).collect())
    }
}

/// For reads that no rule can refuse.
pub(crate) fn only_store(error: meta::Error) -> Error {
    match error {
        meta::Error::Store(error) => Error::Store(error),
        meta::Error::Refused(refusal) => {
            Error::Store(funaya_ports::StoreError::failed(format!("unexpected refusal: {refusal:?}")))
        }
    }
}
