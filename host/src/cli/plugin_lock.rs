//! `host plugin lock`: writes down which plugin files are trusted. None of the plugins' code runs.

mod chosen;
mod removing;

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    args::{PluginLockArgs, plugin_lock::Right},
    done::Done,
    plugin::find,
};
use crate::{
    config::Isolation,
    plugin::{
        compiler,
        discover::{Candidate, Provenance},
        lock::{
            change::{self, Change, Found, Kind, Wish},
            entry::{Asks, AsksRecord, GrantsRecord, LockFile, LockedFile, machines},
            open::Lock,
            signature,
        },
    },
    printer::Printer,
    run::error::exit,
    store::whole_file,
};

use chosen::Chosen;
pub(super) use removing::UnlockedRecord;

/// What came of one plugin, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "plugin_locked")]
pub(super) struct LockedRecord<'a> {
    /// Its id.
    id: &'a str,
    /// Its file.
    path: String,
    /// Version that its manifest names.
    version: &'a str,
    /// Digest of the file.
    sha256: String,
    /// The machine that the file is for; `any` for a script.
    platform: &'a str,
    /// What the file was to the lock file.
    change: ChangeName,
    /// Version and digest that were locked before, if it was another file.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<[String; 2]>,
    /// What it is granted now.
    granted: &'a GrantsRecord,
    /// Whether that is anything else than before.
    grants_changed: bool,
    /// What it asks for, and is not granted.
    withheld: &'a AsksRecord,
}

/// What a file was to the lock file.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ChangeName {
    New,
    NewPlatform,
    Changed,
    Same,
}

/// Locks what is found, or tells whether that would change anything.
pub(super) fn main(args: &PluginLockArgs, printer: &Printer) -> Done {
    lock(args, printer).unwrap_or_else(|error| Done::failed(printer, &error, exit::USAGE))
}

fn lock(args: &PluginLockArgs, printer: &Printer) -> anyhow::Result<Done> {
    let run_files = chosen::run_files(args)?;
    let path = chosen::place(args, &run_files)?;
    let mut file = match path.symlink_metadata() {
        Ok(_) => Lock::read(&path)?.file,
        Err(_) => LockFile::default(),
    };
    if !args.removed.is_empty() {
        return removing::remove(&args.removed, &path, file, printer);
    }
    let discovery = find(&args.plugins)?;
    for refused in &discovery.refused {
        printer.warn(&format!("not used: {}: {}", refused.path.display(), refused.reason));
    }
    let chosen = chosen::chosen(args, &run_files, (&path, &file), &discovery, printer)?;
    let signed_by = args.signed_by.as_deref().map(signer).transpose()?;
    let mut stale = Vec::new();
    for &candidate in &chosen.found {
        let id = candidate.id();
        let rights = || args.grants.iter().filter(|grant| grant.id == id).map(|grant| grant.right);
        let wish = Wish {
            in_process: rights().any(|right| right == Right::InProcess),
            unchecked_layout: rights().any(|right| right == Right::UncheckedLayout),
            asked: rights().any(|right| right == Right::Asked),
            signed_by: signed_by.clone(),
        };
        if candidate.script.is_some() && (wish.in_process || wish.unchecked_layout) {
            bail!(
                "`{id}` is a script, which runs in a process of its own and has no layout: it takes `--grant {id}=asked` alone"
            );
        }
        let before = file.plugins.get(id);
        let signer = wish
            .signed_by
            .as_deref()
            .or_else(|| before.and_then(|entry| entry.signed_by.as_deref()));
        let found = match look(candidate, signer) {
            Ok(found) => found,
            // Nothing is written then: half of what was meant would look like all of it.
            Err(error) => return Ok(Done::failed(printer, &error, exit::PLUGIN)),
        };
        let platform = candidate.platform();
        let change = change::lock(before, &found, &wish, &platform);
        tell(candidate, &change, &platform, printer);
        if change.is_any() {
            stale.push(id.to_owned());
            file.plugins.insert(id.to_owned(), change.entry);
        }
    }
    conclude(args, (&path, &file), &chosen, &stale, printer)
}

/// A key as it is typed, or out of its file.
fn signer(typed: &str) -> anyhow::Result<String> {
    let text = match signature::key(typed) {
        Ok(key) => return Ok(key),
        Err(error) => fs::read_to_string(typed).with_context(|| error.to_string())?,
    };
    signature::key(&text).with_context(|| typed.to_owned())
}

/// Reads a plugin's file, and checks that it is signed if it must be.
fn look(candidate: &Candidate, signer: Option<&str>) -> anyhow::Result<Found> {
    let about = || format!("plugin `{}` ({})", candidate.id(), candidate.path.display());
    let read = candidate.read_verified().with_context(about)?;
    if let Some(key) = signer {
        signature::verify(&candidate.path, &read.bytes, key).with_context(about)?;
    }
    let manifest = &candidate.inspection.manifest;
    Ok(Found {
        file: LockedFile { version: manifest.version.clone(), sha256: read.sha256 },
        installed: candidate.provenance == Provenance::Installed,
        asks: Asks::of(&manifest.plugin).with_context(about)?,
    })
}

