//! Rules against data and against slow, obvious versions of themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod lifecycle;
