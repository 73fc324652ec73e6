//! Files that a plugin needs and the run file names (a model): found, fetched and verified. Nothing
//! here knows what is inside them.

mod sha256;
mod spec;

pub use sha256::{Sha256, Sha256Error};
pub use spec::{Asset, Source};
