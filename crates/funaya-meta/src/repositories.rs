//! Repositories and their labels.

use funaya_ports::{
    StoreError,
    audit::Batch,
    meta::{CreateRepository, DeleteRepository, Refusal, Repository, Result},
};
use funaya_types::{Mutability, RepositoryName, ResourceTag, Timestamp, Wildcard, limits};

use crate::{
    audit,
    driver::{Row, Tx, Val, odd},
};

pub(crate) mod sql {
    crate::driver::statements! {
        BY_NAME = "SELECT repo_id, name, created_at, mutability, scan_on_push, image_count, mutability_filters
            FROM repositories
            WHERE rid = $1 AND name = $2";
        PAGE = "SELECT repo_id, name, created_at, mutability, scan_on_push, image_count, mutability_filters
            FROM repositories
            WHERE rid = $1 AND name > $2 ORDER BY name LIMIT $3";
        COUNT_UP = "UPDATE registries SET repo_count = repo_count + 1 WHERE rid = $1 AND repo_count < $2";
        COUNT_DOWN = "UPDATE registries SET repo_count = repo_count - 1 WHERE rid = $1";
        ADD = "INSERT INTO repositories (rid, repo_id, name, created_at, mutability, mutability_filters, scan_on_push,
                image_count, deleted_at, deleted_name, ver)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, '', 1) ON CONFLICT (rid, name) DO NOTHING";
        BURY = "UPDATE repositories SET name = $3, deleted_name = name, deleted_at = $4, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0 AND (image_count = 0 OR CAST($5 AS BIGINT) = 1)";
        TOMBSTONE = "INSERT INTO tombstones (rid, repo_id, man_id, deleted_at, purge_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (rid, repo_id, man_id, deleted_at) DO NOTHING";
        EXPIRE_UPLOADS = "UPDATE uploads SET expires_at = 0 WHERE rid = $1 AND repo_id = $2";
        SET_MUTABILITY = "UPDATE repositories SET mutability = $3, mutability_filters = $4, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0";
        LOCK = "UPDATE repositories SET ver = ver + 1 WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0";
        TAGS = "SELECT key, value FROM resource_tags WHERE rid = $1 AND repo_id = $2 ORDER BY key";
        TAG_COUNT = "SELECT count(*) FROM resource_tags WHERE rid = $1 AND repo_id = $2";
        TAG_PUT = "INSERT INTO resource_tags (rid, repo_id, key, value) VALUES ($1, $2, $3, $4)
            ON CONFLICT (rid, repo_id, key) DO UPDATE SET value = excluded.value";
        TAG_DROP = "DELETE FROM resource_tags WHERE rid = $1 AND repo_id = $2 AND key = $3";
    }
}

/// Sorts after every deleted repository's name (`!…`) and before every live one's.
const FIRST: &str = "\"";

/// A live repository's row, with what the store alone needs of it.
pub(crate) struct Found {
    pub(crate) repo_id: i64,
    pub(crate) image_count: i64,
    pub(crate) repository: Repository,
}

fn read(row: &Row) -> Result<Found> {
    let repository = Repository {
        name: row.parsed(1)?,
        created_at: Timestamp::from_micros(row.int(2)?),
        mutability: Mutability::new(&row.text(3)?, filters(row.opt_text(6)?)).ok_or_else(|| odd(3))?,
        scan_on_push: row.int(4)? != 0,
    };
    Ok(Found { repo_id: row.int(0)?, image_count: row.int(5)?, repository })
}

/// Filters are stored one a line: no tag holds a line's end.
fn filters(text: Option<String>) -> Vec<Wildcard> {
    text.iter().flat_map(|text| text.lines()).map(Wildcard::new).collect()
}

fn filters_text(mutability: &Mutability) -> Option<String> {
    let filters: Vec<&str> = mutability.filters().iter().map(Wildcard::as_str).collect();
    (!filters.is_empty()).then(|| filters.join("\n"))
}

pub(crate) async fn find(tx: &mut Tx, rid: i64, name: &RepositoryName) -> Result<Found> {
    let row = tx.one(&sql::BY_NAME, &[rid.into(), name.as_str().into()]).await?;
    read(&row.ok_or(Refusal::NoRepository)?)
}

/// Finds a repository and locks its row, so that what is read in later
/// statements holds until the commit, on PostgreSQL too.
pub(crate) async fn lock(tx: &mut Tx, rid: i64, name: &RepositoryName) -> Result<Found> {
    let found = find(tx, rid, name).await?;
    match tx.exec(&sql::LOCK, &[rid.into(), found.repo_id.into()]).await? {
        0 => Err(changed().into()),
        _ => Ok(found),
    }
}

/// A row changed between two statements: the transaction runs again. Only on
/// PostgreSQL; SQLite's transactions run one after the other.
pub(crate) fn changed() -> StoreError {
    StoreError::Busy("a row changed meanwhile".into())
}

pub(crate) async fn page(tx: &mut Tx, rid: i64, after: Option<&str>, limit: u32) -> Result<Vec<Repository>> {
    let args = [rid.into(), after.map_or(FIRST, |after| after.max(FIRST)).into(), i64::from(limit).into()];
    tx.all(&sql::PAGE, &args).await?.iter().map(|row| Ok(read(row)?.repository)).collect()
}

