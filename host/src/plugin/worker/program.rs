//! A script's program: where it lies, and what belongs to it that it must be able to read.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::message::Program;
use crate::plugin::script::Copied;

/// Where programs are looked for without a `PATH`.
const PATH: &str = "/usr/bin:/bin";
/// Where version managers put what stands for their programs.
const SHIMS: &str = "shims";
/// What lies in an installation beside its `bin`, and is read by its programs: libraries, and Python's note of a
/// virtual environment.
const BELONGINGS: [&str; 4] = ["lib", "lib64", "libexec", "pyvenv.cfg"];

/// The program of a script whose files were copied.
///
/// # Errors
/// In words: there is no such program.
pub(super) fn find(files: &Copied) -> Result<Program, String> {
    let (program, arguments) = files.command();
    let path = if program.contains('/') {
        PathBuf::from(&program)
    } else {
        let variable = env::var_os("PATH");
        search(&program, variable.as_deref().unwrap_or(OsStr::new(PATH)))?
    };
    if !is_program(&path) {
        // The copy of a file has its name and its rights.
        let (named, hint) = match path.strip_prefix(files.folder()) {
            Ok(own) => (own, "; make it executable (chmod +x)"),
            Err(_) => (path.as_path(), ""),
        };
        return Err(format!("command: {} is no program that may be run{hint}", named.display()));
    }
    Ok(Program {
        belongings: belongings(&path),
        path: path.display().to_string(),
        arguments,
        folder: files.folder().display().to_string(),
    })
}

/// The first program of this name that is none of a version manager's shims (pyenv's, asdf's): those start the real one
/// as another process, which a script may not.
fn search(name: &str, path: &OsStr) -> Result<PathBuf, String> {
    let mut shim = None;
    for folder in env::split_paths(path) {
        let program = folder.join(name);
        if !is_program(&program) {
            continue;
        }
        if folder.ends_with(SHIMS) {
            shim.get_or_insert(program);
        } else {
            return Ok(program);
        }
    }
    Err(match shim {
        None => format!("command: there is no program `{name}` in PATH"),
        Some(shim) => format!(
            "command: the only `{name}` in PATH is {}, which starts another program, and a script may start none; write \
             the path of that one",
            shim.display()
        ),
    })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What belongs to a program that does not lie where the system's do: an interpreter in a home folder, a virtual
/// environment. Both of the link and of what it leads to.
fn belongings(program: &Path) -> Vec<String> {
    let target = fs::canonicalize(program).ok();
    let mut found = Vec::new();
    for path in [Some(program.to_owned()), target].into_iter().flatten() {
        let above = path.parent().filter(|folder| folder.ends_with("bin")).and_then(Path::parent);
        let beside = BELONGINGS.iter().filter_map(|name| Some(above?.join(name)));
        let there = beside.filter(|path| path.exists()).map(|path| path.display().to_string());
        found.extend(there);
        found.push(path.display().to_string());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_behind_the_shim_of_a_version_manager() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["shims", "bin"] {
            let path = folder.path().join(place);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("snake"), "").unwrap();
            fs::set_permissions(path.join("snake"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = |places: &[&str]| {
            env::join_paths(places.iter().map(|place| folder.path().join(place))).unwrap()
        };
        let found = search("snake", &path(&["nowhere", "shims", "bin"])).unwrap();
        assert_eq!(found, folder.path().join("bin/snake"));
        let error = search("snake", &path(&["shims"])).unwrap_err();
        assert!(error.contains("shims/snake, which starts another program"), "{error}");
        let error = search("snail", &path(&["shims", "bin"])).unwrap_err();
        assert_eq!(error, "command: there is no program `snail` in PATH");
    }
}
