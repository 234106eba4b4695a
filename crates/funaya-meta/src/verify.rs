//! Whole-store reads for `verify` and `scrub` (D13): by key, a page at a time.

use funaya_ports::{
    blobs::StoredBlob,
    meta::{ConversionPlace, Result, StoredManifest},
};
use funaya_types::{Digest, Registry, StorageKey};

use crate::driver::{Row, Tx, odd};

pub(crate) mod sql {
    crate::driver::statements! {
        BLOBS = "SELECT b.rid, b.blob_id, g.account, g.region, b.storage_key, b.digest, b.size, b.wrapped_key
            FROM blobs b JOIN registries g ON g.rid = b.rid
            WHERE (b.rid, b.blob_id) > ($1, $2) ORDER BY b.rid, b.blob_id LIMIT $3";
        MANIFESTS = "SELECT m.rid, m.repo_id, m.man_id, coalesce(r.name, ''), m.digest, m.media_type, b.body
            FROM manifests m
            LEFT JOIN manifest_bodies b ON b.rid = m.rid AND b.repo_id = m.repo_id AND b.man_id = m.man_id
            LEFT JOIN repositories r ON r.rid = m.rid AND r.repo_id = m.repo_id
            WHERE (m.rid, m.repo_id, m.man_id) > ($1, $2, $3) ORDER BY m.rid, m.repo_id, m.man_id LIMIT $4";
        CONVERSIONS = "SELECT c.rid, c.repo_id, c.man_id, coalesce(r.name, ''), c.digest, c.media_type, c.body, c.tag
            FROM conversions c LEFT JOIN repositories r ON r.rid = c.rid AND r.repo_id = c.repo_id
            WHERE (c.rid, c.repo_id, c.man_id, c.media_type, c.tag) > ($1, $2, $3, $4, $5)
            ORDER BY c.rid, c.repo_id, c.man_id, c.media_type, c.tag LIMIT $6";
        EDGE_WITHOUT_LINK = "SELECT e.blob_id FROM manifest_blobs e
            LEFT JOIN repo_blobs l ON l.rid = e.rid AND l.blob_id = e.blob_id AND l.repo_id = e.repo_id
            WHERE l.blob_id IS NULL LIMIT 100";
        EDGE_WITHOUT_MANIFEST = "SELECT e.man_id FROM manifest_blobs e
            LEFT JOIN manifests m ON m.rid = e.rid AND m.repo_id = e.repo_id AND m.man_id = e.man_id
            WHERE m.man_id IS NULL LIMIT 100";
        LINK_WITHOUT_BLOB = "SELECT l.blob_id FROM repo_blobs l
            LEFT JOIN blobs b ON b.rid = l.rid AND b.blob_id = l.blob_id WHERE b.blob_id IS NULL LIMIT 100";
        TAG_WITHOUT_IMAGE = "SELECT t.man_id FROM tags t
            LEFT JOIN manifests m ON m.rid = t.rid AND m.repo_id = t.repo_id AND m.man_id = t.man_id
                AND m.deleted_at = 0
            JOIN repositories r ON r.rid = t.rid AND r.repo_id = t.repo_id AND r.deleted_at = 0
            WHERE m.man_id IS NULL LIMIT 100";
        CHILD_WITHOUT_IMAGE = "SELECT c.child_id FROM manifest_children c
            LEFT JOIN manifests m ON m.rid = c.rid AND m.repo_id = c.repo_id AND m.man_id = c.child_id
            WHERE m.man_id IS NULL LIMIT 100";
        WRONG_COUNT = "SELECT r.repo_id FROM repositories r WHERE r.deleted_at = 0 AND r.image_count <>
            (SELECT count(*) FROM manifests m WHERE m.rid = r.rid AND m.repo_id = r.repo_id AND m.deleted_at = 0)
            LIMIT 100";
        WRONG_TAG_COUNT = "SELECT m.man_id FROM manifests m WHERE m.tag_count <>
            CASE WHEN m.deleted_at <> 0 THEN -1 ELSE (SELECT count(*) FROM tags t
                WHERE t.rid = m.rid AND t.repo_id = m.repo_id AND t.man_id = m.man_id) END LIMIT 100";
        DOUBLE_OWNER = "SELECT b.blob_id FROM blobs b WHERE EXISTS
                (SELECT 1 FROM trash t WHERE t.storage_key = b.storage_key)
            OR EXISTS (SELECT 1 FROM uploads u WHERE u.storage_key = b.storage_key) LIMIT 100";
        DOUBLE_TRASH = "SELECT u.repo_id FROM uploads u WHERE EXISTS
            (SELECT 1 FROM trash t WHERE t.storage_key = u.storage_key) LIMIT 100";
        IMAGE_WITHOUT_BODY = "SELECT m.man_id FROM manifests m
            LEFT JOIN manifest_bodies b ON b.rid = m.rid AND b.repo_id = m.repo_id AND b.man_id = m.man_id
            WHERE b.man_id IS NULL LIMIT 100";
        CONVERSION_WITHOUT_IMAGE = "SELECT c.man_id FROM conversions c
            LEFT JOIN manifests m ON m.rid = c.rid AND m.repo_id = c.repo_id AND m.man_id = c.man_id
            WHERE m.man_id IS NULL LIMIT 100";
        HIDDEN_IN_USE = "SELECT l.blob_id FROM repo_blobs l
            JOIN manifest_blobs e ON e.rid = l.rid AND e.repo_id = l.repo_id AND e.blob_id = l.blob_id
            JOIN manifests m ON m.rid = e.rid AND m.repo_id = e.repo_id AND m.man_id = e.man_id AND m.deleted_at = 0
            WHERE l.deleted_at <> 0 LIMIT 100";
        CHILD_DELETED = "SELECT c.child_id FROM manifest_children c
            JOIN manifests p ON p.rid = c.rid AND p.repo_id = c.repo_id AND p.man_id = c.parent_id AND p.deleted_at = 0
            JOIN manifests m ON m.rid = c.rid AND m.repo_id = c.repo_id AND m.man_id = c.child_id AND m.deleted_at <> 0
            JOIN repositories r ON r.rid = c.rid AND r.repo_id = c.repo_id AND r.deleted_at = 0 LIMIT 100";
        LINK_DIFFERS = "SELECT l.blob_id FROM repo_blobs l
            JOIN blobs b ON b.rid = l.rid AND b.blob_id = l.blob_id
            WHERE l.size <> b.size OR l.digest <> b.digest LIMIT 100";
        OWNED = "SELECT storage_key FROM blobs WHERE storage_key = $1
            UNION ALL SELECT storage_key FROM uploads WHERE storage_key = $1
            UNION ALL SELECT storage_key FROM trash WHERE storage_key = $1";
    }
}

