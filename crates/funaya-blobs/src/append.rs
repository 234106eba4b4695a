//! Writing an object: hash, seal, write, and make durable.
//!
//! The bytes of a request are gathered in batches; each batch is hashed, sealed
//! and written on a blocking thread while the next one is gathered. So a slow
//! client holds no thread, and an upload holds two batches of memory at most.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;
use funaya_ports::{
    Fut, StoreError,
    blobs::{Appender, Finished, Progress, StoredBlob},
};
use funaya_types::{Algorithm, Registry, StorageKey};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    hasher::Hasher,
    keyring::KeyRing,
    read::hash_object,
    seal::{self, NONCE, PLAIN, Place, SEALED},
    store::{Root, Writer},
};

/// Plain bytes that are gathered before a thread is asked to write them.
const BATCH: usize = 128 * 1024;
/// Sealed bytes of one write to the file.
const WRITE: usize = 4 * SEALED;
/// After so many bytes the disk is asked to start writing, so that the last sync is short.
const WRITEBACK: u64 = 16 * 1024 * 1024;

pub(crate) struct FileAppender {
    /// The writing half; elsewhere while a batch is being written.
    state: State,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    received: u64,
}

enum State {
    Idle(Box<Core>),
    Writing(JoinHandle<Result<Box<Core>, StoreError>>),
    /// A write failed or was cut off: nothing may be promised any more.
    Failed,
}

/// What a blocking thread needs to write.
struct Core {
    root: Arc<Root>,
    writer: Writer,
    keys: Arc<KeyRing>,
    registry: Registry,
    storage_key: StorageKey,
    plain_key: [u8; 32],
    wrapped_key: Vec<u8>,
    key: LessSafeKey,
    hasher: Hasher,
    file: Option<File>,
    /// Plain bytes that stand in `out` as full segments or in the file.
    sealed: u64,
    /// Sealed segments not yet written, then the open segment: nonce space and plain bytes.
    out: Vec<u8>,
    /// Where in `out` the open segment begins.
    open_at: usize,
    /// Where in the file `out` goes.
    offset: u64,
    /// How much of the file earlier requests have promised.
    promised: u64,
    unsynced: u64,
    writeback: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl FileAppender {
    pub(crate) fn new(
        root: Arc<Root>,
        keys: Arc<KeyRing>,
        registry: &Registry,
        storage_key: &StorageKey,
        progress: Progress,
    ) -> Result<Self, StoreError> {
        let plain_key = keys.unwrap_upload(registry, storage_key, &progress.wrapped_key)?;
        let mut core = Core {
            writer: Writer::new(root.clone(), storage_key),
            root,
            registry: registry.clone(),
            storage_key: storage_key.clone(),
            key: seal::key(&plain_key)?,
            plain_key,
            wrapped_key: progress.wrapped_key,
            hasher: Hasher::resume(progress.algorithm, &progress.hash_state)?,
            keys,
            file: None,
            sealed: 0,
            out: vec![0; NONCE],
            open_at: 0,
            offset: 0,
            promised: 0,
            unsynced: 0,
            writeback: None,
        };
        core.resume(progress.received, progress.tail)?;
        Ok(Self { state: State::Idle(Box::new(core)), batch: Vec::new(), batch_bytes: 0, received: progress.received })
    }

    async fn core(&mut self) -> Result<Box<Core>, StoreError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(core) => Ok(core),
            State::Writing(task) => task.await.map_err(|error| StoreError::Failed(error.into()))?,
            State::Failed => Err(StoreError::failed("an earlier write of this upload failed")),
        }
    }

    async fn write_batch(&mut self) -> Result<(), StoreError> {
        let mut core = self.core().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.state = State::Writing(spawn_blocking(move || {
            core.write(batch)?;
            Ok(core)
        }));
        Ok(())
    }

    /// Writes what is left on a blocking thread, and there does `last` too.
    async fn end<T: Send + 'static>(
        mut self,
        last: impl FnOnce(Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut core = self.core().await?;
        let batch = std::mem::take(&mut self.batch);
        let task = spawn_blocking(move || {
            core.write(batch)?;
            last(*core)
        });
        task.await.map_err(|error| StoreError::Failed(error.into()))?
    }
}

impl Appender for FileAppender {
    fn append(&mut self, bytes: Bytes) -> Fut<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.received += bytes.len() as u64;
            self.batch_bytes += bytes.len();
            self.batch.push(bytes);
            if self.batch_bytes >= BATCH { self.write_batch().await } else { Ok(()) }
        })
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn pause(self: Box<Self>) -> Fut<'static, Result<Progress, StoreError>> {
        Box::pin(self.end(Core::pause))
    }

    fn finish(self: Box<Self>, algorithm: Algorithm) -> Fut<'static, Result<Finished, StoreError>> {
        Box::pin(self.end(move |core| core.finish(algorithm)))
    }
}

impl Core {
    /// Puts the writer where an earlier request has left off.
    fn resume(&mut self, received: u64, mut tail: Vec<u8>) -> Result<(), StoreError> {
        let damaged = || StoreError::Damaged(format!("the unfinished upload object {}", self.storage_key));
        if tail.is_empty() {
            self.sealed = received;
        } else {
            let number = received / PLAIN as u64;
            let length = seal::open(&self.key, Place::Tail(number), &mut tail).ok_or_else(damaged)?;
            self.sealed = received.checked_sub(length as u64).ok_or_else(damaged)?;
            self.out.extend_from_slice(&tail[NONCE..NONCE + length]);
        }
        if !self.sealed.is_multiple_of(PLAIN as u64) {
            return Err(damaged());
        }
        self.offset = seal::sealed_size(self.sealed);
        self.promised = self.offset;
        Ok(())
    }

