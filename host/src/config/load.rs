//! One run file from its path to what it means: read, take the profile, expand, merge task
//! files, override, check, resolve.

use std::path::{Path, PathBuf};

use super::check::{self, Advice, Adviser};
use super::env::{self, Variables};
use super::error::{ConfigError, Problem};
use super::named::Named;
use super::node::{self, Node};
use super::overrides::{self, Set};
use super::profile;
use super::resolve;
use super::resolved::RunConfig;
use super::schema;
use super::task;
use super::typed;
use crate::canonical;

/// What the command line changes in every run file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--set KEY=VALUE`, in order.
    pub sets: Vec<String>,
    /// `--max-samples N`.
    pub max_samples: Option<u64>,
    /// `--out DIR`.
    pub out: Option<String>,
    /// `--profile NAME`.
    pub profile: Option<String>,
    /// `--model NAME`.
    pub model: Option<String>,
}

/// A loaded run file.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// What it means.
    pub config: RunConfig,
    /// BLAKE3 of the canonical JSON of what of `config` may change a result, in lower-case hex: not of where
    /// results are written, nor of how fast and how patiently samples are asked.
    pub config_blake3: String,
    /// The folder of the file, which its paths are relative to.
    pub folder: PathBuf,
    /// As typed, with places, for errors that come later.
    pub(super) root: Node,
}

/// Loads a run file. Strings refer to `variables`; task files are relative to the run file.
///
/// # Errors
/// If a file cannot be read, or with everything that is wrong in it at once.
pub fn load(
    path: &Path,
    changes: &Overrides,
    variables: &Variables<'_>,
) -> Result<RunFile, ConfigError> {
    let stem =
        path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
    let run_dir = path.parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    let sets = parse_sets(changes, &mut problems);
    read_tree((node::read(path)?, &of_plugin), &stem, run_dir, sets, problems, variables)
}

/// Loads what the command line names in place of a run file. Here `--set base_url=…` is every backend's, as is
/// any key that only a backend has.
///
/// # Errors
/// As for [`load`].
pub fn load_named(
    named: &Named,
    changes: &Overrides,
    variables: &Variables<'_>,
) -> Result<RunFile, ConfigError> {
    let mut problems = Vec::new();
    let sets = Named::adapt(parse_sets(changes, &mut problems));
    // Here a key of the plugin's own may also have been meant as one of every backend's.
    let adviser = |path: &[String]| match path {
        [key] => Some(own_key(key)),
        _ => of_plugin(path),
    };
    let tree = (named.tree(), &adviser as &Adviser<'_>);
    read_tree(tree, &named.name(), Path::new(""), sets, problems, variables)
}

/// What an unknown key of a `[[backend]]` may be: the plugins' own keys are not known here.
fn of_plugin(path: &[String]) -> Option<Advice> {
    match path {
        [list, _, key] if list == "backend" => Some(own_key(key)),
        _ => None,
    }
}

fn own_key(key: &str) -> Advice {
    Advice::Maybe(format!("a key of the plugin's own is written `config.{key}`"))
}

/// What a tree means whose paths are relative to `run_dir`, with advice on its unknown keys. `stem` names the run if
/// nothing else does; `problems` are those that are known already.
fn read_tree(
    (mut root, adviser): (Node, &Adviser<'_>),
    stem: &str,
    run_dir: &Path,
    sets: Vec<Set>,
    mut problems: Vec<Problem>,
    variables: &Variables<'_>,
) -> Result<RunFile, ConfigError> {
    let (first, sets): (Vec<_>, Vec<_>) = sets.into_iter().partition(Set::is_of_profiles);
    apply(&first, &mut root, &mut problems);
    // What a profile replaces need not expand: the variables of the other profiles may well be unset.
    let (of_tasks, settings): (Vec<_>, Vec<_>) =
        profile::chosen(&mut root, variables, &mut problems)
            .into_iter()
            .partition(|set| set.is_of_task() && !set.names_task_file());
    ConfigError::unless_empty(std::mem::take(&mut problems))?;
    apply(&settings, &mut root, &mut problems);
    env::expand(&mut root, variables, &mut problems);

    let (before, after): (Vec<_>, Vec<_>) = sets.into_iter().partition(Set::is_of_task_files);
    apply(&before, &mut root, &mut problems);
    overrides::anchor_paths(&mut root);
    // A path that could not be expanded would be told once more, as a file that is not there.
    ConfigError::unless_empty(std::mem::take(&mut problems))?;
    let run_dir = &folder(&root, run_dir);
    let mut unset = Vec::new();
    let base_dirs = task::merge_files(&mut root, run_dir, variables, &mut problems, &mut unset)?;
    apply(&of_tasks, &mut root, &mut problems);
    apply(&after, &mut root, &mut problems);
    problems.extend(task::still_unset(&root, unset));
    overrides::anchor_paths(&mut root);
    let schema = schema::checked_schema();
    typed::convert(&mut root, &schema, "", &mut problems);
    ConfigError::unless_empty(problems)?;

    let invalid_schema = |reason: String| {
        vec![Problem::new(&root.place, "", format!("the schema of run files is broken: {reason}"))]
    };
    let homes_first =
        |path: &[String]| match path.last().and_then(|key| schema::homes_of(&schema, key)) {
            Some(homes) => Some(Advice::Home(format!("it is {homes}"))),
            None => adviser(path),
        };
    let problems =
        check::check_advised(&root, &schema, "", &homes_first).unwrap_or_else(invalid_schema);
    ConfigError::unless_empty(problems)?;

    let config = resolve::resolve(&root, stem, run_dir, base_dirs)?;
    let config_blake3 = canonical::digest(&config.decisive());
    Ok(RunFile { config, config_blake3, folder: run_dir.to_owned(), root })
}

/// What the paths of a run file are relative to, which lies in `run_dir`.
fn folder(root: &Node, run_dir: &Path) -> PathBuf {
    root.get_str("folder").map_or_else(|| run_dir.to_owned(), |folder| run_dir.join(folder))
}

fn apply(sets: &[Set], root: &mut Node, problems: &mut Vec<Problem>) {
    problems.extend(sets.iter().filter_map(|set| set.apply(root).err()));
}

fn parse_sets(overrides: &Overrides, problems: &mut Vec<Problem>) -> Vec<Set> {
    let mut sets = Vec::new();
    for argument in &overrides.sets {
        match Set::parse(argument) {
            Ok(set) => sets.push(set),
            Err(problem) => problems.push(problem),
        }
    }
    sets.extend(
        overrides
            .max_samples
            .map(|count| Set::flag(&format!("--max-samples {count}"), "max_samples", count.into())),
    );
    sets.extend(
        overrides
            .out
            .as_ref()
            .map(|out| Set::flag(&format!("--out {out}"), "out", out.as_str().into())),
    );
    sets.extend(overrides.model.as_ref().map(|model| {
        Set::flag(&format!("--model {model}"), "model", model.as_str().into()).below("backend")
    }));
    sets.extend(overrides.profile.as_ref().map(|profile| {
        Set::flag(&format!("--profile {profile}"), "profile", profile.as_str().into())
    }));
    sets
}

#[cfg(test)]
#[path = "load_tests.rs"]
pub(super) mod tests;
