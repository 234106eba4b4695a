//! SQLite: one writer thread with group commit, many readers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread::JoinHandle,
};

use funaya_ports::{Fut, StoreError, meta};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::oneshot;

use crate::driver::{Tx, lite_error};

/// Transactions that one commit takes at most.
const GROUP_MAX: usize = 128;
/// Pages of the write-ahead log before the writer copies them into the database: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4096;
const STATEMENTS_CACHED: usize = 256;

pub(crate) struct Lite {
    path: PathBuf,
    readers: Mutex<Vec<Connection>>,
    /// `None` only while this is dropped.
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    /// Transactions given to the writer so far.
    given: AtomicU64,
    writer: Option<JoinHandle<()>>,
}

/// Why a group of transactions was not committed.
#[derive(Clone)]
struct Fault {
    full: bool,
    text: String,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        Self { full, text: error.to_string() }
    }
}

/// A transaction waiting for the writer.
trait Job: Send {
    /// Runs it; false: its changes must be undone.
    fn run(&mut self, tx: &mut Tx) -> bool;
    /// Answers the caller, after the commit.
    fn answer(self: Box<Self>, committed: Result<(), Fault>);
}

struct Work<C, T> {
    command: C,
    work: for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, meta::Result<T>>,
    outcome: Option<meta::Result<T>>,
    reply: oneshot::Sender<meta::Result<T>>,
}

impl<C: Send + Sync, T: Send> Job for Work<C, T> {
    fn run(&mut self, tx: &mut Tx) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| poll_once((self.work)(&self.command, tx))));
        let outcome = outcome.unwrap_or_else(|_| Err(StoreError::failed("a transaction panicked").into()));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), Fault>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(fault)) if fault.full => Err(StoreError::Full(fault.text.into()).into()),
            (_, Err(fault)) => Err(StoreError::failed(fault.text).into()),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(StoreError::failed("a transaction did not run").into()),
        };
        // The caller may be gone; the change stands.
        let _ = self.reply.send(outcome);
    }
}

impl Lite {
    pub(crate) fn open(path: &Path, migrate: fn(&Connection) -> meta::Result<()>) -> meta::Result<Self> {
        let writer = connect(path, true)?;
        migrate(&writer)?;
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("meta-writer".into())
            .spawn(move || write_loop(writer, &queue))
            .map_err(StoreError::from)?;
        Ok(Self {
            path: path.into(),
            readers: Mutex::new(Vec::new()),
            jobs: Some(jobs),
            given: AtomicU64::new(0),
            writer: Some(thread),
        })
    }

    pub(crate) async fn write<C, T>(
        &self,
        command: C,
        work: for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, meta::Result<T>>,
    ) -> meta::Result<T>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let stopped = || StoreError::failed("the metadata writer has stopped");
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        self.given.fetch_add(1, Ordering::Relaxed);
        jobs.send(Box::new(Work { command, work, outcome: None, reply })).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Transactions given to the writer so far.
    pub(crate) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// Runs a read inline: point reads take microseconds.
    pub(crate) fn read<C, T>(
        &self,
        command: &C,
        work: for<'t> fn(&'t C, &'t mut Tx) -> Fut<'t, meta::Result<T>>,
    ) -> meta::Result<T> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| connect(&self.path, false), Ok)?;
        let mut tx = Tx::Lite(connection);
        let outcome = poll_once(work(command, &mut tx));
        if let Tx::Lite(connection) = tx {
            self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        outcome
    }
}

/// Waits for what was begun, and closes the database in good order.
impl Drop for Lite {
    fn drop(&mut self) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported by the thread itself.
            let _ = writer.join();
        }
    }
}

/// On SQLite no statement waits, so one poll finishes the future.
fn poll_once<T>(mut future: Fut<'_, meta::Result<T>>) -> meta::Result<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(StoreError::failed("a transaction waited").into()),
    }
}

fn connect(path: &Path, writer: bool) -> meta::Result<Connection> {
    let mode = if writer {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(lite_error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // Plans that don't depend on bound values: else SQLite plans anew at every bind.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(lite_error)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(lite_error)?;
    if writer {
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES};"
            ))
            .map_err(lite_error)?;
    }
    Ok(connection)
}

fn write_loop(connection: Connection, queue: &mpsc::Receiver<Box<dyn Job>>) {
    let mut tx = Tx::Lite(connection);
    while let Ok(first) = queue.recv() {
        let mut group = Vec::with_capacity(8);
        let committed = run_group(&mut tx, first, queue, &mut group);
        if let Err(error) = &committed {
            tracing::error!(error = error.text, "the metadata store could not commit");
            let _ = raw(&tx, "ROLLBACK");
        }
        for job in group {
            job.answer(committed.clone());
        }
    }
}

/// Runs the first job and all that queued up meanwhile in one commit, each in a savepoint.
fn run_group(
    tx: &mut Tx,
    first: Box<dyn Job>,
    queue: &mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
) -> Result<(), Fault> {
    let mut next = Some(first);
    let mut going = raw(tx, "BEGIN IMMEDIATE");
    while let Some(mut job) = next.take() {
        if going.is_ok() {
            going = run_in_savepoint(tx, &mut *job);
        }
        group.push(job);
        if group.len() < GROUP_MAX {
            next = queue.try_recv().ok();
        }
    }
    going?;
    raw(tx, "COMMIT")
}

