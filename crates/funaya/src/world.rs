//! The real clock and the real randomness, and the clock that tests can move.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use funaya_ports::{Clock, Random};
use funaya_types::Timestamp;

/// The system's clock, moved by `ahead` (always 0 outside tests).
#[derive(Default)]
pub(crate) struct SystemClock {
    ahead_micros: AtomicI64,
}

impl SystemClock {
    /// Moves the clock ahead of the system's.
    pub(crate) fn advance(&self, seconds: i64) {
        self.ahead_micros.fetch_add(seconds.saturating_mul(1_000_000), Ordering::Relaxed);
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(micros.saturating_add(self.ahead_micros.load(Ordering::Relaxed)))
    }
}

/// The operating system's randomness.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // aws-lc's generator fails only if the process can't be seeded at all.
        if aws_lc_rs::rand::fill(buffer).is_err() {
            tracing::error!("the system has no randomness");
            std::process::abort();
        }
    }
}
