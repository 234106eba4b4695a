//! Bringing back what was deleted (D6): images, tags' earlier targets, whole repositories.

use funaya_gate::Upkeep;
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
            let page = self.parts.undo.deleted(registry, after, now, ROUND).await.map_err(only_store)?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.place;
            all.extend(page);
        }
    }

    /// Brings an image back, with the tags that went with it and are free.
    pub async fn restore_image(
        &self,
        _: Upkeep,
        place: &Place,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Restored, Error> {
        let record = self.operator_record(place, "RestoreImage", json!({"imageDigest": digest.to_string()}), now);
        let limits = RestoreLimits { now, images_max: self.parts.images_max };
        let done = self.parts.undo.restore_image(&place.registry, &place.repository, digest, limits, record).await;
        done.map_err(|error| Context::of(place).quota(self.parts.images_max).error(error))
    }

    /// Brings a repository back, with its settings, policies and images; tells when it had been deleted.
    pub async fn restore_repository(&self, _: Upkeep, place: &Place, now: Timestamp) -> Result<Timestamp, Error> {
        let record = self.operator_record(place, "RestoreRepository", json!({}), now);
        let done = self.parts.undo.restore_repository(&place.registry, &place.repository, now, record).await;
        done.map_err(|error| Context::of(place).error(error))
    }

    /// What a tag named at a time; `None`: nothing.
    pub async fn resolve_tag(
        &self,
        _: Upkeep,
        place: &Place,
        tag: &ImageTag,
        at: Timestamp,
    ) -> Result<Option<Digest>, Error> {
        let history = self.tag_history(place, tag).await?;
        Ok(history.iter().rev().find(|(since, _)| *since <= at).and_then(|(_, target)| *target))
    }

    /// Lets a tag name again what it named at a time; without one, what it named before its last
    /// change. An image that was deleted meanwhile comes back first.
    pub async fn restore_tag(
        &self,
        upkeep: Upkeep,
        place: &Place,
        tag: &ImageTag,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Digest, Error> {
        let target = match at {
            Some(at) => self.resolve_tag(upkeep, place, tag, at).await?,
            None => before_last_change(&self.tag_history(place, tag).await?),
        };
        let digest = target.ok_or_else(|| Error::NothingDeleted(place.clone()))?;
        match self.restore_image(upkeep, place, &digest, now).await {
            // It is there.
            Ok(_) | Err(Error::NothingDeleted(_)) => {}
            Err(error) => return Err(error),
        }
        let parameters = json!({"imageTag": tag.as_str(), "imageDigest": digest.to_string()});
        let record = self.operator_record(place, "RestoreTag", parameters, now);
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
