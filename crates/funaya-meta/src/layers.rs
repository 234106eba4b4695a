//! Layers: blobs of the registry, and links from repositories to them.

use funaya_ports::{
    audit::Batch,
    blobs::StoredBlob,
    meta::{Layer, Mount, Refusal, Result, Spans},
};
use funaya_types::{Digest, Registry, RepositoryName, Timestamp};

use crate::{
    audit,
    driver::{Row, Tx, Val, odd},
    repositories,
};

pub(crate) mod sql {
    crate::driver::statements! {
        GET = "SELECT b.storage_key, b.wrapped_key, b.size, l.media_type, l.keep_until, l.repo_id, l.blob_id
            FROM repositories r
            JOIN repo_blobs l ON l.rid = r.rid AND l.repo_id = r.repo_id
            JOIN blobs b ON b.rid = l.rid AND b.blob_id = l.blob_id
            WHERE r.rid = $1 AND r.name = $2 AND l.digest = $3 AND l.deleted_at = 0";
        LINKED = "SELECT blob_id FROM repo_blobs WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND deleted_at = 0";
        HAS_EDGE = "SELECT man_id FROM manifest_blobs WHERE rid = $1 AND repo_id = $2 AND blob_id = $3 LIMIT 1";
        IN_USE = "SELECT m.man_id FROM manifest_blobs e
            JOIN manifests m ON m.rid = e.rid AND m.repo_id = e.repo_id AND m.man_id = e.man_id
            WHERE e.rid = $1 AND e.repo_id = $2 AND e.blob_id = $3 AND m.deleted_at = 0 LIMIT 1";
        BLOB = "SELECT storage_key, wrapped_key, size FROM blobs WHERE rid = $1 AND dom_id = $2 AND digest = $3";
        ADD_BLOB = "INSERT INTO blobs (rid, blob_id, dom_id, digest, size, storage_key, wrapped_key, keep_until)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (rid, dom_id, digest) DO UPDATE SET keep_until =
                CASE WHEN blobs.keep_until < excluded.keep_until THEN excluded.keep_until ELSE blobs.keep_until END
            RETURNING blob_id, storage_key";
        REPLACE_BLOB = "UPDATE blobs SET storage_key = $4, wrapped_key = $5
            WHERE rid = $1 AND blob_id = $2 AND storage_key = $3";
        TOUCH_BLOB = "UPDATE blobs SET keep_until = CASE WHEN keep_until < $4 THEN $4 ELSE keep_until END
            WHERE rid = $1 AND dom_id = $2 AND digest = $3 RETURNING blob_id, size";
        LINK = "INSERT INTO repo_blobs (rid, repo_id, digest, blob_id, size, media_type, keep_until, deleted_at)
            VALUES ($1, $2, $3, $4, $5, NULL, $6, 0)
            ON CONFLICT (rid, repo_id, digest) DO UPDATE SET deleted_at = 0, keep_until =
                CASE WHEN repo_blobs.keep_until < excluded.keep_until THEN excluded.keep_until
                ELSE repo_blobs.keep_until END";
        TOUCH_LINK = "UPDATE repo_blobs SET keep_until = CASE WHEN keep_until < $4 THEN $4 ELSE keep_until END
            WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND deleted_at = 0";
        LOCK_LINK = "UPDATE repo_blobs SET keep_until = keep_until
            WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND deleted_at = 0 RETURNING blob_id";
        HIDE_LINK = "UPDATE repo_blobs SET deleted_at = $4 WHERE rid = $1 AND repo_id = $2 AND digest = $3";
        REVIEW_LINK = "INSERT INTO gc_links (rid, repo_id, digest, review_after) VALUES ($1, $2, $3, $4)
            ON CONFLICT (rid, repo_id, digest) DO UPDATE SET review_after = excluded.review_after";
        HOLDERS = "SELECT r.name FROM blobs b
            JOIN repo_blobs l ON l.rid = b.rid AND l.blob_id = b.blob_id AND l.deleted_at = 0
            JOIN repositories r ON r.rid = l.rid AND r.repo_id = l.repo_id AND r.deleted_at = 0
            WHERE b.rid = $1 AND b.dom_id = $2 AND b.digest = $3 ORDER BY r.name LIMIT $4";
    }
}

/// The one encryption domain so far: `AES256` under the server's own root key.
pub(crate) const DOMAIN: i64 = 1;

