//! The collector: rows that nothing needs any more (D5, stack "GC").
//!
//! It deletes a row only if that row's own `keep_until` has passed and nothing
//! refers to it, both judged by the deleting statement. Whoever adds a
//! reference has updated that row first, so the database orders every race.

use std::{
    collections::BTreeMap,
    hash::{Hash as _, Hasher as _},
};

use funaya_ports::{
    audit::{Entry, pack},
    meta::{Collected, Result, Spans},
};
use funaya_types::{Digest, Registry, StorageKey, Timestamp};
use serde_json::{Value, json};

use crate::{
    audit, conversions,
    driver::{Row, Statement, Tx, Val, odd},
    layers, lifecycle, uploads,
};

pub(crate) mod sql {
    crate::driver::statements! {
        DUE_TOMBSTONES = "SELECT rid, repo_id, man_id, deleted_at FROM tombstones WHERE purge_at <= $1
            ORDER BY purge_at LIMIT $2";
        DROP_TOMBSTONE = "DELETE FROM tombstones WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = $4";
        STILL_DELETED = "UPDATE manifests SET ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = $4";
        REPO_STILL_DELETED = "UPDATE repositories SET ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = $3";
        IMAGE_BLOBS = "SELECT l.digest FROM manifest_blobs e
            JOIN repo_blobs l ON l.rid = e.rid AND l.repo_id = e.repo_id AND l.blob_id = e.blob_id
            WHERE e.rid = $1 AND e.repo_id = $2 AND e.man_id = $3";
        DROP_EDGES = "DELETE FROM manifest_blobs WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        DROP_CHILDREN = "DELETE FROM manifest_children WHERE rid = $1 AND repo_id = $2 AND parent_id = $3";
        DROP_PARENTS = "DELETE FROM manifest_children WHERE rid = $1 AND repo_id = $2 AND child_id = $3";
        DROP_BODY = "DELETE FROM manifest_bodies WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        DROP_MANIFEST = "DELETE FROM manifests WHERE rid = $1 AND repo_id = $2 AND man_id = $3 RETURNING digest";
        REPO_NAME = "SELECT name, deleted_name FROM repositories WHERE rid = $1 AND repo_id = $2";
        REGISTRY = "SELECT account, region FROM registries WHERE rid = $1";
        DROP_TAGS_OF = "DELETE FROM tags WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        REPO_IMAGES = "SELECT man_id FROM manifests WHERE rid = $1 AND repo_id = $2 LIMIT $3";
        REPO_LINK = "SELECT blob_id FROM repo_blobs WHERE rid = $1 AND repo_id = $2 LIMIT 1";
        POSTPONE = "UPDATE tombstones SET purge_at = $5
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = $4";
        INDEX_UNTIL = "SELECT max(t.purge_at) FROM manifest_children c
            JOIN tombstones t ON t.rid = c.rid AND t.repo_id = c.repo_id AND t.man_id = c.parent_id
            WHERE c.rid = $1 AND c.repo_id = $2 AND c.child_id = $3";
        LOCK_IMAGE = "UPDATE manifests SET ver = ver + 1 WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        DROP_ALL_TAGS = "DELETE FROM tags WHERE rid = $1 AND repo_id = $2";
        DROP_RESOURCE_TAGS = "DELETE FROM resource_tags WHERE rid = $1 AND repo_id = $2";
        DROP_HISTORY = "DELETE FROM tag_history WHERE rid = $1 AND repo_id = $2";
        DROP_REPOSITORY = "DELETE FROM repositories WHERE rid = $1 AND repo_id = $2";
        TOUCH_ANY_LINK = "UPDATE repo_blobs SET keep_until = CASE WHEN keep_until < $4 THEN $4 ELSE keep_until END
            WHERE rid = $1 AND repo_id = $2 AND digest = $3";
        DUE_LINKS = "SELECT rid, repo_id, digest, review_after FROM gc_links WHERE review_after < $1
            ORDER BY review_after LIMIT $2";
        DROP_LINK = "DELETE FROM repo_blobs WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND keep_until < $4
            AND NOT EXISTS (SELECT 1 FROM manifest_blobs e WHERE e.rid = repo_blobs.rid
                AND e.repo_id = repo_blobs.repo_id AND e.blob_id = repo_blobs.blob_id)
            RETURNING blob_id, size, keep_until";
        LINK = "SELECT blob_id, keep_until FROM repo_blobs WHERE rid = $1 AND repo_id = $2 AND digest = $3";
        DEFER_LINK = "UPDATE gc_links SET review_after = $5
            WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND review_after = $4";
        REVIEWED_LINK = "DELETE FROM gc_links WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND review_after = $4";
        REVIEW_BLOB = "INSERT INTO gc_blobs (rid, blob_id, review_after) VALUES ($1, $2, $3)
            ON CONFLICT (rid, blob_id) DO UPDATE SET review_after = excluded.review_after";
        DUE_BLOBS = "SELECT rid, blob_id, review_after FROM gc_blobs WHERE review_after < $1
            ORDER BY review_after LIMIT $2";
        DROP_BLOB = "DELETE FROM blobs WHERE rid = $1 AND blob_id = $2 AND keep_until < $3
            AND NOT EXISTS (SELECT 1 FROM repo_blobs l WHERE l.rid = blobs.rid AND l.blob_id = blobs.blob_id)
            RETURNING storage_key, digest, size, keep_until";
        BLOB_LINKED = "SELECT b.keep_until, l.repo_id FROM blobs b
            LEFT JOIN repo_blobs l ON l.rid = b.rid AND l.blob_id = b.blob_id
            WHERE b.rid = $1 AND b.blob_id = $2 LIMIT 1";
        DEFER_BLOB = "UPDATE gc_blobs SET review_after = $4 WHERE rid = $1 AND blob_id = $2 AND review_after = $3";
        REVIEWED_BLOB = "DELETE FROM gc_blobs WHERE rid = $1 AND blob_id = $2 AND review_after = $3";
        DUE_UPLOADS = "SELECT rid, upload_id, ver, storage_key FROM uploads WHERE expires_at < $1
            ORDER BY expires_at LIMIT $2";
        DUE_TRASH = "SELECT storage_key FROM trash WHERE delete_after < $1 ORDER BY delete_after LIMIT $2";
        FORGET_TRASH = "DELETE FROM trash WHERE storage_key = $1";
    }
}

