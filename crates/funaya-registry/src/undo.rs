//! Bringing back what was deleted (D6): images, tags' earlier targets, whole repositories.

use funaya_gate::{
    Permit, Upkeep,
    action::{ListDeleted, ResolveTag, RestoreImage, RestoreRepository, RestoreTag},
};
use funaya_ports::{
    audit,
    undo::{Deleted, DeletedPlace, RestoreLimits, Restored},
};
use funaya_types::{Digest, ImageTag, Registry, RepositoryName, Timestamp};
use serde_json::{Value, json};

use crate::{Error, Place, Registries, error::Context, repositories::only_store};

const ROUND: u32 = 200;
/// Changes of a tag that are looked at.
const HISTORY_MAX: u32 = 10_000;

impl Registries {
    /// What was deleted in a registry and can be brought back, oldest first.
    pub async fn deleted(&self, _: Upkeep, registry: &Registry, now: Timestamp) -> Result<Vec<Deleted>, Error> {
        let (mut all, mut after) = (Vec::new(), DeletedPlace::default());
        loop {
            let (page, next) = self.parts.undo.deleted(registry, after, now, ROUND).await.map_err(only_store)?;
            all.extend(page);
            match next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    /// A page of what was deleted in a registry, oldest first, and where the next begins.
    pub async fn deleted_page(
        &self,
        permit: &Permit<ListDeleted>,
        after: DeletedPlace,
        limit: u32,
    ) -> Result<(Vec<Deleted>, Option<DeletedPlace>), Error> {
        self.parts.undo.deleted(permit.registry(), after, permit.now(), limit).await.map_err(only_store)
    }

    /// Brings an image back, with the tags that went with it and are free.
    pub async fn restore_image(
        &self,
        _: Upkeep,
        place: &Place,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Restored, Error> {
        self.bring_back(place, digest, now, self.image_record(place, digest, now)).await
    }

    /// The same for a caller.
    pub async fn restore_image_for(&self, permit: &Permit<RestoreImage>, digest: &Digest) -> Result<Restored, Error> {
        let place = self.place(permit.registry(), permit.target());
        let record = permit.record(json!({"imageDigest": digest.to_string()}));
        self.bring_back(&place, digest, permit.now(), record).await
    }

    async fn bring_back(
        &self,
        place: &Place,
        digest: &Digest,
        now: Timestamp,
        record: audit::Batch,
    ) -> Result<Restored, Error> {
        let images_max = self.parts.quotas.images(&place.registry.account);
        let limits = RestoreLimits { now, images_max };
        let done = self.parts.undo.restore_image(&place.registry, &place.repository, digest, limits, record).await;
        done.map_err(|error| Context::of(place).quota(images_max).error(error))
    }

    fn image_record(&self, place: &Place, digest: &Digest, now: Timestamp) -> audit::Batch {
        self.operator_record(place, "RestoreImage", json!({"imageDigest": digest.to_string()}), now)
    }

    /// Brings a repository back, with its settings, policies and images; tells when it had been deleted.
    pub async fn restore_repository(&self, _: Upkeep, place: &Place, now: Timestamp) -> Result<Timestamp, Error> {
        self.bring_repository_back(place, now, self.operator_record(place, "RestoreRepository", json!({}), now)).await
    }

    /// The same for a caller.
    pub async fn restore_repository_for(&self, permit: &Permit<RestoreRepository>) -> Result<Timestamp, Error> {
        let place = self.place(permit.registry(), permit.target());
        let record = permit.record(json!({"repositoryName": place.repository.as_str()}));
        self.bring_repository_back(&place, permit.now(), record).await
    }

    async fn bring_repository_back(
        &self,
        place: &Place,
        now: Timestamp,
        record: audit::Batch,
    ) -> Result<Timestamp, Error> {
        let max = self.parts.quotas.repositories(&place.registry.account);
        let done = self.parts.undo.restore_repository(&place.registry, &place.repository, now, max, record).await;
        done.map_err(|error| Context::of(place).quota(max).error(error))
    }

    /// What a tag named at a time; `None`: nothing.
    pub async fn resolve_tag(
        &self,
        _: Upkeep,
        place: &Place,
        tag: &ImageTag,
        at: Timestamp,
    ) -> Result<Option<Digest>, Error> {
        self.tag_at(place, tag, at).await
    }

    /// The same for a caller.
    pub async fn resolve_tag_for(
        &self,
        permit: &Permit<ResolveTag>,
        tag: &ImageTag,
        at: Timestamp,
    ) -> Result<Option<Digest>, Error> {
        self.tag_at(&self.place(permit.registry(), permit.target()), tag, at).await
    }

    async fn tag_at(&self, place: &Place, tag: &ImageTag, at: Timestamp) -> Result<Option<Digest>, Error> {
        let history = self.tag_history(place, tag).await?;
        Ok(history.iter().rev().find(|(since, _)| *since <= at).and_then(|(_, target)| *target))
    }

    /// Lets a tag name again what it named at a time; without one, what it named before its last
    /// change. An image that was deleted meanwhile comes back first.
    pub async fn restore_tag(
        &self,
        _: Upkeep,
        place: &Place,
        tag: &ImageTag,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Digest, Error> {
        let record = |answer| self.operator_record(place, "RestoreTag", answer, now);
        self.point_back(place, tag, at, now, record).await
    }

    /// The same for a caller.
    pub async fn restore_tag_for(
        &self,
        permit: &Permit<RestoreTag>,
        tag: &ImageTag,
        at: Option<Timestamp>,
    ) -> Result<Digest, Error> {
        let place = self.place(permit.registry(), permit.target());
        self.point_back(&place, tag, at, permit.now(), |answer| permit.record(answer)).await
    }

    async fn point_back(
        &self,
        place: &Place,
        tag: &ImageTag,
        at: Option<Timestamp>,
        now: Timestamp,
        record: impl FnOnce(Value) -> audit::Batch,
    ) -> Result<Digest, Error> {
        let target = match at {
            Some(at) => self.tag_at(place, tag, at).await?,
            None => before_last_change(&self.tag_history(place, tag).await?),
        };
        let digest = target.ok_or_else(|| Error::NothingDeleted(place.clone()))?;
        match self.bring_back(place, &digest, now, self.image_record(place, &digest, now)).await {
            // It is there.
            Ok(_) | Err(Error::NothingDeleted(_)) => {}
            Err(error) => return Err(error),
        }
        let record = record(json!({"imageTag": tag.as_str(), "imageDigest": digest.to_string()}));
        let done = self.parts.undo.move_tag(&place.registry, &place.repository, tag, &digest, now, record).await;
        done.map_err(|error| Context::of(place).error(error))?;
        Ok(digest)
    }

    async fn tag_history(&self, place: &Place, tag: &ImageTag) -> Result<Vec<(Timestamp, Option<Digest>)>, Error> {
        let found = self.parts.undo.tag_history(&place.registry, &place.repository, tag, HISTORY_MAX).await;
        found.map_err(|error| Context::of(place).error(error))
    }

    /// The audit record of what an operator does on the server's own machine.
    fn operator_record(&self, place: &Place, name: &str, parameters: Value, now: Timestamp) -> audit::Batch {
        let mut request = json!({
            "registryId": place.registry.account.as_str(), "repositoryName": place.repository.as_str(),
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut request, parameters) {
            all.extend(more);
        }
        let id = self.parts.random.uuid();
        let mut entry = audit::Entry::internal(&place.registry, name, id.clone(), now);
        entry.event.request = request;
        entry.event.resources = vec![place.registry.repository_arn(&place.repository).to_string()];
        entry.event.read_only = false;
        let empty = audit::Batch { registry: place.registry.clone(), at: now, id, body: String::new() };
        // One entry makes one batch.
        audit::pack(vec![entry]).into_iter().next().unwrap_or(empty)
    }

    /// A repository of the registry, for operators.
    pub fn repository_place(&self, _: Upkeep, registry: &Registry, repository: RepositoryName) -> Place {
        Place { registry: registry.clone(), repository }
    }
}

/// What a tag named before it came to what it names now.
fn before_last_change(history: &[(Timestamp, Option<Digest>)]) -> Option<Digest> {
    let (_, now) = history.last()?;
    history.iter().rev().map(|(_, target)| target).find(|target| *target != now && target.is_some()).copied()?
}