    fn write(&mut self, batch: Vec<Bytes>) -> Result<(), StoreError> {
        for bytes in batch {
            // Hashed and sealed piece by piece, while the piece is in the processor's cache.
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let room = PLAIN + NONCE - (self.out.len() - self.open_at);
                let (piece, later) = rest.split_at(room.min(rest.len()));
                self.hasher.update(piece);
                self.out.extend_from_slice(piece);
                rest = later;
                if piece.len() == room {
                    self.close_segment()?;
                }
            }
        }
        Ok(())
    }

    /// Seals the open segment and begins the next.
    fn close_segment(&mut self) -> Result<(), StoreError> {
        self.out.reserve_exact((WRITE + SEALED).saturating_sub(self.out.len()));
        let number = self.sealed / PLAIN as u64;
        let plain = self.out.len() - self.open_at - NONCE;
        seal::seal(&self.key, &**self.keys.random(), Place::Segment(number), &mut self.out, self.open_at)?;
        self.sealed += plain as u64;
        self.open_at = self.out.len();
        if self.open_at >= WRITE {
            self.flush()?;
        }
        self.out.resize(self.open_at + NONCE, 0);
        Ok(())
    }

    /// Writes the sealed segments, not the open one.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.open_at == 0 {
            return Ok(());
        }
        self.open_file()?;
        if let Some(file) = &self.file {
            self.writer.in_turn(|| {
                let written = file.write_all_at(&self.out[..self.open_at], self.offset);
                Ok(written.inspect_err(|error| give_back(file, self.promised, error))?)
            })?;
        }
        self.offset += self.open_at as u64;
        self.unsynced += self.open_at as u64;
        self.out.drain(..self.open_at);
        self.open_at = 0;
        if self.unsynced >= WRITEBACK {
            self.start_writeback()?;
        }
        Ok(())
    }

    /// Opens the file, and makes it for the first bytes. What earlier requests
    /// have promised must be in it.
    fn open_file(&mut self) -> Result<(), StoreError> {
        if self.file.is_none() {
            let file = self.root.open_for_write(&self.storage_key)?;
            if file.metadata()?.len() < self.offset {
                return Err(StoreError::Damaged(format!("the unfinished upload object {}", self.storage_key)));
            }
            self.file = Some(file);
        }
        Ok(())
    }

    /// Lets another thread sync what is written so far. Its result counts: an
    /// I/O error is reported to one of the syncs only.
    fn start_writeback(&mut self) -> Result<(), StoreError> {
        self.await_writeback()?;
        self.unsynced = 0;
        if let Some(file) = &self.file {
            let file = file.try_clone()?;
            let sync = move || file.sync_data();
            self.writeback = Some(std::thread::Builder::new().name("writeback".into()).spawn(sync)?);
        }
        Ok(())
    }

    fn await_writeback(&mut self) -> Result<(), StoreError> {
        match self.writeback.take() {
            Some(thread) => Ok(thread.join().map_err(|_| StoreError::failed("a sync panicked"))??),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.await_writeback()?;
        let length = self.offset;
        self.writer.in_turn(|| {
            if let Some(file) = &self.file {
                // A write that was cut off by a crash may have left more behind.
                if file.metadata()?.len() > length {
                    file.set_len(length)?;
                }
                file.sync_data().inspect_err(|error| give_back(file, self.promised, error))?;
                self.root.sync_folder(&self.storage_key)?;
            }
            Ok(())
        })
    }

    fn pause(mut self) -> Result<Progress, StoreError> {
        self.sync()?;
        let plain = self.out.len() - NONCE;
        let mut tail = Vec::new();
        if plain > 0 {
            tail = std::mem::take(&mut self.out);
            let number = self.sealed / PLAIN as u64;
            seal::seal(&self.key, &**self.keys.random(), Place::Tail(number), &mut tail, 0)?;
        }
        Ok(Progress {
            received: self.sealed + plain as u64,
            algorithm: self.hasher.algorithm(),
            hash_state: self.hasher.state(),
            wrapped_key: self.wrapped_key,
            tail,
        })
    }

    fn finish(mut self, algorithm: Algorithm) -> Result<Finished, StoreError> {
        if self.out.len() - self.open_at > NONCE {
            self.close_segment()?;
        }
        if self.sealed > 0 {
            self.open_file()?;
        }
        self.sync()?;
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(algorithm));
        let digest = if hasher.algorithm() == algorithm {
            hasher.finish()?
        } else {
            // The client named its algorithm only now: read the bytes once more.
            hash_object(&self.root, &self.storage_key, &self.key, self.sealed, algorithm)?
        };
        let mut blob = StoredBlob {
            registry: self.registry.clone(),
            key: self.storage_key.clone(),
            digest,
            size: self.sealed,
            wrapped_key: Vec::new(),
        };
        blob.wrapped_key = self.keys.wrap_blob(&blob, &self.plain_key)?;
        Ok(Finished { digest, size: blob.size, wrapped_key: blob.wrapped_key })
    }
}

/// On a full disk, frees what this request has written: it is promised to nobody,
/// and without room not even a deletion could be recorded.
fn give_back(file: &File, promised: u64, error: &io::Error) {
    if error.kind() == io::ErrorKind::StorageFull {
        // Nothing more can be done if this fails as well.
        let _ = file.set_len(promised);
    }
}

/// Begins an object: a fresh data key and no bytes.
pub(crate) fn begin(
    keys: &KeyRing,
    registry: &Registry,
    key: &StorageKey,
    algorithm: Algorithm,
) -> Result<Progress, StoreError> {
    Ok(Progress {
        received: 0,
        algorithm,
        hash_state: Vec::new(),
        wrapped_key: keys.new_key(registry, key)?,
        tail: Vec::new(),
    })
}
