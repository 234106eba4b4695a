//! When images were last pulled: gathered in memory, stored now and then; and whose pulls do not count (API-54).
//!
//! A crash forgets the last seconds; the time is told to the minute anyway.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use funaya_gate::{
    Permit, Upkeep,
    action::{DeregisterPullTimeUpdateExclusion, ListPullTimeUpdateExclusions, RegisterPullTimeUpdateExclusion},
};
use funaya_policy::Principal;
use funaya_ports::meta::{self, Image, Refusal};
use funaya_types::{Digest, PrincipalArn, Registry, RepositoryName, Timestamp, limits};
use serde_json::json;

use crate::{Error, Place, Registries, repositories::only_store};

/// Times of pulls are kept no finer than this.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Pulls that wait to be stored. Beyond, more are not noted until the next time.
const WAITING_MAX: usize = 100_000;

/// Who pulled which image. Nobody who could be excluded: `None`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Pull {
    registry: Registry,
    repository: RepositoryName,
    digest: Digest,
    principal: Option<Box<str>>,
}

#[derive(Default)]
pub(crate) struct Pulls(Mutex<HashMap<Pull, Timestamp>>);

impl Pulls {
    pub(crate) fn note(&self, place: &Place, image: &Image, principal: &Principal, at: Timestamp) {
        if image.pulled_at.is_some_and(|before| before.plus(NOTED_EVERY) > at) {
            return;
        }
        let pull = Pull {
            registry: place.registry.clone(),
            repository: place.repository.clone(),
            digest: image.digest,
            principal: principal.iam_arn().map(Into::into),
        };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX || waiting.contains_key(&pull) {
            waiting.insert(pull, at);
        }
    }
}

impl Registries {
    /// Stores when images were last pulled, by principals that are not excluded.
    pub async fn store_pulls(&self, _: Upkeep) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut excluded: HashMap<Registry, BTreeSet<PrincipalArn>> = HashMap::new();
        for registry in waiting.keys().filter(|pull| pull.principal.is_some()).map(|pull| &pull.registry) {
            if !excluded.contains_key(registry) {
                let all = self.exclusions(registry, "", limits::PULL_EXCLUSIONS_MAX).await?;
                excluded.insert(registry.clone(), all.into_iter().collect());
            }
        }
        let counts = |pull: &Pull| match (excluded.get(&pull.registry), &pull.principal) {
            (Some(excluded), Some(principal)) => !excluded.iter().any(|arn| arn.as_str() == &**principal),
            _ => true,
        };
        let counted = waiting.into_iter().filter(|(pull, _)| counts(pull));
        let pulls: Vec<_> = counted.map(|(pull, at)| (pull.registry, pull.repository, pull.digest, at)).collect();
        if pulls.is_empty() {
            return Ok(());
        }
        self.parts.lifecycle.note_pulls(pulls).await.map_err(only_store)
    }

    /// Pulls by this principal no longer count (API-54).
    pub async fn exclude_pulls(
        &self,
        permit: &Permit<RegisterPullTimeUpdateExclusion>,
        principal: &PrincipalArn,
    ) -> Result<Timestamp, Error> {
        let (registry, now) = (permit.registry(), permit.now());
        let record = permit.record(json!({"principalArn": principal.as_str(), "createdAt": now.iso8601()}));
        let done = self.parts.lifecycle.exclude_pulls(registry, principal, now, record).await;
        done.map_err(|error| refused(error, principal))?;
        Ok(now)
    }

    /// Pulls by this principal count again (API-37).
    pub async fn include_pulls(
        &self,
        permit: &Permit<DeregisterPullTimeUpdateExclusion>,
        principal: &PrincipalArn,
    ) -> Result<(), Error> {
        let record = permit.record(json!({"principalArn": principal.as_str()}));
        let done = self.parts.lifecycle.include_pulls(permit.registry(), principal, record).await;
        done.map_err(|error| refused(error, principal))
    }

    /// A page of the principals whose pulls do not count (API-48).
    pub async fn pull_exclusions(
        &self,
        permit: &Permit<ListPullTimeUpdateExclusions>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<PrincipalArn>, Error> {
        self.exclusions(permit.registry(), after, limit).await
    }

    async fn exclusions(&self, registry: &Registry, after: &str, limit: u32) -> Result<Vec<PrincipalArn>, Error> {
        self.parts.lifecycle.pull_exclusions(registry, after, limit).await.map_err(only_store)
    }
}

fn refused(error: meta::Error, principal: &PrincipalArn) -> Error {
    match error {
        meta::Error::Refused(Refusal::ExclusionExists) => Error::ExclusionExists(principal.clone()),
        meta::Error::Refused(Refusal::NoExclusion) => Error::NoExclusion(principal.clone()),
        meta::Error::Refused(Refusal::ExclusionQuota) => Error::ExclusionQuota,
        other => only_store(other),
    }
}
