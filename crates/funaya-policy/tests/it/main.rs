//! The policy language from outside: a corpus of cases, and random ones against a reference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod binding;
mod cases;
mod differential;
mod explaining;
mod malformed;
mod managed;
mod reference;
mod timing;
mod world;
