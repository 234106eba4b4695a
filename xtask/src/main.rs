//! The workshop: code generation and house rules.
fn main() {}