/// Says what came of a plugin.
fn tell(candidate: &Candidate, change: &Change, platform: &str, printer: &Printer) {
    let Change { kind, entry, grants_changed, replaces_others, withheld } = change;
    let Some(file) = entry.files.get(platform) else { return };
    let (id, granted, withheld) = (candidate.id(), entry.record(), withheld.record());
    let before = match kind {
        Kind::Changed(file) => Some([file.version.clone(), file.sha256.to_string()]),
        _ => None,
    };
    printer.record(&LockedRecord {
        id,
        path: candidate.path.display().to_string(),
        version: &file.version,
        sha256: file.sha256.to_string(),
        platform,
        change: match kind {
            Kind::New => ChangeName::New,
            Kind::NewPlatform => ChangeName::NewPlatform,
            Kind::Changed(_) => ChangeName::Changed,
            Kind::Same => ChangeName::Same,
        },
        before: before.clone(),
        granted: &granted,
        grants_changed: *grants_changed,
        withheld: &withheld,
    });
    let what = match (kind, &before, grants_changed) {
        (Kind::New, ..) => "new".to_owned(),
        (Kind::NewPlatform, ..) => format!("new for {}", machines(platform)),
        (_, Some([version, _]), _) => {
            format!("another file: version {version} before, {} now", file.version)
        }
        (_, None, true) => "other grants".to_owned(),
        (_, None, false) if *replaces_others => {
            "no longer beside files of single machines".to_owned()
        }
        (_, None, false) => "as it was".to_owned(),
    };
    let mut text = format!("{id} {}: {what}\n", file.version);
    if change.is_any() {
        if let Some([_, sha256]) = &before {
            text.push_str(&format!("  before   {sha256}\n"));
        }
        text.push_str(&format!("  sha256   {}\n", file.sha256));
        text.push_str(&format!("  granted  {}\n", in_words(&granted, candidate)));
    }
    printer.data(&text);
    if let Some(more) = withheld.in_words() {
        printer.warn(&format!(
            "plugin `{id}` asks for what it is not granted: {more}; --grant {id}=asked grants it"
        ));
    }
    if let Some(warning) = compiler::warning(id, &candidate.inspection.manifest.rustc) {
        printer.warn(&warning);
    }
}

/// What is granted, in words: `a worker; secret `key`; signed by RW…`.
pub(super) fn in_words(granted: &GrantsRecord, candidate: &Candidate) -> String {
    words_of(granted, candidate.provenance == Provenance::Installed)
}

/// The same for a file of which it is known whether it came with the host.
pub(super) fn words_of(granted: &GrantsRecord, installed: bool) -> String {
    let place = match granted.isolation {
        Some(Isolation::InProcess) => "the host's own process",
        Some(Isolation::Worker) => "a worker",
        None if installed => "the host's own process, which it came with",
        None => "a worker, unless it came with the host",
    };
    let layout = granted.allow_unchecked_layout.then(|| "no layout check".to_owned());
    let signer = granted.signed_by.as_ref().map(|key| format!("signed by {key}"));
    let more = granted.asks.in_words().into_iter().chain(layout).chain(signer);
    more.fold(place.to_owned(), |text, more| format!("{text}; {more}"))
}

/// Writes the file if it is to be written and would be another one.
fn conclude(
    args: &PluginLockArgs,
    (path, file): (&Path, &LockFile),
    chosen: &Chosen<'_>,
    stale: &[String],
    printer: &Printer,
) -> anyhow::Result<Done> {
    let shown = path.display();
    let mut faults = Vec::new();
    if !stale.is_empty() {
        let names = stale.join(", ");
        faults.push(format!("is out of date: {names}; the same command without --check writes it"));
    }
    if !chosen.missing.is_empty() {
        let names = chosen.missing.join(", ");
        faults.push(format!(
            "has what is not found here: {names}; name its folder by --plugin-dir, or name the plugins to look at"
        ));
    }
    if args.check && !faults.is_empty() {
        let error = anyhow::anyhow!("{shown} {}", faults.join("; it "));
        return Ok(Done::failed(printer, &error, exit::PLUGIN));
    }
    if !stale.is_empty() {
        return write(path, file, printer);
    }
    // Nothing is said of what was not looked at.
    let found: Vec<&str> = chosen.found.iter().map(|candidate| candidate.id()).collect();
    printer.note(&if file.plugins.keys().all(|id| found.contains(&id.as_str())) {
        format!("{shown} is up to date")
    } else if found.is_empty() {
        format!("{shown} stays as it is")
    } else {
        format!("{shown} is up to date as to {}", found.join(", "))
    });
    Ok(exit::DONE.into())
}

/// Writes the file.
fn write(path: &Path, file: &LockFile, printer: &Printer) -> anyhow::Result<Done> {
    let shown = path.display();
    let text = file.to_string();
    let written = whole_file::replace(path, |out| out.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {shown}; name another file by --lock"))?;
    // Under an open umask, or in a folder of others, it would not be believed.
    Lock::read(path).with_context(|| format!("{shown} is written"))?;
    printer.note(&format!("written: {shown}"));
    Ok(Done { written: vec![path.to_owned()], ..exit::DONE.into() })
}
