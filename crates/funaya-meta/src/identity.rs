//! Identities, and what else decides about access.

use funaya_ports::{
    Fut, StoreError,
    identity::{
        Change, Directory, Entity, EntityKey, EntityPage, IdentityStore, Kind, LastUse, Link, Relation,
        RepositoryAccess,
    },
    meta::{Refusal, Result},
};
use funaya_types::{AccountId, Registry, RepositoryName, Timestamp};

use crate::{
    audit,
    driver::{Row, Tx, Val},
    repositories,
    store::SqlStore,
};
use std::sync::atomic::Ordering;

pub(crate) mod sql {
    crate::driver::statements! {
        GET = "SELECT account, kind, key, id, path, body, created_at, ver FROM entities
            WHERE account = $1 AND kind = $2 AND key = $3";
        BY_ID = "SELECT account, kind, key, id, path, body, created_at, ver FROM entities WHERE id = $1";
        PAGE = "SELECT account, kind, key, id, path, body, created_at, ver FROM entities
            WHERE account = $1 AND kind = $2 AND key > $3 AND path >= $4 AND path < $5 ORDER BY key LIMIT $6";
        COUNT = "SELECT count(*) FROM entities WHERE account = $1 AND kind = $2";
        VERSION = "SELECT ver FROM entities WHERE account = $1 AND kind = $2 AND key = $3";
        ADD = "INSERT INTO entities (account, kind, key, id, path, body, created_at, ver)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 1) ON CONFLICT DO NOTHING";
        PUT = "UPDATE entities SET path = $4, body = $5, ver = ver + 1
            WHERE account = $1 AND kind = $2 AND key = $3 AND ver = $6";
        GUARD = "UPDATE entities SET ver = ver + 1 WHERE account = $1 AND kind = $2 AND key = $3 AND ver = $4";
        DELETE = "DELETE FROM entities WHERE account = $1 AND kind = $2 AND key = $3 AND ver = $4";
        LINK = "INSERT INTO entity_links (account, relation, from_id, to_id) VALUES ($1, $2, $3, $4)
            ON CONFLICT (account, relation, from_id, to_id) DO NOTHING";
        UNLINK = "DELETE FROM entity_links WHERE account = $1 AND relation = $2 AND from_id = $3 AND to_id = $4";
        UNLINK_FROM = "DELETE FROM entity_links WHERE account = $1 AND relation = $2 AND from_id = $3";
        UNLINK_TO = "DELETE FROM entity_links WHERE account = $1 AND relation = $2 AND to_id = $3";
        LINKS_FROM = "SELECT to_id FROM entity_links WHERE account = $1 AND relation = $2 AND from_id = $3
            ORDER BY to_id";
        LINKS_TO = "SELECT from_id FROM entity_links WHERE account = $1 AND relation = $2 AND to_id = $3
            AND from_id > $4 ORDER BY from_id LIMIT $5";
        USED = "INSERT INTO last_uses (id, at, region, service) VALUES ($1, $2, $3, $4)
            ON CONFLICT (id) DO UPDATE SET at = excluded.at, region = excluded.region, service = excluded.service
            WHERE last_uses.at < excluded.at";
        LAST_USE = "SELECT at, region, service FROM last_uses WHERE id = $1";
        FORGET_USE = "DELETE FROM last_uses WHERE id = $1";
        MOVE_EPOCH = "UPDATE access_epoch SET value = value + 1 WHERE one = 1";
        EPOCH = "SELECT value FROM access_epoch WHERE one = 1";
        REPOSITORY = "SELECT repo_id, policy FROM repositories WHERE rid = $1 AND name = $2";
        REGISTRY_POLICY = "SELECT policy FROM registries WHERE rid = $1";
        SET_REGISTRY_POLICY = "UPDATE registries SET policy = $2 WHERE rid = $1";
        SET_POLICY = "UPDATE repositories SET policy = $3, ver = ver + 1
            WHERE rid = $1 AND repo_id = $2 AND deleted_at = 0";
    }
}

