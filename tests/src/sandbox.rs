//! A folder to run the host in, with an environment that holds nothing of the machine's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::{built, left::Left};

/// A folder of its own, deleted at the end.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
    host: PathBuf,
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    out: PathBuf,
    _kept: Option<Sandbox>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty folder, and the host as it is installed.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "cache"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, host: built::host() }
    }

    /// The same, with a copy of the host that has nothing beside it but what the test puts into `bin`.
    pub fn with_own_host() -> Self {
        let mut sandbox = Self::new();
        fs::create_dir(sandbox.path("bin")).unwrap();
        let host = sandbox.path("bin/host");
        // The binary is large: a second name for it is as good as a copy.
        if fs::hard_link(&sandbox.host, &host).is_err() {
            fs::copy(&sandbox.host, &host).unwrap();
        }
        sandbox.host = host;
        sandbox
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        // As a whole: a process that was started before may be about to read what is written once more.
        let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
        file.write_all(text.as_ref()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        file.persist(&path).unwrap();
        path
    }

    /// Copies a plugin into a folder of this name, which is made if it is not there.
    pub fn install(&self, plugin: &Path, folder: &str) -> PathBuf {
        fs::create_dir_all(self.path(folder)).unwrap();
        let path = self.path(folder).join(plugin.file_name().unwrap());
        fs::copy(plugin, &path).unwrap();
        path
    }

    /// The host with these arguments, in this folder.
    pub fn host<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: I,
    ) -> Command {
        let mut command = Command::new(&self.host);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    /// The command that runs `text` as a run file: results go into `runs`, plugins also come from `plugins`
    /// if that folder is there.
    pub fn run_command(&self, text: &str, arguments: &[&str]) -> Command {
        let file = self.write("run.toml", text);
        let mut command = self.host(["run"]);
        command.arg(file).args(arguments);
        if self.path("plugins").is_dir() {
            command.arg("--plugin-dir").arg(self.path("plugins"));
        }
        command
    }

    /// Runs `text` as a run file.
    pub fn run(&self, text: &str) -> Outcome {
        self.finish(self.run_command(text, &[]))
    }

    /// The same with further environment variables.
    pub fn run_with(&self, text: &str, variables: &[(&str, &str)]) -> Outcome {
        let mut command = self.run_command(text, &[]);
        command.envs(variables.iter().copied());
        self.finish(command)
    }

    /// Runs a command to its end.
    pub fn finish(&self, mut command: Command) -> Outcome {
        self.outcome(&command.output().unwrap())
    }

    /// Starts a command whose output is kept for [`Sandbox::wait`].
    pub fn spawn(&self, mut command: Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits for a command that was started.
    pub fn wait(&self, child: Child) -> Outcome {
        self.outcome(&child.wait_with_output().unwrap())
    }

    fn outcome(&self, output: &Output) -> Outcome {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Outcome {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            out: self.path("runs"),
            _kept: None,
        }
    }

    /// `host plugin lock` on what is in `plugins`, into `plugins.lock`.
    pub fn lock(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.host(["plugin", "lock", "--lock", "plugins.lock", "--plugin-dir"]);
        command.arg("plugins").args(arguments);
        self.finish(command)
    }

    /// A sandbox with the hostile plugin in `plugins`, which may run in the host's own process.
    pub fn trusting_hostile() -> Self {
        let sandbox = Self::with_hostile();
        let _ = sandbox.lock(&["hostile", "--grant", "hostile=in-process"]).exits(0);
        sandbox
    }

    /// A sandbox with the hostile plugin in `plugins`.
    pub fn with_hostile() -> Self {
        let sandbox = Self::new();
        sandbox.install(built::hostile(), "plugins");
        sandbox
    }
}

impl Outcome {
    /// Keeps the folder for as long as this lives.
    #[must_use]
    pub fn keep(self, sandbox: Sandbox) -> Self {
        Self { _kept: Some(sandbox), ..self }
    }

    /// Checks the exit code, and shows everything if it is another one.
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks that stderr says each of these.
    #[must_use]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr does not say `{text}`:\n{}", self.stderr);
        }
        self
    }

    /// The newest run directory below `runs`.
    pub fn left(&self) -> Left {
        let mut folders: Vec<PathBuf> = self.folders();
        folders.sort_by_key(|folder| fs::metadata(folder).and_then(|meta| meta.modified()).ok());
        let Some(newest) = folders.pop() else {
            panic!("no run directory\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
        };
        Left::read(&newest)
    }

    /// The run directories that are there.
    pub fn folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.out) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}
