//! What the collector would remove, and why things stay: reads only.

use funaya_ports::{
    Fut,
    collecting::{CollectingStore, Known, KnownLink, Removable},
    meta::Result,
};
use funaya_types::{Digest, Registry, Timestamp};

use crate::{
    driver::{Row, Statement, Tx, odd},
    layers,
    store::SqlStore,
};

pub(crate) mod sql {
    crate::driver::statements! {
        IMAGES = "SELECT m.digest, r.name, r.deleted_name FROM tombstones t
            JOIN manifests m ON m.rid = t.rid AND m.repo_id = t.repo_id AND m.man_id = t.man_id
            JOIN repositories r ON r.rid = t.rid AND r.repo_id = t.repo_id
            WHERE t.purge_at <= $1 AND m.deleted_at = t.deleted_at AND NOT EXISTS (SELECT 1 FROM manifest_children c
                JOIN tombstones p ON p.rid = c.rid AND p.repo_id = c.repo_id AND p.man_id = c.parent_id
                WHERE c.rid = t.rid AND c.repo_id = t.repo_id AND c.child_id = t.man_id AND p.purge_at > $1)
            ORDER BY t.purge_at LIMIT $2";
        REPOSITORIES = "SELECT r.deleted_name FROM tombstones t
            JOIN repositories r ON r.rid = t.rid AND r.repo_id = t.repo_id
            WHERE t.purge_at <= $1 AND t.man_id = 0 AND r.deleted_at = t.deleted_at ORDER BY t.purge_at LIMIT $2";
        LINKS = "SELECT l.digest, r.name, r.deleted_name FROM gc_links q
            JOIN repo_blobs l ON l.rid = q.rid AND l.repo_id = q.repo_id AND l.digest = q.digest
            JOIN repositories r ON r.rid = q.rid AND r.repo_id = q.repo_id
            WHERE q.review_after < $1 AND l.keep_until < $1 AND NOT EXISTS (SELECT 1 FROM manifest_blobs e
                WHERE e.rid = l.rid AND e.repo_id = l.repo_id AND e.blob_id = l.blob_id)
            ORDER BY q.review_after LIMIT $2";
        BLOBS = "SELECT b.digest, b.size FROM gc_blobs q JOIN blobs b ON b.rid = q.rid AND b.blob_id = q.blob_id
            WHERE q.review_after < $1 AND b.keep_until < $1
                AND NOT EXISTS (SELECT 1 FROM repo_blobs l WHERE l.rid = b.rid AND l.blob_id = b.blob_id)
            ORDER BY q.review_after LIMIT $2";
        // Blobs whose links all go now: they go after them.
        BLOBS_OF_LINKS = "SELECT b.digest, b.size FROM gc_links q
            JOIN repo_blobs l ON l.rid = q.rid AND l.repo_id = q.repo_id AND l.digest = q.digest
            JOIN blobs b ON b.rid = l.rid AND b.blob_id = l.blob_id
            WHERE q.review_after < $1 AND b.keep_until < $1 AND NOT EXISTS (SELECT 1 FROM repo_blobs o
                LEFT JOIN gc_links p ON p.rid = o.rid AND p.repo_id = o.repo_id AND p.digest = o.digest
                    AND p.review_after < $1
                WHERE o.rid = b.rid AND o.blob_id = b.blob_id AND (o.repo_id > l.repo_id
                    OR p.rid IS NULL OR o.keep_until >= $1
                    OR EXISTS (SELECT 1 FROM manifest_blobs e
                        WHERE e.rid = o.rid AND e.repo_id = o.repo_id AND e.blob_id = o.blob_id)))
            ORDER BY q.review_after LIMIT $2";
        UPLOADS = "SELECT upload_id, received FROM uploads WHERE expires_at < $1 ORDER BY expires_at LIMIT $2";
        RID = "SELECT rid FROM registries WHERE account = $1 AND region = $2";
        BLOB = "SELECT size, keep_until, blob_id FROM blobs WHERE rid = $1 AND dom_id = $2 AND digest = $3";
        HOLDERS = "SELECT r.repo_id, r.name, r.deleted_name, r.deleted_at, l.keep_until FROM repo_blobs l
            JOIN repositories r ON r.rid = l.rid AND r.repo_id = l.repo_id
            WHERE l.rid = $1 AND l.blob_id = $2 ORDER BY l.repo_id";
        USERS = "SELECT m.digest, m.deleted_at FROM manifest_blobs e
            JOIN manifests m ON m.rid = e.rid AND m.repo_id = e.repo_id AND m.man_id = e.man_id
            WHERE e.rid = $1 AND e.repo_id = $2 AND e.blob_id = $3 ORDER BY e.man_id LIMIT 10";
        IMAGE_IN = "SELECT r.name, r.deleted_name, m.deleted_at FROM repositories r
            JOIN manifests m ON m.rid = r.rid AND m.repo_id = r.repo_id AND m.digest = $2
            WHERE r.rid = $1 ORDER BY r.repo_id";
    }
}

