//! Bringing back what was deleted (D6): rows live on until they are purged.

use funaya_ports::{
    Fut,
    audit::Batch,
    meta::{Refusal, Result},
    undo::{Deleted, DeletedPlace, RestoreLimits, Restored, UndoStore},
};
use funaya_types::{Digest, ImageTag, Registry, RepositoryName, Timestamp};

use crate::{
    audit,
    driver::{Row, Tx, Val, odd},
    identity, images, repositories,
    store::SqlStore,
};

pub(crate) mod sql {
    crate::driver::statements! {
        DELETED = "SELECT t.repo_id, t.man_id, t.deleted_at, t.purge_at, r.name, r.deleted_name, r.deleted_at,
                r.image_count
            FROM tombstones t JOIN repositories r ON r.rid = t.rid AND r.repo_id = t.repo_id
            WHERE t.rid = $1 AND (t.deleted_at, t.repo_id, t.man_id) > ($2, $3, $4) AND t.purge_at > $5
            ORDER BY t.deleted_at, t.repo_id, t.man_id LIMIT $6";
        IMAGE = "SELECT digest, deleted_at FROM manifests WHERE rid = $1 AND repo_id = $2 AND man_id = $3";
        TAGS_GONE = "SELECT tag FROM tag_history WHERE rid = $1 AND repo_id = $2 AND at = $3 AND man_id = 0
            ORDER BY tag";
        TAG_BEFORE = "SELECT man_id FROM tag_history WHERE rid = $1 AND repo_id = $2 AND tag = $3 AND at < $4
            ORDER BY at DESC, man_id DESC LIMIT 1";
        FIND = "SELECT man_id, deleted_at FROM manifests WHERE rid = $1 AND repo_id = $2 AND digest = $3";
        TOMBSTONE = "SELECT purge_at FROM tombstones
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = $4";
        DROP_TOMBSTONE = "DELETE FROM tombstones
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = $4 AND purge_at > $5";
        UNBURY = "UPDATE manifests SET deleted_at = 0, tag_count = 0, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = $4";
        LAYERS = "UPDATE repo_blobs SET deleted_at = 0 WHERE rid = $1 AND repo_id = $2 AND deleted_at <> 0
            AND blob_id IN (SELECT e.blob_id FROM manifest_blobs e
                WHERE e.rid = $1 AND e.repo_id = $2 AND e.man_id = $3)";
        CHILDREN = "SELECT child_id FROM manifest_children WHERE rid = $1 AND repo_id = $2 AND parent_id = $3
            ORDER BY child_id";
        REPOSITORIES_GONE = "SELECT r.repo_id, r.deleted_at FROM repositories r
            JOIN tombstones t ON t.rid = r.rid AND t.repo_id = r.repo_id AND t.man_id = 0
                AND t.deleted_at = r.deleted_at
            WHERE r.rid = $1 AND r.deleted_name = $3 AND r.deleted_at <> 0 AND t.purge_at > $2
            ORDER BY r.deleted_at DESC LIMIT 1";
        UNBURY_REPOSITORY = "UPDATE repositories SET name = deleted_name, deleted_name = '', deleted_at = 0, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = $3";
        HISTORY = "SELECT h.at, h.man_id, m.digest FROM tag_history h
            LEFT JOIN manifests m ON m.rid = h.rid AND m.repo_id = h.repo_id AND m.man_id = h.man_id
            WHERE h.rid = $1 AND h.repo_id = $2 AND h.tag = $3 ORDER BY h.at DESC, h.man_id DESC LIMIT $4";
    }
}

impl UndoStore for SqlStore {
    fn deleted<'a>(
        &'a self,
        registry: &'a Registry,
        after: DeletedPlace,
        now: Timestamp,
        limit: u32,
    ) -> Fut<'a, Result<(Vec<Deleted>, Option<DeletedPlace>)>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, after, now, limit);
            self.read(&key, |key, tx| Box::pin(deleted(tx, key))).await
        })
    }

    fn restore_image<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        digest: &'a Digest,
        limits: RestoreLimits,
        audit: Batch,
    ) -> Fut<'a, Result<Restored>> {
        Box::pin(async move {
            let rid = self.rid(registry).await?;
            let command = RestoreImage { rid, name: name.clone(), digest: *digest, limits, audit };
            self.write(command, |c, tx| Box::pin(restore_image(tx, c))).await
        })
    }

    fn restore_repository<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        now: Timestamp,
        repositories_max: i64,
        audit: Batch,
    ) -> Fut<'a, Result<Timestamp>> {
        Box::pin(async move {
            let rid = self.rid(registry).await?;
            let command = RestoreRepository { rid, name: name.clone(), now, repositories_max, audit };
            self.write_access(command, |c, tx| {
                Box::pin(async move { Ok((restore_repository(tx, c).await?, identity::move_epoch(tx).await?)) })
            })
            .await
        })
    }

    fn tag_history<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        tag: &'a ImageTag,
        limit: u32,
    ) -> Fut<'a, Result<Vec<(Timestamp, Option<Digest>)>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, name.clone(), tag.clone(), limit);
            self.read(&key, |key, tx| Box::pin(history(tx, key))).await
        })
    }

    fn move_tag<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        tag: &'a ImageTag,
        digest: &'a Digest,
        now: Timestamp,
        audit: Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let (rid, name, tag) = (self.rid(registry).await?, name.clone(), tag.clone());
            let command = MoveTag { rid, name, tag, digest: *digest, now, audit };
            self.write(command, |c, tx| Box::pin(move_tag(tx, c))).await
        })
    }
}

