//! Files that a plugin needs and the run file names (a model): found, fetched and verified. Nothing
//! here knows what is inside them.

mod cache;
mod error;
mod fetch;
mod sha256;
mod spec;
mod wheel;

pub use cache::cache_dir;
pub use error::{AssetError, Attempt};
pub use fetch::{Fetched, Progress, fetch};
pub use sha256::{Sha256, Sha256Error};
pub use spec::{Asset, Source};
