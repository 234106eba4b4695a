//! Entities that are found by other keys than a name in lower case: devices, providers, what an organization has.

use funaya_ports::identity::{Entity, EntityKey, EntityPage, Kind};
use funaya_types::{AccountId, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Identities, Result};

/// Rows read at once of a whole list.
const BATCH: u32 = 500;

/// An entity and what it holds.
#[derive(Clone, Debug)]
pub struct Row<B> {
    /// The row.
    pub entity: Entity,
    /// Its body.
    pub body: B,
}

impl<B: Serialize> Row<B> {
    /// A new one.
    pub(crate) fn new(place: EntityKey, id: String, body: B, at: Timestamp) -> Self {
        let entity = Entity { place, id, path: "/".into(), body: String::new(), created_at: at, version: 0 };
        Self { entity, body }
    }

    /// The row, to be written.
    pub(crate) fn put(self) -> Entity {
        self.entity.with(&self.body)
    }
}

pub(crate) fn key(account: AccountId, kind: Kind, key: &str) -> EntityKey {
    EntityKey { account, kind, key: key.to_owned() }
}

impl Identities {
    pub(crate) async fn row<B: DeserializeOwned>(&self, place: &EntityKey) -> Result<Option<Row<B>>> {
        Ok(match self.store().entity(place).await? {
            Some(entity) => {
                let body = entity.read()?;
                Some(Row { entity, body })
            }
            None => None,
        })
    }

    /// All of a kind, by key. For kinds of which an account has few.
    pub(crate) async fn rows<B: DeserializeOwned>(&self, account: AccountId, kind: Kind) -> Result<Vec<Row<B>>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = EntityPage { account, kind, path_prefix: "/".into(), after, limit: BATCH };
            let entities = self.store().entities(page).await?;
            let Some(last) = entities.last() else { return Ok(all) };
            after = last.place.key.clone();
            for entity in entities {
                let body = entity.read()?;
                all.push(Row { entity, body });
            }
        }
    }
}