impl Directory for SqlStore {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire).unsigned_abs()
    }

    fn refresh(&self) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let epoch = self.read(&(), |(), tx| Box::pin(epoch(tx))).await?;
            self.epoch.fetch_max(epoch, Ordering::AcqRel);
            Ok(())
        })
    }

    fn entity<'a>(&'a self, place: &'a EntityKey) -> Fut<'a, Result<Option<Entity>>> {
        Box::pin(async move { self.read(place, |place, tx| Box::pin(get(tx, place))).await })
    }

    fn entity_by_id<'a>(&'a self, id: &'a str) -> Fut<'a, Result<Option<Entity>>> {
        Box::pin(async move { self.read(&id.to_owned(), |id, tx| Box::pin(by_id(tx, id))).await })
    }

    fn links_from<'a>(
        &'a self,
        account: &'a AccountId,
        relation: Relation,
        from: &'a str,
    ) -> Fut<'a, Result<Vec<String>>> {
        let link = (*account, relation, from.to_owned());
        Box::pin(async move { self.read(&link, |link, tx| Box::pin(links_from(tx, link))).await })
    }

    fn repository_access<'a>(
        &'a self,
        registry: &'a Registry,
        name: &'a RepositoryName,
    ) -> Fut<'a, Result<Option<RepositoryAccess>>> {
        Box::pin(async move {
            let key = (self.rid(registry).await?, name.clone());
            self.read(&key, |(rid, name), tx| Box::pin(repository(tx, *rid, name))).await
        })
    }

    fn registry_policy<'a>(&'a self, registry: &'a Registry) -> Fut<'a, Result<Option<String>>> {
        Box::pin(async move {
            let rid = self.rid(registry).await?;
            self.read(&rid, |rid, tx| Box::pin(registry_policy(tx, *rid))).await
        })
    }
}

impl IdentityStore for SqlStore {
    fn change(&self, change: Change) -> Fut<'_, Result<()>> {
        Box::pin(async move {
            let rid = self.rid(&change.audit.registry).await?;
            self.write_access((rid, change), |c, tx| Box::pin(async move { Ok(((), self::change(tx, c).await?)) }))
                .await
        })
    }

    fn entities(&self, page: EntityPage) -> Fut<'_, Result<Vec<Entity>>> {
        Box::pin(async move { self.read(&page, |page, tx| Box::pin(self::page(tx, page))).await })
    }

    fn entity_count<'a>(&'a self, account: &'a AccountId, kind: Kind) -> Fut<'a, Result<u64>> {
        let key = (*account, kind);
        Box::pin(async move { self.read(&key, |(account, kind), tx| Box::pin(count(tx, *account, *kind))).await })
    }

    fn links_to<'a>(
        &'a self,
        account: &'a AccountId,
        relation: Relation,
        to: &'a str,
        after: &'a str,
        limit: u32,
    ) -> Fut<'a, Result<Vec<String>>> {
        let holders = (*account, relation, to.to_owned(), after.to_owned(), limit);
        Box::pin(async move { self.read(&holders, |holders, tx| Box::pin(links_to(tx, holders))).await })
    }

    fn note_use(&self, uses: Vec<(String, LastUse)>) -> Fut<'_, Result<()>> {
        Box::pin(async move { self.write(uses, |uses, tx| Box::pin(note_use(tx, uses))).await })
    }

    fn last_use<'a>(&'a self, id: &'a str) -> Fut<'a, Result<Option<LastUse>>> {
        Box::pin(async move { self.read(&id.to_owned(), |id, tx| Box::pin(last_use(tx, id))).await })
    }
}

fn read(row: &Row) -> Result<Entity> {
    let kind = row.text(1)?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| crate::driver::odd(1))?;
    Ok(Entity {
        place: EntityKey { account: row.parsed(0)?, kind, key: row.text(2)? },
        id: row.text(3)?,
        path: row.text(4)?,
        body: row.text(5)?,
        created_at: Timestamp::from_micros(row.int(6)?),
        version: row.int(7)?,
    })
}

