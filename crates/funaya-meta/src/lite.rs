//! SQLite: one writer thread with group commit, many readers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    task::{Context, Poll, Waker},
    thread::JoinHandle,
};

use funaya_ports::{Fut, StoreError, meta};
use rusqlite::{Connection, OpenFlags};
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
        Ok(Self { path: path.into(), readers: Mutex::new(Vec::new()), jobs: Some(jobs), writer: Some(thread) })
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
        jobs.send(Box::new(Work { command, work, outcome: None, reply })).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
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
