//! The door for the AWS CLI, SDKs and everything else that speaks AWS's protocols.
//!
//! A request is read whole (within limits), signed in, parsed by the generated
//! shapes, let in by the gate, handed to the hall, and its answer converted.

mod admit;
mod answer;
mod door;
mod fail;
mod ops;
mod organizations;
mod paging;
mod query;
mod routes;
mod undo;

pub use door::{Door, Request};
pub use routes::{is_operation, route_table};
