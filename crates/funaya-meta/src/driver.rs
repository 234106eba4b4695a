//! One SQL text, two drivers (D3): values, rows, statements, transactions.
//!
//! Transaction logic is one async function for both. On SQLite it never waits,
//! so the writer thread polls it once; on PostgreSQL it awaits the server.

use std::{pin::pin, sync::OnceLock};

use bytes::BytesMut;
use deadpool_postgres::Object;
use funaya_ports::{StoreError, meta};
use futures_util::StreamExt as _;
use rusqlite::{Connection, types::ToSqlOutput};
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A statement of the common subset, written with `$1`.
pub(crate) struct Statement {
    text: &'static str,
    lite: OnceLock<String>,
}

impl Statement {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text, lite: OnceLock::new() }
    }

    pub(crate) fn postgres(&self) -> &'static str {
        self.text
    }

    /// SQLite's form: `?1` for `$1`.
    pub(crate) fn sqlite(&self) -> &str {
        self.lite.get_or_init(|| self.text.replace('$', "?"))
    }
}

/// Declares statements, and lists them all so that a test prepares each on both engines.
macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(pub(crate) static $name: $crate::driver::Statement = $crate::driver::Statement::new($text);)*
        #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that prepares every statement"))]
        pub(crate) static ALL: &[&$crate::driver::Statement] = &[$(&$name),*];
    };
}
pub(crate) use statements;

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Val<'a> {
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Null,
}

impl<'a> Val<'a> {
    pub(crate) fn text(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }

    pub(crate) fn bytes(value: Option<&'a [u8]>) -> Self {
        value.map_or(Self::Null, Self::Bytes)
    }
}

impl From<i64> for Val<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Val<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Val<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl rusqlite::ToSql for Val<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef;
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Null => ValueRef::Null,
        }))
    }
}

impl ToSql for Val<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Self::Text(value) if *ty == Type::TEXT => value.to_sql(ty, out),
            Self::Bytes(value) if *ty == Type::BYTEA => value.to_sql(ty, out),
            Self::Null => Ok(IsNull::Yes),
            _ => Err(format!("a parameter is {ty} to the server").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A result row.
pub(crate) enum Row {
    Lite(Vec<rusqlite::types::Value>),
    Pg(tokio_postgres::Row),
}

impl Row {
    pub(crate) fn int(&self, column: usize) -> meta::Result<i64> {
        self.opt_int(column)?.ok_or_else(|| odd(column))
    }

    pub(crate) fn text(&self, column: usize) -> meta::Result<String> {
        self.opt_text(column)?.ok_or_else(|| odd(column))
    }

    pub(crate) fn bytes(&self, column: usize) -> meta::Result<Vec<u8>> {
        self.opt_bytes(column)?.ok_or_else(|| odd(column))
    }

    pub(crate) fn opt_int(&self, column: usize) -> meta::Result<Option<i64>> {
        use rusqlite::types::Value;
        match self {
            Self::Lite(values) => match values.get(column) {
                Some(Value::Integer(value)) => Ok(Some(*value)),
                Some(Value::Null) => Ok(None),
                _ => Err(odd(column)),
            },
            Self::Pg(row) => row.try_get(column).map_err(|_| odd(column)),
        }
    }

    pub(crate) fn opt_text(&self, column: usize) -> meta::Result<Option<String>> {
        use rusqlite::types::Value;
        match self {
            Self::Lite(values) => match values.get(column) {
                Some(Value::Text(value)) => Ok(Some(value.clone())),
                Some(Value::Null) => Ok(None),
                _ => Err(odd(column)),
            },
            Self::Pg(row) => row.try_get(column).map_err(|_| odd(column)),
        }
    }

    pub(crate) fn opt_bytes(&self, column: usize) -> meta::Result<Option<Vec<u8>>> {
        use rusqlite::types::Value;
        match self {
            Self::Lite(values) => match values.get(column) {
                Some(Value::Blob(value)) => Ok(Some(value.clone())),
                Some(Value::Null) => Ok(None),
                _ => Err(odd(column)),
            },
            Self::Pg(row) => row.try_get(column).map_err(|_| odd(column)),
        }
    }

    /// A column that one of our types wrote.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, column: usize) -> meta::Result<T> {
        self.text(column)?.parse().map_err(|_| odd(column))
    }
}

/// A column that does not hold what its table says.
pub(crate) fn odd(column: usize) -> meta::Error {
    StoreError::Damaged(format!("metadata row, column {column}")).into()
}

