//! Upload sessions (D4).

use funaya_ports::{
    audit::Batch,
    blobs::Progress,
    meta::{AdvanceUpload, CompleteUpload, CreateUpload, Refusal, Result, Upload},
};
use funaya_types::{Algorithm, RepositoryName, Timestamp, UploadId};

use crate::{
    audit,
    driver::{Row, Tx, Val, odd},
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

async fn take(tx: &mut Tx, rid: i64, id: UploadId, version: i64) -> Result<()> {
    let text = id.to_string();
    match tx.exec(&sql::TAKE, &[rid.into(), text.as_str().into(), version.into()]).await? {
        0 => Err(Refusal::UploadGone.into()),
        _ => Ok(()),
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
    take(tx, *rid, command.id, command.version).await?;
    let keep_until = command.now.plus(command.spans.grace);
    let stored = layers::add_blob(tx, *rid, command.row_id, &command.blob, keep_until).await?;
    layers::link(tx, *rid, found.repo_id, &command.blob.digest, stored.blob_id, command.blob.size, keep_until).await?;
    if stored.storage_key != command.blob.key.as_str() {
        discard(tx, *rid, command.blob.key.as_str(), command.now.plus(command.spans.trash)).await?;
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
    take(tx, command.rid, command.upload.id, command.upload.version).await?;
    discard(tx, command.rid, command.upload.key.as_str(), command.delete_after).await?;
    audit::add(tx, command.rid, &command.audit).await
}

/// Moves the keys of expired uploads to the trash.
pub(crate) async fn expire(tx: &mut Tx, now: Timestamp, delete_after: Timestamp, limit: u32) -> Result<u64> {
    let due = tx.all(&expiry::DUE, &[now.micros().into(), i64::from(limit).into()]).await?;
    for row in &due {
        let (rid, id, version) = (row.int(0)?, row.text(1)?, Val::Int(row.int(2)?));
        if tx.exec(&expiry::DROP, &[rid.into(), id.as_str().into(), version]).await? > 0 {
            discard(tx, rid, &row.text(3)?, delete_after).await?;
        }
    }
    Ok(due.len() as u64)
}

pub(crate) mod expiry {
    crate::driver::statements! {
        DUE = "SELECT rid, upload_id, ver, storage_key FROM uploads WHERE expires_at < $1 ORDER BY expires_at LIMIT $2";
        DROP = "DELETE FROM uploads WHERE rid = $1 AND upload_id = $2 AND ver = $3";
    }
}
