//! `plugins.lock`: which plugin files are trusted, by their digest, and what each is granted.

pub mod change;
pub mod command;
pub mod entry;
pub mod open;
mod parse;
pub mod signature;
pub mod verdict;
mod write;