impl CollectingStore for SqlStore {
    fn removable(&self, now: Timestamp, limit: u32) -> Fut<'_, Result<Vec<Removable>>> {
        let key = (now, limit);
        Box::pin(async move { self.read(&key, |key, tx| Box::pin(removable(tx, key))).await })
    }

    fn known<'a>(&'a self, registry: &'a Registry, digest: &'a Digest) -> Fut<'a, Result<Known>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, *digest);
            self.read(&key, |key, tx| Box::pin(known(tx, key))).await
        })
    }
}

/// The name that a repository has, or had before it was deleted.
fn name(row: &Row, name: usize, deleted: usize) -> Result<String> {
    let before = row.text(deleted)?;
    if before.is_empty() { row.text(name) } else { Ok(before) }
}

fn digest(row: &Row, column: usize) -> Result<Digest> {
    Digest::from_bytes(&row.bytes(column)?).map_err(|_| odd(column))
}

fn deleted(row: &Row, column: usize) -> Result<Option<Timestamp>> {
    Ok(Some(row.int(column)?).filter(|at| *at != 0).map(Timestamp::from_micros))
}

type ReadOne = fn(&Row) -> Result<Removable>;

async fn removable(tx: &mut Tx, (now, limit): &(Timestamp, u32)) -> Result<Vec<Removable>> {
    let blob: ReadOne = |row| {
        let (name, bytes) = (digest(row, 0)?.to_string(), row.int(1)?.unsigned_abs());
        Ok(Removable { what: "blob", name, repository: None, bytes })
    };
    let lists: [(&Statement, ReadOne); 6] = [
        (&sql::REPOSITORIES, |row| {
            Ok(Removable { what: "repository", name: row.text(0)?, repository: None, bytes: 0 })
        }),
        (&sql::IMAGES, |row| {
            let (name, repository) = (digest(row, 0)?.to_string(), Some(name(row, 1, 2)?));
            Ok(Removable { what: "image", name, repository, bytes: 0 })
        }),
        (&sql::LINKS, |row| {
            let (name, repository) = (digest(row, 0)?.to_string(), Some(name(row, 1, 2)?));
            Ok(Removable { what: "layer", name, repository, bytes: 0 })
        }),
        (&sql::BLOBS, blob),
        (&sql::BLOBS_OF_LINKS, blob),
        (&sql::UPLOADS, |row| {
            Ok(Removable { what: "upload", name: row.text(0)?, repository: None, bytes: row.int(1)?.unsigned_abs() })
        }),
    ];
    let mut all = Vec::new();
    for (statement, read) in lists {
        for row in tx.all(statement, &[now.micros().into(), i64::from(*limit).into()]).await? {
            all.push(read(&row)?);
        }
    }
    Ok(all)
}

async fn links(tx: &mut Tx, rid: i64, blob_id: i64) -> Result<Vec<KnownLink>> {
    let mut links = Vec::new();
    for row in tx.all(&sql::HOLDERS, &[rid.into(), blob_id.into()]).await? {
        let users = tx.all(&sql::USERS, &[rid.into(), row.int(0)?.into(), blob_id.into()]).await?;
        links.push(KnownLink {
            repository: name(&row, 1, 2)?,
            repository_deleted_at: deleted(&row, 3)?,
            keep_until: Timestamp::from_micros(row.int(4)?),
            images: users.iter().map(|user| Ok((digest(user, 0)?, deleted(user, 1)?))).collect::<Result<_>>()?,
        });
    }
    Ok(links)
}

async fn known(tx: &mut Tx, (rid, wanted): &(i64, Digest)) -> Result<Known> {
    let raw = wanted.to_bytes();
    let key = [(*rid).into(), raw.as_slice().into()];
    let mut known = Known::default();
    if let Some(row) = tx.one(&sql::BLOB, &[key[0], layers::DOMAIN.into(), key[1]]).await? {
        known.blob = Some((row.int(0)?.unsigned_abs(), Timestamp::from_micros(row.int(1)?)));
        known.links = links(tx, *rid, row.int(2)?).await?;
    }
    for row in tx.all(&sql::IMAGE_IN, &key).await? {
        known.images.push((name(&row, 0, 1)?, deleted(&row, 2)?));
    }
    Ok(known)
}
