//! Upload sessions (D4).

use funaya_ports::{
    audit::Batch,
    blobs::Progress,
    meta::{AdvanceUpload, CompleteUpload, CreateUpload, Refusal, Result, Upload},
};
use funaya_types::{Algorithm, RepositoryName, Timestamp, UploadId};

use crate::{
    audit,
    driver::{Row, Tx, odd},
    layers, repositories,
};

pub(crate) mod sql {
    crate::driver::statements! {
        ADD = "INSERT INTO uploads (rid, upload_id, repo_id, storage_key, algorithm, received, hash_state, wrapped_key,
                tail, parts, last_part_short, part_too_short, expires_at, ver)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)";
        GET = "SELECT u.storage_key, u.algorithm, u.received, u.hash_state, u.wrapped_key, u.tail, u.parts,
                u.last_part_short, u.part_too_short, u.ver
            FROM uploads u JOIN repositories r ON r.rid = u.rid AND r.repo_id = u.repo_id
            WHERE u.rid = $1 AND u.upload_id = $2 AND r.name = $3 AND u.expires_at > 0";
        ADVANCE = "UPDATE uploads SET algorithm = $4, received = $5, hash_state = $6, wrapped_key = $7, tail = $8,
                parts = $9, last_part_short = $10, part_too_short = $11, expires_at = $12, ver = ver + 1
            WHERE rid = $1 AND upload_id = $2 AND ver = $3 AND expires_at > 0";
        TAKE = "DELETE FROM uploads WHERE rid = $1 AND upload_id = $2 AND ver = $3 AND expires_at > 0";
        TAKE_OF = "DELETE FROM uploads
            WHERE rid = $1 AND upload_id = $2 AND ver = $3 AND expires_at > 0 AND repo_id = $4";
        EXPIRE = "DELETE FROM uploads WHERE rid = $1 AND upload_id = $2 AND ver = $3";
        DISCARD = "INSERT INTO trash (storage_key, rid, delete_after) VALUES ($1, $2, $3)
            ON CONFLICT (storage_key) DO NOTHING";
    }
}

pub(crate) fn algorithm_number(algorithm: Algorithm) -> i64 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

fn read(id: UploadId, row: &Row) -> Result<Upload> {
    let algorithm = match row.int(1)? {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return Err(odd(1)),
    };
    Ok(Upload {
        id,
        key: row.parsed(0)?,
        progress: Progress {
            received: u64::try_from(row.int(2)?).map_err(|_| odd(2))?,
            algorithm,
            hash_state: row.bytes(3)?,
            wrapped_key: row.bytes(4)?,
            tail: row.bytes(5)?,
        },
        parts: u32::try_from(row.int(6)?).map_err(|_| odd(6))?,
        last_part_short: row.int(7)? != 0,
        part_too_short: row.int(8)? != 0,
        version: row.int(9)?,
    })
}

pub(crate) async fn create(tx: &mut Tx, (rid, command): &(i64, CreateUpload)) -> Result<()> {
    let found = repositories::find(tx, *rid, &command.repository).await?;
    let (upload, id) = (&command.upload, command.upload.id.to_string());
    let progress = &upload.progress;
    tx.exec(
        &sql::ADD,
        &[
            (*rid).into(),
            id.as_str().into(),
            found.repo_id.into(),
            upload.key.as_str().into(),
            algorithm_number(progress.algorithm).into(),
            (progress.received as i64).into(),
            progress.hash_state.as_slice().into(),
            progress.wrapped_key.as_slice().into(),
            progress.tail.as_slice().into(),
            i64::from(upload.parts).into(),
            i64::from(upload.last_part_short).into(),
            i64::from(upload.part_too_short).into(),
            command.expires_at.micros().into(),
        ],
    )
    .await?;
    audit::add(tx, *rid, &command.audit).await
}

pub(crate) async fn get(tx: &mut Tx, rid: i64, repository: &RepositoryName, id: UploadId) -> Result<Upload> {
    let text = id.to_string();
    match tx.one(&sql::GET, &[rid.into(), text.as_str().into(), repository.as_str().into()]).await? {
        Some(row) => read(id, &row),
        None => {
            repositories::find(tx, rid, repository).await?;
            Err(Refusal::UploadGone.into())
        }
    }
}

