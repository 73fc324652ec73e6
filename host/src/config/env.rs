//! `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$` in the strings of a run file. A lone `$`
//! stays as it is. The result is a string that knows whether it was one reference and nothing else: only such
//! a one may become a number or a boolean, where the schema takes no string ([`super::typed`]).
//!
//! Of a task only the paths are expanded: a prompt, an option or a pattern with a `$` in it must be
//! the same on every machine, or scores would depend on it.

use std::sync::Arc;

use serde_json::Value;

use super::check::join;
use super::error::Problem;
use super::node::{Content, Node};
use super::profile;
use super::task::PATH_KEYS;
use crate::secret::is_secret_name;

/// The value of an environment variable, if it is set.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Expands a run file: every string outside of its tasks and profiles, and the paths of its tasks. `problems`
/// gets one entry a reference that cannot be expanded.
pub(crate) fn expand(root: &mut Node, variables: &Variables<'_>, problems: &mut Vec<Problem>) {
    for (name, entry) in root.as_table_mut().into_iter().flatten() {
        match &mut entry.content {
            Content::Array(tasks) if name == "task" => {
                for (index, task) in tasks.iter_mut().enumerate() {
                    let id = task.name().map_or_else(|| index.to_string(), str::to_owned);
                    expand_task(task, &join("task", &id), variables, problems);
                }
            }
            _ if profile::KEYS.contains(&name.as_str()) => {}
            _ => walk(entry, name.clone(), variables, problems),
        }
    }
}

/// Expands the paths of one task, which is called `prefix` in problems.
pub(crate) fn expand_task(
    task: &mut Node,
    prefix: &str,
    variables: &Variables<'_>,
    problems: &mut Vec<Problem>,
) {
    for path in PATH_KEYS {
        if let Some(node) = task.at_mut(path) {
            walk(node, join(prefix, &path.join(".")), variables, problems);
        }
    }
}

/// Expands one value and all below it; `key` is its name in problems.
pub(crate) fn expand_value(
    node: &mut Node,
    key: &str,
    variables: &Variables<'_>,
    problems: &mut Vec<Problem>,
) {
    walk(node, key.to_owned(), variables, problems);
}

fn walk(node: &mut Node, key: String, variables: &Variables<'_>, problems: &mut Vec<Problem>) {
    match &mut node.content {
        Content::Scalar(Value::String(text)) if text.contains('$') => {
            if key.starts_with("backend")
                && let Some(name) = secret(text, variables)
            {
                problems.push(bare_secret(node, key, &name));
                return;
            }
            match substitute(text, variables) {
                Ok(expanded) => {
                    node.variable = whole_reference(text).map(Arc::from);
                    *text = expanded;
                }
                Err(message) => problems.push(Problem::new(&node.place, key, message)),
            }
        }
        Content::Scalar(_) => {}
        Content::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let name = item.name().map_or_else(|| index.to_string(), str::to_owned);
                walk(item, join(&key, &name), variables, problems);
            }
        }
        Content::Table(table) => {
            for (name, entry) in table {
                walk(entry, join(&key, name), variables, problems);
            }
        }
    }
}

/// A variable that a text refers to, is set, and by its name holds a secret.
fn secret(text: &str, variables: &Variables<'_>) -> Option<String> {
    let is_set = |name: &str| variables(name).is_some_and(|value| !value.is_empty());
    references(text).into_iter().find(|name| is_secret_name(name) && is_set(name))
}

/// What is told of a secret in the open: the run file as meant is in every run's manifest and report.
fn bare_secret(node: &Node, key: String, name: &str) -> Problem {
    let message = format!(
        "the environment variable {name} holds a secret by its name, and what a backend's table says is written into \
         manifest.json and reports"
    );
    Problem::new(&node.place, key, message).hint(format!(
        "let a slot look it up: slot = [{{ slot = \"key\", env = [\"{name}\"] }}], with secrets = [\"key\"]; if it is none, \
         give the variable another name"
    ))
}