/// When and how much one round works on.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) now: Timestamp,
    pub(crate) spans: Spans,
    pub(crate) limit: u32,
}

/// One thing whose time has come, as it was seen; judged again in its own transaction.
#[derive(Clone)]
pub(crate) enum Due {
    Tombstone { rid: i64, repo_id: i64, man_id: i64, deleted_at: i64 },
    Link { rid: i64, repo_id: i64, digest: Vec<u8>, review_after: i64 },
    Blob { rid: i64, blob_id: i64, review_after: i64 },
    Upload { rid: i64, id: String, version: i64, key: String },
}

impl Due {
    /// About how long it takes: a link is the shortest.
    fn weight(&self) -> u32 {
        match self {
            Self::Tombstone { man_id: 0, .. } => u32::MAX,
            Self::Tombstone { .. } => IMAGE,
            Self::Link { .. } => 1,
            Self::Blob { .. } | Self::Upload { .. } => 3,
        }
    }
}

/// The weight of an image.
const IMAGE: u32 = 8;
/// Images of a deleted repository that PostgreSQL purges in one transaction: nobody else wants their rows.
const IMAGES_ALONE: i64 = 50;

/// What one transaction works on.
pub(crate) struct Slice {
    pub(crate) round: Round,
    pub(crate) due: Vec<Due>,
    /// Its images at most, if it is a deleted repository.
    images: i64,
}

