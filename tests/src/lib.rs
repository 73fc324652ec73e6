//! What the end-to-end tests share: the built binary and its plugins, a folder to run it in, what it left
//! behind, and fake servers that are stricter than the real ones.

pub mod built;
pub mod fake_tgi;
pub mod left;
pub mod sandbox;
pub mod scripted;
