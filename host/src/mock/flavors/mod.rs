//! The vendors' wires: a file or a folder for each. They use what the mock has in common and know nothing of each
//! other.

mod compatible;
pub(crate) mod tgi;
