//! Values that came from the environment as text, as the numbers and booleans that a schema wants there. Where
//! the schema takes a text they stay one: no value changes its type silently.

use serde_json::{Map, Number, Value};

use super::check::join;
use super::error::Problem;
use super::node::{Content, Node};

/// A schema's keywords.
type Keywords = Map<String, Value>;

/// Longest chain of references that is followed: a schema may refer to itself.
const MAX_DEPTH: usize = 16;

/// Turns every text in `node` that is one reference to the environment and nothing else into what `schema`
/// wants in its place. `prefix` is the name of `node` itself. `problems` gets one entry a text that is none.
pub(crate) fn convert(node: &mut Node, schema: &Value, prefix: &str, problems: &mut Vec<Problem>) {
    walk(node, &[schema], schema, prefix, problems);
}

/// `schemas` are those that may apply to `node`, one of them or all together.
fn walk(node: &mut Node, schemas: &[&Value], root: &Value, key: &str, problems: &mut Vec<Problem>) {
    let mut forms = Vec::new();
    for schema in schemas {
        resolve(schema, root, MAX_DEPTH, &mut forms);
    }
    match &mut node.content {
        Content::Scalar(value) => {
            let (Some(variable), Value::String(text)) = (&node.variable, &*value) else { return };
            let Some(wanted) = Wanted::of(&forms) else { return };
            match wanted.read(text.trim()) {
                Some(read) => *value = read,
                None => {
                    let message = format!(
                        "expected {}, and the environment variable {variable} (or its default here) gives {text:?}",
                        wanted.in_words()
                    );
                    problems.push(Problem::new(&node.place, key, message));
                }
            }
        }
        Content::Array(items) => {
            let below: Vec<_> = forms.iter().filter_map(|form| form.get("items")).collect();
            for (index, item) in items.iter_mut().enumerate() {
                let name = item.name().map_or_else(|| index.to_string(), str::to_owned);
                walk(item, &below, root, &join(key, &name), problems);
            }
        }
        Content::Table(table) => {
            for (name, entry) in table {
                let below: Vec<_> = forms.iter().filter_map(|form| property(form, name)).collect();
                walk(entry, &below, root, &join(key, name), problems);
            }
        }
    }
}

/// The schema of a table's entry.
fn property<'a>(form: &'a Keywords, name: &str) -> Option<&'a Value> {
    let properties = form.get("properties").and_then(Value::as_object);
    properties
        .and_then(|properties| properties.get(name))
        .or_else(|| form.get("additionalProperties"))
}

/// A schema and all that it is composed of, references followed.
fn resolve<'a>(schema: &'a Value, root: &'a Value, depth: usize, forms: &mut Vec<&'a Keywords>) {
    let (Some(keywords), Some(depth)) = (schema.as_object(), depth.checked_sub(1)) else { return };
    forms.push(keywords);
    let reference = keywords.get("$ref").and_then(Value::as_str);
    if let Some(target) = reference
        .and_then(|reference| reference.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
    {
        resolve(target, root, depth, forms);
    }
    for composed in ["anyOf", "oneOf", "allOf"] {
        for part in keywords.get(composed).and_then(Value::as_array).into_iter().flatten() {
            resolve(part, root, depth, forms);
        }
    }
}

/// What a schema wants that takes no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    integer: bool,
    number: bool,
    boolean: bool,
}

impl Wanted {
    /// None if a text will do, or nothing that a text can stand for.
    fn of(forms: &[&Keywords]) -> Option<Self> {
        let mut wanted = Self::default();
        for form in forms {
            let names = match form.get("type") {
                Some(Value::Array(names)) => names.as_slice(),
                Some(name) => std::slice::from_ref(name),
                None => &[],
            };
            for name in names.iter().filter_map(Value::as_str) {
                match name {
                    "integer" => wanted.integer = true,
                    "number" => wanted.number = true,
                    "boolean" => wanted.boolean = true,
                    "string" => return None,
                    _ => {}
                }
            }
            let options = form.get("enum").and_then(Value::as_array).into_iter().flatten();
            if options.chain(form.get("const")).any(Value::is_string) {
                return None;
            }
        }
        (wanted != Self::default()).then_some(wanted)
    }