impl Slice {
    /// The first of what is due: as much as has this weight, one at least; and the rest.
    pub(crate) fn cut(round: Round, due: &[Due], weight: u32) -> (Self, &[Due]) {
        let mut left = weight;
        let fits = |due: &&Due| left.checked_sub(due.weight()).map(|less| left = less).is_some();
        let (first, rest) = due.split_at(due.iter().take_while(fits).count().max(1).min(due.len()));
        (Self { round, due: first.to_vec(), images: i64::from((weight / IMAGE).max(1)) }, rest)
    }

    /// The first of what is due, and the rest.
    pub(crate) fn one(round: Round, due: &[Due]) -> (Self, &[Due]) {
        let (first, rest) = due.split_at(due.len().min(1));
        (Self { round, due: first.to_vec(), images: IMAGES_ALONE }, rest)
    }
}

type ReadDue = fn(&Row) -> Result<Due>;

/// Everything that is due, at most `limit` of each kind; `true`: there may be more.
pub(crate) async fn due(tx: &mut Tx, round: &Round) -> Result<(Vec<Due>, bool)> {
    let lists: [(&Statement, ReadDue); 4] = [
        (&sql::DUE_TOMBSTONES, |row| {
            let (rid, repo_id, man_id, deleted_at) = (row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?);
            Ok(Due::Tombstone { rid, repo_id, man_id, deleted_at })
        }),
        (&sql::DUE_LINKS, |row| {
            let (rid, repo_id, digest) = (row.int(0)?, row.int(1)?, row.bytes(2)?);
            Ok(Due::Link { rid, repo_id, digest, review_after: row.int(3)? })
        }),
        (&sql::DUE_BLOBS, |row| Ok(Due::Blob { rid: row.int(0)?, blob_id: row.int(1)?, review_after: row.int(2)? })),
        (&sql::DUE_UPLOADS, |row| {
            Ok(Due::Upload { rid: row.int(0)?, id: row.text(1)?, version: row.int(2)?, key: row.text(3)? })
        }),
    ];
    let (mut all, mut more) = (Vec::new(), false);
    for (statement, read) in lists {
        let rows = tx.all(statement, &[round.now.micros().into(), i64::from(round.limit).into()]).await?;
        more |= rows.len() as u64 >= u64::from(round.limit);
        for row in &rows {
            all.push(read(row)?);
        }
    }
    Ok((all, more))
}

/// Works on some of what is due, in one transaction. Each removal leaves a record that says why.
pub(crate) async fn work(tx: &mut Tx, slice: &Slice) -> Result<Collected> {
    let mut removed = Removed::default();
    let done = work_on(tx, slice, &mut removed).await?;
    removed.record(tx, slice.round.now).await?;
    Ok(done)
}

