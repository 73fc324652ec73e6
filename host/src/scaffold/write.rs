//! Writes a new plugin into a folder that is its own: one that is not there yet, or is empty.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::files::NewFile;

/// Why a plugin was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Somebody's files are there.
    #[error("{}: the folder is there and not empty; name another one by --path", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be looked into or made.
    #[error("{}: {source}; name another folder by --path", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it cannot be written.
    #[error("{}: cannot write: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes the files. Of a plugin that could not be written whole nothing is left.
///
/// # Errors
/// The folder is in use, or something cannot be written.
pub fn write(folder: &Path, files: &[NewFile]) -> Result<(), WriteError> {
    let not_made = |source| WriteError::Folder { path: folder.to_owned(), source };
    let was_there = match fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(WriteError::NotEmpty { path: folder.to_owned() });
            }
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(not_made)?;
            false
        }
        Err(error) => return Err(not_made(error)),
    };
    write_all(folder, files).inspect_err(|_| {
        // What failed is told; that it could not be tidied up either would tell nothing more.
        let _ = if was_there { emptied(folder) } else { fs::remove_dir_all(folder) };
    })
}

fn write_all(folder: &Path, files: &[NewFile]) -> Result<(), WriteError> {
    for file in files {
        let path = folder.join(&file.path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| fs::write(&path, &file.content))
            .map_err(|source| WriteError::File { path, source })?;
    }
    Ok(())
}

fn emptied(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> NewFile {
        NewFile { path: path.into(), content: b"text".to_vec(), of_sdk: false }
    }

    #[test]
    fn a_folder_is_filled_once() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a/b");
        write(&folder, &[file("c/d"), file("e")]).unwrap();
        assert_eq!(fs::read(folder.join("c/d")).unwrap(), b"text");
        assert!(matches!(write(&folder, &[file("x")]), Err(WriteError::NotEmpty { .. })));
        let inside_a_file = write(&folder.join("e"), &[file("x")]);
        assert!(matches!(inside_a_file, Err(WriteError::Folder { .. })));
        fs::create_dir(outer.path().join("empty")).unwrap();
        write(&outer.path().join("empty"), &[file("x")]).unwrap();
    }

    #[test]
    fn nothing_is_left_of_what_could_not_be_written_whole() {
        let outer = tempfile::tempdir().unwrap();
        // The second one would lie below the first.
        let files = [file("c"), file("c/d")];
        let error = write(&outer.path().join("new"), &files).unwrap_err();
        assert!(matches!(error, WriteError::File { .. }));
        assert!(!outer.path().join("new").exists());
        write(outer.path(), &files).unwrap_err();
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
    }
}
