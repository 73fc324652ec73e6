//! Gets one file out of a Python wheel, with the installer that the user has. The installer is set up
//! for the user's network (proxies, mirrors, credentials); this program need not be.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zip::ZipArchive;

use super::error::Attempt;

/// Lines of an installer's output that an error shows.
const SHOWN_LINES: usize = 8;

/// A program that downloads wheels.
struct Installer {
    program: &'static str,
    /// Before `name==version`, with `DEST` for the folder.
    arguments: &'static [&'static str],
}

/// In this order. `uv` has no download command of its own, so it runs pip in a throw-away environment.
const INSTALLERS: [Installer; 4] = [
    Installer {
        program: "uv",
        arguments: &[
            "tool",
            "run",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
            "DEST",
        ],
    },
    Installer { program: "pip", arguments: PIP },
    Installer { program: "pip3", arguments: PIP },
    Installer {
        program: "python3",
        arguments: &[
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
            "DEST",
        ],
    },
];

const PIP: &[&str] = &[
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--dest",
    "DEST",
];

/// Downloads the wheel into `dir`. `programs` is the `PATH` to find installers in (`None`: the process's own).
pub(super) fn download(
    name: &str,
    version: &str,
    dir: &Path,
    programs: Option<&str>,
) -> Result<PathBuf, Attempt> {
    let wheel = format!("{name}=={version}");
    let mut failures = Vec::new();
    for installer in &INSTALLERS {
        let mut command = Command::new(installer.program);
        command.args(
            installer.arguments.iter().map(|&argument| {
                if argument == "DEST" { dir.as_os_str() } else { argument.as_ref() }
            }),
        );
        command.arg(&wheel).stdin(Stdio::null());
        if let Some(path) = programs {
            command.env("PATH", path);
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                failures.push(format!("{}: {error}", installer.program));
                continue;
            }
        };
        let said = match (output.status.success(), find_wheel(dir)) {
            (true, Some(file)) => return Ok(file),
            (true, None) => "left no wheel".to_owned(),
            (false, _) => format!("failed:\n{}", last_lines(&output.stdout, &output.stderr)),
        };
        // pip under three names says the same thing three times.
        if !failures.iter().any(|failure| failure.ends_with(&said)) {
            failures.push(format!("{} {said}", installer.program));
        }
    }
    if failures.is_empty() {
        Err(Attempt::NoInstaller { wheel })
    } else {
        Err(Attempt::Installer { wheel, output: failures.join("\n") })
    }
}

/// Opens `member` of a wheel and hands its size and its contents to `take`.
pub(super) fn member<T>(
    file: &Path,
    member: &str,
    take: impl FnOnce(u64, &mut dyn io::Read) -> T,
) -> Result<T, String> {
    let archive = File::open(file).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(io::BufReader::new(archive))
        .map_err(|error| format!("not a wheel: {error}"))?;
    let mut entry =
        archive.by_name(member).map_err(|error| format!("no member `{member}`: {error}"))?;
    let size = entry.size();
    Ok(take(size, &mut entry))
}

fn find_wheel(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

fn last_lines(stdout: &[u8], stderr: &[u8]) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}