pub(crate) async fn deleted(
    tx: &mut Tx,
    (rid, after, now, limit): &(i64, DeletedPlace, Timestamp, u32),
) -> Result<(Vec<Deleted>, Option<DeletedPlace>)> {
    let args = [
        (*rid).into(),
        after.deleted_at.into(),
        after.repo_id.into(),
        after.man_id.into(),
        now.micros().into(),
        i64::from(*limit).into(),
    ];
    let (mut found, mut last) = (Vec::new(), None);
    let rows = tx.all(&sql::DELETED, &args).await?;
    for row in &rows {
        found.extend(describe(tx, *rid, row).await?);
        last = Some(place(row)?);
    }
    Ok((found, last.filter(|_| rows.len() == *limit as usize)))
}

fn place(row: &Row) -> Result<DeletedPlace> {
    Ok(DeletedPlace { repo_id: row.int(0)?, man_id: row.int(1)?, deleted_at: row.int(2)? })
}

/// A tombstone with what it stands for; `None` if that was pushed again.
async fn describe(tx: &mut Tx, rid: i64, row: &Row) -> Result<Option<Deleted>> {
    let place = place(row)?;
    let repository_is_deleted = row.int(6)? != 0;
    let repository = if repository_is_deleted { row.parsed(5)? } else { row.parsed(4)? };
    let mut deleted = Deleted {
        repository,
        repository_is_deleted,
        digest: None,
        tags: Vec::new(),
        images: row.int(7)?.unsigned_abs(),
        deleted_at: Timestamp::from_micros(place.deleted_at),
        purge_at: Timestamp::from_micros(row.int(3)?),
    };
    if place.man_id == 0 {
        return Ok(repository_is_deleted.then_some(deleted));
    }
    let key = [rid.into(), place.repo_id.into(), place.man_id.into()];
    let Some(image) = tx.one(&sql::IMAGE, &key).await? else { return Ok(None) };
    if image.int(1)? != place.deleted_at {
        return Ok(None);
    }
    deleted.digest = Some(digest(&image, 0)?);
    deleted.tags = tags_gone(tx, rid, place).await?;
    Ok(Some(deleted))
}

fn digest(row: &Row, column: usize) -> Result<Digest> {
    Digest::from_bytes(&row.bytes(column)?).map_err(|_| odd(column))
}

/// The tags that went when the image did: they named it until then.
async fn tags_gone(tx: &mut Tx, rid: i64, place: DeletedPlace) -> Result<Vec<ImageTag>> {
    let (rid, repo_id, at) = (Val::Int(rid), Val::Int(place.repo_id), Val::Int(place.deleted_at));
    let mut tags = Vec::new();
    for row in tx.all(&sql::TAGS_GONE, &[rid, repo_id, at]).await? {
        let tag = row.text(0)?;
        let before = tx.one(&sql::TAG_BEFORE, &[rid, repo_id, tag.as_str().into(), at]).await?;
        if before.map(|row| row.int(0)).transpose()? == Some(place.man_id) {
            tags.push(row.parsed(0)?);
        }
    }
    Ok(tags)
}

/// One image to bring back.
pub(crate) struct RestoreImage {
    pub(crate) rid: i64,
    pub(crate) name: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) limits: RestoreLimits,
    pub(crate) audit: Batch,
}

pub(crate) async fn restore_image(tx: &mut Tx, command: &RestoreImage) -> Result<Restored> {
    let rid = command.rid;
    // First the repository's row, as a push does: so the two never wait for each other crosswise.
    let found = repositories::lock(tx, rid, &command.name).await?;
    let repo_id = found.repo_id;
    let raw = command.digest.to_bytes();
    let row = tx.one(&sql::FIND, &[rid.into(), repo_id.into(), raw.as_slice().into()]).await?;
    let row = row.ok_or(Refusal::NotDeleted)?;
    let place = DeletedPlace { repo_id, man_id: row.int(0)?, deleted_at: row.int(1)? };
    unbury(tx, rid, place, command.limits).await?;
    let mut restored = Restored { digest: command.digest, tags: Vec::new(), taken: Vec::new(), children: 0 };
    for child in tx.all(&sql::CHILDREN, &[rid.into(), repo_id.into(), place.man_id.into()]).await? {
        let key = [rid.into(), repo_id.into(), child.int(0)?.into()];
        let row = tx.one(&sql::IMAGE, &key).await?.ok_or(Refusal::NotDeleted)?;
        if row.int(1)? != 0 {
            let place = DeletedPlace { repo_id, man_id: child.int(0)?, deleted_at: row.int(1)? };
            unbury(tx, rid, place, command.limits).await?;
            restored.children += 1;
        }
    }
    for tag in tags_gone(tx, rid, place).await? {
        if images::tag_if_free(tx, rid, repo_id, &tag, place.man_id, command.limits.now).await? {
            restored.tags.push(tag);
        } else {
            restored.taken.push(tag);
        }
    }
    audit::add(tx, rid, &command.audit).await?;
    Ok(restored)
}

