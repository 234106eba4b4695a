//! Lifecycle policies, previews, expiry and last pulls.

use std::collections::HashMap;

use funaya_ports::{
    Fut,
    audit::Batch,
    lifecycle::{Attached, Candidate, Due, Expire, Expired, LifecycleStore, Preview, PreviewStatus},
    meta::{DeleteOutcome, Refusal, Result},
};
use funaya_types::{Digest, PrincipalArn, Registry, RepositoryName, Timestamp, limits};

use crate::{
    audit,
    driver::{Row, Tx, Val, odd},
    images::{self, Burial},
    repositories,
    store::SqlStore,
};

pub(crate) mod sql {
    crate::driver::statements! {
        GET = "SELECT lifecycle, lifecycle_evaluated_at FROM repositories WHERE rid = $1 AND repo_id = $2";
        SET = "UPDATE repositories SET lifecycle = $3, lifecycle_evaluated_at = 0, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0";
        DUE = "SELECT g.account, g.region, r.name, r.lifecycle FROM repositories r JOIN registries g ON g.rid = r.rid
            WHERE r.lifecycle IS NOT NULL AND r.lifecycle_evaluated_at <= $1 AND r.deleted_at = 0
            ORDER BY r.lifecycle_evaluated_at LIMIT $2";
        NOTE = "UPDATE repositories SET lifecycle_evaluated_at = $3
            WHERE rid = $1 AND repo_id = $2 AND lifecycle = $4";
        IMAGES = "SELECT man_id, pushed_at, pulled_at FROM manifests
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0 ORDER BY pushed_at, man_id";
        TAGS = "SELECT man_id, tag FROM tags WHERE rid = $1 AND repo_id = $2 ORDER BY man_id, tag";
        CHILDREN = "SELECT DISTINCT c.child_id FROM manifest_children c
            JOIN manifests p ON p.rid = c.rid AND p.repo_id = c.repo_id AND p.man_id = c.parent_id
            WHERE c.rid = $1 AND c.repo_id = $2 AND p.deleted_at = 0";
        SUBJECTS = "SELECT m.man_id, s.man_id FROM manifests m
            JOIN manifests s ON s.rid = m.rid AND s.repo_id = m.repo_id AND s.digest = m.subject
            WHERE m.rid = $1 AND m.repo_id = $2 AND m.subject IS NOT NULL AND m.deleted_at = 0 AND s.deleted_at = 0";
        PREVIEW = "SELECT policy, started_at, status, marked FROM lifecycle_previews WHERE rid = $1 AND repo_id = $2";
        PUT_PREVIEW = "INSERT INTO lifecycle_previews (rid, repo_id, policy, started_at, status, marked)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (rid, repo_id) DO UPDATE SET policy = excluded.policy,
                started_at = excluded.started_at, status = excluded.status, marked = excluded.marked";
        DROP_PREVIEW = "DELETE FROM lifecycle_previews WHERE rid = $1 AND repo_id = $2";
        EXCLUDED = "SELECT created_at FROM pull_exclusions WHERE rid = $1 AND principal = $2";
        EXCLUSION_COUNT = "SELECT count(*) FROM pull_exclusions WHERE rid = $1";
        EXCLUDE = "INSERT INTO pull_exclusions (rid, principal, created_at) VALUES ($1, $2, $3)";
        INCLUDE = "DELETE FROM pull_exclusions WHERE rid = $1 AND principal = $2";
        EXCLUSIONS = "SELECT principal FROM pull_exclusions WHERE rid = $1 AND principal > $2 ORDER BY principal LIMIT $3";
        PULLED = "UPDATE manifests SET pulled_at = $4
            WHERE rid = $1 AND repo_id = $2 AND digest = $3 AND (pulled_at IS NULL OR pulled_at < $4)";
    }
}

impl LifecycleStore for SqlStore {
    fn lifecycle<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Option<Attached>>> {
        Box::pin(async move {
            let place = (self.rid(registry).await?, name.clone());
            self.read(&place, |place, tx| Box::pin(get(tx, place))).await
        })
    }