async fn work_on(tx: &mut Tx, slice: &Slice, removed: &mut Removed) -> Result<Collected> {
    let (round, mut done) = (&slice.round, Collected::default());
    for due in &slice.due {
        match due {
            Due::Tombstone { rid, repo_id, man_id: 0, deleted_at } => {
                match purge_repository(tx, slice, *rid, *repo_id, *deleted_at, removed).await? {
                    Purged::All => done.tombstones += 1,
                    Purged::Part => done.more = true,
                    Purged::Waits => {}
                }
            }
            Due::Tombstone { rid, repo_id, man_id, deleted_at } => {
                let key = [(*rid).into(), (*repo_id).into(), (*man_id).into(), (*deleted_at).into()];
                if let Some(until) = index_until(tx, round, &key).await? {
                    tx.exec(&sql::POSTPONE, &[key[0], key[1], key[2], key[3], until.into()]).await?;
                    continue;
                }
                // Pushed again meanwhile: the row lives, only the tombstone goes.
                if tx.exec(&sql::STILL_DELETED, &key).await? > 0 {
                    let keep_until = round.now.plus(round.spans.grace);
                    let digest = purge_image(tx, *rid, *repo_id, *man_id, keep_until).await?;
                    let why = format!("deleted {}, undo window over", time(*deleted_at));
                    removed.in_repository(tx, *rid, *repo_id, json!({"image": digest, "why": why})).await?;
                    done.tombstones += 1;
                }
                tx.exec(&sql::DROP_TOMBSTONE, &key).await?;
            }
            Due::Link { rid, repo_id, digest, review_after } => {
                let key = (*rid, *repo_id, digest.as_slice());
                done.links += u64::from(collect_link(tx, round, key, *review_after, removed).await?);
            }
            Due::Blob { rid, blob_id, review_after } => {
                done.blobs += u64::from(collect_blob(tx, round, *rid, *blob_id, *review_after, removed).await?);
            }
            Due::Upload { rid, id, version, key } => {
                let delete_after = round.now.plus(round.spans.trash);
                if uploads::expire(tx, *rid, id, *version, key, delete_after).await? {
                    removed.add(*rid, json!({"upload": id, "why": "nobody moved it on for a day"}));
                    done.uploads += 1;
                }
            }
        }
    }
    Ok(done)
}

/// Until when an index can be restored that names this image: so long it is kept. An image is deleted after its
/// indexes, but the undo window may have been set shorter meanwhile.
async fn index_until(tx: &mut Tx, round: &Round, key: &[Val<'_>; 4]) -> Result<Option<i64>> {
    let row = tx.one(&sql::INDEX_UNTIL, &key[..3]).await?;
    let until = row.map(|row| row.opt_int(0)).transpose()?.flatten();
    Ok(until.filter(|until| *until > round.now.micros()))
}

/// Links are touched before the edges go, so that the promise given for them holds (I4).
async fn purge_image(
    tx: &mut Tx,
    rid: i64,
    repo_id: i64,
    man_id: i64,
    keep_until: Timestamp,
) -> Result<Option<String>> {
    let key = [Val::Int(rid), Val::Int(repo_id), Val::Int(man_id)];
    let layers = tx.all(&sql::IMAGE_BLOBS, &key).await?;
    let mut layers = layers.iter().map(|row| row.bytes(0)).collect::<Result<Vec<_>>>()?;
    // In the order of all who lock links.
    layers.sort_unstable();
    for digest in layers {
        let args = [rid.into(), repo_id.into(), digest.as_slice().into(), keep_until.micros().into()];
        tx.exec(&sql::TOUCH_ANY_LINK, &args).await?;
        tx.exec(&layers::sql::REVIEW_LINK, &args).await?;
    }
    let rows = [
        &sql::DROP_EDGES,
        &sql::DROP_CHILDREN,
        &sql::DROP_PARENTS,
        &sql::DROP_TAGS_OF,
        &conversions::sql::DROP_OF_IMAGE,
        &sql::DROP_BODY,
    ];
    for statement in rows {
        tx.exec(statement, &key).await?;
    }
    let dropped = tx.one(&sql::DROP_MANIFEST, &key).await?;
    dropped.map(|row| digest_text(&row.bytes(0)?)).transpose()
}

fn digest_text(raw: &[u8]) -> Result<String> {
    Ok(Digest::from_bytes(raw).map_err(|_| odd(0))?.to_string())
}

fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).iso8601()
}

/// What one transaction removed, by registry.
#[derive(Default)]
struct Removed {
    by_registry: BTreeMap<i64, Vec<Value>>,
    /// Names of repositories; deleted ones keep theirs here.
    names: BTreeMap<(i64, i64), Option<String>>,
}

impl Removed {
    fn add(&mut self, rid: i64, what: Value) {
        self.by_registry.entry(rid).or_default().push(what);
    }

