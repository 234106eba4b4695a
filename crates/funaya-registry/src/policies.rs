//! Policies of repositories and of registries (03-repository-policies).

use funaya_gate::{
    Action, Gate, Permit,
    action::{
        DeleteRegistryPolicy, DeleteRepositoryPolicy, GetRegistryPolicy, GetRepositoryPolicy, PutRegistryPolicy,
        SetRepositoryPolicy,
    },
    principals::{self, BindError},
};
use funaya_policy::{Document, Kind};
use funaya_ports::{StoreError, identity::BoundPolicy, meta};
use funaya_types::RepositoryName;
use serde_json::{Value, json};

use crate::{
    Registries,
    error::{Context, Error},
    repositories::only_store,
};

impl Registries {
    /// Sets a repository's policy in place of the one it had (POL-20). Without `force` one that
    /// would keep the caller from setting another is refused (POL-21).
    pub async fn set_repository_policy(
        &self,
        gate: &Gate,
        permit: &Permit<SetRepositoryPolicy>,
        text: &str,
        force: bool,
    ) -> Result<(), Error> {
        let place = self.place(permit.registry(), permit.target());
        let policy = self.bind(text, Kind::Repository).await?;
        if !force && !gate.would_allow(permit, &policy).await? {
            return Err(Error::LocksOut);
        }
        let shown = json!({
            "registryId": place.registry.account.as_str(),
            "repositoryName": place.repository.as_str(),
            "policyText": text,
        });
        let set = self.store_policy(permit, Some(permit.target()), Some(&policy), shown).await;
        set.map_err(|error| Context::of(&place).error(error))
    }

    /// A repository's policy (POL-22).
    pub async fn repository_policy(&self, permit: &Permit<GetRepositoryPolicy>) -> Result<String, Error> {
        self.policy_of(permit, permit.target()).await
    }

    /// Deletes a repository's policy and returns it.
    pub async fn delete_repository_policy(&self, permit: &Permit<DeleteRepositoryPolicy>) -> Result<String, Error> {
        let place = self.place(permit.registry(), permit.target());
        let text = self.policy_of(permit, permit.target()).await?;
        let done = self.store_policy(permit, Some(permit.target()), None, Value::Null).await;
        done.map_err(|error| Context::of(&place).error(error))?;
        Ok(text)
    }

    /// Sets the registry's own policy.
    pub async fn put_registry_policy(&self, permit: &Permit<PutRegistryPolicy>, text: &str) -> Result<(), Error> {
        let policy = self.bind(text, Kind::Registry).await?;
        let shown = json!({"registryId": permit.registry().account.as_str(), "policyText": text});
        self.store_policy(permit, None, Some(&policy), shown).await.map_err(only_store)
    }

    /// The registry's own policy.
    pub async fn registry_policy(&self, permit: &Permit<GetRegistryPolicy>) -> Result<String, Error> {
        self.policy_of_registry(permit).await
    }

    /// Deletes the registry's own policy and returns it.
    pub async fn delete_registry_policy(&self, permit: &Permit<DeleteRegistryPolicy>) -> Result<String, Error> {
        let text = self.policy_of_registry(permit).await?;
        self.store_policy(permit, None, None, Value::Null).await.map_err(only_store)?;
        Ok(text)
    }

    async fn bind(&self, text: &str, kind: Kind) -> Result<BoundPolicy, Error> {
        let document = Document::parse(text, kind).map_err(|fault| Error::BadPolicy(fault.reason().to_owned()))?;
        principals::bind(&*self.parts.directory, &document, text).await.map_err(|error| match error {
            BindError::Unknown(arn) => Error::BadPolicy(format!("there is no principal `{arn}`")),
            BindError::Store(error) => error.into(),
        })
    }

    async fn store_policy<A: Action>(
        &self,
        permit: &Permit<A>,
        name: Option<&RepositoryName>,
        policy: Option<&BoundPolicy>,
        shown: Value,
    ) -> meta::Result<()> {
        // Two maps of text always print.
        let json = policy.map(|policy| serde_json::to_string(policy).unwrap_or_default());
        self.parts.meta.set_policy(permit.registry(), name, json, permit.record(shown)).await
    }

    async fn policy_of<A: Action>(&self, permit: &Permit<A>, name: &RepositoryName) -> Result<String, Error> {
        let place = self.place(permit.registry(), name);
        let access = self.parts.directory.repository_access(permit.registry(), name).await.map_err(only_store)?;
        let access = access.ok_or_else(|| Error::NoRepository(place.clone()))?;
        match access.policy {
            Some(json) => self.render(&json, Kind::Repository).await,
            None => Err(Error::NoPolicy(place)),
        }
    }

    async fn policy_of_registry<A: Action>(&self, permit: &Permit<A>) -> Result<String, Error> {
        let registry = permit.registry();
        match self.parts.directory.registry_policy(registry).await.map_err(only_store)? {
            Some(json) => self.render(&json, Kind::Registry).await,
            None => Err(Error::NoRegistryPolicy(registry.account)),
        }
    }

    /// A stored policy as it reads now (POL-15, POL-23).
    async fn render(&self, json: &str, kind: Kind) -> Result<String, Error> {
        let damaged = || StoreError::Damaged("a resource's policy".into());
        let policy: BoundPolicy = serde_json::from_str(json).map_err(|_| damaged())?;
        let document = Document::parse_within(&policy.text, kind, usize::MAX).map_err(|_| damaged())?;
        Ok(principals::render(&*self.parts.directory, &document, &policy).await?)
    }
}
