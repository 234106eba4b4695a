//! The sockets of the house: what halls and the gate need from stores, clock
//! and randomness, as traits, with the values that cross them.
//!
//! Nothing here talks to the world; workshops and the roof do.

pub mod audit;
pub mod blobs;
pub mod collecting;
pub mod identity;
pub mod issuers;
pub mod lifecycle;
pub mod meta;
pub mod undo;
mod world;

use std::{future::Future, pin::Pin};

pub use world::{Clock, Random};

/// A boxed future: what an async method of a trait object returns.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store failed; nothing was promised to the caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database has no room left.
    #[error("the storage is full")]
    Full(#[source] Cause),
    /// Stored bytes are damaged or gone. Carries what was damaged, for operators.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// Too many conflicting changes at once, even after retries.
    #[error("the store is too busy")]
    Busy(#[source] Cause),
    /// Anything else: connection lost, I/O error, unexpected answer.
    #[error("the store failed")]
    Failed(#[source] Cause),
}

/// The error beneath a store's failure.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// A failure with a text of our own.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into().into())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}
