//! Script plugins: a program in any language that speaks the worker's frames over its standard streams, told of by a
//! `NAME.plugin.toml` that stands where a library would. `plugin-api/docs/script.md` is the contract for their authors.

mod copy;
mod described;
mod files;
mod folder;

pub use copy::Copied;
pub use described::{Refusal, Script, is_script};
pub use files::{Files, ReadFile, own_name};
