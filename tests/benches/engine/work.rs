//! What is asked: data of prompts of one kilobyte, a task and run files for the host, and the request that the host
//! makes of it, as it was seen on the wire, for the bare loop.

use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use host_tests::built;

use super::{
    bare::Order,
    server::{Listener, Seen, Wire},
};

/// Bytes of a prompt.
pub(crate) const PROMPT: usize = 1024;

/// Four continuations of one context.
const CHOICES: &str = r#"
id = "choices"
kind = "multiple_choice"
target = "0"

[data]
path = "data.jsonl"
id_field = "id"

[prompt]
user = "{{ question }}"

[choices]
texts = ["{{ target }}", "all of it", "none of it", "what is left of it"]
"#;

/// A chat at OpenAI's servers; a text at TGI's, whose plugin asks twice for a chat.
const CHAT: &str = "\nformat = \"chat\"";

const TASK: &str = r#"
id = "bench"
kind = "generate"
target = "{{ target }}"

[data]
path = "data.jsonl"
id_field = "id"

[prompt]
user = "{{ question }}"FORMAT

[generate]
max_tokens = 16
temperature = 0.0

[extract]
kind = "number"
"#;

/// A sample's number as its prompt has it: always as long.
pub(crate) fn number(sample: usize) -> String {
    format!("{sample:08}")
}

/// A folder to work in.
pub(crate) struct Work {
    folder: PathBuf,
    runs: AtomicUsize,
    /// Samples in the data file.
    written: AtomicUsize,
}

/// A run file.
pub(crate) struct Run {
    file: PathBuf,
    folder: PathBuf,
}

impl Work {
    pub(crate) fn new(folder: &Path) -> Self {
        for (wire, format) in [(Wire::OpenAi, CHAT), (Wire::Tgi, "")] {
            let task = TASK.replace("FORMAT", format);
            fs::write(folder.join(format!("{wire}.toml")), task).unwrap();
        }
        fs::write(folder.join("choices.toml"), CHOICES).unwrap();
        Self { folder: folder.to_owned(), runs: AtomicUsize::new(0), written: AtomicUsize::new(0) }
    }

    /// A path of its own.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(self.runs.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A run of so many samples on a server.
    pub(crate) fn run(&self, wire: Wire, url: &str, samples: usize, concurrency: usize) -> Run {
        self.run_of(&wire.to_string(), &wire.backend(url), samples, concurrency)
    }

    /// A run of a task at a backend, whose table is given as it stands in a run file.
    pub(crate) fn run_of(
        &self,
        task: &str,
        backend: &str,
        samples: usize,
        concurrency: usize,
    ) -> Run {
        self.data(samples);
        let folder = self.path();
        fs::create_dir(&folder).unwrap();
        let text = format!(
            "max_samples = {samples}\n[run]\nreport = false\nconcurrency = {concurrency}\n{backend}\n[[task]]\nfile = \"../{task}.toml\"\n"
        );
        let file = folder.join("run.toml");
        fs::write(&file, text).unwrap();
        Run { file, folder }
    }

    /// Sees to it that there is data for so many samples.
    fn data(&self, samples: usize) {
        if self.written.fetch_max(samples, Ordering::Relaxed) >= samples {
            return;
        }
        let mut data = BufWriter::new(File::create(self.folder.join("data.jsonl")).unwrap());
        let filler = "What do the numbers before and after it come to? ".repeat(PROMPT);
        for sample in 0..samples {
            let number = number(sample);
            let question = &filler[..PROMPT - number.len() - 1];
            writeln!(
                data,
                r#"{{"id":"{number}","question":"{number} {question}","target":"{sample}"}}"#
            )
            .unwrap();
        }
        data.flush().unwrap();
    }
}

impl Run {
    /// `host run`, as a user starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(host());
        command.args(["run", "--quiet"]).arg(&self.file).arg("--out").arg(self.folder.join("runs"));
        // Placeholders of what a real server would want.
        command.env("OPENAI_API_KEY", "none").env_remove("HOST_PLUGIN_DIR");
        command
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program that is measured: `HOST_BENCH_HOST`, else the one of this workspace.
pub(crate) fn host() -> PathBuf {
    path_from("HOST_BENCH_HOST").unwrap_or_else(|| built::released().join("host"))
}

/// What the host sends for a sample of the data.
pub(crate) struct Recorded {
    pub(crate) wire: Wire,
    seen: Seen,
}

impl Recorded {
    /// Lets the host ask one sample, and looks.
    pub(crate) fn new(work: &Work, wire: Wire) -> Self {
        let listener = Listener::start(wire);
        let run = work.run(wire, &listener.url(), 1, 1);
        let status = run.command().status().unwrap();
        assert!(status.success(), "{status}");
        Self { wire, seen: listener.first_sample() }
    }

    /// The same requests, for a bare loop.
    pub(crate) fn order(
        &self,
        url: &str,
        samples: usize,
        concurrency: usize,
        out: PathBuf,
    ) -> Order {
        let body = String::from_utf8(self.seen.body.clone()).unwrap();
        let (before, after) = body.split_once(&number(0)).unwrap();
        let (_, path) = self.seen.path.split_at(self.wire.base_path().len());
        // What every client sets for itself is not copied.
        let own = ["host", "content-length", "user-agent", "accept", "accept-encoding"];
        let headers = self.seen.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        Order {
            url: format!("{url}{path}"),
            headers: headers.cloned().collect(),
            before: before.to_owned(),
            after: after.to_owned(),
            samples,
            concurrency,
            out,
        }
    }
}

/// A setting of the environment, as a path.
pub(crate) fn path_from(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}
