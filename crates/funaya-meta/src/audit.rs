//! The audit log's rows.

use funaya_ports::{audit::Batch, meta::Result};
use funaya_types::{Registry, Timestamp};

use crate::driver::{Row, Tx};

pub(crate) mod sql {
    crate::driver::statements! {
        ADD = "INSERT INTO audit (at, id, rid, body) VALUES ($1, $2, $3, $4) ON CONFLICT (at, id) DO NOTHING";
        PAGE = "SELECT g.account, g.region, a.at, a.id, a.body FROM audit a JOIN registries g ON g.rid = a.rid
            WHERE (a.at, a.id) > ($1, $2) ORDER BY a.at, a.id LIMIT $3";
        PRUNE = "DELETE FROM audit WHERE (at, id) IN (SELECT at, id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)";
    }
}

/// Adds one batch; the same batch again (a retried transaction) adds nothing.
pub(crate) async fn add(tx: &mut Tx, rid: i64, batch: &Batch) -> Result<()> {
    let args = [batch.at.micros().into(), batch.id.as_str().into(), rid.into(), batch.body.as_str().into()];
    tx.exec(&sql::ADD, &args).await.map(drop)
}

pub(crate) type Place = (i64, String);

pub(crate) async fn page(tx: &mut Tx, after: &Place, limit: u32) -> Result<Vec<(Registry, Place, String)>> {
    let args = [after.0.into(), after.1.as_str().into(), i64::from(limit).into()];
    let read = |row: &Row| {
        let registry = Registry { account: row.parsed(0)?, region: row.parsed(1)? };
        Ok((registry, (row.int(2)?, row.text(3)?), row.text(4)?))
    };
    tx.all(&sql::PAGE, &args).await?.iter().map(read).collect()
}

pub(crate) async fn prune(tx: &mut Tx, before: Timestamp, limit: u32) -> Result<u64> {
    tx.exec(&sql::PRUNE, &[before.micros().into(), i64::from(limit).into()]).await
}
