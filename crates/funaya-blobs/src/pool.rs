//! Buffers that are used again, so that a read costs no page faults.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers kept while nobody uses them.
const KEPT_MAX: usize = 32;

/// A pool of buffers of one size.
pub(crate) struct Pool {
    size: usize,
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    pub(crate) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, idle: Mutex::default() })
    }

    pub(crate) fn take(self: &Arc<Self>) -> Buffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: idle.unwrap_or_else(|| vec![0; self.size]), pool: self.clone() }
    }
}

/// A buffer that goes back to its pool when the last reader drops it.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}
