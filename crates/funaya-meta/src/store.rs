//! The port's methods, each one transaction or one read.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use funaya_ports::{
    Fut, audit,
    blobs::StoredBlob,
    meta::{
        AdvanceUpload, Collected, CompleteUpload, Conversion, ConversionKey, ConversionPlace, CreateRepository,
        CreateUpload, DeleteImages, DeleteOutcome, DeleteRepository, Effort, Image, ImagePlace, Layer, MetaStore,
        Mount, PutImage, Repository, Result, Spans, StoredManifest, Upload,
    },
};
use funaya_types::{
    Digest, ImageTag, Mutability, Reference, Registry, RepositoryName, ResourceTag, StorageKey, Timestamp, UploadId,
};

use crate::{
    collect::{self, Round, Slice},
    conversions,
    driver::Tx,
    identity::{self, SetPolicy},
    images::{self, Page},
    layers::{self, DeleteLayer, Touch},
    lite::Lite,
    migrate,
    pg::{Isolation, Pg},
    repositories::{self, Retag, SetMutability},
    settings,
    uploads::{self, Cancel},
    verify,
};

pub(crate) type Work<C, T> = for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, Result<T>>;

/// The weight of what the collector does in one transaction on SQLite: each costs a sync of the disk.
const COLLECTED_TOGETHER: u32 = 512;

/// The same while others write, who wait as long as it takes; and how long it then leaves the writer to them.
fn beside(effort: Effort) -> (u32, Duration) {
    match effort {
        Effort::Gentle => (32, Duration::from_millis(15)),
        Effort::Brisk => (128, Duration::from_millis(3)),
    }
}

enum Engine {
    Lite(Lite),
    Pg(Pg),
}

/// Metadata in an SQL database.
pub struct SqlStore {
    engine: Engine,
    /// Row ids of registries: they never change, so replicas may keep them.
    registries: RwLock<HashMap<Registry, i64>>,
    /// The newest epoch of access that is known here.
    pub(crate) epoch: AtomicI64,
    /// Transactions that SQLite's writer had been given when the collector looked last.
    given: AtomicU64,
}

impl SqlStore {
    /// Opens (and makes, at first) an SQLite database file.
    pub fn open_sqlite(path: &Path) -> Result<Self> {
        Ok(Self::over(Engine::Lite(migrate::open_sqlite(path)?)))
    }

    /// Opens a PostgreSQL database and makes its tables at first.
    pub async fn open_postgres(url: &str, isolation: Isolation) -> Result<Self> {
        let pg = Pg::open(url, isolation)?;
        migrate::migrate_postgres(&pg).await?;
        Ok(Self::over(Engine::Pg(pg)))
    }

    fn over(engine: Engine) -> Self {
        Self { engine, registries: RwLock::default(), epoch: AtomicI64::new(0), given: AtomicU64::new(0) }
    }

    pub(crate) async fn write<C, T>(&self, command: C, work: Work<C, T>) -> Result<T>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
    {
        match &self.engine {
            Engine::Lite(lite) => lite.write(command, work).await,
            Engine::Pg(pg) => pg.write(command, work).await,
        }
    }

