//! The door for Docker and OCI clients: the Docker Registry HTTP API V2 and the
//! OCI distribution specification 1.1, on every registry host (V2-01).
//!
//! A request is parsed, signed in, let in by the gate as the ECR action it
//! stands for (V2-06), handed to the hall, and its answer converted. The door
//! keeps no state.

mod answer;
mod blobs;
mod door;
mod download;
mod error;
mod manifests;
mod path;
mod range;
mod routes;
mod tags;
mod uploads;

pub use answer::{Content, Response};
pub use door::{Door, Redirect, Request};
pub use routes::{Route, route_table};