    async fn in_repository(&mut self, tx: &mut Tx, rid: i64, repo_id: i64, mut what: Value) -> Result<()> {
        if let Some(name) = self.name(tx, rid, repo_id).await? {
            what["repositoryName"] = json!(name);
        }
        self.add(rid, what);
        Ok(())
    }

    async fn name(&mut self, tx: &mut Tx, rid: i64, repo_id: i64) -> Result<Option<&String>> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        let name = match self.names.entry((rid, repo_id)) {
            Occupied(known) => known.into_mut(),
            Vacant(place) => place.insert(match tx.one(&sql::REPO_NAME, &[rid.into(), repo_id.into()]).await? {
                Some(row) => Some(row.text(1)?)
                    .filter(|deleted| !deleted.is_empty())
                    .map_or_else(|| row.text(0), Ok)
                    .map(Some)?,
                None => None,
            }),
        };
        Ok(name.as_ref())
    }

    /// One record a registry. Its id is made of what was removed, so a repeated transaction repeats it.
    async fn record(self, tx: &mut Tx, now: Timestamp) -> Result<()> {
        for (rid, removed) in self.by_registry {
            let Some(row) = tx.one(&sql::REGISTRY, &[rid.into()]).await? else { continue };
            let registry = Registry { account: row.parsed(0)?, region: row.parsed(1)? };
            let mut hasher = std::hash::DefaultHasher::new();
            removed.iter().for_each(|what| what.to_string().hash(&mut hasher));
            let id = format!("gc-{rid}-{:x}-{:016x}", now.micros(), hasher.finish());
            let mut entry = Entry::internal(&registry, "GarbageCollectionEvent", id, now);
            entry.event.details = Some(json!({ "removed": removed }));
            for batch in pack(vec![entry]) {
                audit::add(tx, rid, &batch).await?;
            }
        }
        Ok(())
    }
}

/// How much of a deleted repository is gone.
enum Purged {
    All,
    /// The next round can go on at once.
    Part,
    /// Layers are left whose promise runs.
    Waits,
}

async fn purge_repository(
    tx: &mut Tx,
    Slice { round, images, .. }: &Slice,
    rid: i64,
    repo_id: i64,
    deleted_at: i64,
    removed: &mut Removed,
) -> Result<Purged> {
    let key = [Val::Int(rid), Val::Int(repo_id)];
    let tombstone = [key[0], key[1], 0.into(), deleted_at.into()];
    if tx.exec(&sql::REPO_STILL_DELETED, &[key[0], key[1], deleted_at.into()]).await? == 0 {
        tx.exec(&sql::DROP_TOMBSTONE, &tombstone).await?;
        return Ok(Purged::All);
    }
    let images = tx.all(&sql::REPO_IMAGES, &[key[0], key[1], (*images).into()]).await?;
    for row in &images {
        tx.exec(&sql::LOCK_IMAGE, &[key[0], key[1], row.int(0)?.into()]).await?;
        // Nobody can refer to the layers any more: no new promise for them.
        let digest = purge_image(tx, rid, repo_id, row.int(0)?, round.now).await?;
        let why = format!("its repository was deleted {}, undo window over", time(deleted_at));
        removed.in_repository(tx, rid, repo_id, json!({"image": digest, "why": why})).await?;
    }
    if !images.is_empty() {
        return Ok(Purged::Part);
    }
    if tx.one(&sql::REPO_LINK, &key).await?.is_some() {
        let again = Val::Int(round.now.plus(round.spans.grace).micros());
        tx.exec(&sql::POSTPONE, &[key[0], key[1], 0.into(), deleted_at.into(), again]).await?;
        return Ok(Purged::Waits);
    }
    let last = [
        &sql::DROP_ALL_TAGS,
        &sql::DROP_RESOURCE_TAGS,
        &sql::DROP_HISTORY,
        &lifecycle::sql::DROP_PREVIEW,
        &sql::DROP_REPOSITORY,
    ];
    let why = format!("deleted {}, undo window over", time(deleted_at));
    removed.in_repository(tx, rid, repo_id, json!({"repository": true, "why": why})).await?;
    for statement in last {
        tx.exec(statement, &key).await?;
    }
    tx.exec(&sql::DROP_TOMBSTONE, &tombstone).await?;
    Ok(Purged::All)
}

