//! Upkeep: collecting what nothing needs, and verifying what is stored (D5, D13).

use funaya_gate::Upkeep;
use funaya_ports::{
    Fut, StoreError,
    blobs::StoredBlob,
    meta::{Effort, StoredManifest},
};
use funaya_rules::manifest;
use funaya_types::{StorageKey, Timestamp};
use futures_util::StreamExt as _;

use crate::{Error, Registries, repositories::only_store};

/// What one run of the collector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Deleted images and repositories purged.
    pub tombstones: u64,
    /// Links from repositories to layers dropped.
    pub links: u64,
    /// Blobs dropped.
    pub blobs: u64,
    /// Uploads expired.
    pub uploads: u64,
    /// Objects whose bytes were deleted.
    pub objects: u64,
}

impl Tidied {
    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something stored that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Is told how many bytes were read, and waits if that was too fast.
pub type Pace<'a> = dyn Fn(usize) -> Fut<'static, ()> + Send + Sync + 'a;

/// As fast as it goes.
pub const AT_ONCE: fn(usize) -> Fut<'static, ()> = |_| Box::pin(std::future::ready(()));

/// Rows looked at by one transaction: short ones, so that pushes don't wait.
const ROUND: u32 = 200;
/// Manifests in memory at once: each may have megabytes.
const MANIFESTS_TOGETHER: u32 = 16;
/// Objects deleted between two looks at who else is at work.
const DELETED_TOGETHER: u32 = 50;

/// The same while others write: their syncs wait for the folders that changed.
fn deleted_beside(effort: Effort) -> u32 {
    match effort {
        Effort::Gentle => 8,
        Effort::Brisk => DELETED_TOGETHER,
    }
}

impl Registries {
    /// Collects until nothing is due. `effort` is asked again and again.
    pub async fn collect(
        &self,
        _: Upkeep,
        now: Timestamp,
        effort: impl Fn() -> Effort + Send + Sync,
    ) -> Result<Tidied, Error> {
        let (meta, mut tidied) = (&self.parts.meta, Tidied::default());
        loop {
            let round = meta.collect(now, self.parts.spans, ROUND, effort()).await.map_err(only_store)?;
            tidied.tombstones += round.tombstones;
            tidied.links += round.links;
            tidied.blobs += round.blobs;
            tidied.uploads += round.uploads;
            // Blobs go right after their last links.
            if !round.more && round.links == 0 {
                break;
            }
        }
        loop {
            let effort = effort();
            let limit = if meta.make_way(effort).await { deleted_beside(effort) } else { DELETED_TOGETHER };
            let due = meta.due_trash(now, limit).await.map_err(only_store)?;
            let count = due.len();
            self.parts.blobs.delete_all(&due).await?;
            meta.forget_trash(due).await.map_err(only_store)?;
            tidied.objects += count as u64;
            if count < limit as usize {
                return Ok(tidied);
            }
        }
    }

    /// Drops audit records older than `before`.
    pub async fn prune_audit(&self, _: Upkeep, before: Timestamp) -> Result<u64, Error> {
        let mut pruned = 0;
        loop {
            let count = self.parts.meta.prune_audit(before, ROUND).await.map_err(only_store)?;
            pruned += count;
            if count < u64::from(ROUND) {
                return Ok(pruned);
            }
        }
    }

    /// Reads every stored blob and calls `found` for each damaged one; returns how many were read.
    /// `pace` is told how many bytes were read, and waits if that was too fast.
    pub async fn scrub(&self, _: Upkeep, pace: &Pace<'_>, mut found: impl FnMut(Fault)) -> Result<u64, Error> {
        let (mut after, mut read) = ((0, 0), 0);
        loop {
            let page = self.parts.meta.all_blobs(after, ROUND).await.map_err(only_store)?;
            let Some((last, _)) = page.last() else { return Ok(read) };
            after = *last;
            for (place, blob) in &page {
                read += 1;
                if let Some(error) = self.scrub_one(blob, pace).await?
                    && self.is_stored(*place, &blob.key).await?
                {
                    // The next push of the layer mends it.
                    self.damage.note(blob, &error);
                    found(fault(blob, error));
                }
            }
        }
    }

    /// Whether a blob is still where it was: a slow scrub may come to one that was collected or mended meanwhile.
    async fn is_stored(&self, (rid, blob_id): (i64, i64), key: &StorageKey) -> Result<bool, Error> {
        let page = self.parts.meta.all_blobs((rid, blob_id - 1), 1).await.map_err(only_store)?;
        Ok(page.first().is_some_and(|(place, blob)| *place == (rid, blob_id) && blob.key == *key))
    }