fn key(place: &EntityKey) -> [Val<'_>; 3] {
    [place.account.as_str().into(), place.kind.as_str().into(), place.key.as_str().into()]
}

pub(crate) async fn get(tx: &mut Tx, place: &EntityKey) -> Result<Option<Entity>> {
    tx.one(&sql::GET, &key(place)).await?.as_ref().map(read).transpose()
}

pub(crate) async fn by_id(tx: &mut Tx, id: &str) -> Result<Option<Entity>> {
    tx.one(&sql::BY_ID, &[id.into()]).await?.as_ref().map(read).transpose()
}

pub(crate) async fn page(tx: &mut Tx, page: &EntityPage) -> Result<Vec<Entity>> {
    // Paths are printable ASCII, so this ends every path with the prefix.
    let end = format!("{}\u{7f}", page.path_prefix);
    let args = [
        page.account.as_str().into(),
        page.kind.as_str().into(),
        page.after.as_str().into(),
        page.path_prefix.as_str().into(),
        end.as_str().into(),
        i64::from(page.limit).into(),
    ];
    tx.all(&sql::PAGE, &args).await?.iter().map(read).collect()
}

pub(crate) async fn count(tx: &mut Tx, account: AccountId, kind: Kind) -> Result<u64> {
    let row = tx.one(&sql::COUNT, &[account.as_str().into(), kind.as_str().into()]).await?;
    Ok(row.map_or(Ok(0), |row| row.int(0))?.unsigned_abs())
}

pub(crate) async fn links_from(tx: &mut Tx, link: &(AccountId, Relation, String)) -> Result<Vec<String>> {
    let args = [link.0.as_str().into(), link.1.as_str().into(), link.2.as_str().into()];
    tx.all(&sql::LINKS_FROM, &args).await?.iter().map(|row| row.text(0)).collect()
}

/// Who has it: account, relation, target, after, limit.
pub(crate) type Holders = (AccountId, Relation, String, String, u32);

pub(crate) async fn links_to(tx: &mut Tx, holders: &Holders) -> Result<Vec<String>> {
    let (account, relation, to, after, limit) = holders;
    let args = [
        account.as_str().into(),
        relation.as_str().into(),
        to.as_str().into(),
        after.as_str().into(),
        i64::from(*limit).into(),
    ];
    tx.all(&sql::LINKS_TO, &args).await?.iter().map(|row| row.text(0)).collect()
}

/// Makes a change; returns the epoch after it.
pub(crate) async fn change(tx: &mut Tx, (rid, change): &(i64, Change)) -> Result<i64> {
    for (place, version) in &change.guard {
        guard(tx, place, *version).await?;
    }
    for (entity, version) in &change.delete {
        let [account, kind, name] = key(&entity.place);
        moved(tx.exec(&sql::DELETE, &[account, kind, name, (*version).into()]).await?)?;
        for relation in Relation::ALL {
            tx.exec(&sql::UNLINK_FROM, &[account, relation.as_str().into(), entity.id.as_str().into()]).await?;
            tx.exec(&sql::UNLINK_TO, &[account, relation.as_str().into(), entity.id.as_str().into()]).await?;
        }
        tx.exec(&sql::FORGET_USE, &[entity.id.as_str().into()]).await?;
    }
    for entity in &change.put {
        put(tx, entity).await?;
    }
    for link in &change.unlink {
        tx.exec(&sql::UNLINK, &ends(link)).await?;
    }
    for link in &change.link {
        tx.exec(&sql::LINK, &ends(link)).await?;
    }
    audit::add(tx, *rid, &change.audit).await?;
    move_epoch(tx).await
}

fn ends(link: &Link) -> [Val<'_>; 4] {
    [link.account.as_str().into(), link.relation.as_str().into(), link.from.as_str().into(), link.to.as_str().into()]
}

