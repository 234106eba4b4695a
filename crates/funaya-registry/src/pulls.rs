//! When images were last pulled: gathered in memory, stored now and then.
//!
//! A crash forgets the last seconds; the time is told to the minute anyway.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use funaya_gate::Upkeep;
use funaya_ports::meta::Image;
use funaya_types::{Digest, Registry, RepositoryName, Timestamp};

use crate::{Error, Place, Registries, repositories::only_store};

/// Times of pulls are kept no finer than this.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Pulls that wait to be stored. Beyond, more are not noted until the next time.
const WAITING_MAX: usize = 100_000;

type Key = (Registry, RepositoryName, Digest);

#[derive(Default)]
pub(crate) struct Pulls(Mutex<HashMap<Key, Timestamp>>);

impl Pulls {
    pub(crate) fn note(&self, place: &Place, image: &Image, at: Timestamp) {
        if image.pulled_at.is_some_and(|before| before.plus(NOTED_EVERY) > at) {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place.registry.clone(), place.repository.clone(), image.digest);
        if waiting.len() < WAITING_MAX || waiting.contains_key(&key) {
            waiting.insert(key, at);
        }
    }
}

impl Registries {
    /// Stores when images were last pulled.
    pub async fn store_pulls(&self, _: Upkeep) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let pulls = waiting.into_iter().map(|((registry, name, digest), at)| (registry, name, digest, at));
        self.parts.lifecycle.note_pulls(pulls.collect()).await.map_err(only_store)
    }
}
