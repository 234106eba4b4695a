//! Settings of this installation that are made once and kept.

use funaya_ports::meta::Result;
use funaya_types::Timestamp;

use crate::driver::{Tx, Val};

pub(crate) mod sql {
    crate::driver::statements! {
        GET = "SELECT value FROM settings WHERE key = $1";
        SETTLE = "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
        REPLICA_SEEN = "INSERT INTO replicas (id, seen_at) VALUES ($1, $2)
            ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at";
        REPLICAS_FORGET = "DELETE FROM replicas WHERE seen_at < $1";
        REPLICAS = "SELECT count(*) FROM replicas";
        REGISTRY = "SELECT rid FROM registries WHERE account = $1 AND region = $2";
        REGISTRY_LAST = "SELECT coalesce(max(rid), 0) FROM registries";
        REGISTRY_ADD = "INSERT INTO registries (rid, account, region, repo_count) VALUES ($1, $2, $3, 0)";
        REGISTRIES = "SELECT rid, account, region FROM registries WHERE rid > $1 ORDER BY rid";
    }
}

pub(crate) async fn get(tx: &mut Tx, key: &str) -> Result<Option<String>> {
    tx.one(&sql::GET, &[key.into()]).await?.map(|row| row.text(0)).transpose()
}

pub(crate) async fn settle(tx: &mut Tx, key: &str, value: &str) -> Result<String> {
    tx.exec(&sql::SETTLE, &[key.into(), value.into()]).await?;
    Ok(get(tx, key).await?.unwrap_or_else(|| value.into()))
}

/// Notes that a server is there, forgets those not seen since `since`, and counts the rest.
pub(crate) async fn note_replica(tx: &mut Tx, id: &str, now: Timestamp, since: Timestamp) -> Result<u32> {
    tx.exec(&sql::REPLICAS_FORGET, &[since.micros().into()]).await?;
    tx.exec(&sql::REPLICA_SEEN, &[id.into(), now.micros().into()]).await?;
    let count = tx.one(&sql::REPLICAS, &[]).await?.map_or(Ok(1), |row| row.int(0))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The registry's row id, if it has one yet.
pub(crate) async fn find_registry(tx: &mut Tx, account: &str, region: &str) -> Result<Option<i64>> {
    tx.one(&sql::REGISTRY, &[account.into(), region.into()]).await?.map(|row| row.int(0)).transpose()
}

/// The registry's row id; the row is made at its first use (REG-01).
pub(crate) async fn open_registry(tx: &mut Tx, account: &str, region: &str) -> Result<i64> {
    if let Some(rid) = find_registry(tx, account, region).await? {
        return Ok(rid);
    }
    let last = tx.one(&sql::REGISTRY_LAST, &[]).await?.map_or(Ok(0), |row| row.int(0))?;
    let args: [Val<'_>; 3] = [(last + 1).into(), account.into(), region.into()];
    tx.exec(&sql::REGISTRY_ADD, &args).await?;
    Ok(last + 1)
}
