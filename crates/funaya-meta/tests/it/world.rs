//! A store with a clock, and short words for what tests do with it.

use std::{fmt::Debug, sync::Arc, time::Duration};

use funaya_meta::{Isolation, SqlStore};
use funaya_ports::{
    Clock as _, Random as _,
    audit::Batch,
    blobs::{Progress, StoredBlob},
    collecting::CollectingStore,
    identity::IdentityStore,
    lifecycle::LifecycleStore,
    meta::{
        Collected, CompleteUpload, CreateRepository, CreateUpload, DeleteImages, DeleteOutcome, DeleteRepository,
        DeleteTarget, Effort, Error, Image, Layer, MetaStore, Mount, PutImage, Refusal, Repository, Result, Spans,
        Upload,
    },
    undo::UndoStore,
};
use funaya_testkit::{Database, SeededRandom, TestClock, start_postgres};
use funaya_types::{
    Algorithm, Digest, ImageTag, Mutability, Reference, Registry, RepositoryName, StorageKey, Timestamp, limits,
};

pub const HOUR: Duration = Duration::from_secs(3600);
pub const SECOND: Duration = Duration::from_secs(1);
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A store under test.
pub struct World {
    pub store: Arc<dyn MetaStore>,
    pub identities: Arc<dyn IdentityStore>,
    pub undo: Arc<dyn UndoStore>,
    pub lifecycle: Arc<dyn LifecycleStore>,
    pub collecting: Arc<dyn CollectingStore>,
    pub clock: TestClock,
    pub random: SeededRandom,
    pub registry: Registry,
    pub spans: Spans,
    _home: Home,
}

/// What must live as long as the store.
enum Home {
    Folder(tempfile::TempDir),
    Database(Database),
}