pub(crate) async fn create(tx: &mut Tx, (rid, command): &(i64, CreateRepository)) -> Result<()> {
    let (key, repository) = (Val::Int(*rid), &command.repository);
    if command.tags.len() > limits::RESOURCE_TAGS_MAX {
        return Err(Refusal::ResourceTagQuota.into());
    }
    if tx.one(&sql::BY_NAME, &[key, repository.name.as_str().into()]).await?.is_some() {
        return Err(Refusal::RepositoryExists.into());
    }
    if tx.exec(&sql::COUNT_UP, &[key, command.repositories_max.into()]).await? == 0 {
        return Err(Refusal::RepositoryQuota.into());
    }
    let added = tx
        .exec(
            &sql::ADD,
            &[
                key,
                command.row_id.into(),
                repository.name.as_str().into(),
                repository.created_at.micros().into(),
                repository.mutability.as_str().into(),
                Val::text(filters_text(&repository.mutability).as_deref()),
                i64::from(repository.scan_on_push).into(),
            ],
        )
        .await?;
    if added == 0 {
        return Err(Refusal::RepositoryExists.into());
    }
    for tag in &command.tags {
        tx.exec(&sql::TAG_PUT, &[key, command.row_id.into(), tag.key().into(), tag.value().into()]).await?;
    }
    audit::add(tx, *rid, &command.audit).await
}

pub(crate) async fn delete(tx: &mut Tx, (rid, command): &(i64, DeleteRepository)) -> Result<Repository> {
    let found = find(tx, *rid, &command.name).await?;
    if found.image_count > 0 && !command.force {
        return Err(Refusal::RepositoryNotEmpty.into());
    }
    let (key, repo_id) = (Val::Int(*rid), Val::Int(found.repo_id));
    let buried_name = format!("!{}", found.repo_id);
    let now = Val::Int(command.now.micros());
    let force = Val::Int(i64::from(command.force));
    if tx.exec(&sql::BURY, &[key, repo_id, buried_name.as_str().into(), now, force]).await? == 0 {
        return Err(changed().into());
    }
    tx.exec(&sql::COUNT_DOWN, &[key]).await?;
    tx.exec(&sql::EXPIRE_UPLOADS, &[key, repo_id]).await?;
    tx.exec(&sql::TOMBSTONE, &[key, repo_id, 0.into(), now, command.purge_at.micros().into()]).await?;
    audit::add(tx, *rid, &(command.audit)(&found.repository)).await?;
    Ok(found.repository)
}

pub(crate) struct SetMutability {
    pub(crate) rid: i64,
    pub(crate) name: RepositoryName,
    pub(crate) mutability: Mutability,
    pub(crate) audit: Batch,
}

pub(crate) async fn set_mutability(tx: &mut Tx, command: &SetMutability) -> Result<()> {
    let found = find(tx, command.rid, &command.name).await?;
    let filters = filters_text(&command.mutability);
    let (word, filters) = (command.mutability.as_str().into(), Val::text(filters.as_deref()));
    let args = [command.rid.into(), found.repo_id.into(), word, filters];
    if tx.exec(&sql::SET_MUTABILITY, &args).await? == 0 {
        return Err(changed().into());
    }
    audit::add(tx, command.rid, &command.audit).await
}

pub(crate) async fn tags(tx: &mut Tx, rid: i64, name: &RepositoryName) -> Result<Vec<ResourceTag>> {
    let found = find(tx, rid, name).await?;
    tags_of(tx, rid, found.repo_id).await
}

pub(crate) async fn tags_of(tx: &mut Tx, rid: i64, repo_id: i64) -> Result<Vec<ResourceTag>> {
    let rows = tx.all(&sql::TAGS, &[rid.into(), repo_id.into()]).await?;
    rows.iter().map(|row| ResourceTag::new(&row.text(0)?, &row.text(1)?).map_err(|_| odd(0))).collect()
}

pub(crate) struct Retag<T> {
    pub(crate) rid: i64,
    pub(crate) name: RepositoryName,
    pub(crate) tags: Vec<T>,
    pub(crate) audit: Batch,
}

pub(crate) async fn tag(tx: &mut Tx, command: &Retag<ResourceTag>) -> Result<()> {
    let found = lock(tx, command.rid, &command.name).await?;
    let (rid, repo_id) = (Val::Int(command.rid), Val::Int(found.repo_id));
    for tag in &command.tags {
        tx.exec(&sql::TAG_PUT, &[rid, repo_id, tag.key().into(), tag.value().into()]).await?;
    }
    let count = tx.one(&sql::TAG_COUNT, &[rid, repo_id]).await?.map_or(Ok(0), |row| row.int(0))?;
    if count > limits::RESOURCE_TAGS_MAX as i64 {
        return Err(Refusal::ResourceTagQuota.into());
    }
    audit::add(tx, command.rid, &command.audit).await
}

pub(crate) async fn untag(tx: &mut Tx, command: &Retag<String>) -> Result<()> {
    let found = find(tx, command.rid, &command.name).await?;
    for key in &command.tags {
        tx.exec(&sql::TAG_DROP, &[command.rid.into(), found.repo_id.into(), key.as_str().into()]).await?;
    }
    audit::add(tx, command.rid, &command.audit).await
}
