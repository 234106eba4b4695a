//! The audit log's queue: records of reads and of refused calls.
//!
//! Records of changes are committed with the change and don't come here. Those
//! that do are written within a quarter of a second; a crash may lose as much (D8).

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use funaya_ports::{
    audit::{Batch, Entry, pack},
    meta::MetaStore,
};
use tokio::sync::mpsc;

/// Records that may wait; beyond that, calls wait.
const QUEUE: usize = 16 * 1024;
const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// Records of one transaction.
const FLUSH_MAX: usize = 4 * 1024;
const RETRY_AFTER: Duration = Duration::from_secs(1);
const LAST_TRIES: u32 = 5;

/// Where records are put.
#[derive(Clone)]
pub struct AuditLog {
    queue: mpsc::Sender<Entry>,
}

/// Writes the queue to the store.
pub struct AuditWriter {
    queue: mpsc::Receiver<Entry>,
}

impl AuditLog {
    /// A queue and its writer.
    pub fn new() -> (Self, AuditWriter) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { queue: sender }, AuditWriter { queue: receiver })
    }

    /// Puts a record; waits while the queue is full, so that none is dropped.
    pub(crate) async fn put(&self, entry: Entry) {
        if let Err(mpsc::error::TrySendError::Full(entry)) = self.queue.try_send(entry) {
            // The writer is gone only at the end of the process.
            let _ = self.queue.send(entry).await;
        }
    }
}

impl AuditWriter {
    /// Writes until `stop` is ready, and then what is left.
    pub async fn run(mut self, store: Arc<dyn MetaStore>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut entries = Vec::with_capacity(64);
        loop {
            let came = tokio::select! {
                () = &mut stop => return self.finish(&*store, Vec::new()).await,
                came = self.queue.recv_many(&mut entries, FLUSH_MAX) => came,
            };
            if came == 0 {
                return;
            }
            let batches = pack(std::mem::take(&mut entries));
            // A full disk must not lose them: they wait, and so do callers once the queue is full.
            while !write(&*store, &batches).await {
                tokio::select! {
                    () = &mut stop => return self.finish(&*store, batches).await,
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                }
            }
            if came < FLUSH_MAX / 4 {
                // Few came: let more gather before the next commit.
                tokio::select! {
                    () = &mut stop => return self.finish(&*store, Vec::new()).await,
                    () = tokio::time::sleep(FLUSH_EVERY) => {}
                }
            }
        }
    }

    /// The server stops: the last records get a few tries, no more.
    async fn finish(mut self, store: &dyn MetaStore, mut batches: Vec<Batch>) {
        self.queue.close();
        let mut entries = Vec::new();
        while self.queue.recv_many(&mut entries, FLUSH_MAX).await > 0 {}
        batches.extend(pack(entries));
        for _ in 0..LAST_TRIES {
            if batches.is_empty() || write(store, &batches).await {
                return;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        tracing::error!(
            batches = batches.len(),
            "audit records of the last moments are lost: the store does not take them"
        );
    }
}

async fn write(store: &dyn MetaStore, batches: &[Batch]) -> bool {
    match store.append_audit(batches.to_vec()).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "audit records can't be written yet");
            false
        }
    }
}