    fn set_lifecycle<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        text: Option<String>,
        audit: Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let place = (self.rid(registry).await?, name.clone());
            self.write(Set { place, text, audit }, |c, tx| Box::pin(set(tx, c))).await
        })
    }

    fn due_lifecycles(&self, before: Timestamp, limit: u32) -> Fut<'_, Result<Vec<Due>>> {
        let key = (before, limit);
        Box::pin(async move { self.read(&key, |key, tx| Box::pin(due(tx, key))).await })
    }

    fn note_lifecycle<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        policy: &'a str,
        at: Timestamp,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let key = ((self.rid(registry).await?, name.clone()), policy.to_owned(), at);
            self.write(key, |key, tx| Box::pin(note(tx, key))).await
        })
    }

    fn candidates<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Vec<Candidate>>> {
        Box::pin(async move {
            let place = (self.rid(registry).await?, name.clone());
            self.read(&place, |place, tx| Box::pin(candidates(tx, place))).await
        })
    }

    fn expire(&self, command: Expire) -> Fut<'_, Result<Vec<Expired>>> {
        Box::pin(async move {
            let rid = self.rid(&command.registry).await?;
            self.write((rid, command), |c, tx| Box::pin(expire(tx, c))).await
        })
    }

    fn preview<'a>(&'a self, registry: &'a Registry, name: &'a RepositoryName) -> Fut<'a, Result<Option<Preview>>> {
        Box::pin(async move {
            let place = (self.rid(registry).await?, name.clone());
            self.read(&place, |place, tx| Box::pin(preview(tx, place))).await
        })
    }

    fn put_preview<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
        preview: Preview,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let key = ((self.rid(registry).await?, name.clone()), preview);
            self.write(key, |key, tx| Box::pin(put_preview(tx, key))).await
        })
    }

    fn exclude_pulls<'a>(
        &'a self,
        registry: &'a Registry,
        principal: &'a PrincipalArn,
        at: Timestamp,
        audit: Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = (self.rid(registry).await?, principal.clone(), at, audit);
            self.write(command, |command, tx| Box::pin(exclude(tx, command))).await
        })
    }

    fn include_pulls<'a>(
        &'a self,
        registry: &'a Registry,
        principal: &'a PrincipalArn,
        audit: Batch,
    ) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            let command = (self.rid(registry).await?, principal.clone(), audit);
            self.write(command, |command, tx| Box::pin(include(tx, command))).await
        })
    }

    fn pull_exclusions<'a>(
        &'a self,
        registry: &'a Registry,
        after: &'a str,
        limit: u32,
    ) -> Fut<'a, Result<Vec<PrincipalArn>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, after.to_owned(), limit);
            self.read(&key, |key, tx| Box::pin(exclusions(tx, key))).await
        })
    }

    fn note_pulls(&self, pulls: Vec<(Registry, RepositoryName, Digest, Timestamp)>) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let mut rows = Vec::with_capacity(pulls.len());
            for (registry, name, digest, at) in pulls {
                rows.push((self.rid(&registry).await?, name, digest, at));
            }
            self.write(rows, |rows, tx| Box::pin(note_pulls(tx, rows))).await
        })
    }
}

type Place = (i64, RepositoryName);

async fn repository<'a>(tx: &mut Tx, place: &Place) -> Result<[Val<'a>; 2]> {
    let found = repositories::find(tx, place.0, &place.1).await?;
    Ok([place.0.into(), found.repo_id.into()])
}

fn time(row: &Row, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.opt_int(column)?.map(Timestamp::from_micros))
}

pub(crate) async fn get(tx: &mut Tx, place: &Place) -> Result<Option<Attached>> {
    let at = repository(tx, place).await?;
    let Some(row) = tx.one(&sql::GET, &at).await? else { return Ok(None) };
    let evaluated_at = Some(row.int(1)?).filter(|at| *at != 0).map(Timestamp::from_micros);
    Ok(row.opt_text(0)?.map(|text| Attached { text, evaluated_at }))
}

/// A repository's new policy, or none.
pub(crate) struct Set {
    pub(crate) place: Place,
    pub(crate) text: Option<String>,
    pub(crate) audit: Batch,
}

pub(crate) async fn set(tx: &mut Tx, command: &Set) -> Result<()> {
    let [rid, repo_id] = repository(tx, &command.place).await?;
    if tx.exec(&sql::SET, &[rid, repo_id, Val::text(command.text.as_deref())]).await? == 0 {
        return Err(repositories::changed().into());
    }
    audit::add(tx, command.place.0, &command.audit).await
}

