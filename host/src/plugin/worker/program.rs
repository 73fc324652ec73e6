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
        search(&program, variable.as_deref().unwrap_or(OsStr::new(PATH)))
            .ok_or_else(|| format!("command: there is no program `{program}` in PATH"))?
    };
    if !is_program(&path) {
        return Err(format!("command: {} is no program that may be run", path.display()));
    }
    Ok(Program {
        belongings: belongings(&path),
        path: path.display().to_string(),
        arguments,
        folder: files.folder().display().to_string(),
    })
}

fn search(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|path| is_program(path))
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