fn stored(registry: &Registry, digest: &Digest, row: &Row) -> Result<StoredBlob> {
    Ok(StoredBlob {
        registry: registry.clone(),
        key: row.parsed(0)?,
        digest: *digest,
        size: u64::try_from(row.int(2)?).map_err(|_| odd(2))?,
        wrapped_key: row.bytes(1)?,
    })
}

/// Names one digest in one repository of one registry.
#[derive(Clone)]
pub(crate) struct At {
    pub(crate) rid: i64,
    pub(crate) registry: Registry,
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
}

async fn find(tx: &mut Tx, at: &At) -> Result<Option<Row>> {
    let digest = at.digest.to_bytes();
    let row = tx.one(&sql::GET, &[at.rid.into(), at.repository.as_str().into(), digest.as_slice().into()]).await?;
    if row.is_none() {
        repositories::find(tx, at.rid, &at.repository).await?;
    }
    Ok(row)
}

pub(crate) async fn get(tx: &mut Tx, at: &At) -> Result<Option<Layer>> {
    find(tx, at).await?.map(|row| read(at, &row)).transpose()
}

fn read(at: &At, row: &Row) -> Result<Layer> {
    Ok(Layer { blob: stored(&at.registry, &at.digest, row)?, media_type: row.opt_text(3)? })
}

/// The layer, and whether it will stay for half the grace as it is: an image
/// refers to it, or it was touched lately (I4).
pub(crate) async fn look(tx: &mut Tx, at: &At, now: Timestamp, spans: Spans) -> Result<Option<(Layer, bool)>> {
    let Some(row) = find(tx, at).await? else { return Ok(None) };
    let touched = row.int(4)? >= now.plus(spans.grace / 2).micros();
    let safe = touched || has_edge(tx, at.rid, row.int(5)?, row.int(6)?).await?;
    Ok(Some((read(at, &row)?, safe)))
}

pub(crate) async fn has_edge(tx: &mut Tx, rid: i64, repo_id: i64, blob_id: i64) -> Result<bool> {
    Ok(tx.one(&sql::HAS_EDGE, &[rid.into(), repo_id.into(), blob_id.into()]).await?.is_some())
}

pub(crate) struct Touch {
    pub(crate) at: At,
    pub(crate) keep_until: Timestamp,
}

pub(crate) async fn touch(tx: &mut Tx, command: &Touch) -> Result<()> {
    let found = repositories::find(tx, command.at.rid, &command.at.repository).await?;
    touch_link(tx, command.at.rid, found.repo_id, &command.at.digest.to_bytes(), command.keep_until).await
}

pub(crate) async fn touch_link(
    tx: &mut Tx,
    rid: i64,
    repo_id: i64,
    digest: &[u8],
    keep_until: Timestamp,
) -> Result<()> {
    let args = [rid.into(), repo_id.into(), digest.into(), keep_until.micros().into()];
    tx.exec(&sql::TOUCH_LINK, &args).await?;
    tx.exec(&sql::REVIEW_LINK, &args).await.map(drop)
}

pub(crate) async fn linked(tx: &mut Tx, rid: i64, repo_id: i64, digest: &Digest) -> Result<bool> {
    let digest = digest.to_bytes();
    Ok(tx.one(&sql::LINKED, &[rid.into(), repo_id.into(), digest.as_slice().into()]).await?.is_some())
}

pub(crate) async fn in_use(tx: &mut Tx, at: &At) -> Result<bool> {
    let Some(row) = find(tx, at).await? else { return Ok(false) };
    Ok(tx.one(&sql::IN_USE, &[at.rid.into(), row.int(5)?.into(), row.int(6)?.into()]).await?.is_some())
}

pub(crate) async fn blob(tx: &mut Tx, rid: i64, registry: &Registry, digest: &Digest) -> Result<Option<StoredBlob>> {
    let raw = digest.to_bytes();
    let row = tx.one(&sql::BLOB, &[rid.into(), DOMAIN.into(), raw.as_slice().into()]).await?;
    row.map(|row| stored(registry, digest, &row)).transpose()
}

/// The blob that stands for a digest.
pub(crate) struct Standing {
    pub(crate) blob_id: i64,
    pub(crate) storage_key: String,
}

/// Adds a blob, or touches the equal one that is stored already.
pub(crate) async fn add_blob(
    tx: &mut Tx,
    rid: i64,
    row_id: i64,
    blob: &StoredBlob,
    keep_until: Timestamp,
) -> Result<Standing> {
    let digest = blob.digest.to_bytes();
    let row = tx
        .one(
            &sql::ADD_BLOB,
            &[
                rid.into(),
                row_id.into(),
                DOMAIN.into(),
                digest.as_slice().into(),
                (blob.size as i64).into(),
                blob.key.as_str().into(),
                blob.wrapped_key.as_slice().into(),
                keep_until.micros().into(),
            ],
        )
        .await?
        .ok_or_else(|| odd(0))?;
    Ok(Standing { blob_id: row.int(0)?, storage_key: row.text(1)? })
}

