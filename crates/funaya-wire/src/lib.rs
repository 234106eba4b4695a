//! The print shop: AWS's shapes and their constraints, generated from the service models.
//!
//! Here a request is read and checked for form only; what it means is the halls' business. Pure: no I/O, no HTTP.
//! The modules named after services are written by `cargo xtask codegen`. `shape` is the hand-written part they use,
//! `query` that of the services that take forms and answer in XML.

#[expect(missing_docs, reason = "generated names are AWS's own; no prose of the models is copied")]
pub mod ecr;
#[expect(missing_docs, reason = "as in `ecr`")]
pub mod iam;
#[expect(missing_docs, reason = "as in `ecr`")]
pub mod organizations;
pub mod query;
mod shape;
#[expect(missing_docs, reason = "as in `ecr`")]
pub mod sts;
mod value;

pub use shape::Fault;
pub use value::{Blob, EpochSeconds, Hidden};
