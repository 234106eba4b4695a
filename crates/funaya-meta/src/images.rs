//! Images and their tags.

use funaya_ports::meta::{DeleteImages, DeleteOutcome, DeleteTarget, Image, ImagePlace, PutImage, Refusal, Result};
use funaya_types::{Digest, ImageTag, Reference, RepositoryName, Timestamp, limits};

use crate::{
    audit,
    driver::{Row, Tx, Val, odd},
    repositories::{self, Found, changed},
};

pub(crate) mod sql {
    crate::driver::statements! {
        BY_TAG = "SELECT m.man_id, m.digest, m.media_type, m.artifact_type, m.subject, m.manifest_bytes, m.image_bytes,
                m.pushed_at, m.pulled_at
            FROM repositories r
            JOIN tags t ON t.rid = r.rid AND t.repo_id = r.repo_id
            JOIN manifests m ON m.rid = t.rid AND m.repo_id = t.repo_id AND m.man_id = t.man_id
            WHERE r.rid = $1 AND r.name = $2 AND t.tag = $3";
        BY_DIGEST = "SELECT m.man_id, m.digest, m.media_type, m.artifact_type, m.subject, m.manifest_bytes,
                m.image_bytes, m.pushed_at, m.pulled_at
            FROM repositories r JOIN manifests m ON m.rid = r.rid AND m.repo_id = r.repo_id
            WHERE r.rid = $1 AND r.name = $2 AND m.digest = $3 AND m.deleted_at = 0";
        BODY_BY_TAG = "SELECT m.man_id, m.digest, m.media_type, m.artifact_type, m.subject, m.manifest_bytes,
                m.image_bytes, m.pushed_at, m.pulled_at, b.body
            FROM repositories r
            JOIN tags t ON t.rid = r.rid AND t.repo_id = r.repo_id
            JOIN manifests m ON m.rid = t.rid AND m.repo_id = t.repo_id AND m.man_id = t.man_id
            JOIN manifest_bodies b ON b.rid = m.rid AND b.repo_id = m.repo_id AND b.man_id = m.man_id
            WHERE r.rid = $1 AND r.name = $2 AND t.tag = $3";
        BODY_BY_DIGEST = "SELECT m.man_id, m.digest, m.media_type, m.artifact_type, m.subject, m.manifest_bytes,
                m.image_bytes, m.pushed_at, m.pulled_at, b.body
            FROM repositories r
            JOIN manifests m ON m.rid = r.rid AND m.repo_id = r.repo_id
            JOIN manifest_bodies b ON b.rid = m.rid AND b.repo_id = m.repo_id AND b.man_id = m.man_id
            WHERE r.rid = $1 AND r.name = $2 AND m.digest = $3 AND m.deleted_at = 0";
        PAGE = "SELECT man_id, digest, media_type, artifact_type, subject, manifest_bytes, image_bytes, pushed_at, pulled_at
            FROM manifests WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0 AND (pushed_at, man_id) > ($3, $4)
            ORDER BY pushed_at, man_id LIMIT $5";
        PAGE_TAGGED = "SELECT man_id, digest, media_type, artifact_type, subject, manifest_bytes, image_bytes, pushed_at, pulled_at
            FROM manifests WHERE rid = $1 AND repo_id = $2 AND tag_count > 0
                AND (pushed_at, man_id) > ($3, $4) ORDER BY pushed_at, man_id LIMIT $5";
        PAGE_UNTAGGED = "SELECT man_id, digest, media_type, artifact_type, subject, manifest_bytes, image_bytes,
                pushed_at, pulled_at
            FROM manifests WHERE rid = $1 AND repo_id = $2 AND tag_count = 0
                AND (pushed_at, man_id) > ($3, $4) ORDER BY pushed_at, man_id LIMIT $5";
        BY_ROW = "SELECT man_id, digest, media_type, artifact_type, subject, manifest_bytes, image_bytes, pushed_at,
                pulled_at
            FROM manifests WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = 0";
        IMAGE_TAGS = "SELECT tag FROM tags WHERE rid = $1 AND repo_id = $2 AND man_id = $3 ORDER BY tag";
        TAG_COUNT = "UPDATE manifests SET tag_count = tag_count + $4 WHERE rid = $1 AND repo_id = $2 AND man_id = $3
            RETURNING tag_count";
        TAGS = "SELECT t.tag, m.digest FROM tags t
            JOIN manifests m ON m.rid = t.rid AND m.repo_id = t.repo_id AND m.man_id = t.man_id
            WHERE t.rid = $1 AND t.repo_id = $2 AND t.tag > $3 ORDER BY t.tag LIMIT $4";
        TAG_NAMES = "SELECT tag FROM tags WHERE rid = $1 AND repo_id = $2 AND tag > $3 ORDER BY tag LIMIT $4";
        REFERRERS = "SELECT m.man_id, m.digest, m.media_type, m.artifact_type, m.subject, m.manifest_bytes,
                m.image_bytes, m.pushed_at, m.pulled_at, b.body
            FROM manifests s
            JOIN manifests m ON m.rid = s.rid AND m.repo_id = s.repo_id AND m.man_id = s.man_id
            JOIN manifest_bodies b ON b.rid = m.rid AND b.repo_id = m.repo_id AND b.man_id = m.man_id
            WHERE s.rid = $1 AND s.repo_id = $2 AND s.subject = $3 AND s.man_id > $4 AND m.deleted_at = 0
            ORDER BY s.man_id LIMIT $5";
        ANY_BY_DIGEST = "SELECT man_id, deleted_at FROM manifests WHERE rid = $1 AND repo_id = $2 AND digest = $3";
        COUNT_UP = "UPDATE repositories SET image_count = image_count + 1, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0 AND image_count < $3";
        COUNT_DOWN = "UPDATE repositories SET image_count = image_count - 1, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2";
        TOUCH_LINK = "UPDATE repo_blobs SET media_type = $5,
                keep_until = CASE WHEN keep_until < $4 THEN $4 ELSE keep_until END
            WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND deleted_at = 0 RETURNING blob_id, size";
        TOUCH_CHILD = "UPDATE manifests SET ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND deleted_at = 0 RETURNING man_id, image_bytes";
        ADD = "INSERT INTO manifests (rid, repo_id, man_id, digest, media_type, artifact_type, subject, manifest_bytes,
                image_bytes, pushed_at, deleted_at, ver)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 1)";
        ADD_BODY = "INSERT INTO manifest_bodies (rid, repo_id, man_id, body) VALUES ($1, $2, $3, $4)";
        ADD_EDGE = "INSERT INTO manifest_blobs (rid, repo_id, blob_id, man_id) VALUES ($1, $2, $3, $4)
            ON CONFLICT (rid, repo_id, blob_id, man_id) DO NOTHING";
        ADD_CHILD = "INSERT INTO manifest_children (rid, repo_id, child_id, parent_id) VALUES ($1, $2, $3, $4)
            ON CONFLICT (rid, repo_id, child_id, parent_id) DO NOTHING";
        REVIVE = "UPDATE manifests SET deleted_at = 0, tag_count = 0, pushed_at = $4, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at <> 0";
        TOUCH = "UPDATE manifests SET ver = ver + 1 WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = 0";
        TAG_TARGET = "SELECT man_id FROM tags WHERE rid = $1 AND repo_id = $2 AND tag = $3";
        TAG_ADD = "INSERT INTO tags (rid, repo_id, tag, man_id, updated_at, ver) VALUES ($1, $2, $3, $4, $5, 1)
            ON CONFLICT (rid, repo_id, tag) DO NOTHING";
        TAG_LOCK = "UPDATE tags SET ver = ver + 1 WHERE rid = $1 AND repo_id = $2 AND tag = $3 RETURNING man_id";
        TAG_MOVE = "UPDATE tags SET man_id = $4, updated_at = $5, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND tag = $3";
        TAG_DROP = "DELETE FROM tags WHERE rid = $1 AND repo_id = $2 AND tag = $3 AND man_id = $4";
        TAG_EVENT = "INSERT INTO tag_history (rid, repo_id, tag, at, man_id) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (rid, repo_id, tag, at, man_id) DO NOTHING";
        PARENT = "SELECT p.digest FROM manifest_children c
            JOIN manifests p ON p.rid = c.rid AND p.repo_id = c.repo_id AND p.man_id = c.parent_id
            WHERE c.rid = $1 AND c.repo_id = $2 AND c.child_id = $3 AND p.deleted_at = 0 LIMIT 1";
        BURY = "UPDATE manifests SET deleted_at = $4, tag_count = -1, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND man_id = $3 AND deleted_at = 0";
    }
}