    /// A blob's segments prove themselves; its key proves digest and size. So
    /// reading it through is enough to know that it is whole. Returns the damage, if there is any.
    async fn scrub_one(&self, blob: &StoredBlob, pace: &Pace<'_>) -> Result<Option<StoreError>, Error> {
        match self.read_through(blob, pace).await {
            Ok(bytes) if bytes == blob.size => Ok(None),
            Ok(bytes) => Ok(Some(StoreError::Damaged(format!("{} ({bytes} of {} bytes)", blob.digest, blob.size)))),
            Err(error @ StoreError::Damaged(_)) => Ok(Some(error)),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_through(&self, blob: &StoredBlob, pace: &Pace<'_>) -> Result<u64, StoreError> {
        let (mut bytes, mut stream) = (0, self.parts.blobs.read(blob, 0, blob.size).await?);
        while let Some(piece) = stream.next().await {
            let length = piece?.len();
            bytes += length as u64;
            pace(length).await;
        }
        Ok(bytes)
    }

    /// Checks every row against every byte: blobs, manifests, and the rows between them.
    /// Returns how many blobs and manifests were read.
    pub async fn verify(&self, upkeep: Upkeep, mut found: impl FnMut(Fault)) -> Result<(u64, u64), Error> {
        let blobs = self.scrub(upkeep, &AT_ONCE, &mut found).await?;
        let manifests = self.verify_manifests(upkeep, &AT_ONCE, &mut found).await?;
        for text in self.parts.meta.broken_rows().await.map_err(only_store)? {
            found(Fault(text));
        }
        Ok((blobs, manifests))
    }

    /// Objects that no row owns: left by a crash between two stores, or by a restored backup.
    /// Harmless, but they take room.
    pub async fn unowned(&self, _: Upkeep) -> Result<Vec<StorageKey>, Error> {
        let mut out = Vec::new();
        for shard in self.parts.blobs.shards().await? {
            let keys = self.parts.blobs.list(&shard).await?;
            let unowned = self.parts.meta.unowned(keys).await.map_err(only_store)?;
            if unowned.is_empty() {
                continue;
            }
            // One that the collector has just deleted is none.
            let still_there = self.parts.blobs.list(&shard).await?;
            out.extend(unowned.into_iter().filter(|key| still_there.contains(key)));
        }
        Ok(out)
    }

    /// Deletes objects that no row owns. Young ones stay: a row is always older than its
    /// object, but a clock may be wrong.
    pub async fn sweep_unowned(&self, upkeep: Upkeep, now: Timestamp) -> Result<u64, Error> {
        let before = now.minus(self.parts.spans.trash).micros() / 1000;
        let mut swept = 0;
        for key in self.unowned(upkeep).await? {
            if i64::try_from(key.millis()).is_ok_and(|made| made < before) {
                self.parts.blobs.delete(&key).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Reads every stored manifest, and what it was converted to, and calls `found` for each damaged one; returns how
    /// many manifests were read.
    pub async fn verify_manifests(
        &self,
        _: Upkeep,
        pace: &Pace<'_>,
        mut found: impl FnMut(Fault),
    ) -> Result<u64, Error> {
        let meta = &self.parts.meta;
        let (mut after, mut read) = ((0, 0, 0), 0);
        loop {
            let page = meta.all_manifests(after, MANIFESTS_TOGETHER).await.map_err(only_store)?;
            let Some(last) = page.last() else { break };
            after = last.place;
            for row in &page {
                read += 1;
                pace(row.body.len()).await;
                if !is_intact(row) {
                    found(Fault(format!("{} (its manifest in {})", row.digest, row.repository)));
                }
            }
        }
        let mut after = ((0, 0, 0), String::new(), String::new());
        loop {
            let page = meta.all_conversions(after, MANIFESTS_TOGETHER).await.map_err(only_store)?;
            let Some((last, _)) = page.last() else { return Ok(read) };
            after = last.clone();
            for (_, row) in &page {
                pace(row.body.len()).await;
                if !is_intact(row) {
                    found(Fault(format!("{} (a manifest converted in {})", row.digest, row.repository)));
                }
            }
        }
    }
}

/// Names the digest and the object.
fn fault(blob: &StoredBlob, error: StoreError) -> Fault {
    let what = match error {
        StoreError::Damaged(what) => what,
        other => other.to_string(),
    };
    Fault(format!("{what}, object {}", blob.key))
}

fn is_intact(row: &StoredManifest) -> bool {
    manifest::digest(&row.body, &row.media_type, row.digest.algorithm()) == row.digest
}
