//! Layer bytes on the local file system.
//!
//! Layout below the root: `<last 2 characters of the key>/<key>`. A key is never
//! reused, so there is no rename and no overwrite (D2). An object is a row of
//! sealed segments (see [`seal`]); nothing plain is ever written (D7, KMS-04).
//!
//! Never: metadata, HTTP, a clock.

mod append;
mod hasher;
mod keyring;
mod pool;
mod read;
pub mod seal;
mod store;

pub use keyring::KeyRing;
pub use store::FileStore;