pub(crate) async fn blobs(tx: &mut Tx, after: (i64, i64), limit: u32) -> Result<Vec<((i64, i64), StoredBlob)>> {
    let rows = tx.all(&sql::BLOBS, &[after.0.into(), after.1.into(), i64::from(limit).into()]).await?;
    let read = |row: &Row| {
        let blob = StoredBlob {
            registry: Registry { account: row.parsed(2)?, region: row.parsed(3)? },
            key: row.parsed(4)?,
            digest: Digest::from_bytes(&row.bytes(5)?).map_err(|_| odd(5))?,
            size: u64::try_from(row.int(6)?).map_err(|_| odd(6))?,
            wrapped_key: row.bytes(7)?,
        };
        Ok(((row.int(0)?, row.int(1)?), blob))
    };
    rows.iter().map(read).collect()
}

pub(crate) async fn manifests(tx: &mut Tx, after: (i64, i64, i64), limit: u32) -> Result<Vec<StoredManifest>> {
    let args = [after.0.into(), after.1.into(), after.2.into(), i64::from(limit).into()];
    tx.all(&sql::MANIFESTS, &args).await?.iter().map(manifest).collect()
}

pub(crate) async fn conversions(
    tx: &mut Tx,
    ((rid, repo_id, man_id), media_type, tag): &ConversionPlace,
    limit: u32,
) -> Result<Vec<(ConversionPlace, StoredManifest)>> {
    let image = [(*rid).into(), (*repo_id).into(), (*man_id).into()];
    let args = [image[0], image[1], image[2], media_type.as_str().into(), tag.as_str().into(), i64::from(limit).into()];
    let read = |row: &Row| {
        let found = manifest(row)?;
        Ok(((found.place, found.media_type.clone(), row.text(7)?), found))
    };
    tx.all(&sql::CONVERSIONS, &args).await?.iter().map(read).collect()
}

fn manifest(row: &Row) -> Result<StoredManifest> {
    Ok(StoredManifest {
        place: (row.int(0)?, row.int(1)?, row.int(2)?),
        repository: row.text(3)?,
        digest: Digest::from_bytes(&row.bytes(4)?).map_err(|_| odd(4))?,
        media_type: row.text(5)?,
        body: row.opt_bytes(6)?.unwrap_or_default(),
    })
}

pub(crate) async fn broken_rows(tx: &mut Tx) -> Result<Vec<String>> {
    let checks = [
        (&sql::EDGE_WITHOUT_LINK, "an image names a layer that its repository does not hold: blob"),
        (&sql::EDGE_WITHOUT_MANIFEST, "a layer is named by an image that does not exist: image"),
        (&sql::LINK_WITHOUT_BLOB, "a repository holds a layer that is not stored: blob"),
        (&sql::TAG_WITHOUT_IMAGE, "a tag names an image that does not exist: image"),
        (&sql::CHILD_WITHOUT_IMAGE, "an index names an image that does not exist: image"),
        (&sql::WRONG_COUNT, "a repository's image count is wrong: repository"),
        (&sql::WRONG_TAG_COUNT, "an image's tag count is wrong: image"),
        (&sql::DOUBLE_OWNER, "stored bytes have two owners: blob"),
        (&sql::DOUBLE_TRASH, "an upload's bytes are in the trash: repository"),
        (&sql::IMAGE_WITHOUT_BODY, "an image has no manifest: image"),
        (&sql::CONVERSION_WITHOUT_IMAGE, "a conversion is of an image that does not exist: image"),
        (&sql::HIDDEN_IN_USE, "an image names a layer that was deleted from its repository: blob"),
        (&sql::CHILD_DELETED, "an index names an image that was deleted: image"),
        (&sql::LINK_DIFFERS, "a repository's layer differs from what is stored: blob"),
    ];
    let mut faults = Vec::new();
    for (statement, text) in checks {
        for row in tx.all(statement, &[]).await? {
            faults.push(format!("{text} {}", row.int(0)?));
        }
    }
    Ok(faults)
}

pub(crate) async fn unowned(tx: &mut Tx, keys: &[StorageKey]) -> Result<Vec<StorageKey>> {
    let mut out = Vec::new();
    for key in keys {
        if tx.one(&sql::OWNED, &[key.as_str().into()]).await?.is_none() {
            out.push(key.clone());
        }
    }
    Ok(out)
}
