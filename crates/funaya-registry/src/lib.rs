//! The hall of repositories, images, layers and tags: what operations mean.
//!
//! Every public method takes a permit that only the gate makes, so a route
//! without a check does not compile. Both doors call the same methods, so a
//! Docker push and an `aws ecr put-image` are the same operation (V2-06).
//!
//! Never: HTTP, SQL, files, a clock (the permit carries the time of the call).

mod collecting;
mod conversions;
mod damage;
mod error;
mod images;
mod layers;
mod lifecycle;
mod policies;
mod pulls;
mod repositories;
mod shapes;
mod undo;
mod upkeep;
mod uploads;

use std::sync::Arc;

use funaya_ports::{
    Random, blobs::BlobStore, collecting::CollectingStore, identity::Directory, lifecycle::LifecycleStore,
    meta::MetaStore, meta::Spans, undo::UndoStore,
};
use funaya_rules::quotas::Quotas;
use funaya_types::{Endpoints, Registry as RegistryName, RepositoryName, Wildcard};

pub use error::{Error, ImageRef, Place};
pub use funaya_ports::{
    StoreError,
    lifecycle::{Attached, Due, Preview, PreviewStatus},
    meta::{DeleteOutcome, DeleteTarget, Image, ImagePlace, Repository},
    undo::{Deleted, DeletedPlace, Restored},
};
pub use funaya_rules::{format::Accepted, jws::Signer};
pub use funaya_types::Mutability;
pub use images::{Listed, Manifest, NewManifest, Pulled, Referrer, Referrers, Stored};
pub use layers::{Availability, Readable};
pub use lifecycle::{LifecycleRun, PreviewPage, preview_token};
pub use repositories::NewRepository;
pub use upkeep::{AT_ONCE, Fault, Pace, Tidied};
pub use uploads::{Body, BodyError, Part};

/// What the hall is made of.
pub struct Parts {
    /// Rows.
    pub meta: Arc<dyn MetaStore>,
    /// What is collected.
    pub collecting: Arc<dyn CollectingStore>,
    /// What was deleted.
    pub undo: Arc<dyn UndoStore>,
    /// Lifecycle policies.
    pub lifecycle: Arc<dyn LifecycleStore>,
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
    /// What accounts may hold.
    pub quotas: Arc<Quotas>,
    /// Which repositories a push may create.
    pub create_on_push: Vec<Wildcard>,
}

/// All registries of this installation.
pub struct Registries {
    parts: Parts,
    converter: conversions::Converter,
    locks: uploads::Locks,
    damage: damage::Damage,
    pulls: pulls::Pulls,
}

impl Registries {
    /// Opens the hall. `signer`: of manifests that are converted to schema 1 (MAN-19).
    pub fn new(parts: Parts, signer: Signer) -> Self {
        Self {
            parts,
            converter: conversions::Converter::new(signer),
            locks: uploads::Locks::default(),
            damage: damage::Damage::default(),
            pulls: pulls::Pulls::default(),
        }
    }

    /// What clients call us by.
    pub fn endpoints(&self) -> &Endpoints {
        &self.parts.endpoints
    }

    /// Whether a push may create this repository (`FUNAYA_CREATE_ON_PUSH`).
    pub fn creates_on_push(&self, name: &RepositoryName) -> bool {
        self.parts.create_on_push.iter().any(|pattern| pattern.matches(name.as_str()))
    }

    fn place(&self, registry: &RegistryName, repository: &RepositoryName) -> Place {
        Place { registry: registry.clone(), repository: repository.clone() }
    }
}
