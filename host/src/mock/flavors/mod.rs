//! The vendors' wires: a file or a folder for each. They use what the mock has in common and know nothing of each
//! other.

pub(crate) mod azure;
mod compatible;
mod cue;
mod hosted;
pub(crate) mod moonshot;
pub(crate) mod openai;
mod speak;
mod text;
pub(crate) mod tgi;
pub(crate) mod xai;
