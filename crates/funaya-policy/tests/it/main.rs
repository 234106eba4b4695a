//! Tests of the policy language from outside.

mod binding;
mod cases;
mod differential;
mod explaining;
mod malformed;
mod managed;
mod reference;
mod timing;
mod world;
