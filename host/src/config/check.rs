//! Checks a tree against a JSON Schema and says every problem at once, with its place, the full path
//! of its key, what was expected and the nearest known name. It knows no key itself.

use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::{Map, Value};

use super::error::Problem;
use super::nearest;
use super::node::Node;

/// Everything below `node` that does not fit `schema`. `prefix` is the name of `node` itself, put
/// before the keys; empty for a whole file.
///
/// # Errors
/// If `schema` is no JSON Schema; the text says why.
pub(crate) fn check(node: &Node, schema: &Value, prefix: &str) -> Result<Vec<Problem>, String> {
    check_advised(node, schema, prefix, &|_| None)
}

/// What is said of an unknown key beside the names that are known where it stands.
pub(crate) enum Advice {
    /// Where it belongs; then nothing else need be said.
    Home(String),
    /// What it may also have been meant as.
    Maybe(String),
}

/// Gives advice on an unknown key, by its path below the node that is checked.
pub(crate) type Adviser<'a> = dyn Fn(&[String]) -> Option<Advice> + 'a;

/// The same, with advice on unknown keys.
///
/// # Errors
/// As for [`check`].
pub(crate) fn check_advised(
    node: &Node,
    schema: &Value,
    prefix: &str,
    adviser: &Adviser<'_>,
) -> Result<Vec<Problem>, String> {
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    let value = node.to_value();
    let mut problems = Vec::new();
    for error in validator.iter_errors(&value) {
        explain(&error, node, schema, prefix, adviser, &mut problems);
    }
    Ok(problems)
}

fn explain(
    error: &ValidationError<'_>,
    node: &Node,
    schema: &Value,
    prefix: &str,
    adviser: &Adviser<'_>,
    problems: &mut Vec<Problem>,
) {
    let path = segments(error.instance_path().as_str());
    let (place, name) = node.locate(&path);
    let key = join(prefix, &name);
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = neighbours(schema, error.schema_path().as_str());
            for unknown in unexpected {
                let mut below = path.clone();
                below.push(unknown.clone());
                let (place, name) = node.locate(&below);
                problems.push(
                    Problem::new(&place, join(prefix, &name), "unknown key").maybe_hint(hint(
                        unknown,
                        &known,
                        adviser(&below),
                    )),
                );
            }
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let constants: Vec<_> = context.iter().flatten().filter_map(constant).collect();
            if constants.len() == context.len() && context.iter().all(|branch| branch.len() <= 2) {
                problems.push(one_of(
                    Problem::new(&place, key, String::new()),
                    &constants,
                    error.instance(),
                ));
            } else if let Some(branch) = context
                .iter()
                .filter(|branch| !branch.iter().any(is_null_type))
                .min_by_key(|branch| distance(branch))
            {
                for error in branch {
                    explain(error, node, schema, prefix, adviser, problems);
                }
            } else {
                problems.push(Problem::new(&place, key, error.to_string()));
            }
        }
        Kind::Enum { options } => {
            let options: Vec<_> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter(|option| !option.is_null())
                .cloned()
                .collect();
            problems.push(one_of(
                Problem::new(&place, key, String::new()),
                &options,
                error.instance(),
            ));
        }
        Kind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            problems.push(Problem::new(&place, join(&key, property), "is required and missing"));
        }
        Kind::Type { kind } => {
            let (expected, found) = (expected_type(kind), error.instance());
            let message = format!("expected {expected}, found {}", describe(found));
            let is_list = found.is_object() && matches!(key.as_str(), "backend" | "task");
            let hint =
                is_list.then(|| format!("there may be several: each begins with `[[{key}]]`"));
            problems.push(Problem::new(&place, key, message).maybe_hint(hint));
        }
        Kind::Minimum { limit } => problems.push(Problem::new(
            &place,
            key,
            format!("expected at least {limit}, found {}", error.instance()),
        )),
        Kind::Maximum { limit } => problems.push(Problem::new(
            &place,
            key,
            format!("expected at most {limit}, found {}", error.instance()),
        )),
        _ => problems.push(Problem::new(&place, key, error.to_string())),
    }
}