pub(crate) fn read(row: &Row) -> Result<Image> {
    let size = |column| u64::try_from(row.int(column)?).map_err(|_| odd(column));
    let digest = |bytes: &[u8], column| Digest::from_bytes(bytes).map_err(|_| odd(column));
    Ok(Image {
        row_id: row.int(0)?,
        digest: digest(&row.bytes(1)?, 1)?,
        media_type: row.parsed(2)?,
        artifact_type: row.opt_text(3)?,
        subject: row.opt_bytes(4)?.map(|raw| digest(&raw, 4)).transpose()?,
        manifest_bytes: size(5)?,
        image_bytes: size(6)?,
        pushed_at: Timestamp::from_micros(row.int(7)?),
        pulled_at: row.opt_int(8)?.map(Timestamp::from_micros),
    })
}

/// Names one image of one repository.
pub(crate) struct At {
    pub(crate) rid: i64,
    pub(crate) repository: RepositoryName,
    pub(crate) reference: Reference,
}

async fn find(tx: &mut Tx, at: &At, with_body: bool) -> Result<Option<Row>> {
    let (rid, name) = (Val::Int(at.rid), Val::Text(at.repository.as_str()));
    let row = match &at.reference {
        Reference::Tag(tag) => {
            let statement = if with_body { &sql::BODY_BY_TAG } else { &sql::BY_TAG };
            tx.one(statement, &[rid, name, tag.as_str().into()]).await?
        }
        Reference::Digest(digest) => {
            let statement = if with_body { &sql::BODY_BY_DIGEST } else { &sql::BY_DIGEST };
            tx.one(statement, &[rid, name, digest.to_bytes().as_slice().into()]).await?
        }
    };
    if row.is_none() {
        repositories::find(tx, at.rid, &at.repository).await?;
    }
    Ok(row)
}

