//! Where the crate's sources lie, for the tests that read them.

use std::path::{Path, PathBuf};

/// Where a module that is declared in this file lies.
pub(crate) fn file_of(declaring: &Path, name: &str) -> PathBuf {
    let stem = declaring.file_stem().unwrap();
    let folder = declaring.parent().unwrap();
    let folder = if stem == "lib" || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    let flat = folder.join(format!("{name}.rs"));
    if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
}
