//! `host plugin check`: holds plugins to the contract. Their code runs in workers alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use super::{args::PluginCheckArgs, done::Done, run::surroundings, run_mock::RunMock};
use crate::{
    config::{self, Named, Overrides, RunFile},
    plugin::{
        compiler,
        conformance::{Finding, Subject, Verdict, examine, look_at_library, look_at_manifest},
        discover::{self, Candidate, Discovery, Provenance, SearchDirectory, VerifiedBytes},
        lock::open::{Choice, Trust},
    },
    printer::Printer,
    run::{backend_error::BackendError, error::exit, found, open},
    store::{ledger::Ledger, run_dir::PlannedDir},
};

/// What is told of a plugin that is looked at, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum PluginCheckRecord<'a> {
    /// What one check found.
    PluginFinding {
        /// The plugin's file.
        path: &'a str,
        /// What.
        finding: &'a Finding,
    },
    /// All checks of a plugin are made.
    PluginChecked {
        /// The plugin's file.
        path: &'a str,
        /// Its id; none if the file is no plugin.
        plugin: Option<&'a str>,
        /// Checks that ended well.
        passed: usize,
        /// Checks that found something to think about.
        warned: usize,
        /// Checks that found the contract broken.
        failed: usize,
        /// Checks that could not be made.
        skipped: usize,
    },
}

/// Looks every plugin over.
pub(super) fn check(args: &PluginCheckArgs, printer: &Printer) -> anyhow::Result<Done> {
    // What is typed wrong is not a plugin's fault.
    for path in &args.run_files {
        load(path)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut all = Outcome::Good;
    let mut looked_at = 0;
    for path in &args.paths {
        let (discovery, is_meant) = find(path)?;
        for refused in discovery.refused.iter().filter(|one| is_meant(&one.path)) {
            looked_at += 1;
            let mut told = Told::new(&refused.path, None, printer);
            told.tell(&Finding::failed("file", refused.reason.to_string()));
            all = all.max(told.end(args.strict));
        }
        for candidate in discovery.plugins.iter().filter(|one| is_meant(&one.path)) {
            looked_at += 1;
            let mut told = Told::new(&candidate.path, Some(candidate), printer);
            runtime.block_on(look_over(args, candidate, &discovery, printer, &mut told));
            all = all.max(told.end(args.strict));
        }
    }
    // What a plugin does still is not waited for.
    runtime.shutdown_background();
    if looked_at == 0 {
        let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
        anyhow::bail!("no plugin in {}: expected its file, or a folder of such", paths.join(", "));
    }
    let (error, exit_code) = match all {
        Outcome::Good => return Ok(exit::DONE.into()),
        Outcome::Unconfigured => ("a plugin is not given what it needs to open", exit::USAGE),
        Outcome::Broken => ("a plugin does not keep the contract", exit::PLUGIN),
    };
    Ok(Done::failed(printer, &anyhow::anyhow!(error), exit_code))
}

/// How it ends, from good to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Good,
    /// Its code could not be looked at.
    Unconfigured,
    Broken,
}

/// What lies in this folder, or beside this file, and which of it is meant.
fn find(path: &Path) -> anyhow::Result<(Discovery, impl Fn(&Path) -> bool)> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (folder, file): (PathBuf, Option<PathBuf>) = if metadata.is_dir() {
        (path.to_owned(), None)
    } else {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        (folder.unwrap_or(Path::new(".")).to_owned(), path.file_name().map(PathBuf::from))
    };
    let searched = SearchDirectory { path: folder.clone(), provenance: Provenance::Directory };
    let discovery = discover::discover(&[searched]);
    let is_meant = move |found: &Path| match &file {
        Some(file) => found.file_name() == Some(file.as_os_str()) || found == folder,
        None => true,
    };
    Ok((discovery, is_meant))
}

async fn look_over(
    args: &PluginCheckArgs,
    candidate: &Candidate,
    discovery: &Discovery,
    printer: &Printer,
    told: &mut Told<'_>,
) {
    let read = match candidate.read_verified() {
        Ok(read) => {
            told.tell(&Finding::passed("file", "whole, and nobody else can change it"));
            let is_library = candidate.script.is_none();
            for finding in
                is_library.then(|| look_at_library(&read.bytes, args.glibc)).into_iter().flatten()
            {
                told.tell(&finding);
            }
            read
        }
        Err(refusal) => return told.tell(&Finding::failed("file", refusal.to_string())),
    };
    for finding in look_at_manifest(&candidate.inspection) {
        told.tell(&finding);
    }
    let manifest = &candidate.inspection.manifest;
    if let Some(warning) = compiler::warning(&manifest.plugin.id, &manifest.rustc) {
        told.tell(&Finding::warned("compiler", warning));
    }
    let mock = RunMock::default();
    match subject(args, candidate, &read, discovery, &mock, printer).await {
        Ok(subject) => examine(subject, |finding| told.tell(&finding)).await,
        Err(error) => {
            if let Some(BackendError::Load { source, .. }) = error.downcast_ref() {
                // No configuration helps.
                return told.tell(&Finding::failed("loads", source.to_string()));
            }
            told.is_unconfigured = true;
            let error = super::in_words(&error);
            told.tell(&Finding::skipped(
                "opens",
                format!("{error}; what it is opened with is said by --with RUN_FILE, or by --set KEY=VALUE"),
            ));
        }
    }
}