pub(crate) async fn get(tx: &mut Tx, at: &At) -> Result<Option<Image>> {
    find(tx, at, false).await?.map(|row| read(&row)).transpose()
}

pub(crate) async fn manifest(tx: &mut Tx, at: &At) -> Result<Option<(Image, Vec<u8>)>> {
    find(tx, at, true).await?.map(|row| Ok((read(&row)?, row.bytes(9)?))).transpose()
}

pub(crate) async fn by_row(tx: &mut Tx, rid: i64, repo_id: i64, man_id: i64) -> Result<Option<Image>> {
    tx.one(&sql::BY_ROW, &[rid.into(), repo_id.into(), man_id.into()]).await?.as_ref().map(read).transpose()
}

/// A page of a repository's list.
pub(crate) struct Page<A> {
    pub(crate) rid: i64,
    pub(crate) repository: RepositoryName,
    pub(crate) after: A,
    pub(crate) limit: u32,
}

impl<A> Page<A> {
    async fn repository(&self, tx: &mut Tx) -> Result<i64> {
        Ok(repositories::find(tx, self.rid, &self.repository).await?.repo_id)
    }
}

pub(crate) async fn page(tx: &mut Tx, page: &Page<(Option<bool>, Option<ImagePlace>)>) -> Result<Vec<Image>> {
    let repo_id = page.repository(tx).await?;
    let (tagged, after) = page.after;
    let after = after.unwrap_or(ImagePlace { pushed_at: i64::MIN, row_id: 0 });
    let statement = match tagged {
        None => &sql::PAGE,
        Some(true) => &sql::PAGE_TAGGED,
        Some(false) => &sql::PAGE_UNTAGGED,
    };
    let args =
        [page.rid.into(), repo_id.into(), after.pushed_at.into(), after.row_id.into(), i64::from(page.limit).into()];
    tx.all(statement, &args).await?.iter().map(read).collect()
}