    fn read(self, text: &str) -> Option<Value> {
        let boolean = || text.parse::<bool>().ok().filter(|_| self.boolean).map(Value::Bool);
        let integer =
            || text.parse::<i64>().ok().filter(|_| self.integer || self.number).map(Value::from);
        let number = || {
            let number = text.parse::<f64>().ok().filter(|_| self.number)?;
            Number::from_f64(number).map(Value::Number)
        };
        boolean().or_else(integer).or_else(number)
    }

    fn in_words(self) -> String {
        let words = [
            (self.number, "a number"),
            (self.integer && !self.number, "an integer"),
            (self.boolean, "true or false"),
        ];
        words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::{env, node};
    use super::*;

    /// Each row: what a schema says, a text from the environment, and the value or what is wrong with it.
    #[test]
    fn a_text_becomes_what_the_schema_wants_and_else_stays_one() {
        let table = [
            (json!({"type": "integer"}), "50", Ok(json!(50))),
            (json!({"type": ["integer", "null"]}), " 50 ", Ok(json!(50))),
            (json!({"type": "number"}), "50", Ok(json!(50))),
            (json!({"type": "number"}), "0.5", Ok(json!(0.5))),
            (json!({"type": "boolean"}), "true", Ok(json!(true))),
            (json!({"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}), "-1", Ok(json!(-1))),
            (json!({"type": ["number", "boolean"]}), "false", Ok(json!(false))),
            (json!({"type": "string"}), "50", Ok(json!("50"))),
            (json!({"type": ["string", "integer"]}), "50", Ok(json!("50"))),
            (json!({"enum": ["50", "60"]}), "50", Ok(json!("50"))),
            (json!({}), "50", Ok(json!("50"))),
            (json!(true), "50", Ok(json!("50"))),
            (json!({"type": "array"}), "50", Ok(json!("50"))),
            (json!({"type": "integer"}), "0.5", Err("an integer")),
            (json!({"type": "integer"}), "", Err("an integer")),
            (json!({"type": "number"}), "inf", Err("a number")),
            (json!({"type": "boolean"}), "yes", Err("true or false")),
            (json!({"type": ["number", "boolean"]}), "many", Err("a number or true or false")),
        ];
        for (schema, text, expected) in table {
            let root = json!({"properties": {"k": schema}, "$defs": {"N": {"type": "integer"}}});
            let mut node = node::parse(Path::new("r.toml"), "k = \"${V}\"").unwrap();
            let mut problems = Vec::new();
            env::expand(&mut node, &|_| Some(text.to_owned()), &mut problems);
            convert(&mut node, &root, "", &mut problems);
            let got = match problems.pop() {
                None => Ok(node.to_value()["k"].clone()),
                Some(problem) => Err(problem.to_string()),
            };
            let expected = expected.map_err(|expected| {
                format!(
                    "r.toml:1: k: expected {expected}, and the environment variable V (or its default here) gives {text:?}"
                )
            });
            assert_eq!(got, expected, "{root} {text:?}");
        }
    }

    #[test]
    fn only_a_text_that_is_one_reference_is_turned() {
        let schema = json!({"additionalProperties": {"items": {"type": "integer"}}});
        let text = "k = [\"${V}\", \"${V:-8}\", \"${V}0\", \"7\", \"$V\"]";
        let mut node = node::parse(Path::new("r.toml"), text).unwrap();
        let mut problems = Vec::new();
        env::expand(&mut node, &|_| Some("5".to_owned()), &mut problems);
        convert(&mut node, &schema, "", &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(node.to_value()["k"], json!([5, 5, "50", "7", "$V"]));
    }
}
