//! The hall of repositories, images, layers and tags: what operations mean.
//!
//! Every public method takes a permit that only the gate makes, so a route
//! without a check does not compile. Both doors call the same methods, so a
//! Docker push and an `aws ecr put-image` are the same operation (V2-06).
//!
//! Never: HTTP, SQL, files, a clock (the permit carries the time of the call).

mod damage;
mod error;
mod images;
mod layers;
mod policies;
mod repositories;
mod shapes;
mod upkeep;
mod uploads;

use std::sync::Arc;

use funaya_ports::{Random, blobs::BlobStore, identity::Directory, meta::MetaStore, meta::Spans};
use funaya_types::{Endpoints, Registry as RegistryName, RepositoryName};

pub use error::{Error, ImageRef, Place};
pub use funaya_ports::{
    StoreError,
    blobs::StoredBlob,
    meta::{DeleteOutcome, DeleteTarget, Image, ImagePlace, Layer, Mutability, Repository},
};
pub use images::{Listed, Manifest, NewManifest, Referrer, Referrers, Stored};
pub use layers::Availability;
pub use repositories::NewRepository;
pub use upkeep::{Fault, Tidied};
pub use uploads::{Body, BodyError, Part};

/// What the hall is made of.
pub struct Parts {
    /// Rows.
    pub meta: Arc<dyn MetaStore>,
    /// Principals, and policies of resources.
    pub directory: Arc<dyn Directory>,
    /// Bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// Ids.
    pub random: Arc<dyn Random>,
    /// What clients call us by.
    pub endpoints: Endpoints,
    /// How long things are kept.
    pub spans: Spans,
    /// Most images of a repository (QUOTA-02).
    pub images_max: i64,
    /// Which repositories a push may create.
    pub create_on_push: Vec<Pattern>,
}

/// All registries of this installation.
pub struct Registries {
    parts: Parts,
    locks: uploads::Locks,
    damage: damage::Damage,
}

impl Registries {
    /// Opens the hall.
    pub fn new(parts: Parts) -> Self {
        Self { parts, locks: uploads::Locks::default(), damage: damage::Damage::default() }
    }

    /// What clients call us by.
    pub fn endpoints(&self) -> &Endpoints {
        &self.parts.endpoints
    }

    /// Whether a push may create this repository (`FUNAYA_CREATE_ON_PUSH`).
    pub fn creates_on_push(&self, name: &RepositoryName) -> bool {
        self.parts.create_on_push.iter().any(|pattern| pattern.matches(name))
    }

    fn place(&self, registry: &RegistryName, repository: &RepositoryName) -> Place {
        Place { registry: registry.clone(), repository: repository.clone() }
    }
}

/// A repository name in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes the pattern's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole name matches. Linear but for the number of stars.
    pub fn matches(&self, name: &RepositoryName) -> bool {
        let mut pieces = self.0.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| name.as_str().strip_prefix(first)) else { return false };
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("team/*", "team/web", true),
            ("team/*", "team2/web", false),
            ("*", "any", true),
            ("web", "web", true),
            ("web", "web2", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("ab*ba", "aba", false),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(Pattern::new(pattern).matches(&name.parse().unwrap()), want, "{pattern} {name}");
        }
    }
}