pub(crate) async fn due(tx: &mut Tx, (before, limit): &(Timestamp, u32)) -> Result<Vec<Due>> {
    let read = |row: &Row| {
        let registry = Registry { account: row.parsed(0)?, region: row.parsed(1)? };
        Ok(Due { registry, repository: row.parsed(2)?, text: row.text(3)? })
    };
    tx.all(&sql::DUE, &[before.micros().into(), i64::from(*limit).into()]).await?.iter().map(read).collect()
}

pub(crate) async fn note(tx: &mut Tx, (place, policy, at): &(Place, String, Timestamp)) -> Result<()> {
    let [rid, repo_id] = repository(tx, place).await?;
    tx.exec(&sql::NOTE, &[rid, repo_id, at.micros().into(), policy.as_str().into()]).await.map(drop)
}

/// Several statements see one snapshot on SQLite; on PostgreSQL the images are judged again
/// when they expire.
pub(crate) async fn candidates(tx: &mut Tx, place: &Place) -> Result<Vec<Candidate>> {
    let at = repository(tx, place).await?;
    let mut places = HashMap::new();
    let mut all = Vec::new();
    tx.each(&sql::IMAGES, &at, |row| {
        places.insert(row.int(0)?, all.len());
        all.push(Candidate {
            row_id: row.int(0)?,
            pushed_at: Timestamp::from_micros(row.int(1)?),
            pulled_at: time(&row, 2)?,
            tags: Vec::new(),
            in_index: false,
            subject: None,
        });
        Ok(())
    })
    .await?;
    tx.each(&sql::TAGS, &at, |row| {
        let Some(place) = places.get(&row.int(0)?) else { return Ok(()) };
        let tags: &mut Vec<String> = &mut all[*place].tags;
        if tags.is_empty() {
            // Most images have one.
            tags.reserve_exact(1);
        }
        tags.push(row.text(1)?);
        Ok(())
    })
    .await?;
    tx.each(&sql::CHILDREN, &at, |row| {
        if let Some(place) = places.get(&row.int(0)?) {
            all[*place].in_index = true;
        }
        Ok(())
    })
    .await?;
    tx.each(&sql::SUBJECTS, &at, |row| {
        if let Some(place) = places.get(&row.int(0)?) {
            all[*place].subject = Some(row.int(1)?);
        }
        Ok(())
    })
    .await?;
    Ok(all)
}

pub(crate) async fn expire(tx: &mut Tx, (rid, command): &(i64, Expire)) -> Result<Vec<Expired>> {
    // First the repository's row, as a push does: so the two never wait for each other crosswise.
    let found = repositories::lock(tx, *rid, &command.repository).await?;
    let burial = Burial { rid: *rid, repo_id: found.repo_id, now: command.now, purge_at: command.purge_at };
    // Whoever took the policy away or gave another one meanwhile was answered: nothing more may go by the old one.
    let policy = tx.one(&sql::GET, &[(*rid).into(), found.repo_id.into()]).await?;
    let policy = policy.map(|row| row.opt_text(0)).transpose()?.flatten();
    if policy.as_deref() != Some(command.policy.as_str()) {
        return Ok(vec![Expired::Changed; command.images.len()]);
    }
    let mut outcomes = Vec::with_capacity(command.images.len());
    for image in &command.images {
        outcomes.push(expire_one(tx, &burial, image).await?);
    }
    if let Some(batch) = (command.audit)(&outcomes) {
        audit::add(tx, *rid, &batch).await?;
    }
    Ok(outcomes)
}

async fn expire_one(tx: &mut Tx, burial: &Burial, judged: &Candidate) -> Result<Expired> {
    if !images::lock(tx, burial.rid, burial.repo_id, judged.row_id).await? {
        return Ok(Expired::Changed);
    }
    let Some(image) = images::by_row(tx, burial.rid, burial.repo_id, judged.row_id).await? else {
        return Ok(Expired::Changed);
    };
    let tags = images::tags_of(tx, burial.rid, burial.repo_id, judged.row_id).await?;
    let same_tags = tags.iter().map(|tag| tag.as_str()).eq(judged.tags.iter().map(String::as_str));
    if !same_tags || image.pushed_at != judged.pushed_at || image.pulled_at != judged.pulled_at {
        return Ok(Expired::Changed);
    }
    Ok(match images::bury(tx, burial, &image).await? {
        DeleteOutcome::Deleted { digest, tags, .. } => Expired::Gone { digest, tags, pushed_at: image.pushed_at },
        DeleteOutcome::Referenced(_) => Expired::Referenced,
        DeleteOutcome::NotFound | DeleteOutcome::TagMismatch => Expired::Changed,
    })
}