pub(crate) async fn image_tags(tx: &mut Tx, page: &Page<i64>) -> Result<Vec<ImageTag>> {
    let repo_id = page.repository(tx).await?;
    let rows = tx.all(&sql::IMAGE_TAGS, &[page.rid.into(), repo_id.into(), page.after.into()]).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

pub(crate) async fn tags(tx: &mut Tx, page: &Page<String>) -> Result<Vec<(ImageTag, Digest)>> {
    let repo_id = page.repository(tx).await?;
    let args = [page.rid.into(), repo_id.into(), page.after.as_str().into(), i64::from(page.limit).into()];
    let read = |row: &Row| Ok((row.parsed(0)?, Digest::from_bytes(&row.bytes(1)?).map_err(|_| odd(1))?));
    tx.all(&sql::TAGS, &args).await?.iter().map(read).collect()
}

pub(crate) async fn tag_names(tx: &mut Tx, page: &Page<String>) -> Result<Vec<String>> {
    let repo_id = page.repository(tx).await?;
    let args = [page.rid.into(), repo_id.into(), page.after.as_str().into(), i64::from(page.limit).into()];
    tx.all(&sql::TAG_NAMES, &args).await?.iter().map(|row| row.text(0)).collect()
}

pub(crate) async fn referrers(tx: &mut Tx, page: &Page<(Digest, i64)>) -> Result<Vec<(Image, Vec<u8>)>> {
    let repo_id = page.repository(tx).await?;
    let (subject, after) = (page.after.0.to_bytes(), page.after.1);
    let args = [page.rid.into(), repo_id.into(), subject.as_slice().into(), after.into(), i64::from(page.limit).into()];
    tx.all(&sql::REFERRERS, &args).await?.iter().map(|row| Ok((read(row)?, row.bytes(9)?))).collect()
}

/// Parents before children, rows before edges: see the module's head in `lib.rs`.
pub(crate) async fn put(tx: &mut Tx, (rid, command): &(i64, PutImage)) -> Result<()> {
    let found = repositories::find(tx, *rid, &command.repository).await?;
    let repo = Repo { rid: Val::Int(*rid), repo_id: Val::Int(found.repo_id) };
    let digest = command.digest.to_bytes();
    let existing = tx.one(&sql::ANY_BY_DIGEST, &[repo.rid, repo.repo_id, digest.as_slice().into()]).await?;
    let (man_id, is_new) = match existing {
        Some(row) if row.int(1)? == 0 => (row.int(0)?, false),
        Some(row) => (revive(tx, &repo, command, row.int(0)?).await?, true),
        None => (add(tx, &repo, command, &digest).await?, true),
    };
    if !is_new && !lock(tx, *rid, found.repo_id, man_id).await? {
        return Err(changed().into());
    }
    let mut news = is_new;
    for tag in &command.tags {
        news |= set_tag(tx, &repo, &found, tag, man_id, command.now).await?;
    }
    if !news && command.refuse_existing {
        return Err(Refusal::NothingNew.into());
    }
    audit::add(tx, *rid, &command.audit).await
}

struct Repo<'a> {
    rid: Val<'a>,
    repo_id: Val<'a>,
}

async fn count_up(tx: &mut Tx, repo: &Repo<'_>, command: &PutImage) -> Result<()> {
    let args = [repo.rid, repo.repo_id, command.images_max.into()];
    match tx.exec(&sql::COUNT_UP, &args).await? {
        0 if tx.exec(&repositories::sql::LOCK, &args[..2]).await? == 0 => Err(changed().into()),
        0 => Err(Refusal::ImageQuota.into()),
        _ => Ok(()),
    }
}

/// A deleted image is pushed again: its rows are still there, and its layers and
/// children must be, as for any other push. A child may have been purged and
/// pushed anew, so the edges are made again.
async fn revive(tx: &mut Tx, repo: &Repo<'_>, command: &PutImage, man_id: i64) -> Result<i64> {
    count_up(tx, repo, command).await?;
    let blobs = touch_blobs(tx, repo, command).await?;
    let (children, _) = touch_children(tx, repo, command).await?;
    let now = command.now.micros().into();
    if tx.exec(&sql::REVIVE, &[repo.rid, repo.repo_id, man_id.into(), now]).await? == 0 {
        return Err(changed().into());
    }
    add_edges(tx, repo, man_id, &blobs, &children).await?;
    Ok(man_id)
}

