//! `config/README.md` lists the options of each plugin as its configuration schema has them.
//! `UPDATE_OPTIONS=1 cargo test -p host-tests --test options` writes the lists anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

const BEGIN: &str = "<!-- options: generated from the plugins' schemas -->";
const END: &str = "<!-- end of options -->";

#[test]
fn the_options_in_the_guide_are_those_of_the_schemas() {
    let path = root().join("config/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!("{before}{BEGIN}\n\n{}{END}{after}", options());
    if std::env::var_os("UPDATE_OPTIONS").is_some() {
        fs::write(&path, fresh).unwrap();
    } else {
        assert!(
            text == fresh,
            "config/README.md is stale: run UPDATE_OPTIONS=1 cargo test -p host-tests --test options"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A section a plugin, in the order of their names.
fn options() -> String {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("config.schema.json").exists())
        .collect();
    folders.sort();
    let mut text = String::new();
    for folder in folders {
        let schema = fs::read_to_string(folder.join("config.schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        write!(text, "### `{name}`\n\n").unwrap();
        let mut rows = Vec::new();
        collect(&schema, &schema, "", &mut Vec::new(), &mut rows);
        // `base_url` and `model` stand in [[backend]] itself.
        rows.sort_by_key(|row| !matches!(row.key.as_str(), "base_url" | "model"));
        text.push_str("| option | type | default | meaning |\n|---|---|---|---|\n");
        for Row { key, kind, default, meaning } in rows {
            writeln!(text, "| `{key}` | {kind} | {default} | {meaning} |").unwrap();
        }
        text.push('\n');
    }
    text
}

struct Row {
    key: String,
    kind: String,
    default: String,
    meaning: String,
}

/// The options of a table, those of tables in it below their own keys. `within` guards against a type that holds
/// itself.
fn collect<'s>(
    schema: &'s Value,
    root: &'s Value,
    prefix: &str,
    within: &mut Vec<&'s Value>,
    rows: &mut Vec<Row>,
) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut properties: Vec<_> =
        schema["properties"].as_object().into_iter().flat_map(Map::iter).collect();
    properties.sort_by_key(|(key, _)| key.as_str());
    for (key, property) in properties {
        let name = format!("{prefix}{key}");
        let target = resolve(property, root);
        let description = property["description"].as_str().or(target["description"].as_str());
        rows.push(Row {
            key: name.clone(),
            kind: kind(property, root),
            default: match &property["default"] {
                Value::Null if required.contains(&key.as_str()) => "needed".to_owned(),
                Value::Null => String::new(),
                Value::Object(_) => String::new(),
                value => format!("`{value}`"),
            },
            meaning: one_line(description.unwrap_or_default()),
        });
        let item = resolve(&target["items"], root);
        let table = [target, item].into_iter().find(|table| table["properties"].is_object());
        if let Some(table) = table.filter(|table| !within.contains(table)) {
            within.push(table);
            collect(table, root, &format!("{name}."), within, rows);
            within.pop();
        }
    }
}

/// What a `$ref`, or the one alternative that is not null, stands for.
fn resolve<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap_or_default();
        return root.pointer(pointer).map_or(schema, |target| resolve(target, root));
    }
    let mut alternatives =
        schema["anyOf"].as_array().into_iter().flatten().filter(|one| one["type"] != "null");
    match (alternatives.next(), alternatives.next()) {
        (Some(only), None) => resolve(only, root),
        _ => schema,
    }
}

fn kind(schema: &Value, root: &Value) -> String {
    let target = resolve(schema, root);
    let constants = |list: &Value, key: &str| -> Vec<String> {
        let values = list.as_array().into_iter().flatten();
        let values = values.map(|value| if key.is_empty() { value } else { &value[key] });
        values.filter_map(Value::as_str).map(|name| format!("`{name}`")).collect()
    };
    let named = [
        constants(&target["enum"], ""),
        constants(&target["oneOf"], "const"),
        constants(&target["anyOf"], "const"),
    ];
    if let Some(names) = named.into_iter().find(|names| !names.is_empty()) {
        return names.join(", ");
    }
    let names: Vec<&str> = match &target["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "any".to_owned(),
    };
    let words = names.iter().filter(|name| **name != "null").map(|name| match *name {
        "object" => "table".to_owned(),
        "array" => match kind(&target["items"], root).as_str() {
            "any" => "list".to_owned(),
            item => format!("list of {item}"),
        },
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// A description in a cell: its first paragraph, without what would end the cell.
fn one_line(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
