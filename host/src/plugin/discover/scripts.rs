//! Reads the files of a script under the rules that hold for libraries: nobody else may have changed one, or a folder
//! on the way to it, and none may lead out of the plugin's folder.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Accounts, PermissionRefusal, Refusal, VerifiedBytes, check_file, open_target};
use crate::asset::Sha256;
use crate::plugin::script::{Files, ReadFile, own_name};

/// Largest file of a script, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Reads a script: its description, which is open already, and what that names in the folder `root`, which is
/// canonical. Without accounts nobody's rights are looked at.
pub(super) fn read(
    path: &Path,
    description: File,
    root: &Path,
    accounts: Option<&Accounts>,
) -> Result<Files, Refusal> {
    let description = whole(description, own_name(path))?;
    Ok(Files::read(description, |name| {
        let target = std::fs::canonicalize(root.join(name))?;
        if !target.starts_with(root) {
            return Err(PermissionRefusal::LeadsOut(target).into());
        }
        if let Some(accounts) = accounts {
            let inside = |folder: &&Path| *folder != root && folder.starts_with(root);
            for folder in target.ancestors().skip(1).take_while(inside) {
                accounts.check(folder)?;
            }
        }
        let file = open_target(&target)?;
        if let Some(accounts) = accounts {
            check_file(&file.metadata()?, accounts)?;
        }
        whole(file, name.to_owned())
    })?)
}

fn whole(file: File, name: String) -> Result<ReadFile, Refusal> {
    let metadata = file.metadata()?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Refusal::ScriptTooLarge);
    }
    Ok(ReadFile { name, bytes, is_executable: metadata.permissions().mode() & 0o100 != 0 })
}

/// Reads a script wherever it lies, to look at it.
///
/// # Errors
/// Says why it is no script that this host can run.
pub fn inspect_script(path: &Path) -> Result<Files, Refusal> {
    let path = std::fs::canonicalize(path)?;
    let root = path.parent().map(PathBuf::from).unwrap_or_default();
    read(&path, open_target(&path)?, &root, None)
}

impl From<Files> for VerifiedBytes {
    fn from(files: Files) -> Self {
        let bytes = files.sums().into_bytes();
        Self { sha256: Sha256::of(&bytes), bytes, script: Some(files) }
    }
}