/// Puts new bytes in the place of a damaged object; false if another push was first.
pub(crate) async fn replace(tx: &mut Tx, rid: i64, standing: &Standing, blob: &StoredBlob) -> Result<bool> {
    let args = [
        rid.into(),
        standing.blob_id.into(),
        standing.storage_key.as_str().into(),
        blob.key.as_str().into(),
        blob.wrapped_key.as_slice().into(),
    ];
    Ok(tx.exec(&sql::REPLACE_BLOB, &args).await? > 0)
}

/// Links a repository to a blob and puts the link on the collector's list.
pub(crate) async fn link(
    tx: &mut Tx,
    rid: i64,
    repo_id: i64,
    digest: &Digest,
    blob_id: i64,
    size: u64,
    keep_until: Timestamp,
) -> Result<()> {
    let digest = digest.to_bytes();
    let (rid, repo_id, digest) = (Val::Int(rid), Val::Int(repo_id), Val::Bytes(&digest));
    let keep_until = Val::Int(keep_until.micros());
    tx.exec(&sql::LINK, &[rid, repo_id, digest, blob_id.into(), (size as i64).into(), keep_until]).await?;
    tx.exec(&sql::REVIEW_LINK, &[rid, repo_id, digest, keep_until]).await.map(drop)
}

pub(crate) async fn mount(tx: &mut Tx, (rid, command): &(i64, Mount)) -> Result<()> {
    let target = repositories::find(tx, *rid, &command.target).await?;
    let source = match repositories::find(tx, *rid, &command.source).await {
        Err(funaya_ports::meta::Error::Refused(Refusal::NoRepository)) => return Err(Refusal::NoLayer.into()),
        found => found?,
    };
    if !linked(tx, *rid, source.repo_id, &command.digest).await? {
        return Err(Refusal::NoLayer.into());
    }
    let (keep_until, digest) = (command.now.plus(command.spans.grace), command.digest.to_bytes());
    let args = [(*rid).into(), DOMAIN.into(), digest.as_slice().into(), keep_until.micros().into()];
    let blob = tx.one(&sql::TOUCH_BLOB, &args).await?.ok_or(Refusal::NoLayer)?;
    let size = u64::try_from(blob.int(1)?).map_err(|_| odd(1))?;
    link(tx, *rid, target.repo_id, &command.digest, blob.int(0)?, size, keep_until).await?;
    audit::add(tx, *rid, &command.audit).await
}

pub(crate) struct DeleteLayer {
    pub(crate) at: At,
    pub(crate) now: Timestamp,
    pub(crate) audit: Batch,
}

/// Hides the link; the collector removes it when its promise has run out.
pub(crate) async fn delete(tx: &mut Tx, command: &DeleteLayer) -> Result<()> {
    let at = &command.at;
    let found = repositories::find(tx, at.rid, &at.repository).await?;
    let digest = at.digest.to_bytes();
    let (rid, repo_id, digest) = (Val::Int(at.rid), Val::Int(found.repo_id), Val::Bytes(&digest));
    let now = Val::Int(command.now.micros());
    // The row is locked first and the images are looked at in a later statement: a push that
    // holds the row has then committed, and PostgreSQL shows its image.
    let link = tx.one(&sql::LOCK_LINK, &[rid, repo_id, digest]).await?.ok_or(Refusal::NoLayer)?;
    if tx.one(&sql::IN_USE, &[rid, repo_id, link.int(0)?.into()]).await?.is_some() {
        return Err(Refusal::LayerInUse.into());
    }
    tx.exec(&sql::HIDE_LINK, &[rid, repo_id, digest, now]).await?;
    tx.exec(&sql::REVIEW_LINK, &[rid, repo_id, digest, now]).await?;
    audit::add(tx, at.rid, &command.audit).await
}

pub(crate) async fn holders(tx: &mut Tx, rid: i64, digest: &Digest, limit: u32) -> Result<Vec<RepositoryName>> {
    let digest = digest.to_bytes();
    let args = [rid.into(), DOMAIN.into(), digest.as_slice().into(), i64::from(limit).into()];
    tx.all(&sql::HOLDERS, &args).await?.iter().map(|row| row.parsed(0)).collect()
}