/// The plugin as a run file, or the command line, has it opened.
async fn subject(
    args: &PluginCheckArgs,
    candidate: &Candidate,
    read: &VerifiedBytes,
    discovery: &Discovery,
    mock: &RunMock,
    printer: &Printer,
) -> anyhow::Result<Subject> {
    let variable = |name: &str| env::var(name).ok();
    let around = surroundings(&variable, mock, &Choice::default(), printer);
    let (mut file, index) = backend(args, candidate.id())?;
    let granted = args.file.choice().open(&file.folder)?.of(candidate);
    if let Some(config) = file.config.backends.get_mut(index) {
        let is_locked = granted.check(&read.bytes, read.sha256).is_ok();
        config.allow_unchecked_layout |= is_locked && granted.allows_unchecked_layout();
    }
    let config = file.config.backends.get(index).context("the run file has lost its backend")?;
    // It runs in a worker whatever a lock file says, and is about to be built anew: nothing else is asked of the lock.
    let found = found::find_one(&file, index, config, discovery, &Trust::unasked(), &around)?;
    let found = [found];
    let redactor = found::redactor(&found);
    // Nothing is held, so that it is never made.
    let directory = PlannedDir::new(&file.config.out, &file.config.name, jiff::Zoned::now());
    let ledger = Arc::new(Ledger::new(Arc::new(directory), Arc::clone(&redactor)));
    let [found] = found;
    Ok(open::subject(&file.config, found, &ledger, &redactor, &around).await?)
}

/// The run file that has a backend of this plugin, and which of its backends that is.
fn backend(args: &PluginCheckArgs, plugin: &str) -> anyhow::Result<(RunFile, usize)> {
    for path in &args.run_files {
        let file = load(path)?;
        let index = file.config.backends.iter().position(|backend| backend.plugin == plugin);
        if let Some(index) = index {
            return Ok((file, index));
        }
    }
    if !args.run_files.is_empty() {
        anyhow::bail!("none of the run files has a backend of plugin `{plugin}`");
    }
    let variable = |name: &str| env::var(name).ok();
    let changes = Overrides { sets: args.sets.clone(), ..Overrides::default() };
    let named = Named { tasks: Vec::new(), backends: vec![plugin.to_owned()] };
    Ok((config::load_named(&named, &changes, &variable)?, 0))
}

fn load(path: &Path) -> anyhow::Result<RunFile> {
    let variable = |name: &str| env::var(name).ok();
    Ok(config::load(path, &Overrides::default(), &variable)?)
}

/// Tells what is found of one plugin, and counts it.
struct Told<'a> {
    path: String,
    plugin: Option<String>,
    printer: &'a Printer,
    counts: [usize; 4],
    /// Whether it could not be opened for want of a configuration.
    is_unconfigured: bool,
}

impl<'a> Told<'a> {
    fn new(path: &Path, candidate: Option<&Candidate>, printer: &'a Printer) -> Self {
        let path = path.display().to_string();
        let plugin = candidate.map(|candidate| candidate.id().to_owned());
        printer.data(&match candidate {
            Some(candidate) => {
                format!("{} {} ({path})\n", candidate.id(), candidate.inspection.manifest.version)
            }
            None => format!("{path}\n"),
        });
        Self { path, plugin, printer, counts: [0; 4], is_unconfigured: false }
    }

    fn tell(&mut self, finding: &Finding) {
        let (index, word) = match finding.verdict {
            Verdict::Passed => (0, "ok"),
            Verdict::Warned => (1, "warning"),
            Verdict::Failed => (2, "FAILED"),
            Verdict::Skipped => (3, "skipped"),
        };
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
        // Further lines stand below the check's name. Programs are told the text as it is.
        let shown = finding.detail.replace('\n', "\n           ");
        self.printer.data(&format!("  {word:<8} {:<17} {shown}\n", finding.check));
        self.printer.record(&PluginCheckRecord::PluginFinding { path: &self.path, finding });
    }

    /// What the command comes to, as far as this plugin goes.
    fn end(self, strict: bool) -> Outcome {
        let [passed, warned, failed, skipped] = self.counts;
        self.printer.data(&format!(
            "  {passed} passed, {warned} warned, {failed} failed, {skipped} skipped\n"
        ));
        self.printer.record(&PluginCheckRecord::PluginChecked {
            path: &self.path,
            plugin: self.plugin.as_deref(),
            passed,
            warned,
            failed,
            skipped,
        });
        if failed > 0 || (strict && warned > 0) {
            Outcome::Broken
        } else if self.is_unconfigured {
            Outcome::Unconfigured
        } else {
            Outcome::Good
        }
    }
}
