//! Every statement of the crate is prepared on both engines: a wrong column, a
//! parameter whose type PostgreSQL guesses differently, or a scan of a whole
//! table shows here.

use funaya_testkit::start_postgres;
use tokio_postgres::types::Type;

use crate::{Isolation, SqlStore, audit, collect, driver::Statement, images, layers, migrate, repositories, settings};
use crate::{uploads, verify};

/// The statements of every module, with the module's name.
fn all() -> Vec<(&'static str, &'static Statement)> {
    let modules = [
        ("audit", audit::sql::ALL),
        ("collect", collect::sql::ALL),
        ("images", images::sql::ALL),
        ("layers", layers::sql::ALL),
        ("repositories", repositories::sql::ALL),
        ("settings", settings::sql::ALL),
        ("uploads", uploads::sql::ALL),
        ("verify", verify::sql::ALL),
    ];
    modules.iter().flat_map(|(name, list)| list.iter().map(|statement| (*name, *statement))).collect()
}

#[tokio::test]
async fn on_postgres() {
    let database = start_postgres();
    SqlStore::open_postgres(database.url(), Isolation::ReadCommitted).await.unwrap();
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let known = [Type::INT8, Type::TEXT, Type::BYTEA];
    for (module, statement) in all().into_iter().chain(migrate::sql::ALL.iter().map(|s| ("migrate", *s))) {
        let text = statement.postgres();
        let prepared = client.prepare(text).await.unwrap_or_else(|error| panic!("{module}: {text}: {error:?}"));
        let columns = prepared.columns().iter().map(|column| column.type_());
        for ty in prepared.params().iter().chain(columns) {
            assert!(known.contains(ty), "{module}: {text}: {ty}");
        }
    }
}

/// Statements that look at whole tables, on purpose: checks of all rows, and the list of registries.
const SCANS: [&str; 2] = ["verify", "settings"];

#[test]
fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.db");
    drop(SqlStore::open_sqlite(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mut faults = Vec::new();
    for (module, statement) in all() {
        let text = statement.sqlite();
        connection.prepare(text).unwrap_or_else(|error| panic!("{module}: {text}: {error}"));
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let parameters = vec![rusqlite::types::Null; explain.parameter_count()];
        let plan = explain.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = plan.map(Result::unwrap).collect();
        let bad = |step: &&String| {
            let scan = step.starts_with("SCAN ") && *step != "SCAN CONSTANT ROW" && !SCANS.contains(&module);
            // What is found by one digest may be sorted: few repositories hold the same layer.
            let sort = step.contains("TEMP B-TREE") && !text.contains("ORDER BY r.name") && !text.contains("e.man_id = ?3");
            scan || sort
        };
        faults.extend(plan.iter().filter(bad).map(|step| format!("{module}: {step}: {text}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
