//! SQLite: one writer thread with group commit, many readers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    task::{Context, Poll, Waker},
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
    jobs: mpsc::Sender<Box<dyn Job>>,
}

/// A transaction waiting for the writer.
trait Job: Send {
    /// Runs it; false: its changes must be undone.
    fn run(&mut self, tx: &mut Tx) -> bool;
    /// Answers the caller, after the commit.
    fn answer(self: Box<Self>, committed: Result<(), String>);
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

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(text)) if text.contains("full") => Err(StoreError::Full(text.into()).into()),
            (_, Err(text)) => Err(StoreError::failed(text).into()),
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
        std::thread::Builder::new()
            .name("meta-writer".into())
            .spawn(move || write_loop(writer, &queue))
            .map_err(StoreError::from)?;
        Ok(Self { path: path.into(), readers: Mutex::new(Vec::new()), jobs })
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
        self.jobs.send(Box::new(Work { command, work, outcome: None, reply })).map_err(|_| stopped())?;
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
            tracing::error!(%error, "the metadata store could not commit");
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
) -> Result<(), String> {
    let mut next = Some(first);
    let begun = raw(tx, "BEGIN IMMEDIATE");
    while let Some(mut job) = next.take() {
        if begun.is_ok() {
            let kept = raw(tx, "SAVEPOINT job").is_ok() && job.run(tx);
            if !kept {
                raw(tx, "ROLLBACK TO job").ok();
            }
            raw(tx, "RELEASE job").ok();
        }
        group.push(job);
        if group.len() < GROUP_MAX {
            next = queue.try_recv().ok();
        }
    }
    begun?;
    raw(tx, "COMMIT")
}

fn raw(tx: &Tx, text: &str) -> Result<(), String> {
    let Tx::Lite(connection) = tx else { return Err("not SQLite".into()) };
    let run = || connection.prepare_cached(text)?.raw_execute();
    run().map(drop).map_err(|error| error.to_string())
}