/// An error here is one of the whole group: some failures (no room, I/O) make
/// SQLite undo all of the transaction, the earlier jobs' changes included.
fn run_in_savepoint(tx: &mut Tx, job: &mut dyn Job) -> Result<(), Fault> {
    raw(tx, "SAVEPOINT job")?;
    let keep = job.run(tx);
    if let Tx::Lite(connection) = tx
        && connection.is_autocommit()
    {
        return Err(Fault { full: false, text: "the transaction was undone by a failure in it".into() });
    }
    if !keep {
        raw(tx, "ROLLBACK TO job")?;
    }
    raw(tx, "RELEASE job")
}

fn raw(tx: &Tx, text: &str) -> Result<(), Fault> {
    let Tx::Lite(connection) = tx else { return Err(Fault { full: false, text: "not SQLite".into() }) };
    connection.prepare_cached(text)?.raw_execute()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use funaya_ports::meta::Error;

    use super::*;
    use crate::driver::Statement;

    static ADD: Statement = Statement::new("INSERT INTO things (id, filler) VALUES ($1, $2)");
    static IDS: Statement = Statement::new("SELECT id FROM things ORDER BY id");

    /// A database of 200 KiB at most.
    fn small(connection: &Connection) -> meta::Result<()> {
        let script = "CREATE TABLE things (id BIGINT PRIMARY KEY, filler BLOB); PRAGMA max_page_count = 50;";
        connection.execute_batch(script).map_err(lite_error)
    }

    /// What becomes of `things`; kilobytes of filler, then how it ends.
    #[derive(Clone, Copy)]
    enum End {
        Well,
        Refused,
        Panics,
    }

    async fn add(tx: &mut Tx, &(id, kilobytes, end): &(i64, usize, End)) -> meta::Result<()> {
        let filler = vec![7; kilobytes * 1024];
        tx.exec(&ADD, &[id.into(), filler.as_slice().into()]).await?;
        match end {
            End::Well => Ok(()),
            End::Refused => Err(meta::Refusal::NothingNew.into()),
            End::Panics => panic!("on purpose"),
        }
    }

    fn ids(lite: &Lite) -> BTreeSet<i64> {
        let rows = lite.read(&(), |(), tx| {
            Box::pin(async move { tx.all(&IDS, &[]).await?.iter().map(|row| row.int(0)).collect() })
        });
        rows.unwrap()
    }

    /// Runs all at once, so that the writer groups them; returns what was acknowledged.
    async fn run(lite: &Arc<Lite>, commands: Vec<(i64, usize, End)>) -> (BTreeSet<i64>, Vec<Error>) {
        let tasks: Vec<_> = commands
            .into_iter()
            .map(|command| {
                let lite = lite.clone();
                tokio::spawn(async move { (command.0, lite.write(command, |c, tx| Box::pin(add(tx, c))).await) })
            })
            .collect();
        let (mut done, mut errors) = (BTreeSet::new(), Vec::new());
        for task in tasks {
            match task.await.unwrap() {
                (id, Ok(())) => drop(done.insert(id)),
                (_, Err(error)) => errors.push(error),
            }
        }
        (done, errors)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_fails_takes_nobody_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let lite = Arc::new(Lite::open(&folder.path().join("x.db"), small).unwrap());
        let end = |id| match id % 4 {
            1 => End::Refused,
            3 => End::Panics,
            _ => End::Well,
        };
        let (done, errors) = run(&lite, (0..100).map(|id| (id, 0, end(id))).collect()).await;
        assert_eq!(done, (0..100).filter(|id| id % 2 == 0).collect());
        assert_eq!(errors.len(), 50);
        assert_eq!(ids(&lite), done);
    }

    /// What was acknowledged is there, what was not is not, and reads go on.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_database_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lite = Arc::new(Lite::open(&folder.path().join("x.db"), small).unwrap());
        let mut all = BTreeSet::new();
        for round in 0..10 {
            // Large and small ones mixed: after one finds no room, others of its group still would.
            let commands = (0..20).map(|n| (round * 20 + n, if n % 3 == 0 { 40 } else { 0 }, End::Well)).collect();
            let (done, errors) = run(&lite, commands).await;
            all.extend(done);
            for error in errors {
                assert!(matches!(error, Error::Store(StoreError::Full(_) | StoreError::Failed(_))), "{error:?}");
            }
            assert_eq!(ids(&lite), all);
        }
        assert!(all.len() < 200, "it never got full");
        let full = lite.write((1000, 300, End::Well), |c, tx| Box::pin(add(tx, c))).await;
        assert!(matches!(full, Err(Error::Store(StoreError::Full(_)))), "{full:?}");
        drop(lite);
        let again = Lite::open(&folder.path().join("x.db"), |_| Ok(())).unwrap();
        assert_eq!(ids(&again), all);
    }
}
