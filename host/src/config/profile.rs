//! Profiles: settings that a run file holds for one occasion and another, of which a run takes one. A profile
//! is a tree like the file's own; each value in it is set as `--set` would set it.

use serde_json::Value;

use super::env::{self, Variables};
use super::error::Problem;
use super::nearest;
use super::node::{Content, Node};
use super::overrides::Set;
use super::task::PATH_KEYS;

/// The key that names a profile, and the table that holds them.
pub(crate) const KEYS: [&str; 2] = ["profile", "profiles"];

/// The settings of the profile that the run file or the command line names, in an order in which what is said of
/// one backend or task comes after what is said of all. Those of tasks are expanded; the others are expanded with what they are set in.
///
/// The name stays in the tree, expanded; an empty one is none.
pub(crate) fn chosen(
    root: &mut Node,
    variables: &Variables<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Set> {
    let Some(name) = root.at_mut(&["profile"]) else { return Vec::new() };
    env::expand_value(name, "profile", variables, problems);
    // Another value than a text is told when the tree is checked.
    let Content::Scalar(Value::String(chosen)) = &name.content else { return Vec::new() };
    let (chosen, place) = (chosen.clone(), name.place.clone());
    if chosen.is_empty() {
        root.as_table_mut().map(|table| table.remove("profile"));
        return Vec::new();
    }
    let profiles = root.get("profiles").and_then(Node::as_table);
    match profiles.and_then(|profiles| profiles.get(&chosen)) {
        Some(profile) => {
            quoted_paths(&chosen, profile, problems);
            let mut sets = Vec::new();
            settings(profile, &mut Vec::new(), &mut sets);
            // Of two settings of the same, the one that names its element has the longer path.
            sets.sort_by_key(|set| set.path().len());
            for set in sets.iter_mut().filter(|set| is_path_of_task(set.path())) {
                let key = set.path().join(".");
                env::expand_value(set.value_mut(), &key, variables, problems);
            }
            sets
        }
        None => {
            let known: Vec<&str> =
                profiles.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let hint = match nearest(&chosen, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "write one as a table [profiles.NAME]".to_owned(),
                None => format!("profiles: {}", known.join(", ")),
            };
            let message = format!("there is no profile `{chosen}`");
            problems.push(Problem::new(&place, "profile", message).hint(hint));
            Vec::new()
        }
    }
}

/// Tells of keys that are quoted as a whole, as a path must not be: to TOML they are one key.
fn quoted_paths(name: &str, profile: &Node, problems: &mut Vec<Problem>) {
    for (key, entry) in
        profile.as_table().into_iter().flatten().filter(|(key, _)| key.contains('.'))
    {
        let problem = Problem::new(
            &entry.place,
            format!("profiles.{name}.\"{key}\""),
            "is one key and no path",
        );
        problems.push(problem.hint(format!("write it without quotes: {key} = …")));
    }
}

/// Every value below `node` that is no table (or an empty one), with its path.
fn settings(node: &Node, path: &mut Vec<String>, sets: &mut Vec<Set>) {
    match node.as_table().filter(|table| !table.is_empty() || path.is_empty()) {
        Some(table) => {
            for (key, entry) in table {
                path.push(key.clone());
                settings(entry, path, sets);
                path.pop();
            }
        }
        None => sets.push(Set::new(path.clone(), node.clone())),
    }
}

/// Whether this is one of the few values of a task that may refer to the environment. A task is named by its id,
/// its number, or not at all.
fn is_path_of_task(path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    let is = |rest: &[String]| PATH_KEYS[1..].iter().any(|key| *key == rest);
    first == "task" && (is(rest) || rest.get(1..).is_some_and(is))
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
