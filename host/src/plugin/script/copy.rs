//! A private copy of a script's files, from which it is run: it lasts as long as the run does, so that a worker that is
//! started again runs the bytes that the run's manifest names, whatever became of the files. A file that the plugin
//! does not name is not in it, so its digest covers all that the program finds in its folder.

use std::{
    env,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use super::{described::Script, files::Files, folder::PrivateFolder};

/// The copy; gone when this is dropped, or when the next one is made after the host was killed.
#[derive(Debug)]
pub struct Copied {
    folder: PrivateFolder,
    script: Script,
}

impl Copied {
    /// Writes the files into a folder of their own below the system's temporary one.
    ///
    /// # Errors
    /// The system's.
    pub fn new(files: &Files) -> io::Result<Self> {
        let folder = PrivateFolder::new(&env::temp_dir())?;
        for file in &files.files {
            let path = folder.path().join(&file.name);
            if let Some(above) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(above)?;
            }
            fs::write(&path, &file.bytes)?;
            let mode = if file.is_executable { 0o500 } else { 0o400 };
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        Ok(Self { folder, script: files.script.clone() })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program and its arguments, with the files of the copy.
    pub fn command(&self) -> (String, Vec<String>) {
        self.script.command_in(self.folder.path())
    }
}
