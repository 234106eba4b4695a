//! Fixtures for tests: time that stands still, randomness that repeats, and a
//! real PostgreSQL server.
//!
//! Only tests depend on this crate.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod postgres;
mod world;

pub use postgres::{Database, start_postgres};
pub use world::{SeededRandom, TestClock};
