//! What `host plugin new` makes: a folder with a plugin that builds, is tested and runs as it stands. Knows nothing of how
//! plugins are loaded; the contract that a new plugin is written against is that of the SDK in the same binary.

pub mod files;
pub mod kind;
pub mod name;
mod packed;
pub mod sdk;
pub mod write;