async fn add_edges(tx: &mut Tx, repo: &Repo<'_>, man_id: i64, blobs: &[i64], children: &[i64]) -> Result<()> {
    for blob_id in blobs {
        tx.exec(&sql::ADD_EDGE, &[repo.rid, repo.repo_id, (*blob_id).into(), man_id.into()]).await?;
    }
    for child in children {
        tx.exec(&sql::ADD_CHILD, &[repo.rid, repo.repo_id, (*child).into(), man_id.into()]).await?;
    }
    Ok(())
}

async fn add(tx: &mut Tx, repo: &Repo<'_>, command: &PutImage, digest: &[u8]) -> Result<i64> {
    count_up(tx, repo, command).await?;
    let blobs = touch_blobs(tx, repo, command).await?;
    let (children, largest) = touch_children(tx, repo, command).await?;
    let man_id = Val::Int(command.row_id);
    let subject = command.subject.map(|subject| subject.to_bytes());
    let image_bytes = largest.max(i64::try_from(command.image_bytes).unwrap_or(i64::MAX));
    tx.exec(
        &sql::ADD,
        &[
            repo.rid,
            repo.repo_id,
            man_id,
            digest.into(),
            command.media_type.as_str().into(),
            Val::text(command.artifact_type.as_deref()),
            Val::bytes(subject.as_deref()),
            (command.body.len() as i64).into(),
            image_bytes.into(),
            command.now.micros().into(),
        ],
    )
    .await?;
    tx.exec(&sql::ADD_BODY, &[repo.rid, repo.repo_id, man_id, command.body.as_slice().into()]).await?;
    add_edges(tx, repo, command.row_id, &blobs, &children).await?;
    Ok(command.row_id)
}