/// The names of the variables that a text refers to, in order.
pub(crate) fn references(text: &str) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    let note = |name: &str| {
        names.borrow_mut().push(name.to_owned());
        // Anything: only the names are wanted, and an unset one would end the search.
        Some("set".to_owned())
    };
    let _ = substitute(text, &note);
    names.into_inner()
}

/// The variable of a text that is one reference from end to end.
fn whole_reference(text: &str) -> Option<&str> {
    let (reference, rest) = text.strip_prefix("${")?.split_once('}')?;
    let name = reference.split_once(':').map_or(reference, |(name, _)| name);
    rest.is_empty().then_some(name)
}

/// As in a shell, `:-` and `:?` also count an empty variable as unset.
fn substitute(text: &str, variables: &Variables<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (reference, after) = after
                .split_once('}')
                .ok_or("`${` without a closing `}`; write `$$` for a dollar")?;
            out.push_str(&reference_value(reference, variables)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn reference_value(reference: &str, variables: &Variables<'_>) -> Result<String, String> {
    let (name, rest) =
        reference.split_once(':').map_or((reference, None), |(name, rest)| (name, Some(rest)));
    let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || !legal {
        return Err(format!(
            "`${{{reference}}}` does not name a variable; write `$$` for a dollar"
        ));
    }
    let value = variables(name);
    match rest {
        None => value.ok_or_else(|| format!("the environment variable {name} is not set; set it, or give a default: `${{{name}:-…}}`")),
        Some(rest) => match (value.filter(|value| !value.is_empty()), rest.split_at_checked(1)) {
            (Some(value), Some(("-" | "?", _))) => Ok(value),
            (None, Some(("-", default))) => Ok(default.to_owned()),
            (None, Some(("?", message))) => Err(format!("the environment variable {name} is not set: {message}")),
            _ => Err(format!("`${{{reference}}}` is none of `${{NAME}}`, `${{NAME:-default}}`, `${{NAME:?message}}`")),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::node;

    #[test]
    fn a_secret_by_name_does_not_come_into_a_backends_table() {
        let variables = |name: &str| (name != "UNSET_KEY").then(|| "value".to_owned());
        let table = [
            ("[[backend]]\nconfig.headers.x = \"Bearer ${MY_TOKEN}\"", 1),
            ("[[backend]]\nbase_url = \"http://u:${db_password}@h\"", 1),
            ("[[backend]]\nconfig.x = \"${UNSET_KEY:-a}\"", 0),
            ("[[backend]]\nconfig.max = \"${MAX_TOKENS}\"", 0),
            ("[[backend]]\nslot = [{ slot = \"key\", env = [\"MY_KEY\"] }]", 0),
            ("name = \"${MONKEY_NAME}\"", 0),
        ];
        for (text, expected) in table {
            let mut root = node::parse(Path::new("r.toml"), text).unwrap();
            let mut problems = Vec::new();
            expand(&mut root, &variables, &mut problems);
            assert_eq!(problems.len(), expected, "{text}: {problems:?}");
            assert!(problems.iter().all(|problem| problem.to_string().contains("slot")));
        }
    }

    #[test]
    fn references_expand_as_in_a_shell() {
        let variables = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let table = [
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${B:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("<${EMPTY}>", "<>"),
            ("${B:-}", ""),
            ("cost: $5, $$5, $${A}", "cost: $5, $5, ${A}"),
            ("ends in $", "ends in $"),
            ("${B}", "the environment variable B is not set; set it, or give a default: `${B:-…}`"),
            ("${B:?say where}", "the environment variable B is not set: say where"),
            ("${A:+x}", "`${A:+x}` is none of `${NAME}`, `${NAME:-default}`, `${NAME:?message}`"),
            ("${A", "`${` without a closing `}`; write `$$` for a dollar"),
            ("${}", "`${}` does not name a variable; write `$$` for a dollar"),
        ];
        for (text, expected) in table {
            assert_eq!(substitute(text, &variables).unwrap_or_else(|e| e), expected, "{text}");
        }
    }
}
