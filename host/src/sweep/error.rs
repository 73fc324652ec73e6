//! Why a sweep cannot begin. What is wrong with one cell is no error of the sweep: it is told, and the others go on.

use crate::{
    config::ConfigError,
    store::{StoreError, storage::LockError},
};

/// Why a sweep cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The template or the matrix is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No cell is left.
    #[error("--only {}: no cell is called so; there are: {}", only.join(" --only "), ids.join(", "))]
    NoCell {
        /// The patterns as typed.
        only: Vec<String>,
        /// The cells that there are.
        ids: Vec<String>,
    },
    /// Another sweep is at work in the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder of the sweep cannot be written.
    #[error("{0}; name another folder by --out")]
    Store(#[from] StoreError),
}
