//! The tasks of a run file: `file = "…"` is read and overridden key by key, and each task keeps the
//! folder that its own paths are relative to. What a task means is the business of `task`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::env::{self, Variables};
use super::error::{ConfigError, Place, Problem};
use super::node::{self, Content, Node};

/// Keys of a `[[task]]` table that belong to the run and not to the task.
pub(crate) const RUN_KEYS: [&str; 3] = ["file", "backends", "max_samples"];

/// Keys of a task that are paths: all of it that may refer to the environment, and what `--set` gives
/// relative to the current directory.
pub(crate) const PATH_KEYS: [&[&str]; 5] = [
    &["file"],
    &["data", "path"],
    &["data", "labels"],
    &["few_shot", "source"],
    &["few_shot", "source_labels"],
];

/// Replaces the `file` of every task by what the file says, and gives every task an id. Returns the
/// folder of each.
///
/// # Errors
/// If a task file cannot be read or is not TOML. Paths with unset variables go to `unset`: what overrides them
/// later makes them good ([`still_unset`]).
pub(crate) fn merge_files(
    root: &mut Node,
    run_dir: &Path,
    variables: &Variables<'_>,
    problems: &mut Vec<Problem>,
    unset: &mut Vec<Problem>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let Some(Content::Array(tasks)) =
        root.as_table_mut().and_then(|table| table.get_mut("task")).map(|node| &mut node.content)
    else {
        return Ok(Vec::new());
    };
    tasks.iter_mut().map(|task| merge_file(task, run_dir, variables, problems, unset)).collect()
}

/// Those of the problems whose value is still the one that was read from a task's file.
pub(crate) fn still_unset(root: &Node, unset: Vec<Problem>) -> impl Iterator<Item = Problem> {
    let tasks = root.get("task").map(Node::items).unwrap_or_default();
    let places: Vec<Place> = tasks
        .iter()
        .flat_map(|task| {
            let at = move |path: &&[&str]| path.iter().try_fold(task, |node, key| node.get(key));
            PATH_KEYS.iter().filter_map(at).map(|node| node.place.clone())
        })
        .collect();
    unset.into_iter().filter(move |problem| places.contains(&problem.place))
}

fn merge_file(
    task: &mut Node,
    run_dir: &Path,
    variables: &Variables<'_>,
    problems: &mut Vec<Problem>,
    unset: &mut Vec<Problem>,
) -> Result<PathBuf, ConfigError> {
    let Some(file) = task.get_str("file").map(str::to_owned) else {
        return Ok(run_dir.to_owned());
    };
    let path = run_dir.join(file);
    let mut merged = node::read(&path).map_err(|error| at_task(error, task))?;
    env::expand_task(&mut merged, "", variables, unset);
    let place = task.place.clone();
    for key in RUN_KEYS {
        if let Some(entry) = merged.get(key).filter(|_| key != "max_samples") {
            problems.push(Problem::new(
                &entry.place,
                key,
                format!("`{key}` belongs into the [[task]] table of the run file"),
            ));
        }
    }
    if let (Some(table), Some(stem)) =
        (merged.as_table_mut(), path.file_stem().and_then(|stem| stem.to_str()))
    {
        table.entry("id".into()).or_insert_with(|| Node::string(stem, &place));
    }
    merged.merge(std::mem::replace(task, Node::table(&place)));
    *task = merged;
    Ok(path.parent().unwrap_or(run_dir).to_owned())
}

/// An unreadable task file is told at the line that names it.
fn at_task(error: ConfigError, task: &Node) -> ConfigError {
    match error {
        ConfigError::Read { path, source } => {
            let place = task.get("file").map_or(&task.place, |node| &node.place);
            let message = format!("cannot read {}: {source}", path.display());
            let hint = match place {
                Place::Line(..) => "the path is relative to the run file",
                Place::Argument(_) => "the path is relative to the current directory",
            };
            ConfigError::Invalid(vec![Problem::new(place, "task.file", message).hint(hint)])
        }
        invalid => invalid,
    }
}

/// What `backends` of a task names, or all of them; unknown names become problems.
pub(crate) fn backends(
    task: &Node,
    key: &str,
    known: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let Some(node) = task.get("backends") else { return known.to_vec() };
    let mut chosen = BTreeSet::new();
    for item in node.items() {
        if let Content::Scalar(Value::String(name)) = &item.content {
            if !known.contains(name) {
                let hint = super::nearest(name, known.iter().map(String::as_str))
                    .map(|near| format!("did you mean `{near}`?"));
                problems.push(
                    Problem::new(
                        &item.place,
                        format!("{key}.backends"),
                        format!("there is no backend `{name}`"),
                    )
                    .maybe_hint(hint),
                );
            }
            chosen.insert(name.as_str());
        }
    }
    known.iter().filter(|name| chosen.contains(name.as_str())).cloned().collect()
}
