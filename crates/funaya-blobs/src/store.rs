//! The file store: where objects are, and the port's methods.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use funaya_ports::{
    Fut, StoreError,
    blobs::{Appender, BlobStore, ByteStream, Progress, StoredBlob},
};
use funaya_types::{Algorithm, Registry, StorageKey};
use tokio::task::spawn_blocking;

use crate::{
    append::{self, FileAppender},
    keyring::KeyRing,
    pool::Pool,
    read::{Reader, WINDOW},
    seal,
};

/// Sealed objects as files of one folder.
pub struct FileStore {
    root: Arc<Root>,
    keys: Arc<KeyRing>,
    pool: Arc<Pool>,
}

impl FileStore {
    /// Opens the folder, and makes it at first.
    pub fn open(folder: &Path, keys: KeyRing) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // The folder's own name must be durable, too.
        if let Some(parent) = folder.canonicalize()?.parent() {
            File::open(parent)?.sync_all()?;
        }
        let root = Arc::new(Root { folder: folder.into(), made: Mutex::default(), writers: Mutex::default() });
        Ok(Self { root, keys: Arc::new(keys), pool: Pool::new(WINDOW) })
    }

    async fn open_reader(&self, blob: &StoredBlob, offset: u64, length: u64) -> Result<ByteStream, StoreError> {
        // Even where no byte is wanted: the key vouches for the row's digest and size.
        let key = seal::key(&self.keys.unwrap_blob(blob)?)?;
        if length == 0 || blob.size == 0 {
            return Ok(Box::pin(futures_util::stream::empty()));
        }
        let reader = Reader::open(&self.root, key, blob, self.pool.clone(), (offset, length))?;
        Ok(Box::pin(reader.prime().await?))
    }
}

impl BlobStore for FileStore {
    fn begin(&self, registry: &Registry, key: &StorageKey, algorithm: Algorithm) -> Result<Progress, StoreError> {
        append::begin(&self.keys, registry, key, algorithm)
    }

    fn appender(
        &self,
        registry: &Registry,
        key: &StorageKey,
        progress: Progress,
    ) -> Result<Box<dyn Appender>, StoreError> {
        Ok(Box::new(FileAppender::new(self.root.clone(), self.keys.clone(), registry, key, progress)?))
    }

    fn read<'a>(&'a self, blob: &'a StoredBlob, offset: u64, length: u64) -> Fut<'a, Result<ByteStream, StoreError>> {
        Box::pin(self.open_reader(blob, offset, length))
    }

    fn delete<'a>(&'a self, key: &'a StorageKey) -> Fut<'a, Result<(), StoreError>> {
        self.delete_all(std::slice::from_ref(key))
    }

    /// One after the other on one thread: more at once would only keep the disk from those who write.
    fn delete_all<'a>(&'a self, keys: &'a [StorageKey]) -> Fut<'a, Result<(), StoreError>> {
        let paths: Vec<PathBuf> = keys.iter().map(|key| self.root.path(key)).collect();
        let remove = move || paths.into_iter().try_for_each(removed);
        Box::pin(async move {
            let done = spawn_blocking(remove).await.map_err(|error| StoreError::Failed(error.into()))?;
            Ok(done?)
        })
    }

    fn list<'a>(&'a self, shard: &'a str) -> Fut<'a, Result<Vec<StorageKey>, StoreError>> {
        let folder = self.root.folder.join(shard);
        Box::pin(async move {
            match names(folder).await {
                Ok(names) => Ok(names.iter().filter_map(|name| name.parse().ok()).collect()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn shards(&self) -> Fut<'_, Result<Vec<String>, StoreError>> {
        Box::pin(async {
            let mut names = names(self.root.folder.clone()).await?;
            names.retain(|name| name.len() == SHARD && self.root.folder.join(name).is_dir());
            Ok(names)
        })
    }
}

fn removed(path: PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn names(folder: PathBuf) -> io::Result<Vec<String>> {
    let read = move || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut names = spawn_blocking(read).await??;
    names.sort_unstable();
    Ok(names)
}

/// Characters of a key's end that name its shard: random ones, so that shards fill evenly.
const SHARD: usize = 2;

/// The folder of all objects.
pub(crate) struct Root {
    folder: PathBuf,
    /// Shards known to exist and to be durable.
    made: Mutex<HashSet<String>>,
    /// Objects that are being written.
    writers: Mutex<HashMap<StorageKey, Arc<Turns>>>,
}

/// Orders the writers of one object: only the newest may write. A writer whose
/// request has gone may have a batch on a blocking thread still; it must not
/// land on what the next writer wrote at the same place.
#[derive(Default)]
struct Turns {
    newest: AtomicU64,
    writing: Mutex<()>,
}

/// One writer of an object.
pub(crate) struct Writer {
    root: Arc<Root>,
    key: StorageKey,
    turns: Arc<Turns>,
    number: u64,
}

impl Writer {
    /// Registers a writer; those before it can't write any more.
    pub(crate) fn new(root: Arc<Root>, key: &StorageKey) -> Self {
        let turns = root.writers().entry(key.clone()).or_default().clone();
        let number = turns.newest.fetch_add(1, Ordering::SeqCst) + 1;
        Self { root, key: key.clone(), turns, number }
    }

    /// Does one write, while no other writer of the object does.
    pub(crate) fn in_turn<T>(&self, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let _turn = self.turns.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.turns.newest.load(Ordering::SeqCst) != self.number {
            return Err(StoreError::Busy("another request has taken over this upload".into()));
        }
        write()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut writers = self.root.writers();
        drop(std::mem::take(&mut self.turns));
        if writers.get(&self.key).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            writers.remove(&self.key);
        }
    }
}

impl Root {
    fn shard<'a>(&self, key: &'a StorageKey) -> &'a str {
        let text = key.as_str();
        &text[text.len() - SHARD..]
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<StorageKey, Arc<Turns>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &StorageKey) -> PathBuf {
        self.folder.join(self.shard(key)).join(key.as_str())
    }

    pub(crate) fn open_for_write(&self, key: &StorageKey) -> io::Result<File> {
        self.make_shard(self.shard(key))?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.path(key))
    }

    pub(crate) fn open_for_read(&self, key: &StorageKey) -> io::Result<File> {
        File::open(self.path(key))
    }

    /// Makes the name of a new file durable.
    pub(crate) fn sync_folder(&self, key: &StorageKey) -> io::Result<()> {
        File::open(self.folder.join(self.shard(key)))?.sync_all()
    }

    fn make_shard(&self, shard: &str) -> io::Result<()> {
        let known = |made: &Mutex<HashSet<String>>| made.lock().unwrap_or_else(PoisonError::into_inner).contains(shard);
        if known(&self.made) {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(self.folder.join(shard)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::open(&self.folder)?.sync_all()?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.to_owned());
        Ok(())
    }
}
