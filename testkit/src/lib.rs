//! Fixtures for tests: time that stands still, randomness that repeats, a real
//! PostgreSQL server, the product itself as a process, and a client of it.
//!
//! Only tests and the workshop depend on this crate.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod client;
mod dice;
mod postgres;
mod server;
mod world;

pub use client::{Answer, Client, ECR_TARGET, Gone, Key, base64, digest};
pub use dice::Dice;

pub use postgres::{Database, start_postgres};
pub use server::{ACCESS_KEY, Failure, REGION, SECRET_KEY, Scratch, Server, operator};
pub use world::{SeededRandom, TestClock};