impl World {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqlStore::open_sqlite(&folder.path().join("meta.db")).unwrap();
        Self::over(store, Home::Folder(folder))
    }

    pub async fn postgres(isolation: Isolation) -> Self {
        let database = start_postgres();
        let store = SqlStore::open_postgres(database.url(), isolation).await.unwrap();
        Self::over(store, Home::Database(database))
    }

    fn over(store: SqlStore, home: Home) -> Self {
        let registry = registry("us-east-1");
        let (clock, random) = (TestClock::default(), SeededRandom::new(1));
        let store = Arc::new(store);
        Self {
            store: store.clone(),
            identities: store.clone(),
            undo: store.clone(),
            lifecycle: store.clone(),
            collecting: store,
            clock,
            random,
            registry,
            spans: Spans::default(),
            _home: home,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Another store over the same database, as a restart or another replica has it.
    pub async fn reopened(&self) -> Arc<SqlStore> {
        Arc::new(match &self._home {
            Home::Folder(folder) => SqlStore::open_sqlite(&folder.path().join("meta.db")).unwrap(),
            Home::Database(database) => {
                SqlStore::open_postgres(database.url(), Isolation::ReadCommitted).await.unwrap()
            }
        })
    }

    /// An audit batch that nobody else has.
    pub fn audit(&self) -> Batch {
        let (registry, id) = (self.registry.clone(), self.random.uuid());
        Batch { registry, at: self.now(), id, body: "{}".into() }
    }

    fn row_id(&self) -> i64 {
        self.random.row_id(self.now())
    }

    pub fn repository(&self, at: &str) -> Repository {
        Repository { name: name(at), created_at: self.now(), mutability: Mutability::Mutable, scan_on_push: false }
    }

    pub fn new_repository(&self, at: &str) -> CreateRepository {
        CreateRepository {
            registry: self.registry.clone(),
            repository: self.repository(at),
            tags: Vec::new(),
            row_id: self.row_id(),
            repositories_max: limits::REPOSITORIES_MAX,
            audit: self.audit(),
        }
    }

    pub async fn create(&self, at: &str) {
        self.store.create_repository(self.new_repository(at)).await.unwrap();
    }

    pub fn deletion(&self, at: &str, force: bool) -> DeleteRepository {
        let (audit, now) = (self.audit(), self.now());
        DeleteRepository {
            registry: self.registry.clone(),
            name: name(at),
            force,
            now,
            purge_at: now.plus(self.spans.undo),
            audit: Arc::new(move |_| audit.clone()),
        }
    }

    pub async fn delete_repository(&self, at: &str, force: bool) -> Result<Repository> {
        self.store.delete_repository(self.deletion(at, force)).await
    }

    pub fn new_upload(&self) -> Upload {
        let progress = Progress {
            received: 0,
            algorithm: Algorithm::Sha256,
            hash_state: Vec::new(),
            wrapped_key: vec![7; 60],
            tail: Vec::new(),
        };
        let (id, key) = (self.random.upload_id(), self.random.storage_key(self.now()));
        Upload { id, key, progress, parts: 0, last_part_short: false, part_too_short: false, version: 1 }
    }

    pub async fn try_open_upload(&self, at: &str) -> Result<Upload> {
        let upload = self.new_upload();
        let (registry, expires_at, audit) = (self.registry.clone(), self.now().plus(24 * HOUR), self.audit());
        let command = CreateUpload { registry, repository: name(at), upload: upload.clone(), expires_at, audit };
        self.store.create_upload(command).await.map(|()| upload)
    }

    pub async fn open_upload(&self, at: &str) -> Upload {
        self.try_open_upload(at).await.unwrap()
    }

    pub fn completion(&self, at: &str, upload: &Upload, digest: Digest) -> CompleteUpload {
        let blob = StoredBlob {
            registry: self.registry.clone(),
            key: upload.key.clone(),
            digest,
            size: size_of(&digest),
            wrapped_key: vec![9; 60],
        };
        CompleteUpload {
            registry: self.registry.clone(),
            repository: name(at),
            id: upload.id,
            version: upload.version,
            blob,
            row_id: self.row_id(),
            now: self.now(),
            spans: self.spans,
            refuse_existing: false,
            replaces: None,
            audit: vec![self.audit()],
        }
    }

    /// Uploads a layer; returns the key its bytes were written to.
    pub async fn try_push_layer(&self, at: &str, digest: Digest) -> Result<StorageKey> {
        let upload = self.try_open_upload(at).await?;
        self.store.complete_upload(self.completion(at, &upload, digest)).await?;
        Ok(upload.key)
    }

    pub async fn push_layer(&self, at: &str, digest: Digest) -> StorageKey {
        self.try_push_layer(at, digest).await.unwrap()
    }

    pub async fn layer(&self, at: &str, digest: Digest) -> Result<Option<Layer>> {
        self.store.layer(&self.registry, &name(at), &digest).await
    }

    pub async fn promise(&self, at: &str, digest: Digest) -> Result<Option<Layer>> {
        self.store.promise_layer(&self.registry, &name(at), &digest, self.now(), self.spans).await
    }

    pub fn mounting(&self, from: &str, to: &str, digest: Digest) -> Mount {
        Mount {
            registry: self.registry.clone(),
            target: name(to),
            source: name(from),
            digest,
            now: self.now(),
            spans: self.spans,
            audit: self.audit(),
        }
    }

    pub async fn mount(&self, from: &str, to: &str, digest: Digest) -> Result<()> {
        self.store.mount(self.mounting(from, to, digest)).await
    }

    pub async fn delete_layer(&self, at: &str, digest: Digest) -> Result<()> {
        self.store.delete_layer(&self.registry, &name(at), &digest, self.now(), self.audit()).await
    }

    /// An image of these layers; the manifest's body follows from its digest.
    pub fn image(&self, at: &str, digest: Digest, layers: &[Digest], tags: &[&str]) -> PutImage {
        let mut blobs: Vec<_> =
            layers.iter().map(|layer| (*layer, LAYER.parse().unwrap(), Some(size_of(layer)))).collect();
        blobs.sort();
        PutImage {
            registry: self.registry.clone(),
            repository: name(at),
            digest,
            media_type: MANIFEST.parse().unwrap(),
            artifact_type: None,
            subject: None,
            body: digest.to_string().into_bytes(),
            image_bytes: layers.iter().map(size_of).sum(),
            blobs,
            children: Vec::new(),
            tags: tags.iter().map(|text| tag(text)).collect(),
            row_id: self.row_id(),
            now: self.now(),
            spans: self.spans,
            images_max: 10_000,
            refuse_existing: false,
            audit: self.audit(),
        }
    }

    pub async fn put(&self, at: &str, digest: Digest, layers: &[Digest], tags: &[&str]) -> Result<()> {
        self.store.put_image(self.image(at, digest, layers, tags)).await
    }

    /// A layer and an image of it.
    pub async fn push(&self, at: &str, number: u64, tags: &[&str]) -> Digest {
        let (layer, image) = (digest(number), digest(1_000_000 + number));
        self.push_layer(at, layer).await;
        self.put(at, image, &[layer], tags).await.unwrap();
        image
    }

    pub async fn get(&self, at: &str, reference: impl Into<Ref>) -> Result<Option<Image>> {
        self.store.image(&self.registry, &name(at), &reference.into().0).await
    }

    pub async fn all_images(&self, at: &str) -> Vec<Digest> {
        let page = self.store.images(&self.registry, &name(at), None, None, 100_000).await.unwrap();
        page.iter().map(|image| image.digest).collect()
    }

    pub async fn all_tags(&self, at: &str) -> Vec<(String, Digest)> {
        let page = self.store.tags(&self.registry, &name(at), None, 100_000).await.unwrap();
        page.into_iter().map(|(tag, digest)| (tag.to_string(), digest)).collect()
    }

    pub fn removal(&self, at: &str, targets: Vec<DeleteTarget>) -> DeleteImages {
        let (audit, now) = (self.audit(), self.now());
        DeleteImages {
            registry: self.registry.clone(),
            repository: name(at),
            targets,
            keep_untagged: false,
            now,
            purge_at: now.plus(self.spans.undo),
            audit: Arc::new(move |_| audit.clone()),
        }
    }

    pub async fn delete(&self, at: &str, reference: impl Into<Ref>) -> Result<DeleteOutcome> {
        let mut outcomes = self.store.delete_images(self.removal(at, vec![target(reference)])).await?;
        Ok(outcomes.pop().unwrap())
    }

    pub async fn collect(&self) -> Collected {
        self.store.collect(self.now(), self.spans, 1000, Effort::Brisk).await.unwrap()
    }

    pub async fn due_trash(&self) -> Vec<StorageKey> {
        self.store.due_trash(self.now(), 1000).await.unwrap()
    }

    /// Moves time and collects until nothing is left to collect; returns the keys that left the trash.
    pub async fn collect_all(&self) -> Vec<StorageKey> {
        let mut swept = Vec::new();
        for _ in 0..12 {
            self.clock.advance(self.spans.undo + self.spans.grace + self.spans.trash);
            self.collect().await;
            self.check().await;
            let due = self.due_trash().await;
            self.store.forget_trash(due.clone()).await.unwrap();
            swept.extend(due);
        }
        swept
    }

    pub async fn blobs(&self) -> usize {
        self.store.all_blobs((0, 0), 1000).await.unwrap().len()
    }

    /// Every row has its other end (I1, I2, I3, I5).
    pub async fn check(&self) {
        assert_eq!(self.store.broken_rows().await.unwrap(), Vec::<String>::new());
    }

    pub async fn owned(&self, key: &StorageKey) -> bool {
        self.store.unowned(vec![key.clone()]).await.unwrap().is_empty()
    }
}

/// A tag or a digest.
pub struct Ref(pub Reference);

impl From<Digest> for Ref {
    fn from(digest: Digest) -> Self {
        Self(Reference::Digest(digest))
    }
}

impl From<&str> for Ref {
    fn from(text: &str) -> Self {
        Self(Reference::Tag(tag(text)))
    }
}

pub fn target(reference: impl Into<Ref>) -> DeleteTarget {
    match reference.into().0 {
        Reference::Digest(digest) => DeleteTarget { digest: Some(digest), tag: None },
        Reference::Tag(tag) => DeleteTarget { digest: None, tag: Some(tag) },
    }
}

pub fn registry(region: &str) -> Registry {
    Registry { account: "123456789012".parse().unwrap(), region: region.parse().unwrap() }
}

pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub fn tag(text: &str) -> ImageTag {
    text.parse().unwrap()
}

pub fn digest(number: u64) -> Digest {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    Digest::from_hash(Algorithm::Sha256, &hash).unwrap()
}

/// The size of the layer with this digest.
pub fn size_of(digest: &Digest) -> u64 {
    1000 + u64::from(digest.hash()[7])
}

#[track_caller]
pub fn refused<T: Debug>(outcome: Result<T>, why: Refusal) {
    match outcome {
        Err(Error::Refused(refusal)) if refusal == why => {}
        other => panic!("want {why:?}, got {other:?}"),
    }
}
