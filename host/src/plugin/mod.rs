//! Plugin files: found, inspected without running their code, trusted, loaded and driven.

pub mod discover;
pub mod inspect;