fn one_of(problem: Problem, options: &[Value], found: &Value) -> Problem {
    let names = options.iter().map(describe_option).collect::<Vec<_>>().join(", ");
    let hint = found.as_str().and_then(|typed| {
        nearest(typed, options.iter().filter_map(Value::as_str))
            .map(|near| format!("did you mean `{near}`?"))
    });
    Problem { message: format!("expected one of {names}, found {}", describe(found)), ..problem }
        .maybe_hint(hint)
}

fn hint(unknown: &str, known: &[String], advice: Option<Advice>) -> Option<String> {
    let near = nearest(unknown, known.iter().map(String::as_str));
    let of_known = match near {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known keys: {}", known.join(", "))),
    };
    match (of_known, advice) {
        (_, Some(Advice::Home(home))) => Some(home),
        (Some(of_known), Some(Advice::Maybe(advice))) if near.is_some() => {
            Some(format!("{of_known} ({advice})"))
        }
        (Some(of_known), Some(Advice::Maybe(advice))) => Some(format!("{advice}; {of_known}")),
        (None, Some(Advice::Maybe(advice))) => Some(advice),
        (of_known, None) => of_known,
    }
}

/// How far a branch of a choice is from what was typed: a wrong tag or type weighs more than a slip inside.
fn distance(branch: &[ValidationError<'static>]) -> usize {
    branch
        .iter()
        .map(
            |error| {
                if matches!(error.kind(), Kind::Type { .. } | Kind::Constant { .. }) {
                    10
                } else {
                    1
                }
            },
        )
        .sum()
}

fn constant(error: &ValidationError<'static>) -> Option<Value> {
    match error.kind() {
        Kind::Constant { expected_value } => Some(expected_value.as_ref().clone()),
        _ => None,
    }
}

fn is_null_type(error: &ValidationError<'static>) -> bool {
    matches!(error.kind(), Kind::Type { kind } if expected_type(kind) == "null")
}

fn expected_type(kind: &jsonschema::error::TypeKind) -> String {
    use jsonschema::error::TypeKind;
    let names: Vec<String> = match kind {
        TypeKind::Single(name) => vec![name.to_string()],
        TypeKind::Multiple(names) => {
            names.iter().map(|name| name.to_string()).filter(|name| name != "null").collect()
        }
    };
    // In the words of TOML.
    let words = names.iter().map(|name| match name.as_str() {
        "object" => "a table",
        "array" => "an array",
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    });
    words.collect::<Vec<&str>>().join(" or ")
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".into(),
        Value::Array(_) => "an array".into(),
        Value::String(text) if text.chars().count() > 40 => "a string".into(),
        Value::String(text) => format!("the string {text:?}"),
        scalar => scalar.to_string(),
    }
}

fn describe_option(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("`{text}`"))
}

/// The keys of the object whose `additionalProperties` refused one, found by the path of that keyword.
fn neighbours(root: &Value, schema_path: &str) -> Vec<String> {
    let mut at = root;
    let mut path = segments(schema_path);
    path.pop();
    for segment in path {
        let next = match (segment.as_str(), at.get("$ref").and_then(Value::as_str)) {
            ("$ref", Some(reference)) => {
                reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
            }
            _ => match at {
                Value::Array(items) => {
                    segment.parse::<usize>().ok().and_then(|index| items.get(index))
                }
                other => other.get(&segment),
            },
        };
        match next {
            Some(next) => at = next,
            None => return Vec::new(),
        }
    }
    let properties = at.get("properties").and_then(Value::as_object);
    let mut names: Vec<_> = properties.into_iter().flat_map(Map::keys).cloned().collect();
    names.sort(); // A map's own order depends on how `serde_json` is built.
    names
}

/// A JSON pointer, taken apart.
fn segments(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
        .collect()
}

pub(crate) fn join(prefix: &str, name: &str) -> String {
    match (prefix.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}