fn status_text(status: PreviewStatus) -> &'static str {
    match status {
        PreviewStatus::InProgress => "in progress",
        PreviewStatus::Complete => "complete",
        PreviewStatus::Failed => "failed",
    }
}

pub(crate) async fn preview(tx: &mut Tx, place: &Place) -> Result<Option<Preview>> {
    let at = repository(tx, place).await?;
    let Some(row) = tx.one(&sql::PREVIEW, &at).await? else { return Ok(None) };
    let status = match row.text(2)?.as_str() {
        "in progress" => PreviewStatus::InProgress,
        "complete" => PreviewStatus::Complete,
        "failed" => PreviewStatus::Failed,
        _ => return Err(odd(2)),
    };
    let packed = row.bytes(3)?;
    let half = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| odd(3));
    let pairs = packed.chunks_exact(16).map(|pair| Ok((half(&pair[..8])?.cast_signed(), half(&pair[8..])?)));
    let marked = pairs.collect::<Result<_>>()?;
    Ok(Some(Preview { policy: row.text(0)?, started_at: Timestamp::from_micros(row.int(1)?), status, marked }))
}

pub(crate) async fn put_preview(tx: &mut Tx, (place, preview): &(Place, Preview)) -> Result<()> {
    let [rid, repo_id] = repository(tx, place).await?;
    let pair = |(row_id, priority): &(i64, u64)| [row_id.to_le_bytes(), priority.to_le_bytes()].concat();
    let packed: Vec<u8> = preview.marked.iter().flat_map(pair).collect();
    let (started_at, status) = (preview.started_at.micros().into(), status_text(preview.status).into());
    let args = [rid, repo_id, preview.policy.as_str().into(), started_at, status, packed.as_slice().into()];
    tx.exec(&sql::PUT_PREVIEW, &args).await.map(drop)
}

/// One pull: registry's row id, repository, image, when.
pub(crate) type Pull = (i64, RepositoryName, Digest, Timestamp);

/// An image or repository that is gone meanwhile is no fault.
/// A principal whose pulls are no longer noted.
type Exclude = (i64, PrincipalArn, Timestamp, Batch);

async fn exclude(tx: &mut Tx, (rid, principal, at, audit): &Exclude) -> Result<()> {
    let (rid, name) = (*rid, Val::Text(principal.as_str()));
    if tx.one(&sql::EXCLUDED, &[rid.into(), name]).await?.is_some() {
        return Err(Refusal::ExclusionExists.into());
    }
    let count = tx.one(&sql::EXCLUSION_COUNT, &[rid.into()]).await?.map_or(Ok(0), |row| row.int(0))?;
    if count >= i64::from(limits::PULL_EXCLUSIONS_MAX) {
        return Err(Refusal::ExclusionQuota.into());
    }
    // Of two that meet on PostgreSQL one runs again, and finds the other's row.
    tx.exec(&sql::EXCLUDE, &[rid.into(), name, at.micros().into()]).await?;
    audit::add(tx, rid, audit).await
}

async fn include(tx: &mut Tx, (rid, principal, audit): &(i64, PrincipalArn, Batch)) -> Result<()> {
    if tx.exec(&sql::INCLUDE, &[(*rid).into(), principal.as_str().into()]).await? == 0 {
        return Err(Refusal::NoExclusion.into());
    }
    audit::add(tx, *rid, audit).await
}

async fn exclusions(tx: &mut Tx, (rid, after, limit): &(i64, String, u32)) -> Result<Vec<PrincipalArn>> {
    let args = [(*rid).into(), after.as_str().into(), i64::from(*limit).into()];
    tx.all(&sql::EXCLUSIONS, &args).await?.iter().map(|row| row.parsed(0)).collect()
}

pub(crate) async fn note_pulls(tx: &mut Tx, pulls: &Vec<Pull>) -> Result<()> {
    for (rid, name, digest, at) in pulls {
        let row = tx.one(&repositories::sql::BY_NAME, &[(*rid).into(), name.as_str().into()]).await?;
        let Some(row) = row else { continue };
        let args = [(*rid).into(), row.int(0)?.into(), Val::Bytes(&digest.to_bytes()), at.micros().into()];
        tx.exec(&sql::PULLED, &args).await?;
    }
    Ok(())
}