    /// A write that matters for access: who is asked next decides by it.
    pub(crate) async fn write_access<C, T>(&self, command: C, work: Work<C, (T, i64)>) -> Result<T>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (done, epoch) = self.write(command, work).await?;
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
        Ok(done)
    }

    pub(crate) async fn read<C, T>(&self, command: &C, work: Work<C, T>) -> Result<T> {
        match &self.engine {
            Engine::Lite(lite) => lite.read(command, work),
            Engine::Pg(pg) => pg.read(command, work).await,
        }
    }

    pub(crate) async fn rid(&self, registry: &Registry) -> Result<i64> {
        if let Some(rid) = self.registries.read().unwrap_or_else(PoisonError::into_inner).get(registry) {
            return Ok(*rid);
        }
        let find: Work<Registry, Option<i64>> =
            |r, tx| Box::pin(settings::find_registry(tx, r.account.as_str(), r.region.as_str()));
        let rid = match self.read(registry, find).await? {
            Some(rid) => rid,
            None => {
                self.write(registry.clone(), |r, tx| {
                    Box::pin(settings::open_registry(tx, r.account.as_str(), r.region.as_str()))
                })
                .await?
            }
        };
        self.registries.write().unwrap_or_else(PoisonError::into_inner).insert(registry.clone(), rid);
        Ok(rid)
    }

    /// Finds what is due, then works on it in small transactions, so that pushes
    /// never wait long. What fails is left for the next round; the rest goes on.
    async fn collect_round(&self, round: Round, effort: Effort) -> Result<Collected> {
        let (due, more) = self.read(&round, |round, tx| Box::pin(collect::due(tx, round))).await?;
        let (mut total, mut failure) = (Collected { more, ..Collected::default() }, None);
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            let (slice, later) = match self.engine {
                Engine::Lite(_) if self.others_write(effort).await => Slice::cut(round, rest, beside(effort).0),
                Engine::Lite(_) => Slice::cut(round, rest, COLLECTED_TOGETHER),
                // A transaction that touches one thing only cannot wait crosswise with a push.
                Engine::Pg(_) => Slice::one(round, rest),
            };
            rest = later;
            match self.write(slice, |slice, tx| Box::pin(collect::work(tx, slice))).await {
                Ok(done) => {
                    total.tombstones += done.tombstones;
                    total.links += done.links;
                    total.blobs += done.blobs;
                    total.uploads += done.uploads;
                    total.more |= done.more;
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(total), Err)
    }

    /// Whether anybody but the collector has used SQLite's one writer since it asked last; leaves it to them.
    async fn others_write(&self, effort: Effort) -> bool {
        let Engine::Lite(lite) = &self.engine else { return false };
        let given = lite.given();
        let busy = given.saturating_sub(self.given.swap(given, Ordering::Relaxed)) > 1;
        if busy {
            tokio::time::sleep(beside(effort).1).await;
        }
        busy
    }

    async fn layer_at(&self, registry: &Registry, repository: &RepositoryName, digest: &Digest) -> Result<layers::At> {
        let rid = self.rid(registry).await?;
        Ok(layers::At { rid, registry: registry.clone(), repository: repository.clone(), digest: *digest })
    }

    async fn image_at(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<images::At> {
        let rid = self.rid(registry).await?;
        Ok(images::At { rid, repository: repository.clone(), reference: reference.clone() })
    }

    async fn page<A>(&self, registry: &Registry, repository: &RepositoryName, after: A, limit: u32) -> Result<Page<A>> {
        Ok(Page { rid: self.rid(registry).await?, repository: repository.clone(), after, limit })
    }
}

impl MetaStore for SqlStore {
    fn setting<'a>(&'a self, key: &'a str) -> Fut<'a, Result<Option<String>>> {
        Box::pin(async move { self.read(&key.to_owned(), |key, tx| Box::pin(settings::get(tx, key))).await })
    }

    fn settle<'a>(&'a self, key: &'a str, value: &'a str) -> Fut<'a, Result<String>> {
        let pair = (key.to_owned(), value.to_owned());
        Box::pin(async move { self.write(pair, |(key, value), tx| Box::pin(settings::settle(tx, key, value))).await })
    }

    fn create_repository(&self, command: CreateRepository) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(repositories::create(tx, c))).await
        })
    }

    fn repository<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Repository>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, name.clone());
            let find: Work<(i64, RepositoryName), Repository> =
                |(rid, name), tx| Box::pin(async move { Ok(repositories::find(tx, *rid, name).await?.repository) });
            self.read(&key, find).await
        })
    }

    fn repositories<'a>(
        &'a self,
        registry: &'a Registry,
        after: Option<&'a str>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<Repository>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, after.map(str::to_owned), limit);
            self.read(&key, |(rid, after, limit), tx| Box::pin(repositories::page(tx, *rid, after.as_deref(), *limit)))
                .await
        })
    }

    fn delete_repository(&self, command: DeleteRepository) -> Fut<'_, Result<Repository>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write_access((rid, command), |c, tx| {
                Box::pin(async move { Ok((repositories::delete(tx, c).await?, identity::move_epoch(tx).await?)) })
            })
            .await
        })
    }

    fn set_mutability<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        mutability: Mutability,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = SetMutability { rid: self.rid(registry).await?, name: name.clone(), mutability, audit };
            self.write(command, |c, tx| Box::pin(repositories::set_mutability(tx, c))).await
        })
    }

    fn set_policy<'a>(
        &'a self,
        registry: &'a Registry,
        name: Option<&'a RepositoryName>,
        policy: Option<String>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = SetPolicy { rid: self.rid(registry).await?, name: name.cloned(), policy, audit };
            self.write_access(command, |c, tx| Box::pin(async move { Ok(((), identity::set_policy(tx, c).await?)) }))
                .await
        })
    }

    fn tag_resource<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        tags: Vec<ResourceTag>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = Retag { rid: self.rid(registry).await?, name: name.clone(), tags, audit };
            self.write_access(command, |c, tx| {
                Box::pin(async move { Ok((repositories::tag(tx, c).await?, identity::move_epoch(tx).await?)) })
            })
            .await
        })
    }

    fn untag_resource<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        keys: Vec<String>,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = Retag { rid: self.rid(registry).await?, name: name.clone(), tags: keys, audit };
            self.write_access(command, |c, tx| {
                Box::pin(async move { Ok((repositories::untag(tx, c).await?, identity::move_epoch(tx).await?)) })
            })
            .await
        })
    }

    fn resource_tags<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
    ) -> Fut<'a, Result<Vec<ResourceTag>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, name.clone());
            self.read(&key, |(rid, name), tx| Box::pin(repositories::tags(tx, *rid, name))).await
        })
    }

    fn create_upload(&self, command: CreateUpload) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(uploads::create(tx, c))).await
        })
    }

    fn upload<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        id: &'a UploadId,
    ) -> Fut<'a, Result<Upload>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, repository.clone(), *id);
            self.read(&key, |(rid, name, id), tx| Box::pin(uploads::get(tx, *rid, name, *id))).await
        })
    }

    fn advance_upload(&self, command: AdvanceUpload) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(uploads::advance(tx, c))).await
        })
    }

    fn complete_upload(&self, command: CompleteUpload) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(uploads::complete(tx, c))).await
        })
    }

    fn cancel_upload<'a>(
        &'a self,
        registry: &'a Registry,
        upload: &'a Upload,
        delete_after: Timestamp,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = Cancel { rid: self.rid(registry).await?, upload: upload.clone(), delete_after, audit };
            self.write(command, |c, tx| Box::pin(uploads::cancel(tx, c))).await
        })
    }

    fn layer<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Fut<'a, Result<Option<Layer>>> {
        Box::pin(async move {
            let at = self.layer_at(registry, repository, digest).await?;
            self.read(&at, |at, tx| Box::pin(layers::get(tx, at))).await
        })
    }

    fn promise_layer<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        now: Timestamp,
        spans: Spans,
    ) -> Fut<'a, Result<Option<Layer>>> {
        Box::pin(async move {
            let key = (self.layer_at(registry, repository, digest).await?, now, spans);
            let look: Work<(layers::At, Timestamp, Spans), Option<(Layer, bool)>> =
                |(at, now, spans), tx| Box::pin(layers::look(tx, at, *now, *spans));
            match self.read(&key, look).await? {
                None => return Ok(None),
                Some((layer, true)) => return Ok(Some(layer)),
                Some((_, false)) => {}
            }
            let command = Touch { at: key.0.clone(), keep_until: now.plus(spans.grace) };
            self.write(command, |c, tx| Box::pin(layers::touch(tx, c))).await?;
            // It may have been collected just before.
            self.read(&key.0, |at, tx| Box::pin(layers::get(tx, at))).await
        })
    }

    fn layer_in_use<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Fut<'a, Result<bool>> {
        Box::pin(async move {
            let at = self.layer_at(registry, repository, digest).await?;
            self.read(&at, |at, tx| Box::pin(layers::in_use(tx, at))).await
        })
    }

    fn blob<'a>(&'a self, registry: &'a Registry, digest: &'a Digest) -> Fut<'a, Result<Option<StoredBlob>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, registry.clone(), *digest);
            self.read(&key, |(rid, registry, digest), tx| Box::pin(layers::blob(tx, *rid, registry, digest))).await
        })
    }

    fn layer_holders<'a>(
        &'a self,
        registry: &'a Registry,
        digest: &'a Digest,
        limit: u32,
    ) -> Fut<'a, Result<Vec<RepositoryName>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, *digest, limit);
            self.read(&key, |(rid, digest, limit), tx| Box::pin(layers::holders(tx, *rid, digest, *limit))).await
        })
    }

    fn mount(&self, command: Mount) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(layers::mount(tx, c))).await
        })
    }

    fn delete_layer<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        now: Timestamp,
        audit: audit::Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = DeleteLayer { at: self.layer_at(registry, repository, digest).await?, now, audit };
            self.write(command, |c, tx| Box::pin(layers::delete(tx, c))).await
        })
    }

    fn put_image(&self, command: PutImage) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(images::put(tx, c))).await
        })
    }

    fn image<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Fut<'a, Result<Option<Image>>> {
        Box::pin(async move {
            let at = self.image_at(registry, repository, reference).await?;
            self.read(&at, |at, tx| Box::pin(images::get(tx, at))).await
        })
    }

    fn image_by_row<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        row_id: i64,
    ) -> Fut<'a, Result<Option<Image>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, repository.clone(), row_id);
            let find: Work<(i64, RepositoryName, i64), Option<Image>> = |(rid, name, row_id), tx| {
                Box::pin(async move {
                    let repo_id = repositories::find(tx, *rid, name).await?.repo_id;
                    images::by_row(tx, *rid, repo_id, *row_id).await
                })
            };
            self.read(&key, find).await
        })
    }

    fn manifest<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        reference: &'a Reference,
    ) -> Fut<'a, Result<Option<(Image, Vec<u8>)>>> {
        Box::pin(async move {
            let at = self.image_at(registry, repository, reference).await?;
            self.read(&at, |at, tx| Box::pin(images::manifest(tx, at))).await
        })
    }

    fn conversion<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        key: &'a ConversionKey,
    ) -> Fut<'a, Result<Option<Conversion>>> {
        Box::pin(async move {
            let at = (self.rid(registry).await?, repository.clone(), key.clone());
            self.read(&at, |at, tx| Box::pin(conversions::get(tx, at))).await
        })
    }

    fn conversion_by_digest<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        digest: &'a Digest,
    ) -> Fut<'a, Result<Option<(Image, Conversion)>>> {
        Box::pin(async move {
            let at = (self.rid(registry).await?, repository.clone(), *digest);
            self.read(&at, |at, tx| Box::pin(conversions::by_digest(tx, at))).await
        })
    }

    fn put_conversions<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        conversions: Vec<Conversion>,
    ) -> Fut<'a, Result<bool>> {
        Box::pin(async move {
            let command = (self.rid(registry).await?, repository.clone(), conversions);
            self.write(command, |c, tx| Box::pin(conversions::put(tx, c))).await
        })
    }

    fn images<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        tagged: Option<bool>,
        after: Option<ImagePlace>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<Image>>> {
        Box::pin(async move {
            let page = self.page(registry, repository, (tagged, after), limit).await?;
            self.read(&page, |page, tx| Box::pin(images::page(tx, page))).await
        })
    }

    fn image_tags<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        row_id: i64,
    ) -> Fut<'a, Result<Vec<ImageTag>>> {
        Box::pin(async move {
            let page = self.page(registry, repository, row_id, 0).await?;
            self.read(&page, |page, tx| Box::pin(images::image_tags(tx, page))).await
        })
    }

    fn tags<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        after: Option<&'a str>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<(ImageTag, Digest)>>> {
        Box::pin(async move {
            let page = self.page(registry, repository, after.unwrap_or_default().to_owned(), limit).await?;
            self.read(&page, |page, tx| Box::pin(images::tags(tx, page))).await
        })
    }

    fn tag_names<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        after: Option<&'a str>,
        limit: u32,
    ) -> Fut<'a, Result<Vec<String>>> {
        Box::pin(async move {
            let page = self.page(registry, repository, after.unwrap_or_default().to_owned(), limit).await?;
            self.read(&page, |page, tx| Box::pin(images::tag_names(tx, page))).await
        })
    }

    fn referrers<'a>(
        &'a self,
        registry: &'a Registry,
        repository: &'a RepositoryName,
        subject: &'a Digest,
        after: i64,
        limit: u32,
    ) -> Fut<'a, Result<Vec<(Image, Vec<u8>)>>> {
        Box::pin(async move {
            let page = self.page(registry, repository, (*subject, after), limit).await?;
            self.read(&page, |page, tx| Box::pin(images::referrers(tx, page))).await
        })
    }

    fn delete_images(&self, command: DeleteImages) -> Fut<'_, Result<Vec<DeleteOutcome>>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(images::delete(tx, c))).await
        })
    }

    fn collect(&self, now: Timestamp, spans: Spans, limit: u32, effort: Effort) -> Fut<'_, Result<Collected>> {
        Box::pin(self.collect_round(Round { now, spans, limit }, effort))
    }

    fn make_way(&self, effort: Effort) -> Fut<'_, bool> {
        Box::pin(self.others_write(effort))
    }

    fn due_trash(&self, now: Timestamp, limit: u32) -> Fut<'_, Result<Vec<StorageKey>>> {
        let find: Work<(Timestamp, u32), Vec<StorageKey>> =
            |(now, limit), tx| Box::pin(collect::due_trash(tx, *now, *limit));
        Box::pin(async move { self.read(&(now, limit), find).await })
    }

    fn forget_trash(&self, keys: Vec<StorageKey>) -> Fut<'_, Result<()>> {
        Box::pin(self.write(keys, |keys, tx| Box::pin(collect::forget_trash(tx, keys))))
    }

    fn all_blobs(&self, after: (i64, i64), limit: u32) -> Fut<'_, Result<Vec<((i64, i64), StoredBlob)>>> {
        Box::pin(async move {
            self.read(&(after, limit), |(after, limit), tx| Box::pin(verify::blobs(tx, *after, *limit))).await
        })
    }

    fn all_manifests(&self, after: (i64, i64, i64), limit: u32) -> Fut<'_, Result<Vec<StoredManifest>>> {
        Box::pin(async move {
            self.read(&(after, limit), |(after, limit), tx| Box::pin(verify::manifests(tx, *after, *limit))).await
        })
    }

    fn all_conversions(
        &self,
        after: ConversionPlace,
        limit: u32,
    ) -> Fut<'_, Result<Vec<(ConversionPlace, StoredManifest)>>> {
        let find: Work<(ConversionPlace, u32), Vec<(ConversionPlace, StoredManifest)>> =
            |(after, limit), tx| Box::pin(verify::conversions(tx, after, *limit));
        Box::pin(async move { self.read(&(after, limit), find).await })
    }

    fn broken_rows(&self) -> Fut<'_, Result<Vec<String>>> {
        Box::pin(async move { self.read(&(), |(), tx| Box::pin(verify::broken_rows(tx))).await })
    }

    fn unowned(&self, keys: Vec<StorageKey>) -> Fut<'_, Result<Vec<StorageKey>>> {
        Box::pin(async move { self.read(&keys, |keys, tx| Box::pin(verify::unowned(tx, keys))).await })
    }

    fn append_audit(&self, batches: Vec<audit::Batch>) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let mut rows = Vec::with_capacity(batches.len());
            for batch in batches {
                rows.push((self.rid(&batch.registry).await?, batch));
            }
            self.write(rows, |rows, tx| {
                Box::pin(async move {
                    for (rid, batch) in rows {
                        crate::audit::add(tx, *rid, batch).await?;
                    }
                    Ok(())
                })
            })
            .await
        })
    }

    fn audit(&self, after: (i64, String), limit: u32) -> Fut<'_, Result<Vec<(Registry, (i64, String), String)>>> {
        Box::pin(async move {
            self.read(&(after, limit), |(after, limit), tx| Box::pin(crate::audit::page(tx, after, *limit))).await
        })
    }

    fn note_replica<'a>(&'a self, id: &'a str, now: Timestamp, since: Timestamp) -> Fut<'a, Result<u32>> {
        Box::pin(async move {
            // One server at a time has the file.
            if matches!(self.engine, Engine::Lite(_)) {
                return Ok(1);
            }
            let note = (id.to_owned(), now, since);
            self.write(note, |(id, now, since), tx| Box::pin(settings::note_replica(tx, id, *now, *since))).await
        })
    }

    fn prune_audit(&self, before: Timestamp, limit: u32) -> Fut<'_, Result<u64>> {
        Box::pin(self.write((before, limit), |(before, limit), tx| Box::pin(crate::audit::prune(tx, *before, *limit))))
    }
}
