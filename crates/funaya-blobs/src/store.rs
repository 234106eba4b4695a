//! The file store: where objects are, and the port's methods.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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
        fs::create_dir_all(folder)?;
        let root = Arc::new(Root { folder: folder.into(), made: Mutex::default() });
        Ok(Self { root, keys: Arc::new(keys), pool: Pool::new(WINDOW) })
    }

    async fn open_reader(&self, blob: &StoredBlob, offset: u64, length: u64) -> Result<ByteStream, StoreError> {
        if length == 0 || blob.size == 0 {
            return Ok(Box::pin(futures_util::stream::empty()));
        }
        let key = seal::key(&self.keys.unwrap_blob(blob)?)?;
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
        let path = self.root.path(key);
        Box::pin(async move {
            let removed = spawn_blocking(move || fs::remove_file(path)).await;
            match removed.map_err(|error| StoreError::Failed(error.into()))? {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
    }

    fn list<'a>(&'a self, shard: &'a str) -> Fut<'a, Result<Vec<StorageKey>, StoreError>> {
        let folder = self.root.folder.join(shard);
        Box::pin(async move { Ok(names(folder).await?.iter().filter_map(|name| name.parse().ok()).collect()) })
    }

    fn shards(&self) -> Fut<'_, Result<Vec<String>, StoreError>> {
        Box::pin(names(self.root.folder.clone()))
    }
}

async fn names(folder: PathBuf) -> Result<Vec<String>, StoreError> {
    let read = move || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut names = spawn_blocking(read).await.map_err(|error| StoreError::Failed(error.into()))??;
    names.sort_unstable();
    Ok(names)
}

/// The folder of all objects.
pub(crate) struct Root {
    folder: PathBuf,
    /// Shards known to exist and to be durable.
    made: Mutex<HashSet<String>>,
}

impl Root {
    fn shard<'a>(&self, key: &'a StorageKey) -> &'a str {
        let text = key.as_str();
        &text[text.len() - 2..]
    }

    fn path(&self, key: &StorageKey) -> PathBuf {
        self.folder.join(self.shard(key)).join(key.as_str())
    }

    pub(crate) fn open_for_write(&self, key: &StorageKey) -> io::Result<File> {
        self.make_shard(self.shard(key))?;
        OpenOptions::new().write(true).create(true).truncate(false).open(self.path(key))
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
        match fs::create_dir(self.folder.join(shard)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::open(&self.folder)?.sync_all()?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(shard.to_owned());
        Ok(())
    }
}
