//! The contract of [`MetaStore`](funaya_ports::meta::MetaStore), shown on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

/// Runs each case on both engines.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$case(crate::world::World::sqlite().await).await; })*
        }
        mod postgres {
            use funaya_meta::Isolation::ReadCommitted;
            $(#[tokio::test] async fn $case() { super::$case(crate::world::World::postgres(ReadCommitted).await).await; })*
        }
    };
}

/// Runs each case on both engines with real threads, on PostgreSQL at every isolation level.
macro_rules! races {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$case(crate::world::World::sqlite().await).await; })*
        }
        races!(@postgres read_committed, ReadCommitted, $($case),*);
        races!(@postgres repeatable_read, RepeatableRead, $($case),*);
        races!(@postgres serializable, Serializable, $($case),*);
    };
    (@postgres $level:ident, $isolation:ident, $($case:ident),*) => {
        mod $level {
            use funaya_meta::Isolation::$isolation;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() { super::$case(crate::world::World::postgres($isolation).await).await; })*
        }
    };
}

mod audit;
mod collect;
mod conversions;
mod deletes;
mod identity;
mod images;
mod layers;
mod lifecycle;
mod paging;
mod races;
mod repositories;
mod undo;
mod uploads;
mod world;
