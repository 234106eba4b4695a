//! Reading an object: windows of four segments, each opened before it leaves.
//!
//! Bytes in the page cache are read and opened on the spot; bytes on disk on a
//! blocking thread, so that a slow disk stalls nobody else.

use std::{
    collections::VecDeque,
    fs::File,
    future::Future,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;
use funaya_ports::{StoreError, blobs::StoredBlob};
use funaya_types::{Algorithm, Digest, StorageKey};
use futures_util::Stream;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    hasher::Hasher,
    pool::{Buffer, Pool},
    seal::{self, NONCE, OVERHEAD, PLAIN, Place, SEALED},
    store::Root,
};

/// Segments read at once.
const WINDOW_SEGMENTS: u64 = 6;
/// Bytes of a window on disk.
pub(crate) const WINDOW: usize = WINDOW_SEGMENTS as usize * SEALED;

/// The plain bytes of one object, from an offset on.
pub(crate) struct Reader {
    object: Arc<Object>,
    pool: Arc<Pool>,
    /// Next plain byte to be fetched.
    at: u64,
    /// End of what was asked for.
    end: u64,
    ready: VecDeque<Bytes>,
    pending: Option<JoinHandle<Result<Window, StoreError>>>,
}

struct Object {
    file: File,
    key: LessSafeKey,
    size: u64,
    name: String,
}

/// Opened segments in one buffer, and where each one's wanted bytes are.
struct Window {
    buffer: Buffer,
    pieces: Vec<(usize, usize)>,
    next: u64,
}

impl Reader {
    pub(crate) fn open(
        root: &Root,
        key: LessSafeKey,
        blob: &StoredBlob,
        pool: Arc<Pool>,
        (offset, length): (u64, u64),
    ) -> Result<Self, StoreError> {
        let name = blob.digest.to_string();
        let file = root.open_for_read(&blob.key).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Damaged(format!("{name} (its bytes are missing)")),
            _ => error.into(),
        })?;
        let end = offset.saturating_add(length).min(blob.size);
        let object = Arc::new(Object { file, key, size: blob.size, name });
        Ok(Self { object, pool, at: offset.min(end), end, ready: VecDeque::new(), pending: None })
    }

    /// Fetches the first window, so that a damaged object fails before any byte is promised.
    pub(crate) async fn prime(mut self) -> Result<Self, StoreError> {
        std::future::poll_fn(|cx| self.poll_fetch(cx)).await?;
        Ok(self)
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        while self.ready.is_empty() && self.at < self.end {
            let window = match &mut self.pending {
                Some(task) => {
                    let outcome = ready!(Pin::new(task).poll(cx));
                    self.pending = None;
                    outcome.map_err(|error| StoreError::Failed(error.into()))??
                }
                None => {
                    let mut buffer = self.pool.take();
                    let (at, end) = (self.at, self.end);
                    if self.object.read_cached(at, &mut buffer) {
                        self.object.open_window(buffer, at, end)?
                    } else {
                        let object = self.object.clone();
                        self.pending = Some(spawn_blocking(move || {
                            object.read_disk(at, &mut buffer)?;
                            object.open_window(buffer, at, end)
                        }));
                        continue;
                    }
                }
            };
            self.take(window);
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, window: Window) {
        self.at = window.next;
        let whole = Bytes::from_owner(window.buffer);
        self.ready.extend(window.pieces.into_iter().map(|(from, to)| whole.slice(from..to)));
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let reader = self.get_mut();
        if let Err(error) = ready!(reader.poll_fetch(cx)) {
            reader.at = reader.end;
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(reader.ready.pop_front().map(Ok))
    }
}

impl Object {
    /// Where on disk the window with this plain byte begins, and how long it is.
    fn place(&self, at: u64) -> (u64, usize) {
        let segment = at / PLAIN as u64;
        let start = segment * SEALED as u64;
        let rest = seal::sealed_size(self.size) - start;
        (start, rest.min(WINDOW as u64) as usize)
    }

    /// Reads a window if the page cache holds all of it.
    fn read_cached(&self, at: u64, buffer: &mut Buffer) -> bool {
        let (start, length) = self.place(at);
        let mut slices = [IoSliceMut::new(&mut buffer.as_mut()[..length])];
        match rustix::io::preadv2(&self.file, &mut slices, start, ReadWriteFlags::NOWAIT) {
            Ok(read) => read == length,
            Err(Errno::AGAIN) => false,
            // Not supported on this file system, or a real error: the other way will tell.
            Err(_) => false,
        }
    }

    fn read_disk(&self, at: u64, buffer: &mut Buffer) -> Result<(), StoreError> {
        let (start, length) = self.place(at);
        self.file.read_exact_at(&mut buffer.as_mut()[..length], start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::Damaged(format!("{} (its bytes are cut short)", self.name)),
            _ => error.into(),
        })
    }

    fn open_window(&self, mut buffer: Buffer, at: u64, end: u64) -> Result<Window, StoreError> {
        let (_, length) = self.place(at);
        let first = at / PLAIN as u64;
        let (mut pieces, mut next) = (Vec::with_capacity(WINDOW_SEGMENTS as usize), at);
        for (index, sealed) in buffer.as_mut()[..length].chunks_mut(SEALED).enumerate() {
            let number = first + index as u64;
            let begin = number * PLAIN as u64;
            if begin >= end {
                break;
            }
            let wanted = (self.size - begin).min(PLAIN as u64) as usize;
            let plain = seal::open(&self.key, Place::Segment(number), sealed);
            if plain != Some(wanted) || sealed.len() != wanted + OVERHEAD {
                return Err(StoreError::Damaged(format!("{} (segment {number})", self.name)));
            }
            let from = at.max(begin) - begin;
            let to = end.min(begin + wanted as u64) - begin;
            let base = index * SEALED + NONCE;
            pieces.push((base + from as usize, base + to as usize));
            next = begin + to;
        }
        Ok(Window { buffer, pieces, next })
    }
}

/// Hashes a whole object from disk.
pub(crate) fn hash_object(
    root: &Root,
    storage_key: &StorageKey,
    key: &LessSafeKey,
    size: u64,
    algorithm: Algorithm,
) -> Result<Digest, StoreError> {
    let mut hasher = Hasher::new(algorithm);
    if size > 0 {
        let damaged = |number| StoreError::Damaged(format!("upload object {storage_key} (segment {number})"));
        let file = root.open_for_read(storage_key)?;
        let mut segment = vec![0; SEALED];
        for number in 0..size.div_ceil(PLAIN as u64) {
            let plain = (size - number * PLAIN as u64).min(PLAIN as u64) as usize;
            let sealed = &mut segment[..plain + OVERHEAD];
            file.read_exact_at(sealed, number * SEALED as u64).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => damaged(number),
                _ => error.into(),
            })?;
            seal::open(key, Place::Segment(number), sealed).ok_or_else(|| damaged(number))?;
            hasher.update(&sealed[NONCE..NONCE + plain]);
        }
    }
    hasher.finish()
}
