//! What may be typed.

mod cache;
mod check;
mod collect;
mod compare;
mod ctl;
mod generate;
mod mock;
mod plugin_check;
pub(super) mod plugin_lock;
mod plugin_new;
mod report;
mod score;
mod show;
mod sweep;
mod trust;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    launch::link::{BECOME, SUPERVISE},
    run::grade::reasons,
};

pub(super) use cache::{CacheCommand, PruneArgs};
pub(super) use check::CheckArgs;
pub(super) use collect::CollectArgs;
pub(super) use compare::CompareArgs;
pub(super) use ctl::{CtlArgs, CtlCommand};
pub(super) use generate::{CompletionsArgs, ManArgs, SchemaArgs};
pub(super) use mock::MockArgs;
pub(super) use plugin_check::PluginCheckArgs;
pub(super) use plugin_lock::PluginLockArgs;
pub(super) use plugin_new::PluginNewArgs;
pub(super) use report::{Format, ReportArgs};
pub(super) use score::ScoreArgs;
pub(super) use show::ShowArgs;
pub(super) use sweep::SweepArgs;
pub(super) use trust::{LockArgs, TrustArgs};

/// Evaluates language models through vendor backends that are plugins.
///
/// Exit codes: 0 done, 1 internal error, 2 usage or configuration, 3 finished with more unscored samples than
/// allowed, 4 stopped by a budget or by the user, 5 plugin refused or failed.
#[derive(Debug, Parser)]
#[command(name = "host", version, max_term_width = 100)]
pub struct Args {
    /// One JSON record a line on stdout, the last `done`; `host schema --output` describes them.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but data and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one or more run files.
    Run(RunArgs),
    /// Go on with a run that was stopped, interrupted or killed: what it finished is not asked again.
    Resume(ResumeArgs),
    /// Run a template of a run file for every cell of a matrix of models and tasks.
    ///
    /// A cell that has a run is gone on with, and one that is complete is not asked again. Cells run by themselves: one
    /// that fails, or crashes, stops no other. The exit code is 0 if all are done, 4 if the user stopped the sweep,
    /// else the gravest of the cells' exit codes, by 1, 5, 2, 4, 3.
    Sweep(SweepArgs),
    /// Write the index of all runs below a folder, summary.index.json, and show a leaderboard for each task.
    Collect(CollectArgs),
    /// Free what the backends of a run still hold outside, after it was killed: a rented machine, say.
    Release(ReleaseArgs),
    /// Compare runs on the samples that they share: differences with intervals and tests, and what flipped.
    ///
    /// A difference counts as shown if its p-value, adjusted for the number of rows by Holm's method, is below 0.05. What
    /// else differs between the runs (prompts, data, few-shot examples, engine, plugin) is named on stderr.
    Compare(CompareArgs),
    /// Make a report of a run, or of two side by side, from what the run left.
    Report(ReportArgs),
    /// Look at the response cache, which runs with `run.cache = true` share, or make it smaller.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Look at task definitions.
    #[command(subcommand)]
    Task(TaskCommand),
    /// Look at plugins, or begin a new one.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Serve every vendor's wire from a model that is made up, with faults on cue.
    ///
    /// Each wire is served below its own name: `http://127.0.0.1:PORT/tgi/generate`,
    /// `http://127.0.0.1:PORT/sglang/v1/chat/completions`. The address is printed on stdout when the server is up;
    /// it serves until Ctrl-C. In a run file, `base_url = "mock:tgi"` starts such a server for that run alone.
    ///
    /// Answers and log-probabilities follow from the prompt alone, and are the same on every wire: a letter where the
    /// prompt offers lettered options, the result where it asks for a sum, words else. What the vendor would refuse
    /// is refused in the vendor's own words, and so is a field that does not belong where it stands.
    ///
    /// What a vendor seldom does is done on cue, on the hosted wires (not tgi, sglang, ollama): a prompt with the word
    /// `mock-content-filter` is refused in the vendor's way, the answer to one with `mock-answer-filter` is begun
    /// and withheld, and a model whose name has `mock-missing` in it does not exist. vLLM, which has no filter, is
    /// served below `vllm` for any model, and below `openai` for those whose names begin with `vllm-`. With
    /// `--flavor azure`, paths such as `/openai/deployments/...` and `/openai/v1/...` are Azure's own.
    Mock(MockArgs),
    /// Ask a run that goes on how it stands; hold it, let it go on, change how much is in flight, end it.
    Ctl(CtlArgs),
    /// Look run files over before anything is spent on them: keys, plugins, secrets, a probe of each server, and how much
    /// would be asked.
    ///
    /// Each server is asked who it is and about one sample of each task, with a reply of a few tokens. Nothing is
    /// started and nothing is rented.
    Check(CheckArgs),
    /// Extract and score anew what a run stored, without a request.
    ///
    /// The new summary is written beside the run's own, and names what differs. Of tasks that ask each sample several
    /// times it also has mean@k, pass@k (unbiased) and the majority's answer.
    Score(ScoreArgs),
    /// Print a run file as it is meant, with where each value comes from; or what would be asked about one sample.
    ///
    /// Nothing is sent to any server, and no key is needed.
    Show(ShowArgs),
    /// Tell what a run would find on this machine: plugins, keys (where they are, not what), caches, kernel features.
    Doctor(DoctorArgs),
    /// Print the JSON Schema of run files, with the configuration of every plugin that is found: for editors and checks.
    Schema(SchemaArgs),
    /// Print a script that makes a shell complete what is typed after `host`.
    Completions(CompletionsArgs),
    /// Print the manual page of a command, or write those of all.
    Man(ManArgs),
    /// Start a server for a run and end it after that; a run starts this itself.
    #[command(name = SUPERVISE, hide = true)]
    Supervise {
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Become such a server.
    #[command(name = BECOME, hide = true)]
    Become {
        /// The process to end with.
        #[arg(long, value_name = "PROCESS")]
        supervisor: u32,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Where plugins are looked for.
#[derive(Debug, clap::Args)]
pub struct PluginDirs {
    /// A folder with plugins, beside $HOST_PLUGIN_DIR and the folder of this program. May be repeated.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
}

/// Where task definitions are looked for.
#[derive(Debug, clap::Args)]
pub struct ConfigDirs {
    /// A folder whose folder `tasks` holds definitions, beside $HOST_CONFIG_DIR, ./config and the program's own.
    /// May be repeated.
    #[arg(long = "config-dir", value_name = "DIR")]
    pub config_dirs: Vec<PathBuf>,
}

/// `host doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which lock file counts.
    #[command(flatten)]
    pub lock: LockArgs,
    /// Where task definitions are looked for.
    #[command(flatten)]
    pub config: ConfigDirs,
}

/// `host run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Run files (TOML).
    #[arg(required_unless_present = "tasks", conflicts_with = "tasks", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Without a run file: a task by name (`host task list` shows them) or its file. May be repeated.
    #[arg(long = "task", value_name = "NAME", requires = "backends")]
    pub tasks: Vec<String>,
    /// Without a run file: the plugin that is asked. May be repeated.
    #[arg(long = "backend", value_name = "PLUGIN", requires = "tasks")]
    pub backends: Vec<String>,
    /// The model of every backend.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Where task definitions are looked for.
    #[command(flatten)]
    pub config: ConfigDirs,
    /// Change a value of the run file, by its dotted path: `run.concurrency=8`, `task.piqa.max_samples=5`. Without a
    /// run file `base_url=…` is the backends', as all their keys are. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Take this profile of the run file, `[profiles.NAME]`, in place of the one that it names.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Most samples of each task.
    #[arg(long, value_name = "N")]
    pub max_samples: Option<u64>,
    /// Folder in which the run directory is made.
    #[arg(long, value_name = "DIR")]
    pub out: Option<String>,
    /// Write every request and reply into this new file, with secrets taken out.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub record: Option<PathBuf>,
    /// Ask no server: every request is answered as it was when this file was recorded. No key is needed. A request
    /// that is not in it fails.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which of them may be used.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Do not run if any plugin file is refused.
    #[arg(long)]
    pub strict: bool,
    /// Go on with the newest run of the run file below `out`, or with the one in DIR; without one a new run begins.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub resume: Option<Option<PathBuf>>,
    /// How a run is resumed.
    #[command(flatten)]
    pub how: ResumeFlags,
    /// Stop as after Ctrl-C once standard input ends: whoever started this run, and holds the other end, is gone.
    #[arg(long, hide = true)]
    pub leash: bool,
}

/// How a run is resumed.
#[derive(Debug, clap::Args)]
pub struct ResumeFlags {
    /// Go on although configuration, data or plugins have changed since the run began; its manifest.json says so then.
    #[arg(long)]
    pub accept_changes: bool,
    /// Also ask again what is unscored, or what is unscored for this reason (`timeout`, `overloaded`, ...).
    #[arg(
        long,
        value_name = "REASON",
        num_args = 0..=1,
        require_equals = true,
        value_parser = unscored_reason
    )]
    pub retry_unscored: Option<Option<String>>,
}

