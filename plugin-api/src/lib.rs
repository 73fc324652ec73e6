//! The contract between `host` and its plugins, and the SDK that plugin authors use.

pub mod capability;
pub mod manifest;
pub mod version;

pub use plugin_abi as abi;
