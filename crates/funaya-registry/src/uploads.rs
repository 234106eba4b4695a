//! Uploads of layers: begin, send, go on, complete, cancel (D4).
//!
//! The bytes of a request go on to disk in a task of their own: when a client is
//! cut off, the task keeps what came, and the client can go on from there.
//! Two requests never write to one upload at once: the second one is refused.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use funaya_gate::{
    Permit,
    action::{CompleteLayerUpload, InitiateLayerUpload, UploadLayerPart},
};
use funaya_ports::{
    StoreError,
    blobs::{Appender, StoredBlob},
    meta::{self, AdvanceUpload, CompleteUpload, CreateUpload, Upload},
};
use funaya_types::{Algorithm, Digest, Timestamp, UploadId, limits};
use futures_util::{Stream, StreamExt as _};
use serde_json::json;

use crate::{Error, Place, Registries, error::Context};

/// An upload that nobody moves on is dropped after this (IMG-30).
const EXPIRES_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The bytes of a request as they come.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send + Sync>>;

/// The client stopped sending, broke the protocol or was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError;

/// What a request adds to an upload.
pub struct Part {
    /// The bytes.
    pub body: Body,
    /// Where they must begin; `None`: wherever the upload stands.
    pub offset: Option<u64>,
    /// How many there must be, if the client said so.
    pub length: Option<u64>,
    /// Whether the rules for parts of the ECR API hold (IMG-23, IMG-24).
    pub counted: bool,
}

/// Uploads that a request is writing to right now.
#[derive(Default)]
pub(crate) struct Locks(Arc<Mutex<HashSet<UploadId>>>);

struct Lock {
    held: Arc<Mutex<HashSet<UploadId>>>,
    id: UploadId,
}