/// A reason for which a sample can be unscored: one that there is not would look as if nothing were unscored.
fn unscored_reason(typed: &str) -> Result<String, String> {
    let reasons = reasons();
    if reasons.contains(&typed) {
        return Ok(typed.to_owned());
    }
    Err(format!("expected one of {}", reasons.join(", ")))
}

/// `host resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The run's directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Change a value of the run file, as `host run --set` does: `run.budget.max_usd=20`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Ask no server, as `host run --replay` does: a run that this recording answered so far goes on with it.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// How it is resumed.
    #[command(flatten)]
    pub how: ResumeFlags,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which of them may be used.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Do not run if any plugin file is refused.
    #[arg(long)]
    pub strict: bool,
}

/// `host release`.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The run's directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which of them may be used.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// `host task`.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// List the tasks that can be run by name, and whether their data is there.
    List {
        /// Where they are looked for.
        #[command(flatten)]
        config: ConfigDirs,
    },
}

/// `host plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins that are found, and the files that are not used.
    List {
        /// Where plugins are looked for.
        #[command(flatten)]
        plugins: PluginDirs,
    },
    /// Show what one file says of itself and what it asks for, and what the lock file says of it. None of its code runs.
    Inspect {
        /// The plugin's file.
        file: PathBuf,
        /// Which lock file is asked about it.
        #[command(flatten)]
        lock: LockArgs,
    },
    /// Hold plugins to the contract: their files, their manifests, and in a worker their code.
    Check(PluginCheckArgs),
    /// Begin a new one: a folder with a backend, its tests, and a run that shows it at work.
    ///
    /// It needs nothing but crates.io: the SDK of this host is copied beside it. What to type next is said at the end.
    New(PluginNewArgs),
    /// Write down which plugin files are trusted, and what each is granted: plugins.lock.
    ///
    /// A plugin that is new is granted the origins, secrets and environment variables that its manifest asks for, which
    /// are shown; one that is there keeps its grants, and its new file takes the place of the old one. Entries of other
    /// plugins stay. Nothing of a plugin's code runs.
    Lock(PluginLockArgs),
}
