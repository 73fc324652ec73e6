//! Which plugins `host plugin lock` is about, and in which lock file. What nobody named is not trusted on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
};

use anyhow::bail;

use crate::{
    cli::args::PluginLockArgs,
    config::{self, Overrides, RunFile, nearest},
    plugin::{
        discover::{Candidate, Discovery},
        lock::{
            entry::LockFile,
            open::{NAME, absolute},
        },
    },
    printer::Printer,
};

/// The run files that are named, each as it is meant.
pub(super) fn run_files(args: &PluginLockArgs) -> anyhow::Result<Vec<RunFile>> {
    let variable = |name: &str| env::var(name).ok();
    let read =
        args.run_files.iter().map(|path| Ok(config::load(path, &Overrides::default(), &variable)?));
    read.collect()
}

/// The lock file that is written: the one that counts for what is named.
pub(super) fn place(args: &PluginLockArgs, run_files: &[RunFile]) -> anyhow::Result<PathBuf> {
    let choice = args.file.choice();
    let nearest = |folder: &Path| choice.locate(folder);
    let Some(first) = run_files.first().filter(|_| choice.named.is_none()) else {
        return Ok(nearest(Path::new("")).unwrap_or_else(|| NAME.into()));
    };
    let place = match nearest(&first.folder) {
        Some(place) => place,
        // Where it also counts for other run files of this project.
        None if absolute(&first.folder).starts_with(absolute(Path::new(""))) => NAME.into(),
        None => first.folder.join(NAME),
    };
    let folder = absolute(place.parent().unwrap_or(Path::new("")));
    for (file, path) in run_files.iter().zip(&args.run_files) {
        let own = nearest(&file.folder);
        let is_other = own.as_ref().is_some_and(|own| *own != place);
        if is_other || !absolute(&file.folder).starts_with(&folder) {
            bail!(
                "{} does not count for {}; lock the run files one after the other, or name the lock file by --lock",
                place.display(),
                path.display()
            );
        }
    }
    Ok(place)
}

/// The plugins that are meant.
pub(super) struct Chosen<'a> {
    /// Those that are found.
    pub(super) found: Vec<&'a Candidate>,
    /// Ids that the lock file has and that are not found.
    pub(super) missing: Vec<String>,
}

/// Finds the plugins that are meant.
pub(super) fn chosen<'a>(
    args: &PluginLockArgs,
    run_files: &[RunFile],
    (path, file): (&Path, &LockFile),
    discovery: &'a Discovery,
    printer: &Printer,
) -> anyhow::Result<Chosen<'a>> {
    let found: BTreeMap<&str, &Candidate> =
        discovery.plugins.iter().map(|candidate| (candidate.id(), candidate)).collect();
    if found.is_empty() {
        bail!("no plugins found; name their folder by --plugin-dir or HOST_PLUGIN_DIR");
    }
    let ids: Vec<&str> = found.keys().copied().collect();
    let used: Vec<&str> = run_files
        .iter()
        .flat_map(|file| &file.config.backends)
        .map(|backend| backend.plugin.as_str())
        .collect();
    let granted: Vec<&str> = args.grants.iter().map(|grant| grant.id.as_str()).collect();
    let named = args.ids.iter().map(String::as_str).chain(used);
    let mut meant: BTreeSet<&str> = named.collect();
    if args.all {
        meant.extend(&ids);
    } else if meant.is_empty() {
        meant.extend(&granted);
    }
    if let Some(unknown) = meant.iter().chain(&granted).find(|id| !found.contains_key(**id)) {
        let hint = match nearest(unknown, ids.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name its folder by --plugin-dir".to_owned(),
        };
        bail!("there is no plugin `{unknown}`; {hint}");
    }
    if let Some(id) = granted.iter().find(|id| !meant.contains(**id)) {
        bail!("--grant names `{id}`, which is not among the plugins to lock");
    }
    let is_whole = args.all || meant.is_empty();
    if meant.is_empty() {
        if file.plugins.is_empty() {
            bail!(
                "it is not said which plugins to lock: name them, or by --with FILE a run file that uses them, or take \
                 --all that are found: {}",
                ids.join(", ")
            );
        }
        meant.extend(file.plugins.keys().map(String::as_str));
    }
    let is_missing = |id: &&String| is_whole && !found.contains_key(id.as_str());
    let missing: Vec<String> = file.plugins.keys().filter(is_missing).cloned().collect();
    for id in &missing {
        printer.warn(&format!("{} has `{id}`, which is not found here", path.display()));
    }
    let found = found.into_iter().filter(|(id, _)| meant.contains(id)).map(|(_, one)| one);
    Ok(Chosen { found: found.collect(), missing })
}