/// A connection on which statements run: inside a transaction for writes.
pub(crate) enum Tx {
    Lite(Connection),
    Pg(Lease),
}

/// A connection of the pool. If it is dropped in the middle of a transaction (a
/// panic, a runtime that shuts down), it is closed instead of going back.
pub(crate) struct Lease {
    /// `None` only after the end.
    client: Option<Object>,
    in_transaction: bool,
}

impl Lease {
    /// For statements on their own.
    pub(crate) fn for_reads(client: Object) -> Self {
        Self { client: Some(client), in_transaction: false }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(client: Object, begin: &str) -> meta::Result<Self> {
        let lease = Self { client: Some(client), in_transaction: true };
        lease.client()?.batch_execute(begin).await.map_err(pg_error)?;
        Ok(lease)
    }

    /// Ends the transaction; only then the connection is good for others.
    pub(crate) async fn end(mut self, end: &str) -> meta::Result<()> {
        self.client()?.batch_execute(end).await.map_err(pg_error)?;
        self.in_transaction = false;
        Ok(())
    }

    /// Runs a script.
    pub(crate) async fn run(&self, script: &str) -> meta::Result<()> {
        self.client()?.batch_execute(script).await.map_err(pg_error)
    }

    fn client(&self) -> meta::Result<&Object> {
        self.client.as_ref().ok_or_else(|| StoreError::failed("the connection was given back").into())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take_if(|_| self.in_transaction) {
            drop(Object::take(client));
        }
    }
}

impl Tx {
    /// Runs a statement; returns the number of rows it changed.
    pub(crate) async fn exec(&mut self, statement: &Statement, args: &[Val<'_>]) -> meta::Result<u64> {
        match self {
            Self::Lite(connection) => {
                let mut prepared = connection.prepare_cached(statement.sqlite()).map_err(lite_error)?;
                bind(&mut prepared, args)?;
                Ok(prepared.raw_execute().map_err(lite_error)? as u64)
            }
            Self::Pg(lease) => {
                let client = lease.client()?;
                let prepared = client.prepare_cached(statement.postgres()).await.map_err(pg_error)?;
                client.execute_raw(&prepared, args.iter()).await.map_err(pg_error)
            }
        }
    }

    /// All rows of a query.
    pub(crate) async fn all(&mut self, statement: &Statement, args: &[Val<'_>]) -> meta::Result<Vec<Row>> {
        let mut out = Vec::new();
        self.each(statement, args, |row| {
            out.push(row);
            Ok(())
        })
        .await?;
        Ok(out)
    }

    /// Looks at each row of a query in turn; holds no other.
    pub(crate) async fn each(
        &mut self,
        statement: &Statement,
        args: &[Val<'_>],
        mut look: impl FnMut(Row) -> meta::Result<()>,
    ) -> meta::Result<()> {
        match self {
            Self::Lite(connection) => {
                let mut prepared = connection.prepare_cached(statement.sqlite()).map_err(lite_error)?;
                bind(&mut prepared, args)?;
                let columns = prepared.column_count();
                let mut rows = prepared.raw_query();
                while let Some(row) = rows.next().map_err(lite_error)? {
                    let values = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>();
                    look(Row::Lite(values.map_err(lite_error)?))?;
                }
                Ok(())
            }
            Self::Pg(lease) => {
                let client = lease.client()?;
                let prepared = client.prepare_cached(statement.postgres()).await.map_err(pg_error)?;
                let mut rows = pin!(client.query_raw(&prepared, args.iter()).await.map_err(pg_error)?);
                while let Some(row) = rows.next().await {
                    look(Row::Pg(row.map_err(pg_error)?))?;
                }
                Ok(())
            }
        }
    }

    /// The first row of a query, if there is one.
    pub(crate) async fn one(&mut self, statement: &Statement, args: &[Val<'_>]) -> meta::Result<Option<Row>> {
        Ok(self.all(statement, args).await?.into_iter().next())
    }
}

fn bind(prepared: &mut rusqlite::CachedStatement<'_>, args: &[Val<'_>]) -> meta::Result<()> {
    for (index, arg) in args.iter().enumerate() {
        prepared.raw_bind_parameter(index + 1, arg).map_err(lite_error)?;
    }
    Ok(())
}

pub(crate) fn lite_error(error: rusqlite::Error) -> meta::Error {
    use rusqlite::ErrorCode;
    let store = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(error.into()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(error.into()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(format!("metadata database: {error}"))
        }
        _ => StoreError::Failed(error.into()),
    };
    store.into()
}

/// Serialization failures, deadlocks and clashing inserts (or, of replicas that
/// start together, tables): the transaction may simply run again.
pub(crate) fn pg_error(error: tokio_postgres::Error) -> meta::Error {
    use tokio_postgres::error::SqlState;
    const AGAIN: [&SqlState; 5] = [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::DUPLICATE_OBJECT,
        &SqlState::DUPLICATE_TABLE,
    ];
    let store = match error.code() {
        Some(code) if AGAIN.contains(&code) => StoreError::Busy(error.into()),
        Some(code) if *code == SqlState::DISK_FULL => StoreError::Full(error.into()),
        _ => StoreError::Failed(error.into()),
    };
    store.into()
}

/// Every statement of the crate is prepared on both engines: a wrong column, a
/// parameter whose type PostgreSQL guesses differently, or a scan of a whole
/// table shows here.
#[cfg(test)]
mod tests {
    use funaya_testkit::start_postgres;

    use super::*;
    use crate::{
        Isolation, SqlStore, audit, collect, collecting, conversions, identity, images, layers, lifecycle, migrate,
        repositories, settings, undo, uploads, verify,
    };

    /// The statements of every module, with the module's name.
    fn all() -> Vec<(&'static str, &'static Statement)> {
        let modules = [
            ("audit", audit::sql::ALL),
            ("collect", collect::sql::ALL),
            ("collecting", collecting::sql::ALL),
            ("conversions", conversions::sql::ALL),
            ("identity", identity::sql::ALL),
            ("images", images::sql::ALL),
            ("layers", layers::sql::ALL),
            ("lifecycle", lifecycle::sql::ALL),
            ("repositories", repositories::sql::ALL),
            ("settings", settings::sql::ALL),
            ("undo", undo::sql::ALL),
            ("uploads", uploads::sql::ALL),
            ("verify", verify::sql::ALL),
        ];
        modules.iter().flat_map(|(name, list)| list.iter().map(|statement| (*name, *statement))).collect()
    }

    #[tokio::test]
    async fn every_statement_on_postgres() {
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
    fn every_statement_on_sqlite() {
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
            let plan =
                explain.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<String> = plan.map(Result::unwrap).collect();
            let bad = |step: &&String| {
                let scan = step.starts_with("SCAN ") && *step != "SCAN CONSTANT ROW";
                // What is found by one digest may be sorted: few repositories hold the same layer.
                let sort = step.contains("TEMP B-TREE")
                    && !text.contains("ORDER BY r.name")
                    && !text.contains("e.man_id = ?3");
                // In a join each row would cost a look at all of a repository's.
                let walk = plan.len() > 1
                    && (step.ends_with("(rid=?)") || step.ends_with("(rid=? AND repo_id=?)"))
                    && !["SEARCH r ", "SEARCH g "].iter().any(|table| step.starts_with(table))
                    && module != "lifecycle";
                let made = ["AUTOMATIC", "BLOOM FILTER", "ANY("].iter().any(|word| step.contains(word));
                sort || (scan || walk || made) && !SCANS.contains(&module)
            };
            faults.extend(plan.iter().filter(bad).map(|step| format!("{module}: {step}: {text}")));
            // By the primary key it would read all images of the repository, and no plan says so.
            if text.contains("subject = ?3") && !plan.iter().any(|step| step.contains("manifests_by_subject")) {
                faults.push(format!("{module}: without the index of subjects: {text}"));
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// Filters by tag go along an index of their own: a page costs what it shows, not what it passes over.
    #[test]
    fn filters_do_not_scan() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.db");
        drop(SqlStore::open_sqlite(&path).unwrap());
        let connection = rusqlite::Connection::open(&path).unwrap();
        for (statement, index) in [
            (&images::sql::PAGE, "manifests_by_push"),
            (&images::sql::PAGE_TAGGED, "manifests_tagged"),
            (&images::sql::PAGE_UNTAGGED, "manifests_untagged"),
        ] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sqlite())).unwrap();
            let parameters = vec![rusqlite::types::Null; explain.parameter_count()];
            let plan =
                explain.query_row(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
            assert!(plan.contains(&format!("INDEX {index} ")) && plan.contains("(pushed_at,man_id)>"), "{plan}");
        }
    }
}
