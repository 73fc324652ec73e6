//! Python packages that tests use, installed once below the target folder. A test whose packages cannot be had
//! prints why and passes itself over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{built, skip::skipped};

/// The interpreter of an environment that holds these packages (`name` or `name==version`); none, with the reason
/// printed, where Python or a package cannot be had. `name` is that of the environment.
pub fn with(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let all = built::target().join("test-python");
    let folder = all.join(name);
    fs::create_dir_all(&folder).unwrap();
    // Tests run at once, also in several processes; the first one installs.
    let lock = File::create(all.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let python = folder.join("bin/python");
    let stamp = folder.join("installed");
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Some(python);
    }
    let system = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let steps = [
        (PathBuf::from(system), vec!["-m", "venv", "--clear", "."]),
        (
            python.clone(),
            [&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"], packages]
                .concat(),
        ),
    ];
    for (program, arguments) in steps {
        if let Err(reason) = run(&program, &arguments, &folder) {
            skipped(format!("needs the Python packages {packages:?}: {reason}"));
            return None;
        }
    }
    fs::write(&stamp, wanted).unwrap();
    Some(python)
}

/// Whether there is a Python that the helper of script plugins runs on, where sandboxes look for programs. Prints it if
/// there is none.
pub fn is_there() -> bool {
    let mut command = Command::new("python3");
    command.env("PATH", "/usr/bin:/bin");
    command.args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]);
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        skipped("there is no Python 3.9 or later in /usr/bin");
    }
    is_there
}

fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("{} {arguments:?}: {last}", program.display()))
}
