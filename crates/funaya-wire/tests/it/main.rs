//! Requests and answers of all services: form, constraints and their texts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod ecr;
mod organizations;
mod query;
