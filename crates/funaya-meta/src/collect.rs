//! The collector: rows that nothing needs any more (D5, stack "GC").
//!
//! It deletes a row only if that row's own `keep_until` has passed and nothing
//! refers to it, both judged by the deleting statement. Whoever adds a
//! reference has updated that row first, so the database orders every race.

use funaya_ports::meta::{Collected, Result, Spans};
use funaya_types::{StorageKey, Timestamp};

use crate::{
    driver::{Row, Tx, Val},
    layers, uploads,
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
        DROP_BODY = "DELETE FROM manifest_bodies WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        DROP_MANIFEST = "DELETE FROM manifests WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        DROP_TAGS_OF = "DELETE FROM tags WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        REPO_IMAGES = "SELECT man_id FROM manifests WHERE rid = $1 AND repo_id = $2 LIMIT $3";
        REPO_LINKS = "SELECT digest FROM repo_blobs WHERE rid = $1 AND repo_id = $2 LIMIT $3";
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
            RETURNING blob_id";
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
            RETURNING storage_key";
        BLOB_LINKED = "SELECT b.keep_until, l.repo_id FROM blobs b
            LEFT JOIN repo_blobs l ON l.rid = b.rid AND l.blob_id = b.blob_id
            WHERE b.rid = $1 AND b.blob_id = $2 LIMIT 1";
        DEFER_BLOB = "UPDATE gc_blobs SET review_after = $4 WHERE rid = $1 AND blob_id = $2 AND review_after = $3";
        REVIEWED_BLOB = "DELETE FROM gc_blobs WHERE rid = $1 AND blob_id = $2 AND review_after = $3";
        DUE_TRASH = "SELECT storage_key FROM trash WHERE delete_after < $1 ORDER BY delete_after LIMIT $2";
        FORGET_TRASH = "DELETE FROM trash WHERE storage_key = $1";
    }
}

/// When and how much one round works on.
pub(crate) struct Round {
    pub(crate) now: Timestamp,
    pub(crate) spans: Spans,
    pub(crate) limit: u32,
}

impl Round {
    fn due(&self) -> [Val<'static>; 2] {
        [self.now.micros().into(), i64::from(self.limit).into()]
    }
}

pub(crate) async fn round(tx: &mut Tx, round: &Round) -> Result<Collected> {
    let tombstones = purge_tombstones(tx, round).await?;
    let links = collect_links(tx, round).await?;
    let blobs = collect_blobs(tx, round).await?;
    let uploads = uploads::expire(tx, round.now, round.now.plus(round.spans.trash), round.limit).await?;
    let full = |looked_at: u64| looked_at >= u64::from(round.limit);
    Ok(Collected {
        more: full(tombstones.looked_at) || full(links.looked_at) || full(blobs.looked_at) || full(uploads),
        tombstones: tombstones.dropped,
        links: links.dropped,
        blobs: blobs.dropped,
        uploads,
    })
}

#[derive(Default)]
struct Tally {
    looked_at: u64,
    dropped: u64,
}

async fn purge_tombstones(tx: &mut Tx, round: &Round) -> Result<Tally> {
    let due = tx.all(&sql::DUE_TOMBSTONES, &round.due()).await?;
    let mut tally = Tally::default();
    for row in &due {
        tally.looked_at += 1;
        let (rid, repo_id, man_id, deleted_at) = (row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?);
        let key = [rid.into(), repo_id.into(), man_id.into(), deleted_at.into()];
        let done = if man_id == 0 {
            purge_repository(tx, round, rid, repo_id, deleted_at).await?
        } else {
            // Pushed again meanwhile: the row lives, only the tombstone goes.
            if tx.exec(&sql::STILL_DELETED, &key).await? > 0 {
                purge_image(tx, round, rid, repo_id, man_id).await?;
                tally.dropped += 1;
            }
            true
        };
        if done {
            tx.exec(&sql::DROP_TOMBSTONE, &key).await?;
            tally.dropped += u64::from(man_id == 0);
        } else {
            tally.looked_at += u64::from(round.limit);
        }
    }
    Ok(tally)
}

/// Links are touched before the edges go, so that the promise given for them holds (I4).
async fn purge_image(tx: &mut Tx, round: &Round, rid: i64, repo_id: i64, man_id: i64) -> Result<()> {
    let key = [Val::Int(rid), Val::Int(repo_id), Val::Int(man_id)];
    let keep_until = round.now.plus(round.spans.grace);
    for row in tx.all(&sql::IMAGE_BLOBS, &key).await? {
        let digest = row.bytes(0)?;
        let args = [rid.into(), repo_id.into(), digest.as_slice().into(), keep_until.micros().into()];
        tx.exec(&sql::TOUCH_ANY_LINK, &args).await?;
        tx.exec(&layers::sql::REVIEW_LINK, &args).await?;
    }
    for statement in [&sql::DROP_EDGES, &sql::DROP_CHILDREN, &sql::DROP_TAGS_OF, &sql::DROP_BODY, &sql::DROP_MANIFEST] {
        tx.exec(statement, &key).await?;
    }
    Ok(())
}

