//! The folder of fetched files. A file gets its name only when it is whole and verified, so processes
//! that fetch the same file at once cannot spoil it for each other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::Sha256;

/// `HOST_CACHE_DIR`, else `$XDG_CACHE_HOME/host/assets`, else `~/.cache/host/assets`. Empty variables
/// count as unset, and a relative `XDG_CACHE_HOME` is ignored, as its specification says.
pub fn cache_dir(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path("HOST_CACHE_DIR")
        .or_else(|| {
            path("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("host/assets"))
        })
        .or_else(|| path("HOME").map(|home| home.join(".cache/host/assets")))
}

/// The digest of a file. `seen` is told bytes so far and in all.
pub(super) fn digest(path: &Path, seen: &mut dyn FnMut(u64, u64)) -> io::Result<Sha256> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let total = file.metadata()?.len();
    Sha256::of_reader(&mut BufReader::new(file), &mut |done| seen(done, total))
}

/// Copies `reader` to `target` by way of a temporary file in the same folder, if it hashes to
/// `expected`. Otherwise nothing is kept and the digest that was found is returned.
pub(super) fn store(
    reader: &mut dyn Read,
    target: &Path,
    expected: Sha256,
    seen: &mut dyn FnMut(u64),
) -> io::Result<Result<(), Sha256>> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".fetching-").tempfile_in(folder)?;
    let found = {
        let mut tee = Tee { reader, writer: temporary.as_file_mut() };
        Sha256::of_reader(&mut tee, seen)?
    };
    if found != expected {
        return Ok(Err(found));
    }
    temporary.as_file().sync_all()?;
    temporary.persist(target).map_err(|error| error.error)?;
    Ok(Ok(()))
}

/// Writes what it reads.
struct Tee<'a> {
    reader: &'a mut dyn Read,
    writer: &'a mut File,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.writer.write_all(&buffer[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_follows_the_environment() {
        let table = [
            (&[("HOST_CACHE_DIR", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")][..], Some("/c")),
            (
                &[("HOST_CACHE_DIR", ""), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")],
                Some("/x/host/assets"),
            ),
            (&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")], Some("/h/.cache/host/assets")),
            (&[], None),
        ];
        for (variables, expected) in table {
            let variable = |name: &str| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| OsString::from(value))
            };
            assert_eq!(cache_dir(&variable).as_deref(), expected.map(Path::new));
        }
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("model");
        let wrong = store(&mut &b"abx"[..], &target, Sha256::of(b"abc"), &mut |_| {}).unwrap();
        assert_eq!(wrong, Err(Sha256::of(b"abx")));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        store(&mut &b"abc"[..], &target, Sha256::of(b"abc"), &mut |_| {}).unwrap().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"abc");
    }
}
