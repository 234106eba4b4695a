//! Rules of images as pure functions: no store, no clock, no async.

pub mod lifecycle;
pub mod manifest;
pub mod quotas;
pub mod throttle;