/// Touches every layer that the manifest names; all missing ones are reported together.
async fn touch_blobs(tx: &mut Tx, repo: &Repo<'_>, command: &PutImage) -> Result<Vec<i64>> {
    let keep_until = Val::Int(command.now.plus(command.spans.grace).micros());
    let (mut found, mut missing) = (Vec::with_capacity(command.blobs.len()), Vec::new());
    for (digest, media_type, size) in &command.blobs {
        let raw = digest.to_bytes();
        let args = [repo.rid, repo.repo_id, raw.as_slice().into(), keep_until, media_type.as_str().into()];
        match tx.one(&sql::TOUCH_LINK, &args).await? {
            Some(row) if size.is_some_and(|size| i64::try_from(size) != Ok(row.int(1).unwrap_or(-1))) => {
                return Err(Refusal::LayerSize(*digest).into());
            }
            Some(row) => found.push(row.int(0)?),
            None => missing.push(*digest),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(Refusal::LayersMissing(missing).into()) }
}

/// Touches every manifest that an index names; tells also the largest image's size (IMG-59).
async fn touch_children(tx: &mut Tx, repo: &Repo<'_>, command: &PutImage) -> Result<(Vec<i64>, i64)> {
    let (mut found, mut missing, mut largest) = (Vec::with_capacity(command.children.len()), Vec::new(), 0);
    for digest in &command.children {
        let raw = digest.to_bytes();
        match tx.one(&sql::TOUCH_CHILD, &[repo.rid, repo.repo_id, raw.as_slice().into()]).await? {
            Some(row) => {
                found.push(row.int(0)?);
                largest = largest.max(row.int(1)?);
            }
            None => missing.push(*digest),
        }
    }
    if missing.is_empty() { Ok((found, largest)) } else { Err(Refusal::ChildrenMissing(missing).into()) }
}

/// Sets a tag; tells whether anything changed.
async fn set_tag(
    tx: &mut Tx,
    repo: &Repo<'_>,
    found: &Found,
    tag: &ImageTag,
    man_id: i64,
    now: Timestamp,
) -> Result<bool> {
    let (name, target, at) = (Val::Text(tag.as_str()), Val::Int(man_id), Val::Int(now.micros()));
    if tx.exec(&sql::TAG_ADD, &[repo.rid, repo.repo_id, name, target, at]).await? == 0 {
        // A later statement, so that PostgreSQL shows the row that was in the way.
        let current = tx.one(&sql::TAG_TARGET, &[repo.rid, repo.repo_id, name]).await?;
        if current.map(|row| row.int(0)).transpose()? == Some(man_id) {
            return Ok(false);
        }
        if !found.repository.mutability.lets_move(tag) {
            return Err(Refusal::TagImmutable(tag.clone()).into());
        }
        move_tag(tx, &[repo.rid, repo.repo_id, name, target, at]).await?;
    }
    if count_tags(tx, [repo.rid, repo.repo_id, target], 1).await? > limits::TAGS_PER_IMAGE_MAX {
        return Err(Refusal::TagQuota.into());
    }
    tx.exec(&sql::TAG_EVENT, &[repo.rid, repo.repo_id, name, at, target]).await?;
    Ok(true)
}

/// Lets an existing tag name another image; the one before has one fewer. `args`: those of [`sql::TAG_MOVE`].
async fn move_tag(tx: &mut Tx, args: &[Val<'_>; 5]) -> Result<()> {
    // Locked first, so that the image before is the one that the tag really leaves.
    let before = tx.one(&sql::TAG_LOCK, &args[..3]).await?.ok_or_else(changed)?.int(0)?;
    tx.exec(&sql::TAG_MOVE, args).await?;
    count_tags(tx, [args[0], args[1], before.into()], -1).await.map(drop)
}

/// Counts an image's tags up or down; tells how many it has.
async fn count_tags(tx: &mut Tx, [rid, repo_id, man_id]: [Val<'_>; 3], by: i64) -> Result<i64> {
    let row = tx.one(&sql::TAG_COUNT, &[rid, repo_id, man_id, by.into()]).await?;
    row.ok_or_else(changed)?.int(0)
}

/// Sets a tag that names nothing; false if it names something.
pub(crate) async fn tag_if_free(
    tx: &mut Tx,
    rid: i64,
    repo_id: i64,
    tag: &ImageTag,
    man_id: i64,
    now: Timestamp,
) -> Result<bool> {
    let [rid, repo_id, man_id, at] = [rid, repo_id, man_id, now.micros()].map(Val::Int);
    if tx.exec(&sql::TAG_ADD, &[rid, repo_id, tag.as_str().into(), man_id, at]).await? == 0 {
        return Ok(false);
    }
    count_tags(tx, [rid, repo_id, man_id], 1).await?;
    tx.exec(&sql::TAG_EVENT, &[rid, repo_id, tag.as_str().into(), at, man_id]).await?;
    Ok(true)
}

/// Sets a tag whatever it names now, and whatever the repository says of moving tags.
pub(crate) async fn set_tag_freely(
    tx: &mut Tx,
    rid: i64,
    repo_id: i64,
    tag: &ImageTag,
    man_id: i64,
    now: Timestamp,
) -> Result<()> {
    if tag_if_free(tx, rid, repo_id, tag, man_id, now).await? {
        return Ok(());
    }
    let [rid, repo_id, man_id, at] = [rid, repo_id, man_id, now.micros()].map(Val::Int);
    move_tag(tx, &[rid, repo_id, tag.as_str().into(), man_id, at]).await?;
    count_tags(tx, [rid, repo_id, man_id], 1).await?;
    tx.exec(&sql::TAG_EVENT, &[rid, repo_id, tag.as_str().into(), at, man_id]).await.map(drop)
}

pub(crate) async fn delete(tx: &mut Tx, (rid, command): &(i64, DeleteImages)) -> Result<Vec<DeleteOutcome>> {
    // First the repository's row, as a push does: so the two never wait for each other crosswise.
    let found = repositories::lock(tx, *rid, &command.repository).await?;
    let mut outcomes = Vec::with_capacity(command.targets.len());
    for target in &command.targets {
        outcomes.push(delete_one(tx, *rid, found.repo_id, command, target).await?);
    }
    audit::add(tx, *rid, &(command.audit)(&outcomes)).await?;
    Ok(outcomes)
}

async fn delete_one(
    tx: &mut Tx,
    rid: i64,
    repo_id: i64,
    command: &DeleteImages,
    target: &DeleteTarget,
) -> Result<DeleteOutcome> {
    let at = |reference| At { rid, repository: command.repository.clone(), reference };
    let by_digest = match target.digest {
        Some(digest) => match get(tx, &at(Reference::Digest(digest))).await? {
            None => return Ok(DeleteOutcome::NotFound),
            image => image,
        },
        None => None,
    };
    let burial = Burial { rid, repo_id, now: command.now, purge_at: command.purge_at };
    let Some(tag) = &target.tag else {
        return match by_digest {
            Some(image) => bury(tx, &burial, &image).await,
            None => Ok(DeleteOutcome::NotFound),
        };
    };
    let Some(image) = get(tx, &at(Reference::Tag(tag.clone()))).await? else { return Ok(DeleteOutcome::NotFound) };
    if by_digest.is_some_and(|other| other.digest != image.digest) {
        return Ok(DeleteOutcome::TagMismatch);
    }
    // The image's row is locked before its tags are read, so that a push that adds one is seen.
    let tags = match lock(tx, rid, repo_id, image.row_id).await? {
        true => tags_of(tx, rid, repo_id, image.row_id).await?,
        false => return Err(changed().into()),
    };
    if !tags.contains(tag) {
        return Err(changed().into());
    }
    if tags.len() == 1 && !command.keep_untagged {
        return bury(tx, &burial, &image).await;
    }
    if !drop_tag(tx, rid, repo_id, tag, image.row_id, command.now).await? {
        return Err(changed().into());
    }
    Ok(DeleteOutcome::Deleted { digest: image.digest, tags: vec![tag.clone()], image: false })
}

/// Locks the row of an image; false if it is deleted.
pub(crate) async fn lock(tx: &mut Tx, rid: i64, repo_id: i64, man_id: i64) -> Result<bool> {
    Ok(tx.exec(&sql::TOUCH, &[rid.into(), repo_id.into(), man_id.into()]).await? > 0)
}

pub(crate) async fn tags_of(tx: &mut Tx, rid: i64, repo_id: i64, man_id: i64) -> Result<Vec<ImageTag>> {
    let rows = tx.all(&sql::IMAGE_TAGS, &[rid.into(), repo_id.into(), man_id.into()]).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

/// Removes a tag; false if it names another image meanwhile.
async fn drop_tag(tx: &mut Tx, rid: i64, repo_id: i64, tag: &ImageTag, man_id: i64, now: Timestamp) -> Result<bool> {
    let (rid, repo_id, tag) = (Val::Int(rid), Val::Int(repo_id), Val::Text(tag.as_str()));
    if tx.exec(&sql::TAG_DROP, &[rid, repo_id, tag, man_id.into()]).await? == 0 {
        return Ok(false);
    }
    count_tags(tx, [rid, repo_id, man_id.into()], -1).await?;
    tx.exec(&sql::TAG_EVENT, &[rid, repo_id, tag, now.micros().into(), 0.into()]).await?;
    Ok(true)
}

/// Where and when images are buried.
pub(crate) struct Burial {
    pub(crate) rid: i64,
    pub(crate) repo_id: i64,
    pub(crate) now: Timestamp,
    pub(crate) purge_at: Timestamp,
}

/// Buries an image with its tags. Its edges stay until it is purged, and keep
/// its layers for a restore (D6).
pub(crate) async fn bury(tx: &mut Tx, burial: &Burial, image: &Image) -> Result<DeleteOutcome> {
    let Burial { rid, repo_id, now, purge_at } = *burial;
    let (key, repo, man_id) = (Val::Int(rid), Val::Int(repo_id), Val::Int(image.row_id));
    if !lock(tx, rid, repo_id, image.row_id).await? {
        return Ok(DeleteOutcome::NotFound);
    }
    if let Some(parent) = tx.one(&sql::PARENT, &[key, repo, man_id]).await? {
        let parent = Digest::from_bytes(&parent.bytes(0)?).map_err(|_| odd(0))?;
        return Ok(DeleteOutcome::Referenced(parent));
    }
    let mut tags = Vec::new();
    for tag in tags_of(tx, rid, repo_id, image.row_id).await? {
        if drop_tag(tx, rid, repo_id, &tag, image.row_id, now).await? {
            tags.push(tag);
        }
    }
    let now = Val::Int(now.micros());
    tx.exec(&sql::BURY, &[key, repo, man_id, now]).await?;
    tx.exec(&sql::COUNT_DOWN, &[key, repo]).await?;
    tx.exec(&repositories::sql::TOMBSTONE, &[key, repo, man_id, now, purge_at.micros().into()]).await?;
    Ok(DeleteOutcome::Deleted { digest: image.digest, tags, image: true })
}
