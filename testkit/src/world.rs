//! Clock and randomness of a run that can be repeated (D11).

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use funaya_ports::{Clock, Random};
use funaya_types::Timestamp;

/// A clock that only moves when it is told to.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that stands at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.micros()))
    }

    /// Moves the clock forward; returns the new time.
    pub fn advance(&self, span: Duration) -> Timestamp {
        let micros = i64::try_from(span.as_micros()).expect("a span of less than 292,000 years");
        Timestamp::from_micros(self.0.fetch_add(micros, Ordering::SeqCst) + micros)
    }

    /// Sets the clock.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros(), Ordering::SeqCst);
    }
}

impl Default for TestClock {
    /// 2026-11-24T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_795_478_400))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Bytes that follow from a seed (SplitMix64): the same in every run.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// Randomness from a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_again() {
        let bytes = |seed| {
            let mut bytes = [0; 21];
            SeededRandom::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn the_clock_moves_when_told() {
        let clock = TestClock::default();
        assert_eq!(clock.now().iso8601(), "2026-11-24T00:00:00Z");
        assert_eq!(clock.advance(Duration::from_secs(60)), clock.now());
        assert_eq!(clock.now().iso8601(), "2026-11-24T00:01:00Z");
    }
}
