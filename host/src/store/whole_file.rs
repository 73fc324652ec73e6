//! Files that are there as a whole or not at all: written under a temporary name beside their place, synced, renamed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

/// Writes a file, in place of one that is there.
///
/// # Errors
/// What `write` says, or that the file cannot be written.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    written(path, write)?.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file that is not there yet.
///
/// # Errors
/// It is there, what `write` says, or that the file cannot be written.
pub fn create<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<(), E> {
    written(path, write)?.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

fn written<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), E>,
) -> Result<NamedTempFile, E> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // As any other file of a run: for whomever the user's mask lets read it.
    let mode = fs::Permissions::from_mode(0o666);
    let file =
        tempfile::Builder::new().permissions(mode).tempfile_in(folder.unwrap_or(Path::new(".")))?;
    let mut buffered = BufWriter::with_capacity(256 * 1024, file.reopen()?);
    write(&mut buffered)?;
    buffered.flush()?;
    buffered.get_ref().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_as_it_was_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let text =
            |text: &'static str| move |file: &mut BufWriter<File>| file.write_all(text.as_bytes());
        create(&path, text("first")).unwrap();
        let error = create(&path, text("second")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        replace(&path, text("third")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"fourth")?;
            Err(io::Error::other("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
