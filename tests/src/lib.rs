//! What the end-to-end tests share: the built binary and its plugins, a folder to run it in, what it left
//! behind, fake servers that are stricter than the real ones, and real things where they are to be had.

pub mod browser;
pub mod built;
pub mod changed;
pub mod fake_tgi;
pub mod left;
pub mod mock;
pub mod page;
pub mod patience;
pub mod processes;
pub mod python;
pub mod real;
pub mod sandbox;
pub mod scripted;
pub mod skip;
