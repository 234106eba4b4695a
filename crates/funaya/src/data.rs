//! The data folder: its lock, the root key, the stores.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use funaya_blobs::{FileStore, KeyRing};
use funaya_gate::Sealer;
use funaya_meta::{Isolation, SqlStore};
use funaya_ports::{
    Random as _, blobs::BlobStore, collecting::CollectingStore, identity::IdentityStore, lifecycle::LifecycleStore,
    meta::MetaStore, undo::UndoStore,
};
use funaya_types::{AccountId, Secret};

use crate::{settings::Settings, world::SystemRandom};

/// An opened data folder. Nobody else can open it meanwhile.
pub(crate) struct Data {
    pub(crate) folder: PathBuf,
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) identities: Arc<dyn IdentityStore>,
    pub(crate) lifecycle: Arc<dyn LifecycleStore>,
    pub(crate) undo: Arc<dyn UndoStore>,
    pub(crate) collecting: Arc<dyn CollectingStore>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) root_key: [u8; 32],
    pub(crate) account: AccountId,
    pub(crate) root_access_key: (String, Secret),
    _lock: File,
}

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Data {
    /// Whether the folder holds a registry: one that was started, or a restored backup.
    pub(crate) fn exists(settings: &Settings) -> bool {
        ["lock", "meta.db", "root.key"].iter().any(|name| settings.data.join(name).exists())
    }

    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failed> {
        let folder = settings.data.clone();
        let unusable = |error| format!("the data folder `{}` can't be used: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(unusable)?;
        let lock = lock(&folder)?;
        let root_key = match &settings.root_key_file {
            Some(path) => read_key(path)?,
            None => own_key(&folder.join("root.key"))?,
        };
        let store = match &settings.database {
            Some(url) => SqlStore::open_postgres(url, Isolation::ReadCommitted).await.map_err(chain)?,
            None => SqlStore::open_sqlite(&folder.join("meta.db")).map_err(chain)?,
        };
        let store = Arc::new(store);
        let meta: Arc<dyn MetaStore> = store.clone();
        let identities: Arc<dyn IdentityStore> = store.clone();
        let lifecycle: Arc<dyn LifecycleStore> = store.clone();
        let undo: Arc<dyn UndoStore> = store.clone();
        let collecting: Arc<dyn CollectingStore> = store;
        identities.refresh().await.map_err(chain)?;
        let keys = KeyRing::new(&root_key, Arc::new(SystemRandom));
        let blobs = Arc::new(FileStore::open(&folder.join("blobs"), keys).map_err(unusable_store)?);
        check_root_key(&*meta, &root_key).await?;
        let account = account(&*meta, settings.account).await?;
        let root_access_key = match &settings.root_access_key {
            Some((id, secret)) => (id.clone(), Secret::new(secret.as_str())),
            None => root_access_key(&*meta, &root_key).await?,
        };
        Ok(Self {
            folder,
            meta,
            identities,
            lifecycle,
            undo,
            collecting,
            blobs,
            root_key,
            account,
            root_access_key,
            _lock: lock,
        })
    }
}

fn unusable_store(error: funaya_ports::StoreError) -> String {
    format!("the blobs can't be used: {error}")
}

fn chain(error: funaya_ports::meta::Error) -> String {
    let mut text = format!("the database can't be used: {error}");
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// One process for a data folder.
fn lock(folder: &Path) -> Result<File, Failed> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join("lock"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(format!("another process is using the data folder `{}`", folder.display()).into()),
    }
}

fn read_key(path: &Path) -> Result<[u8; 32], Failed> {
    let wrong = |why: String| format!("the root key file `{}` can't be used: {why}", path.display());
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| wrong(error.to_string()))?;
    bytes.try_into().map_err(|bytes: Vec<u8>| wrong(format!("it has {} bytes, not 32", bytes.len())).into())
}

/// The folder's own key, made at the first start. Written aside and renamed, so
/// that a crash never leaves half a key.
fn own_key(path: &Path) -> Result<[u8; 32], Failed> {
    if path.exists() {
        return read_key(path);
    }
    let mut key = [0; 32];
    SystemRandom.fill(&mut key);
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(key)
}

fn sealer(root_key: &[u8; 32]) -> Result<Sealer, Failed> {
    Sealer::new(root_key, "settings", Arc::new(SystemRandom)).ok_or_else(|| "the root key can't be used".into())
}

/// Refuses a root key that is not the one this database was made with.
async fn check_root_key(meta: &dyn MetaStore, root_key: &[u8; 32]) -> Result<(), Failed> {
    const PROOF: &str = "this is the key";
    let sealer = sealer(root_key)?;
    let stored = match meta.setting("root_key_proof").await.map_err(chain)? {
        Some(stored) => stored,
        None => meta.settle("root_key_proof", &sealer.seal(PROOF, "proof")).await.map_err(chain)?,
    };
    if sealer.open(&stored, "proof").as_deref() == Some(PROOF) {
        return Ok(());
    }
    Err("the root key is not the one that this data was sealed with".into())
}

/// The default account: as set, or else a random one that is kept.
async fn account(meta: &dyn MetaStore, set: Option<AccountId>) -> Result<AccountId, Failed> {
    if let Some(account) = set {
        return Ok(account);
    }
    let kept = match meta.setting("account").await.map_err(chain)? {
        Some(kept) => kept,
        None => {
            let mut bytes = [0; 8];
            SystemRandom.fill(&mut bytes);
            // No leading zero: such ids get lost in spreadsheets and YAML.
            let number = 100_000_000_000 + u64::from_le_bytes(bytes) % 900_000_000_000;
            meta.settle("account", AccountId::from_number(number).as_str()).await.map_err(chain)?
        }
    };
    Ok(kept.parse()?)
}

async fn root_access_key(meta: &dyn MetaStore, root_key: &[u8; 32]) -> Result<(String, Secret), Failed> {
    let sealer = sealer(root_key)?;
    let stored = match meta.setting("root_access_key").await.map_err(chain)? {
        Some(stored) => stored,
        None => {
            let made = format!(
                "AKIA{}\n{}",
                random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
                random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40)
            );
            meta.settle("root_access_key", &sealer.seal(&made, "root access key")).await.map_err(chain)?
        }
    };
    let text = sealer.open(&stored, "root access key").ok_or("the stored root access key is damaged")?;
    let (id, secret) = text.split_once('\n').ok_or("the stored root access key is damaged")?;
    Ok((id.into(), Secret::new(secret)))
}

/// Random characters; the alphabet's length divides 256.
fn random_text(alphabet: &[u8], length: usize) -> String {
    let mut bytes = vec![0; length];
    SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| alphabet[usize::from(*byte) % alphabet.len()] as char).collect()
}
