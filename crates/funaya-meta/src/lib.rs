//! Metadata in SQL: one text, run by SQLite (default) and PostgreSQL (D3).
//!
//! Each method of the port is one transaction here. Whoever adds a reference
//! updates the referenced row first, and the collector deletes a row only on a
//! condition of that row itself, so the database orders every race (D5).
//!
//! Never: object storage, HTTP, a clock. Time and ids are passed in.

mod audit;
mod collect;
mod collecting;
mod conversions;
mod driver;
mod identity;
mod images;
mod layers;
mod lifecycle;
mod lite;
mod migrate;
mod pg;
mod repositories;
mod settings;
mod store;
mod undo;
mod uploads;
mod verify;

pub use pg::Isolation;
pub use store::SqlStore;