pub(crate) async fn advance(tx: &mut Tx, (rid, command): &(i64, AdvanceUpload)) -> Result<()> {
    let (upload, id) = (&command.upload, command.upload.id.to_string());
    let progress = &upload.progress;
    let moved = tx
        .exec(
            &sql::ADVANCE,
            &[
                (*rid).into(),
                id.as_str().into(),
                upload.version.into(),
                algorithm_number(progress.algorithm).into(),
                (progress.received as i64).into(),
                progress.hash_state.as_slice().into(),
                progress.wrapped_key.as_slice().into(),
                progress.tail.as_slice().into(),
                i64::from(upload.parts).into(),
                i64::from(upload.last_part_short).into(),
                i64::from(upload.part_too_short).into(),
                command.expires_at.micros().into(),
            ],
        )
        .await?;
    if moved == 0 {
        return Err(Refusal::UploadGone.into());
    }
    match &command.audit {
        Some(batch) => audit::add(tx, *rid, batch).await,
        None => Ok(()),
    }
}

async fn discard(tx: &mut Tx, rid: i64, key: &str, delete_after: Timestamp) -> Result<()> {
    tx.exec(&sql::DISCARD, &[key.into(), rid.into(), delete_after.micros().into()]).await.map(drop)
}

/// The upload's row goes, the blob's row and the link come, in one commit. If an
/// equal blob is stored already, that one is linked and our bytes go to the trash.
pub(crate) async fn complete(tx: &mut Tx, (rid, command): &(i64, CompleteUpload)) -> Result<()> {
    let found = repositories::find(tx, *rid, &command.repository).await?;
    if command.refuse_existing && layers::linked(tx, *rid, found.repo_id, &command.blob.digest).await? {
        return Err(Refusal::LayerExists.into());
    }
    let id = command.id.to_string();
    let upload = [(*rid).into(), id.as_str().into(), command.version.into(), found.repo_id.into()];
    if tx.exec(&sql::TAKE_OF, &upload).await? == 0 {
        return Err(Refusal::UploadGone.into());
    }
    let keep_until = command.now.plus(command.spans.grace);
    let stored = layers::add_blob(tx, *rid, command.row_id, &command.blob, keep_until).await?;
    layers::link(tx, *rid, found.repo_id, &command.blob.digest, stored.blob_id, command.blob.size, keep_until).await?;
    if stored.storage_key != command.blob.key.as_str() {
        let is_damaged = command.replaces.as_ref().is_some_and(|key| key.as_str() == stored.storage_key);
        let replaced = is_damaged && layers::replace(tx, *rid, &stored, &command.blob).await?;
        let surplus = if replaced { stored.storage_key.as_str() } else { command.blob.key.as_str() };
        discard(tx, *rid, surplus, command.now.plus(command.spans.trash)).await?;
    }
    for batch in &command.audit {
        audit::add(tx, *rid, batch).await?;
    }
    Ok(())
}

pub(crate) struct Cancel {
    pub(crate) rid: i64,
    pub(crate) upload: Upload,
    pub(crate) delete_after: Timestamp,
    pub(crate) audit: Batch,
}

pub(crate) async fn cancel(tx: &mut Tx, command: &Cancel) -> Result<()> {
    let id = command.upload.id.to_string();
    let upload = [command.rid.into(), id.as_str().into(), command.upload.version.into()];
    if tx.exec(&sql::TAKE, &upload).await? == 0 {
        return Err(Refusal::UploadGone.into());
    }
    discard(tx, command.rid, command.upload.key.as_str(), command.delete_after).await?;
    audit::add(tx, command.rid, &command.audit).await
}

/// Moves an expired upload's key to the trash, unless the upload has moved on.
pub(crate) async fn expire(
    tx: &mut Tx,
    rid: i64,
    id: &str,
    version: i64,
    key: &str,
    delete_after: Timestamp,
) -> Result<bool> {
    let gone = tx.exec(&sql::EXPIRE, &[rid.into(), id.into(), version.into()]).await? > 0;
    if gone {
        discard(tx, rid, key, delete_after).await?;
    }
    Ok(gone)
}
