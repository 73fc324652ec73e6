//! Files that are no plugins, but say what plugins may do: they are opened by the same rules.

use std::fs::File;
use std::path::Path;

use super::permission::Accounts;
use super::{Refusal, check_file, open};

/// Opens a file that nobody but the user and root can have changed.
///
/// # Errors
/// It is not there, or somebody else could have changed it, or its folder.
pub fn open_guarded(path: &Path) -> Result<File, Refusal> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let root = std::fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
    let accounts = Accounts::of_system();
    accounts.check(&root)?;
    let file = open(path, &root)?;
    check_file(&file.metadata()?, &accounts)?;
    Ok(file)
}