async fn collect_link(
    tx: &mut Tx,
    round: &Round,
    (rid, repo_id, digest): (i64, i64, &[u8]),
    review_after: i64,
    removed: &mut Removed,
) -> Result<bool> {
    let key = [Val::Int(rid), Val::Int(repo_id), Val::Bytes(digest)];
    let seen = [key[0], key[1], key[2], Val::Int(review_after)];
    let now = Val::Int(round.now.micros());
    let dropped = tx.one(&sql::DROP_LINK, &[key[0], key[1], key[2], now]).await?;
    if let Some(link) = &dropped {
        // Due at once: a blob goes in the same round as its last link.
        let due = Val::Int(round.now.micros() - 1);
        tx.exec(&sql::REVIEW_BLOB, &[key[0], link.int(0)?.into(), due]).await?;
        let why = format!("no image of the repository needs it, kept until {}", time(link.int(2)?));
        let what = json!({"layer": digest_text(digest)?, "size": link.int(1)?, "why": why});
        removed.in_repository(tx, rid, repo_id, what).await?;
    } else if let Some(link) = tx.one(&sql::LINK, &key).await?
        && !layers::has_edge(tx, rid, repo_id, link.int(0)?).await?
    {
        let later = Val::Int(link.int(1)?.max(round.now.micros()));
        tx.exec(&sql::DEFER_LINK, &[seen[0], seen[1], seen[2], seen[3], later]).await?;
        return Ok(false);
    }
    tx.exec(&sql::REVIEWED_LINK, &seen).await?;
    Ok(dropped.is_some())
}

async fn collect_blob(
    tx: &mut Tx,
    round: &Round,
    rid: i64,
    blob_id: i64,
    review_after: i64,
    removed: &mut Removed,
) -> Result<bool> {
    let seen = [Val::Int(rid), Val::Int(blob_id), Val::Int(review_after)];
    let dropped = tx.one(&sql::DROP_BLOB, &[seen[0], seen[1], round.now.micros().into()]).await?;
    if let Some(blob) = &dropped {
        let (key, delete_after) = (blob.text(0)?, round.now.plus(round.spans.trash));
        tx.exec(&uploads::sql::DISCARD, &[key.as_str().into(), seen[0], delete_after.micros().into()]).await?;
        let why = format!("no repository holds it, kept until {}", time(blob.int(3)?));
        let gone_at = time(delete_after.micros());
        let digest = digest_text(&blob.bytes(1)?)?;
        let what = json!({"blob": digest, "size": blob.int(2)?, "object": key, "bytesGoAt": gone_at, "why": why});
        removed.add(rid, what);
    } else if let Some(blob) = tx.one(&sql::BLOB_LINKED, &seen[..2]).await?
        && blob.opt_int(1)?.is_none()
    {
        let later = Val::Int(blob.int(0)?.max(round.now.micros()));
        tx.exec(&sql::DEFER_BLOB, &[seen[0], seen[1], seen[2], later]).await?;
        return Ok(false);
    }
    tx.exec(&sql::REVIEWED_BLOB, &seen).await?;
    Ok(dropped.is_some())
}

pub(crate) async fn due_trash(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<StorageKey>> {
    let rows = tx.all(&sql::DUE_TRASH, &[now.micros().into(), i64::from(limit).into()]).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

pub(crate) async fn forget_trash(tx: &mut Tx, keys: &[StorageKey]) -> Result<()> {
    for key in keys {
        tx.exec(&sql::FORGET_TRASH, &[key.as_str().into()]).await?;
    }
    Ok(())
}