impl Locks {
    fn take(&self, id: UploadId) -> Result<Lock, Error> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if fresh { Ok(Lock { held: self.0.clone(), id }) } else { Err(Error::UploadBusy(id)) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Registries {
    /// Opens an upload (IMG-20).
    pub async fn initiate_upload(
        &self,
        permit: &Permit<InitiateLayerUpload>,
        algorithm: Algorithm,
    ) -> Result<UploadId, Error> {
        let place = self.place(permit.registry(), permit.target());
        let (id, key) = (self.parts.random.upload_id(), self.parts.random.storage_key(permit.now()));
        let progress = self.parts.blobs.begin(&place.registry, &key, algorithm)?;
        let command = CreateUpload {
            registry: place.registry.clone(),
            repository: place.repository.clone(),
            upload: Upload { id, key, progress, parts: 0, last_part_short: false, part_too_short: false, version: 1 },
            expires_at: permit.now().plus(EXPIRES_AFTER),
            audit: permit.record(json!({
                "uploadId": id.to_string(),
                "partSize": limits::PART_BYTES_RECOMMENDED,
            })),
        };
        self.parts.meta.create_upload(command).await.map_err(|error| Context::of(&place).error(error))?;
        Ok(id)
    }

    /// How many bytes an upload has.
    pub async fn upload_status(&self, permit: &Permit<UploadLayerPart>, id: UploadId) -> Result<u64, Error> {
        let place = self.place(permit.registry(), permit.target());
        Ok(self.upload(&place, id).await?.progress.received)
    }

    /// Adds bytes to an upload; tells how many it has now. If the client is cut
    /// off, what came is kept, and the error says so.
    pub async fn append(
        self: &Arc<Self>,
        permit: &Arc<Permit<UploadLayerPart>>,
        id: UploadId,
        part: Part,
    ) -> Result<u64, Error> {
        let (hall, permit) = (self.clone(), permit.clone());
        let task = tokio::spawn(async move { hall.append_task(&permit, id, part).await });
        task.await.map_err(|error| Error::Store(StoreError::Failed(error.into())))?
    }

    async fn append_task(&self, permit: &Permit<UploadLayerPart>, id: UploadId, part: Part) -> Result<u64, Error> {
        let place = self.place(permit.registry(), permit.target());
        let _lock = self.locks.take(id)?;
        let mut upload = self.upload(&place, id).await?;
        begin_part(&mut upload, &part)?;
        let before = upload.progress.received;
        let mut appender = self.parts.blobs.appender(&place.registry, &upload.key, upload.progress.clone())?;
        let sent = send(&mut *appender, part.body, before, part.length).await;
        // Even when the part is refused: no write may be under way once the lock is free.
        let paused = appender.pause().await;
        match sent {
            // What a cut-off client has sent is kept; a part of the ECR API counts as a whole or not at all.
            Ok(()) | Err(Error::BodyCut) if !part.counted || sent.is_ok() => {}
            refused => return refused.map(|()| before),
        }
        upload.progress = paused?;
        let received = upload.progress.received;
        end_part(&mut upload, part.counted, received - before);
        let audit = permit.record(json!({
            "registryId": place.registry.account.as_str(),
            "repositoryName": place.repository.as_str(),
            "uploadId": id.to_string(),
            "lastByteReceived": received.saturating_sub(1),
        }));
        let command = AdvanceUpload {
            registry: place.registry.clone(),
            upload,
            expires_at: expiry(permit.now()),
            audit: Some(audit),
        };
        let context = Context { upload: Some(id), ..Context::of(&place) };
        self.parts.meta.advance_upload(command).await.map_err(|error| context.error(error))?;
        sent?;
        Ok(received)
    }

    /// Makes an upload a layer of the repository, with the last bytes if there are some.
    /// `strict`: the ECR API's rules (IMG-25): refuse empty uploads and layers that exist.
    pub async fn complete(
        self: &Arc<Self>,
        permit: &Arc<Permit<CompleteLayerUpload>>,
        last: Option<(Permit<UploadLayerPart>, Part)>,
        id: UploadId,
        digest: Digest,
        strict: bool,
    ) -> Result<(), Error> {
        let (hall, permit) = (self.clone(), permit.clone());
        let task = tokio::spawn(async move { hall.complete_task(&permit, last, id, digest, strict).await });
        task.await.map_err(|error| Error::Store(StoreError::Failed(error.into())))?
    }

    async fn complete_task(
        &self,
        permit: &Permit<CompleteLayerUpload>,
        last: Option<(Permit<UploadLayerPart>, Part)>,
        id: UploadId,
        digest: Digest,
        strict: bool,
    ) -> Result<(), Error> {
        let place = self.place(permit.registry(), permit.target());
        let _lock = self.locks.take(id)?;
        let mut upload = match self.upload(&place, id).await {
            Err(Error::NoUpload { .. }) if self.has_layer(&place, &digest).await? => {
                // The answer to an earlier try was lost on the way.
                return if strict { Err(Error::LayerExists { place, digest }) } else { Ok(()) };
            }
            found => found?,
        };
        let version = upload.version;
        if strict {
            self.check_strict(&place, &upload, &digest).await?;
        }
        let mut audit = Vec::with_capacity(2);
        if let Some((_, part)) = &last {
            begin_part(&mut upload, part)?;
        }
        let before = upload.progress.received;
        let mut appender = self.parts.blobs.appender(&place.registry, &upload.key, upload.progress)?;
        if let Some((part_permit, part)) = last {
            if let Err(error) = send(&mut *appender, part.body, before, part.length).await {
                // Waits for the write that may be under way, before the lock is free.
                let _ = appender.pause().await;
                return Err(error);
            }
            audit.push(part_permit.record(json!({
                "uploadId": id.to_string(),
                "lastByteReceived": appender.received().saturating_sub(1),
            })));
        }
        let finished = appender.finish(digest.algorithm()).await?;
        if finished.digest != digest {
            return Err(Error::LayerDigest { calculated: finished.digest, given: digest });
        }
        audit.push(permit.record(json!({
            "registryId": place.registry.account.as_str(),
            "repositoryName": place.repository.as_str(),
            "uploadId": id.to_string(),
            "layerDigest": digest.to_string(),
        })));
        let replaces = self.damage.replaceable(&place.registry, &digest);
        let command = CompleteUpload {
            registry: place.registry.clone(),
            repository: place.repository.clone(),
            id,
            version,
            blob: StoredBlob {
                registry: place.registry.clone(),
                key: upload.key,
                digest,
                size: finished.size,
                wrapped_key: finished.wrapped_key,
            },
            row_id: self.parts.random.row_id(permit.now()),
            now: permit.now(),
            spans: self.parts.spans,
            refuse_existing: strict && replaces.is_none(),
            replaces,
            audit,
        };
        let context = Context { upload: Some(id), digest: Some(digest), ..Context::of(&place) };
        self.parts.meta.complete_upload(command).await.map_err(|error| context.error(error))?;
        self.damage.mended(&place.registry, &digest);
        Ok(())
    }

    async fn check_strict(&self, place: &Place, upload: &Upload, digest: &Digest) -> Result<(), Error> {
        if upload.progress.received == 0 {
            return Err(Error::EmptyUpload(upload.id));
        }
        if upload.part_too_short {
            return Err(Error::PartTooSmall);
        }
        if self.has_layer(place, digest).await? {
            return Err(Error::LayerExists { place: place.clone(), digest: *digest });
        }
        Ok(())
    }

    /// Ends an upload; its bytes go.
    pub async fn cancel_upload(&self, permit: &Permit<UploadLayerPart>, id: UploadId) -> Result<(), Error> {
        let place = self.place(permit.registry(), permit.target());
        let _lock = self.locks.take(id)?;
        let upload = self.upload(&place, id).await?;
        let record = permit.record(json!({"uploadId": id.to_string()}));
        let cancelled = self.parts.meta.cancel_upload(&place.registry, &upload, permit.now(), record).await;
        cancelled.map_err(|error| Context { upload: Some(id), ..Context::of(&place) }.error(error))
    }

    async fn upload(&self, place: &Place, id: UploadId) -> Result<Upload, Error> {
        let found = self.parts.meta.upload(&place.registry, &place.repository, &id).await;
        found.map_err(|error| Context { upload: Some(id), ..Context::of(place) }.error(error))
    }

    async fn has_layer(&self, place: &Place, digest: &Digest) -> Result<bool, Error> {
        let found: meta::Result<_> = self.parts.meta.layer(&place.registry, &place.repository, digest).await;
        let found = found.map_err(|error| Context::of(place).error(error))?;
        Ok(found.is_some_and(|layer| !self.damage.has(&layer.blob)))
    }
}

fn expiry(now: Timestamp) -> Timestamp {
    now.plus(EXPIRES_AFTER)
}

/// What must hold before any byte of a part is taken.
fn begin_part(upload: &mut Upload, part: &Part) -> Result<(), Error> {
    let received = upload.progress.received;
    if part.offset.is_some_and(|offset| offset != received) {
        return Err(Error::WrongOffset { received });
    }
    if part.length.is_some_and(|length| received.saturating_add(length) > limits::LAYER_BYTES_MAX) {
        return Err(Error::LayerTooLarge);
    }
    if part.counted {
        if upload.parts >= limits::PARTS_MAX {
            return Err(Error::PartQuota);
        }
        upload.part_too_short |= upload.last_part_short;
    }
    Ok(())
}

fn end_part(upload: &mut Upload, counted: bool, length: u64) {
    if counted {
        upload.parts += 1;
        upload.last_part_short = length < limits::PART_BYTES_MIN;
    }
}

async fn send(appender: &mut dyn Appender, mut body: Body, before: u64, length: Option<u64>) -> Result<(), Error> {
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|BodyError| Error::BodyCut)?;
        let received = appender.received() - before + bytes.len() as u64;
        if let Some(announced) = length.filter(|announced| received > *announced) {
            return Err(Error::BodyLength { received, announced });
        }
        if before + received > limits::LAYER_BYTES_MAX {
            return Err(Error::LayerTooLarge);
        }
        appender.append(bytes).await?;
    }
    let received = appender.received() - before;
    match length {
        Some(announced) if received != announced => Err(Error::BodyLength { received, announced }),
        _ => Ok(()),
    }
}