async fn guard(tx: &mut Tx, place: &EntityKey, version: i64) -> Result<()> {
    let [account, kind, name] = key(place);
    if version > 0 {
        return moved(tx.exec(&sql::GUARD, &[account, kind, name, version.into()]).await?);
    }
    match tx.one(&sql::VERSION, &[account, kind, name]).await? {
        None => Ok(()),
        Some(_) => Err(Refusal::Changed.into()),
    }
}

async fn put(tx: &mut Tx, entity: &Entity) -> Result<()> {
    let [account, kind, name] = key(&entity.place);
    let (path, body) = (entity.path.as_str().into(), entity.body.as_str().into());
    let written = match entity.version {
        0 => {
            let args = [account, kind, name, entity.id.as_str().into(), path, body, entity.created_at.micros().into()];
            tx.exec(&sql::ADD, &args).await?
        }
        version => tx.exec(&sql::PUT, &[account, kind, name, path, body, version.into()]).await?,
    };
    moved(written)
}

/// A row that was not there at its version: somebody else was faster.
fn moved(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Refusal::Changed.into()) }
}

/// Counts the epoch up, which also puts all changes of access in one order.
pub(crate) async fn move_epoch(tx: &mut Tx) -> Result<i64> {
    tx.exec(&sql::MOVE_EPOCH, &[]).await?;
    epoch(tx).await
}

pub(crate) async fn epoch(tx: &mut Tx) -> Result<i64> {
    let row = tx.one(&sql::EPOCH, &[]).await?;
    row.ok_or_else(|| StoreError::failed("the epoch's row is gone"))?.int(0)
}

pub(crate) async fn note_use(tx: &mut Tx, uses: &Vec<(String, LastUse)>) -> Result<()> {
    for (id, last) in uses {
        let args =
            [id.as_str().into(), last.at.micros().into(), last.region.as_str().into(), last.service.as_str().into()];
        tx.exec(&sql::USED, &args).await?;
    }
    Ok(())
}

pub(crate) async fn last_use(tx: &mut Tx, id: &str) -> Result<Option<LastUse>> {
    let Some(row) = tx.one(&sql::LAST_USE, &[id.into()]).await? else { return Ok(None) };
    Ok(Some(LastUse { at: Timestamp::from_micros(row.int(0)?), region: row.text(1)?, service: row.text(2)? }))
}

pub(crate) async fn repository(tx: &mut Tx, rid: i64, name: &RepositoryName) -> Result<Option<RepositoryAccess>> {
    let Some(row) = tx.one(&sql::REPOSITORY, &[rid.into(), name.as_str().into()]).await? else { return Ok(None) };
    let tags = repositories::tags_of(tx, rid, row.int(0)?).await?;
    Ok(Some(RepositoryAccess { policy: row.opt_text(1)?, tags }))
}

pub(crate) async fn registry_policy(tx: &mut Tx, rid: i64) -> Result<Option<String>> {
    tx.one(&sql::REGISTRY_POLICY, &[rid.into()]).await?.map_or(Ok(None), |row| row.opt_text(0))
}

/// A resource's new policy, or none.
pub(crate) struct SetPolicy {
    pub(crate) rid: i64,
    /// `None`: the registry's own.
    pub(crate) name: Option<RepositoryName>,
    pub(crate) policy: Option<String>,
    pub(crate) audit: funaya_ports::audit::Batch,
}

pub(crate) async fn set_policy(tx: &mut Tx, command: &SetPolicy) -> Result<i64> {
    let policy = Val::text(command.policy.as_deref());
    match &command.name {
        None => drop(tx.exec(&sql::SET_REGISTRY_POLICY, &[command.rid.into(), policy]).await?),
        Some(name) => {
            let found = repositories::find(tx, command.rid, name).await?;
            if tx.exec(&sql::SET_POLICY, &[command.rid.into(), found.repo_id.into(), policy]).await? == 0 {
                return Err(repositories::changed().into());
            }
        }
    }
    audit::add(tx, command.rid, &command.audit).await?;
    move_epoch(tx).await
}
