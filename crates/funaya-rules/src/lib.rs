//! Rules of images as pure functions: no store, no clock, no async.

pub mod convert;
pub mod format;
pub mod jws;
pub mod lifecycle;
pub mod manifest;
pub mod quotas;
pub mod schema1;
pub mod throttle;
