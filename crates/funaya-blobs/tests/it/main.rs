//! Layer bytes: what goes in comes out, and nothing else ever does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod append;
mod damage;
mod full;
mod read;
mod shelf;