/// Purges a deleted repository piece by piece; true when nothing of it is left.
async fn purge_repository(tx: &mut Tx, round: &Round, rid: i64, repo_id: i64, deleted_at: i64) -> Result<bool> {
    let key = [Val::Int(rid), Val::Int(repo_id)];
    if tx.exec(&sql::REPO_STILL_DELETED, &[key[0], key[1], deleted_at.into()]).await? == 0 {
        return Ok(true);
    }
    let images = tx.all(&sql::REPO_IMAGES, &[key[0], key[1], i64::from(round.limit).into()]).await?;
    for row in &images {
        purge_image(tx, round, rid, repo_id, row.int(0)?).await?;
    }
    let links = tx.all(&sql::REPO_LINKS, &[key[0], key[1], i64::from(round.limit).into()]).await?;
    for row in &links {
        let digest = row.bytes(0)?;
        let args = [key[0], key[1], digest.as_slice().into(), round.now.micros().into()];
        tx.exec(&layers::sql::REVIEW_LINK, &args).await?;
    }
    if !images.is_empty() || !links.is_empty() {
        return Ok(false);
    }
    for statement in [&sql::DROP_RESOURCE_TAGS, &sql::DROP_HISTORY, &sql::DROP_REPOSITORY] {
        tx.exec(statement, &key).await?;
    }
    Ok(true)
}

async fn collect_links(tx: &mut Tx, round: &Round) -> Result<Tally> {
    let due = tx.all(&sql::DUE_LINKS, &round.due()).await?;
    let mut tally = Tally { looked_at: due.len() as u64, dropped: 0 };
    for row in &due {
        tally.dropped += u64::from(collect_link(tx, round, row).await?);
    }
    Ok(tally)
}

async fn collect_link(tx: &mut Tx, round: &Round, due: &Row) -> Result<bool> {
    let (rid, repo_id, digest, seen) = (due.int(0)?, due.int(1)?, due.bytes(2)?, Val::Int(due.int(3)?));
    let (rid, repo_id, digest) = (Val::Int(rid), Val::Int(repo_id), Val::Bytes(&digest));
    let now = Val::Int(round.now.micros());
    let dropped = tx.one(&sql::DROP_LINK, &[rid, repo_id, digest, now]).await?;
    if let Some(link) = &dropped {
        tx.exec(&sql::REVIEW_BLOB, &[rid, link.int(0)?.into(), now]).await?;
    } else if let Some(link) = tx.one(&sql::LINK, &[rid, repo_id, digest]).await? {
        let referenced = tx.one(&layers::sql::HAS_EDGE, &[rid, repo_id, link.int(0)?.into()]).await?.is_some();
        if !referenced {
            let later = link.int(1)?.max(round.now.micros());
            tx.exec(&sql::DEFER_LINK, &[rid, repo_id, digest, seen, later.into()]).await?;
            return Ok(false);
        }
    }
    tx.exec(&sql::REVIEWED_LINK, &[rid, repo_id, digest, seen]).await?;
    Ok(dropped.is_some())
}

async fn collect_blobs(tx: &mut Tx, round: &Round) -> Result<Tally> {
    let due = tx.all(&sql::DUE_BLOBS, &round.due()).await?;
    let mut tally = Tally { looked_at: due.len() as u64, dropped: 0 };
    for row in &due {
        tally.dropped += u64::from(collect_blob(tx, round, row).await?);
    }
    Ok(tally)
}

async fn collect_blob(tx: &mut Tx, round: &Round, due: &Row) -> Result<bool> {
    let (rid, blob_id, seen) = (Val::Int(due.int(0)?), Val::Int(due.int(1)?), Val::Int(due.int(2)?));
    let now = Val::Int(round.now.micros());
    let dropped = tx.one(&sql::DROP_BLOB, &[rid, blob_id, now]).await?;
    if let Some(blob) = &dropped {
        let (key, delete_after) = (blob.text(0)?, round.now.plus(round.spans.trash));
        tx.exec(&uploads::sql::DISCARD, &[key.as_str().into(), rid, delete_after.micros().into()]).await?;
    } else if let Some(blob) = tx.one(&sql::BLOB_LINKED, &[rid, blob_id]).await? {
        if blob.opt_int(1)?.is_none() {
            let later = blob.int(0)?.max(round.now.micros());
            tx.exec(&sql::DEFER_BLOB, &[rid, blob_id, seen, later.into()]).await?;
            return Ok(false);
        }
    }
    tx.exec(&sql::REVIEWED_BLOB, &[rid, blob_id, seen]).await?;
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