/// Takes the tombstone away and makes the row live, its layers too. The collector purges only
/// what has a tombstone whose time has passed, and looks at the row first.
async fn unbury(tx: &mut Tx, rid: i64, place: DeletedPlace, limits: RestoreLimits) -> Result<()> {
    let [rid, repo_id, man_id, deleted_at] = [rid, place.repo_id, place.man_id, place.deleted_at].map(Val::Int);
    if tx.exec(&images::sql::COUNT_UP, &[rid, repo_id, limits.images_max.into()]).await? == 0 {
        return Err(Refusal::ImageQuota.into());
    }
    if tx.exec(&sql::UNBURY, &[rid, repo_id, man_id, deleted_at]).await? == 0 || place.deleted_at == 0 {
        return Err(Refusal::NotDeleted.into());
    }
    if tx.exec(&sql::DROP_TOMBSTONE, &[rid, repo_id, man_id, deleted_at, limits.now.micros().into()]).await? == 0 {
        return Err(Refusal::NotDeleted.into());
    }
    tx.exec(&sql::LAYERS, &[rid, repo_id, man_id]).await.map(drop)
}

/// One repository to bring back.
pub(crate) struct RestoreRepository {
    pub(crate) rid: i64,
    pub(crate) name: RepositoryName,
    pub(crate) now: Timestamp,
    pub(crate) repositories_max: i64,
    pub(crate) audit: Batch,
}

pub(crate) async fn restore_repository(tx: &mut Tx, command: &RestoreRepository) -> Result<Timestamp> {
    let (rid, name, now) = (Val::Int(command.rid), Val::Text(command.name.as_str()), Val::Int(command.now.micros()));
    if tx.one(&repositories::sql::BY_NAME, &[rid, name]).await?.is_some() {
        return Err(Refusal::RepositoryExists.into());
    }
    let row = tx.one(&sql::REPOSITORIES_GONE, &[rid, now, name]).await?.ok_or(Refusal::NotDeleted)?;
    let (repo_id, deleted_at) = (Val::Int(row.int(0)?), Val::Int(row.int(1)?));
    if tx.exec(&repositories::sql::COUNT_UP, &[rid, command.repositories_max.into()]).await? == 0 {
        return Err(Refusal::RepositoryQuota.into());
    }
    if tx.exec(&sql::UNBURY_REPOSITORY, &[rid, repo_id, deleted_at]).await? == 0 {
        return Err(Refusal::NotDeleted.into());
    }
    if tx.exec(&sql::DROP_TOMBSTONE, &[rid, repo_id, 0.into(), deleted_at, now]).await? == 0 {
        return Err(Refusal::NotDeleted.into());
    }
    audit::add(tx, command.rid, &command.audit).await?;
    Ok(Timestamp::from_micros(row.int(1)?))
}

/// A tag of a repository.
pub(crate) type TagAt = (i64, RepositoryName, ImageTag, u32);

pub(crate) async fn history(tx: &mut Tx, (rid, name, tag, limit): &TagAt) -> Result<Vec<(Timestamp, Option<Digest>)>> {
    let repo_id = repositories::find(tx, *rid, name).await?.repo_id;
    let args = [(*rid).into(), repo_id.into(), tag.as_str().into(), i64::from(*limit).into()];
    let mut events = Vec::new();
    for row in tx.all(&sql::HISTORY, &args).await? {
        let target = match (row.int(1)?, row.opt_bytes(2)?) {
            (0, _) => None,
            (_, Some(raw)) => Some(Digest::from_bytes(&raw).map_err(|_| odd(2))?),
            // Purged: nothing to bring back.
            (_, None) => continue,
        };
        events.push((Timestamp::from_micros(row.int(0)?), target));
    }
    events.reverse();
    Ok(events)
}

/// A tag to move.
pub(crate) struct MoveTag {
    pub(crate) rid: i64,
    pub(crate) name: RepositoryName,
    pub(crate) tag: ImageTag,
    pub(crate) digest: Digest,
    pub(crate) now: Timestamp,
    pub(crate) audit: Batch,
}

pub(crate) async fn move_tag(tx: &mut Tx, command: &MoveTag) -> Result<()> {
    let found = repositories::lock(tx, command.rid, &command.name).await?;
    let raw = command.digest.to_bytes();
    let row = tx.one(&sql::FIND, &[command.rid.into(), found.repo_id.into(), raw.as_slice().into()]).await?;
    let man_id = row.ok_or(Refusal::NotDeleted)?.int(0)?;
    if !images::lock(tx, command.rid, found.repo_id, man_id).await? {
        return Err(Refusal::NotDeleted.into());
    }
    images::set_tag_freely(tx, command.rid, found.repo_id, &command.tag, man_id, command.now).await?;
    audit::add(tx, command.rid, &command.audit).await
}
