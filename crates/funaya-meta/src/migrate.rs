//! Schema changes: numbered files, each applied once.

use funaya_ports::{StoreError, meta};

use crate::{driver::lite_error, lite::Lite, pg::Pg};

/// Each file's text is final once released; a change is a new file.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("migrations/0001_start.sql")),
    (2, include_str!("migrations/0002_identity.sql")),
    (3, include_str!("migrations/0003_lifecycle.sql")),
    (4, include_str!("migrations/0004_undo.sql")),
    (5, include_str!("migrations/0005_conversions.sql")),
    (6, include_str!("migrations/0006_counts.sql")),
    (7, include_str!("migrations/0007_deleted_names.sql")),
];

/// SQLite's planner knows no more than this: measured figures would change plans while a server runs.
const SQLITE_STATISTICS: &str = include_str!("migrations/sqlite_statistics.sql");

pub(crate) mod sql {
    crate::driver::statements! {
        NEWEST = "SELECT coalesce(max(number), 0) FROM funaya_migrations";
    }
}

fn sqlite(text: &str) -> String {
    text.replace("{bytes}", "BLOB").replace("{c}", "").replace("{keyed}", "WITHOUT ROWID")
}

fn postgres(text: &str) -> String {
    text.replace("{bytes}", "BYTEA").replace("{c}", "COLLATE \"C\"").replace("{keyed}", "")
}

/// Brings an SQLite file up to date. `user_version` counts the files applied.
pub(crate) fn migrate_sqlite(connection: &rusqlite::Connection) -> meta::Result<()> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(lite_error)?;
    refuse_newer(done)?;
    for (number, text) in MIGRATIONS.iter().filter(|(number, _)| *number > done) {
        let script = format!("BEGIN IMMEDIATE; {} PRAGMA user_version = {number}; COMMIT;", sqlite(text));
        connection.execute_batch(&script).map_err(lite_error)?;
    }
    // The first `ANALYZE` makes the table of statistics, the last reads it.
    let script = format!("BEGIN IMMEDIATE; ANALYZE settings; {SQLITE_STATISTICS} COMMIT; ANALYZE sqlite_schema;");
    connection.execute_batch(&script).map_err(lite_error)
}

/// Brings a PostgreSQL database up to date. Replicas that start together take
/// turns: the lock on the table lets one migrate.
pub(crate) async fn migrate_postgres(pg: &Pg) -> meta::Result<()> {
    pg.batch("CREATE TABLE IF NOT EXISTS funaya_migrations (number BIGINT PRIMARY KEY)").await?;
    for (number, text) in MIGRATIONS {
        let script = postgres(text);
        pg.batch(&format!(
            "LOCK TABLE funaya_migrations IN EXCLUSIVE MODE;
             DO $migration$ BEGIN
               IF NOT EXISTS (SELECT 1 FROM funaya_migrations WHERE number = {number}) THEN
                 EXECUTE $script${script}$script$;
                 INSERT INTO funaya_migrations VALUES ({number});
               END IF;
             END $migration$;"
        ))
        .await?;
    }
    let newest = pg.read(&(), |(), tx| Box::pin(async move { tx.one(&sql::NEWEST, &[]).await })).await?;
    refuse_newer(newest.map_or(Ok(0), |row| row.int(0))?)
}

/// An older program must not write into a newer schema.
fn refuse_newer(done: i64) -> meta::Result<()> {
    let newest = MIGRATIONS.iter().map(|(number, _)| *number).max().unwrap_or_default();
    if done > newest {
        return Err(StoreError::failed(format!("the database is of a newer version (schema {done})")).into());
    }
    Ok(())
}

/// Opens and migrates.
pub(crate) fn open_sqlite(path: &std::path::Path) -> meta::Result<Lite> {
    Lite::open(path, migrate_sqlite)
}

#[cfg(test)]
mod tests {
    use funaya_testkit::start_postgres;

    use super::*;
    use crate::{Isolation, SqlStore};

    #[tokio::test(flavor = "multi_thread")]
    async fn replicas_may_start_together() {
        let database = start_postgres();
        let opens = (0..6).map(|_| {
            let url = database.url().to_owned();
            tokio::spawn(async move { SqlStore::open_postgres(&url, Isolation::ReadCommitted).await.map(drop) })
        });
        for open in opens.collect::<Vec<_>>() {
            open.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.db");
        drop(SqlStore::open_sqlite(&path).unwrap());
        rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(SqlStore::open_sqlite(&path).is_err());

        let database = start_postgres();
        let pg = Pg::open(database.url(), Isolation::ReadCommitted).unwrap();
        migrate_postgres(&pg).await.unwrap();
        pg.batch("INSERT INTO funaya_migrations VALUES (99)").await.unwrap();
        assert!(SqlStore::open_postgres(database.url(), Isolation::ReadCommitted).await.is_err());
    }
}
